#!/bin/sh
# Runs a command in a Debian that is in a folder, as root:
#
#   within.sh ROOT [FROM=TO...] COMMAND...
#
# Each folder FROM is seen there as TO. The mounts are gone when the command is.
set -eu

if [ "${WITHIN:-}" != mounts ]; then
	if [ $# -lt 2 ]; then
		echo "usage: $0 ROOT [FROM=TO...] COMMAND..." >&2
		exit 2
	fi
	WITHIN=mounts exec unshare --mount --propagation private sh "$0" "$@"
fi
root=$1
shift
mount -t proc none "$root/proc"
mount --rbind /dev "$root/dev"
# Its names are looked up as this machine's are.
cp /etc/resolv.conf "$root/etc/resolv.conf"
while :; do
	case $1 in
	/*=/*)
		to=$root${1#*=}
		mkdir -p "$to"
		mount --bind "${1%%=*}" "$to"
		shift
		;;
	*) break ;;
	esac
done
exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
	DEBIAN_FRONTEND=noninteractive "$@"
