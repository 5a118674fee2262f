#!/bin/sh
# Provides a kernel to boot, from the package that has it:
#
#   fetch.sh NAME
#
# NAME is the first word of a line of list.txt. Prints the path of its vmlinuz, which is
# kept, outside of the checkout, in MCREC_KERNELS (or ~/.cache/mcrec/kernels). The package
# comes from the mirror that this machine uses, or for Ubuntu's from MCREC_UBUNTU, and has
# the sha256 that list.txt says, or is not used.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
if [ $# != 1 ]; then
	echo "usage: $0 NAME" >&2
	exit 2
fi
name=$1
line=$(awk -v name="$name" '$1 == name' "$here/list.txt")
if [ -z "$line" ]; then
	echo "$0: list.txt has no kernel called $name" >&2
	exit 2
fi
# shellcheck disable=SC2086 # a line is a list of words
set -- $line
package=$2 version=$3 archive=$4 path=$5 sha256=$6 image=$7

cache=${MCREC_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/mcrec/kernels}
mkdir -p "$cache"
# With the sum in its name, no kernel of an earlier list is taken for this one.
kernel=$cache/vmlinuz-$name-$(echo "$sha256" | cut -c -12)
if [ -s "$kernel" ]; then
	echo "$kernel"
	exit
fi

# This machine's package source whose address ends so.
# shellcheck disable=SC2016 # apt's words, not the shell's
source_of() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 "/$1/*\$" || true
}
case $archive in
debian) mirror=$(source_of debian) ;;
security)
	mirror=$(source_of debian-security)
	[ -n "$mirror" ] || mirror=$(source_of debian | sed 's|debian/*$|debian-security/|')
	;;
ubuntu) mirror=${MCREC_UBUNTU:-http://archive.ubuntu.com/ubuntu/} ;;
*)
	echo "$0: list.txt has an archive that is not known, for $name: $archive" >&2
	exit 2
	;;
esac
if [ -z "$mirror" ]; then
	echo "$0: no Debian mirror among this machine's package sources" >&2
	exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
by_hand=$cache/$(basename "$path")
uri=${mirror%/}/$path
if [ -e "$by_hand" ]; then
	cp "$by_hand" "$work/package.deb"
	if ! echo "$sha256  $work/package.deb" | sha256sum --check --status; then
		echo "$0: $by_hand is not what list.txt names: its sha256 is not $sha256" >&2
		exit 1
	fi
else
	echo "fetching kernel $name, $package $version" >&2
	/usr/lib/apt/apt-helper download-file "$uri" "$work/package.deb" "SHA256:$sha256" \
		>"$work/log" 2>&1 || {
		cat "$work/log" >&2
		cat >&2 <<END
$0: could not fetch kernel $name:
  $uri
Where the archive has it no more, take it from elsewhere (as from snapshot.debian.org or
launchpad.net), as long as its sha256 is
  $sha256
and put it at
  $by_hand
or name a newer package, with its sha256, in list.txt.
END
		exit 1
	}
fi
# Of the package only this is needed: all the rest of a guest comes from its initramfs.
dpkg-deb --fsys-tarfile "$work/package.deb" | tar -xf - -C "$work" "./$image"
mv "$work/$image" "$kernel.part"
mv "$kernel.part" "$kernel"
echo "$kernel"
