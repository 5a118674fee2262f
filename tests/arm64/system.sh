#!/bin/sh
# Provides what builds programs for arm64 on this machine, and what they run with: a Debian
# in a folder, and two memcached.
#
#   system.sh FOLDER
#
# leaves FOLDER/root, a Debian of its own with programs of amd64 that compile for arm64 and
# libraries of arm64, FOLDER/memcached-debian, the program that is in Debian's package, and
# FOLDER/memcached-probes, built with USDT probes. Does nothing if they are there already.
# Needs root, and a mirror that has arm64 too: the one that this machine uses.
#
# Rust's standard library for arm64 comes from Debian, so that only Debian and crates.io need
# to be reached; so the compiler does too, for the two must be of one build.
set -eu

if [ $# != 1 ]; then
	echo "usage: $0 FOLDER" >&2
	exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$folder/root
suite=trixie
# From backports, where it is new enough.
rust="rustc cargo rust-clippy libstd-rust-dev:arm64"
packages="gcc-aarch64-linux-gnu libc6-dev:arm64 libelf-dev:arm64 zlib1g-dev:arm64
	clang make pkg-config gcc libc6-dev libelf-dev zlib1g-dev
	dpkg-dev systemtap-sdt-dev libevent-dev:arm64 libsasl2-dev:arm64 busybox-static:arm64"

# Made anew when what it is made of is another.
# shellcheck disable=SC2086 # lists of words
recipe=$(echo $suite $rust $packages | cat - "$here/memcached.sh" | sha256sum | cut -c -16)
if [ "$(cat "$folder/recipe" 2>/dev/null)" = "$recipe" ]; then
	exit
fi
if [ "$(id -u)" != 0 ]; then
	echo "$0: run this as root, which debootstrap and chroot need" >&2
	exit 1
fi
if [ "$(dpkg --print-architecture)" != amd64 ]; then
	echo "$0: this emulates arm64 on amd64, and builds for it there; this machine is neither" >&2
	exit 1
fi
# shellcheck disable=SC2016 # apt's words, not the shell's
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
	grep -m1 '/debian/*$' || true)
if [ -z "$mirror" ]; then
	echo "$0: no Debian mirror among this machine's package sources" >&2
	exit 1
fi

# shellcheck disable=SC2086,SC2116 # lists of words, to be on one line
make_system() {
	rm -rf --one-file-system "$root" "$folder/recipe" &&
		debootstrap --variant=minbase $suite "$root" "$mirror" &&
		cat >"$root/etc/apt/sources.list" <<-END &&
			deb $mirror $suite main
			deb-src $mirror bookworm main
			deb $mirror $suite-backports main
		END
		cat >"$root/etc/apt/preferences" <<-END &&
			Package: rustc:any cargo:any rust-clippy:any libstd-rust-*:any libllvm21*:any
			Pin: release n=$suite-backports
			Pin-Priority: 990
		END
		sh "$here/within.sh" "$root" sh -c "
			dpkg --add-architecture arm64 &&
			apt-get -q update &&
			apt-get -q -y --no-install-recommends install $(echo $rust $packages) &&
			apt-get clean" &&
		mkdir -p "$root/build" &&
		cp "$here/memcached.sh" "$root/build/" &&
		sh "$here/within.sh" "$root" sh /build/memcached.sh &&
		cp "$root/build/memcached-debian" "$root/build/memcached-probes" "$folder/"
}
log=$folder/system.log
echo "making a Debian that builds for arm64 (some minutes; $log)" >&2
make_system >"$log" 2>&1 || {
	tail -20 "$log" >&2
	echo "$0: could not make it; all of what was tried is in $log" >&2
	exit 1
}
# Last: with this, all of it is there.
echo "$recipe" >"$folder/recipe"
