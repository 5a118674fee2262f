#!/bin/sh
# The fences of the house: which file may use what. Prints each breach.
set -u
cd "$(dirname "$0")/.."
status=0

breach() {
	echo "fences: $1" >&2
	status=1
}

# only PATTERN WHO FILE...: of the Rust files under the folders of WHO, only
# those named may match PATTERN.
only() {
	pattern=$1 where=$2
	shift 2
	for file in $(grep -rlE --include='*.rs' "$pattern" $where 2>/dev/null); do
		allowed=no
		for one in "$@"; do
			case $file in "$one"*) allowed=yes ;; esac
		done
		[ $allowed = yes ] || breach "$file may not use $(echo "$pattern" | tr -d '\\')"
	done
}

r=mcrec/src a=mcanalyze/src c=capture/src p=mcreplay/src
all="$r $a $c $p schema/src protocol/src"
only '\blibbpf_(rs|sys)\b' "$all" $r/probe/ $r/drain/ $r/loss.rs
only '\barrow_array::' "$all" $c/ $r/batch/ $r/sink/mod.rs $a/files/ $a/exchange/batch.rs $a/scan.rs $a/by.rs $p/trace/
only '\barrow_select::' "$all" $a/files/
only '\bparquet::' "$all" $c/ $a/files/ $p/trace/
only '\barrow_schema\b' "$all" $c/ $r/batch/ schema/src/columns.rs
only '\barrow_buffer::' "$all" $c/ $r/batch/ $a/scan.rs
only '\bpolars::' "$all" $a/capture.rs $a/query/
only '\bclap::' "$all" $r/cli.rs $r/main.rs $a/cli.rs $a/cli/ $a/main.rs $p/cli.rs $p/cli/ $p/main.rs
only '\bratatui::' "$all" $a/live/mod.rs $a/live/keys.rs $a/live/view/
only '\bsignal_hook::' "$r $a $p" $r/ $a/live/mod.rs $p/main.rs
only '\bhdrhistogram::' "$all" $p/tally.rs $p/report/
only '\brustix::' "$p" $p/target.rs $p/connection.rs $p/worker.rs $p/run.rs $p/check.rs $p/main.rs
only '\bprocfs::' "$all" $r/target/ $r/host/
only '\blibc::' "$r" $r/host/attempt.rs
only '\blandlock::' "$all" $r/privilege.rs

# In mcrec a file uses only files to the left of it; main wires them all.
order="cli host kernel target counters plan sample probe privilege raw drain decode batch loss account sink writer report guard stop recording follow"
left=
for room in $order; do
	files=$(find $r/$room.rs $r/$room -name '*.rs' 2>/dev/null)
	[ -n "$files" ] || breach "$r has no $room any more; mend the order in tests/fences.sh"
	for other in $order; do
		case " $left $room " in *" $other "*) continue ;; esac
		# A test may look anywhere; what is compiled into the program may not.
		for file in $files; do
			case $file in */tests.rs) continue ;; esac
			uses=$(sed '/^#\[cfg(test)\]$/,$d' "$file" | tr '\n' ' ' |
				grep -oE "crate::($other\b|\{[^;]*\b$other(::|,|\})[^;]*)" | head -1)
			[ -z "$uses" ] || breach "$file uses $other, which lies to its right"
		done
	done
	left="$left $room"
done
for file in $(find $r -maxdepth 1 -name '*.rs'); do
	room=$(basename "$file" .rs)
	case " main $order " in *" $room "*) ;; *) breach "$file has no place in the order" ;; esac
done

# The crates depend one way.
grep -qE '^mcrec( |=|\.)' mcanalyze/Cargo.toml && breach "mcanalyze depends on mcrec"
sed '/dev-dependencies/,$d' mcreplay/Cargo.toml | grep -qE '^(mcrec|mcanalyze)( |=|\.)' &&
	breach "mcreplay depends on mcrec or mcanalyze"
grep -qE '^mcrec-(protocol|analyze)|^mcrec( |=)' capture/Cargo.toml && breach "capture depends on what it serves"
grep -qE '^mcrec' protocol/Cargo.toml && breach "protocol depends on something of ours"
for file in $(grep -L 'forbid(unsafe_code)' schema/src/lib.rs protocol/src/lib.rs $a/main.rs $p/main.rs); do
	breach "$file does not forbid unsafe code"
done

# Files that have grown too large to be one room.
for file in $(git ls-files '*.rs' '*.c' '*.h' '*.sh' '*.py'); do
	lines=$(wc -l <"$file")
	[ "$lines" -le 600 ] || breach "$file has $lines lines"
done

# The BPF programs compile without a warning, for each architecture they know.
headers=$(cargo metadata --format-version 1 --locked 2>/dev/null |
	grep -o '"manifest_path":"[^"]*/libbpf-sys-[^"]*"' | head -1 |
	sed 's/.*:"\(.*\)\/Cargo.toml"/\1/')
include=$(mktemp -d)
trap 'rm -rf "$include"' EXIT
ln -s "$headers/libbpf/src" "$include/bpf"
for architecture in x86 arm64; do
	for source in bpf/*.bpf.c; do
		clang -target bpf -D__TARGET_ARCH_$architecture -O2 -g -Wall -Wextra -Werror \
			-Wno-unused-parameter -mcpu=v3 -isystem "$include" -Ibpf \
			-idirafter "/usr/include/$(uname -m)-linux-gnu" \
			-c "$source" -o "$include/source.o" || breach "$source for $architecture"
	done
done

exit $status
