#!/bin/sh
# Builds mcrec, and the client that tests it, for arm64:
#
#   build.sh FOLDER TARGET [CARGO-COMMAND...]
#
# FOLDER is what system.sh made; cargo builds in TARGET. Leaves FOLDER/mcrec and
# FOLDER/drill, without symbols. With a CARGO-COMMAND runs that instead, such as
# `clippy -p mcrec`.
set -eu

if [ $# -lt 2 ]; then
	echo "usage: $0 FOLDER TARGET [CARGO-COMMAND...]" >&2
	exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
folder=$(cd "$1" && pwd)
mkdir -p "$2"
target=$(cd "$2" && pwd)
shift 2
triple=aarch64-unknown-linux-gnu
packages=${CARGO_HOME:-$HOME/.cargo}/registry

# What is fetched is fetched here, where cargo is set up for that.
(cd "$checkout" && cargo fetch --quiet --locked --target $triple --target x86_64-unknown-linux-gnu)
within() {
	sh "$here/within.sh" "$folder/root" "$checkout=/checkout" "$target=/target" \
		"$packages=/cargo/registry" sh -c 'cd /checkout && exec "$@"' sh "$@"
}
cargo() {
	command=$1
	shift
	within env CARGO_HOME=/cargo CARGO_TARGET_DIR=/target \
		CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
		cargo "$command" --offline --locked --target $triple "$@"
}
if [ $# != 0 ]; then
	cargo "$@"
	exit
fi
cargo build -p mcrec --bin mcrec --example drill
for program in mcrec examples/drill; do
	within aarch64-linux-gnu-strip -o /target/stripped "/target/$triple/debug/$program"
	mv "$target/stripped" "$folder/$(basename "$program")"
done
