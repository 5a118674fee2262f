#!/bin/sh
# Records a real memcached under load for ten seconds and analyses the capture.
# Run by `make demo`; the argument is cargo's target folder, with what was built.
set -eu

target=$1
here=$(cd "$(dirname "$0")/../.." && pwd)
mcrec=$target/release/mcrec
mcanalyze=$target/release/mcanalyze
seconds=10

analyse() {
	printf '\n$ mcanalyze %s --top 20\n\n' "$1"
	# 1 says that the capture is incomplete, which the answer says too.
	"$mcanalyze" "$1" --top 20 || [ $? = 1 ]
}

# Whatever happens, what was started is ended and what was made is removed,
# all but the capture.
work=$(mktemp -d)
started=
clean() {
	for pid in $started; do kill "$pid" 2>/dev/null || true; done
	for pid in $started; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM HUP

# Debian's own memcached: the one that is installed, or the one in its package.
program=$(command -v memcached || true)
if [ -z "$program" ]; then
	sh "$here/tests/memcached.sh" debian-1.6.18 "$target/memcached"
	program=$target/memcached/memcached-debian-1.6.18
fi

user=
[ "$(id -u)" != 0 ] || user="-u root"
# shellcheck disable=SC2086 # two words or none
MEMCACHED_PORT_FILENAME=$work/port \
	"$program" $user -l 127.0.0.1 -p -1 -t 4 -m 256 &
memcached=$!
started=$memcached
for _ in $(seq 100); do
	[ ! -s "$work/port" ] || break
	kill -0 "$memcached" 2>/dev/null || break
	sleep 0.1
done
port=$(sed -n 's/^TCP INET: //p' "$work/port" 2>/dev/null || true)
if [ -z "$port" ]; then
	echo "demo: memcached did not start" >&2
	exit 1
fi

if ! "$mcrec" -p "$memcached" --check >"$work/check" 2>"$work/error"; then
	echo "demo: cannot record here, so here is a capture that was made elsewhere:" >&2
	cat "$work/error" >&2
	analyse "$here/sample-data/zipf.parquet"
	exit
fi

capture=$target/demo.parquet
"$target/release/examples/load" "127.0.0.1:$port" $((seconds + 3)) 2>"$work/load" &
started="$started $!"
printf '$ mcrec -p %s -o %s --duration %ss --force\n\n' "$memcached" "$capture" "$seconds"
"$mcrec" -p "$memcached" -o "$capture" --duration "${seconds}s" --force || [ $? = 1 ]
analyse "$capture"
printf '\nthe capture stays: %s\n' "$capture"
