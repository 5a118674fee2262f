#!/bin/sh
# Installs the Debian packages that the build (and with "tests", the tests and
# the demo, and whatever else is named) need, if they are not there. Needs root
# only if one is missing.
set -eu

build="clang gcc libc6-dev make pkg-config libelf-dev zlib1g-dev"
# memcached is built from Debian's source, and its own tests are Perl; the engines
# that the captures are compared with are Python's. The -dev packages bring the
# libraries too, which the memcached from Debian's package needs.
tests="dpkg-dev libevent-dev libssl-dev libsasl2-dev systemtap-sdt-dev ca-certificates binutils"
tests="$tests util-linux perl python3 python3-venv gdb python3-seccomp systemd chromium tmux"
# A client, beside those that come with languages.
tests="$tests libmemcached-tools"
# Containers, and a network for one.
tests="$tests runc crun iproute2"

wanted=$build
if [ "${1:-}" = tests ]; then
	shift
	wanted="$build $tests $*"
fi

if ! command -v dpkg-query >/dev/null; then
	echo "packages.sh: this is not Debian; what is needed is what Debian calls: $wanted" >&2
	exit 0
fi
missing=
for package in $wanted; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "packages.sh: as root, run: apt-get install$missing" >&2
	exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $missing >/dev/null
