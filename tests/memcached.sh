#!/bin/sh
# Builds memcached with its USDT probes from Debian's own source package:
#
#   memcached-with-probes.sh RELEASE FOLDER     (RELEASE is 1.6.18 or 1.6.38)
#
# leaves FOLDER/memcached-RELEASE, and does nothing if that is there already.
# The machine's package sources are not changed: the lists are kept in FOLDER.
set -eu

release=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
program=$folder/memcached-$release
[ ! -x "$program" ] || exit 0

case $release in
1.6.18) suite=bookworm ;;
1.6.38) suite=trixie ;;
*)
	echo "$0: of which Debian release is memcached $release?" >&2
	exit 2
	;;
esac

work=$folder/work-$release
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
echo "deb-src [signed-by=$keyring] $mirror $suite main" >sources.list

apt() {
	apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work" \
		-o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User=root "$@"
}
build() {
	apt update &&
		apt source --download-only memcached &&
		dpkg-source --no-check -x memcached_"$release"-*.dsc source &&
		cd source &&
		./configure --enable-dtrace &&
		# Everything includes this header, and the Makefile does not say so.
		make memcached_dtrace.h &&
		make -j"$(nproc)" memcached
}
log=$folder/build-$release.log
build >"$log" 2>&1 || {
	tail -20 "$log" >&2
	echo "$0: could not build memcached $release; all of what was tried is in $log" >&2
	exit 1
}
strip -o "$program.new" "$work/source/memcached"
mv "$program.new" "$program"
