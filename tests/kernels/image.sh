#!/bin/sh
# Makes the initramfs that all kernels are booted with:
#
#   image.sh FILE MCREC DRILL MEMCACHED-DEBIAN MEMCACHED-PROBES [SYSTEM]
#
# The programs and their libraries are of this machine, or else of SYSTEM: a folder with
# Debian in it that has those of another architecture, as tests/arm64/system.sh makes it.
# Nothing in the initramfs belongs to a kernel: no modules are needed.
set -eu

if [ $# != 5 ] && [ $# != 6 ]; then
	echo "usage: $0 FILE MCREC DRILL MEMCACHED-DEBIAN MEMCACHED-PROBES [SYSTEM]" >&2
	exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
file=$1
system=${6:-}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/proc" "$root/sys" "$root/tmp" "$root/results"
# libraries PROGRAM: its interpreter and its libraries, with theirs, as paths in the guest.
libraries() {
	if [ -z "$system" ]; then
		ldd "$1" 2>/dev/null | grep -o '/[^ ]*' || true
		return
	fi
	readelf -l "$1" | sed -n 's/.*program interpreter: \(.*\)]$/\1/p'
	for needed in $(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)]$/\1/p'); do
		library=$(find_library "$needed" "$(machine "$1")") || return
		echo "$library"
		libraries "$system$library" || return
	done
}
# find_library NAME MACHINE: each architecture has a folder of its own, and readelf says whose.
find_library() {
	for path in "$system"/usr/lib/*-linux-gnu/"$1"; do
		if [ -e "$path" ] && [ "$(machine "$path")" = "$2" ]; then
			echo "${path#"$system"}"
			return
		fi
	done
	echo "$0: no library $1 for $2 in $system; add its package to tests/arm64/system.sh" >&2
	return 1
}
machine() {
	readelf -h "$1" | sed -n 's/ *Machine: *//p'
}

busybox=$system$(command -v busybox)
needs=$(libraries "$busybox")
if [ -n "$needs" ]; then
	echo "$0: $busybox needs libraries; install Debian's busybox-static" >&2
	exit 1
fi
# The guest makes all the other links to it.
cp "$busybox" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"

# add PROGRAM PATH
add() {
	mkdir -p "$root/$(dirname "$2")"
	# The programs of another architecture come without symbols: this strip may not know it.
	if [ -z "$system" ]; then strip -o "$root/$2" "$1"; else cp "$1" "$root/$2"; fi
	# At the paths that they are looked for.
	found=$(libraries "$1")
	for library in $(echo "$found" | sort -u); do
		mkdir -p "$root$(dirname "$library")"
		cp -L "$system$library" "$root$library"
	done
}
add "$2" bin/mcrec
add "$3" bin/drill
add "$(command -v bpftool)" bin/bpftool
# By their usual name, which mcrec looks for.
add "$4" servers/debian/memcached
add "$5" servers/probes/memcached

echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
echo 'memcache:x:100:100::/:/bin/false' >>"$root/etc/passwd"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
cp "$here/scenes.txt" "$root/etc/scenes.txt"
cp "$here/init.sh" "$root/init"
chmod 755 "$root/init"
mknod "$root/dev/console" c 5 1
(cd "$root" && find . | cpio --quiet -o -H newc) >"$file.part"
mv "$file.part" "$file"
