#!/bin/sh
# Provides a memcached to test with, from what Debian distributes:
#
#   memcached.sh NAME FOLDER
#
# leaves FOLDER/memcached-NAME, and does nothing if that is there already. NAME is
#   1.6.18, 1.6.38              built with USDT probes
#   debian-1.6.18               the program that is in Debian's package
#   plain-1.6.38, plain-1.6.45  built as `./configure` without options says
#   full-1.6.38                 built with TLS and SASL
#   proxy-1.6.38                built with the proxy
#   static-1.6.38               without a C library that it would share with others
# All are without symbols; only the first two have probes. With a debian- or
# plain- one comes memcached's own test suite, as FOLDER/suite-RELEASE.
# The machine's package sources are not changed: the lists are kept in FOLDER.
set -eu

if [ $# != 2 ]; then
	echo "usage: $0 NAME FOLDER" >&2
	exit 2
fi
name=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
program=$folder/memcached-$name
[ ! -x "$program" ] || exit 0

release=${name##*-}
case $name in
1.6.18 | debian-1.6.18) distribution=bookworm ;;
1.6.38 | plain-1.6.38 | full-1.6.38 | proxy-1.6.38 | static-1.6.38) distribution=trixie ;;
plain-1.6.45) distribution=sid ;;
*)
	echo "$0: there is no memcached called $name" >&2
	exit 2
	;;
esac
case $name in
full-*) options="--enable-tls --enable-sasl --enable-sasl-pwdb" ;;
proxy-*) options=--enable-proxy ;;
# Only memcached-debug would count coverage, and write it to where it was built.
debian-* | plain-*) options=--disable-coverage ;;
static-*) options="--disable-coverage LDFLAGS=-static" ;;
*) options=--enable-dtrace ;;
esac

work=$folder/work-$name
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/archives/partial"
trap 'rm -rf "$work"' EXIT
cd "$work"

# The mirror that this machine uses.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
	grep -m1 '/debian/*$' || true)
if [ -z "$mirror" ]; then
	echo "$0: no Debian mirror among this machine's package sources" >&2
	exit 1
fi
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
from="[signed-by=$keyring] $mirror $distribution main"
echo "deb-src $from" >sources.list
case $name in debian-*) echo "deb $from" >>sources.list ;; esac

apt() {
	apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work" \
		-o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User=root "$@"
}
# Leaves the source in the folder of that name.
unpack() {
	case $name in
	plain-*)
		# What Debian adds is not wanted, and a mirror may lack the .dsc of what
		# is new in sid: apt then fails, but has fetched and verified the rest.
		apt source --download-only memcached || [ -s memcached_"$release".orig.tar.xz ] || return
		mkdir source &&
			tar -xf memcached_"$release".orig.tar.xz -C source --strip-components 1 --no-same-owner
		;;
	*)
		apt source --download-only memcached &&
			dpkg-source --no-check -x memcached_"$release"-*.dsc source
		;;
	esac
}
# Leaves the program, as `memcached`.
make_program() {
	case $name in
	debian-*)
		apt download memcached/"$distribution" &&
			dpkg-deb -x memcached_"$release"-*.deb package &&
			cp package/usr/bin/memcached memcached
		return
		;;
	esac
	if [ "$options" = --enable-dtrace ]; then
		# Everything includes this header, and the Makefile does not say so.
		make -C source memcached_dtrace.h || return
	fi
	# Nor does it say that the proxy is linked with the Lua that is in the source.
	case $name in proxy-*) make -C source/vendor || return ;; esac
	make -C source -j"$(nproc)" memcached && strip -o memcached source/memcached
}
# Leaves the tests, and what they run, as `suite`. The server they run is one that
# knows their commands and options: `memcached-debug`.
# shellcheck disable=SC2086 # the helpers are a list of words
make_suite() {
	case $name in debian-* | plain-*) ;; *) return 0 ;; esac
	helpers="memcached-debug timedrun testapp sizes"
	make -C source -j"$(nproc)" $helpers &&
		mkdir -p suite/doc &&
		(cd source && cp -R t scripts $helpers ../suite && cp doc/protocol.txt ../suite/doc)
}
# shellcheck disable=SC2086 # the options are a list of words
build() {
	apt update &&
		unpack &&
		(cd source && ./configure $options) &&
		make_program &&
		make_suite
}
log=$folder/build-$name.log
build >"$log" 2>&1 || {
	tail -20 "$log" >&2
	echo "$0: could not provide memcached $name; all of what was tried is in $log" >&2
	exit 1
}
if [ -d suite ]; then
	rm -rf "$folder/suite-$release"
	mv suite "$folder/suite-$release"
fi
# Last, and at once: with the program, all of it is there.
mv memcached "$program"
