#!/bin/sh
# Makes the initramfs that all kernels are booted with, from programs of this machine:
#
#   image.sh FILE MCREC DRILL MEMCACHED-DEBIAN MEMCACHED-PROBES
#
# Nothing in it belongs to a kernel: no modules are needed.
set -eu

if [ $# != 5 ]; then
	echo "usage: $0 FILE MCREC DRILL MEMCACHED-DEBIAN MEMCACHED-PROBES" >&2
	exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
file=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/proc" "$root/sys" "$root/tmp" "$root/results"
busybox=$(command -v busybox)
if ldd "$busybox" >/dev/null 2>&1; then
	echo "$0: $busybox needs libraries; install Debian's busybox-static" >&2
	exit 1
fi
cp "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
	[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done

# add PROGRAM PATH
add() {
	mkdir -p "$root/$(dirname "$2")"
	strip -o "$root/$2" "$1"
	# The libraries, and the interpreter, at the paths that they are looked for.
	ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
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
