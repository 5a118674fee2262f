#!/usr/bin/env python3
"""What recording costs the server, beside the other ways to look at it.

    bench/cost.py [--before MCREC] TARGET [ROUNDS] [SECONDS] [LOAD...]

TARGET is cargo's target folder, after `make memcached` and `cargo build --release --bin
mcrec --example storm --example empty`. Needs root. README.md says how to read what it
prints.
"""

import math
import statistics
import time
from pathlib import Path

from machine import Idle, Memcached, Storm, apart, median
from peers import Nothing, Unavailable, builds, here
from script import need, need_files, no_process_left, parser, run, seconds, whole

SETTLE = 0.3
SMALL = {"keys": 100_000, "value": 100}
# Threads of the server, and the load.
LOADS = {
    "plain": (1, SMALL | {"connections": 16}),
    "pipelined": (1, SMALL | {"connections": 16, "pipeline": 16}),
    "4 workers": (4, SMALL | {"connections": 16, "threads": 2}),
    "4 workers, pipelined": (4, SMALL | {"connections": 16, "pipeline": 16, "threads": 2}),
    "10 KiB values": (1, {"keys": 20_000, "value": 10_240, "connections": 16}),
    "1000 connections": (1, SMALL | {"connections": 1000}),
}
PAIRS = [
    ("mcrec, usdt", "empty, probes"),
    ("arguments, probes", "empty, probes"),
    ("mcrec, usdt", "bpftrace by key"),
    ("mcrec, usdt", "bpftrace, 2 probes"),
    ("mcrec, syscalls", "empty, sockets"),
    ("mcrec, syscalls", "tcpdump -w"),
    ("mcrec, syscalls", "tcpdump -s 256"),
    ("mcrec, syscalls", "watch"),
    ("mcrec, syscalls", "before, syscalls"),
    ("mcrec, usdt", "before, usdt"),
    ("mcrec, syscalls, raw-tracepoints", "mcrec, syscalls"),
    ("mcrec, syscalls, atomics", "mcrec, syscalls"),
    ("mcrec, syscalls, sockets", "mcrec, syscalls"),
    ("mcrec, usdt, atomics", "mcrec, usdt"),
]


def asked():
    arguments = parser(__doc__)
    arguments.add_argument("rounds", metavar="ROUNDS", nargs="?", type=whole(), default=5,
                           help="in which all ways take turns: 5, if not given")
    arguments.add_argument("seconds", metavar="SECONDS", nargs="?", type=seconds, default=1.5,
                           help="that each is measured for: 1.5, if not given")
    arguments.add_argument("loads", metavar="LOAD", nargs="*", default=[],
                           help=f"those of {', '.join(map(repr, LOADS))}: all, if not given")
    arguments.add_argument("--before", metavar="MCREC", type=Path, help="another build of mcrec: only "
                           "that is compared with the one in TARGET, and what either does on kernels "
                           "that lack something")
    asked = arguments.parse_args()
    for name in asked.loads:
        if name not in LOADS:
            arguments.error(f"there is no load {name!r}, but {', '.join(map(repr, LOADS))}")
    asked.loads = asked.loads or list(LOADS)
    return asked


def measure(way, memcached, storm, seconds):
    with no_process_left():
        way.begin(memcached)
        # What the load does from here on is what the way sees.
        storm.look()
        time.sleep(SETTLE)
        try:
            seen = storm.watch(seconds, way.spent)
        finally:
            left = way.end()
    size = left.bytes and left.bytes / (left.operations or seen["operations"])
    return seen | {"bytes": size, "memory": left.memory, "left": left}


def compare(asked, name, ways):
    """Of each way, in each round: what was seen, and the server's cost without it, of just
    before and just after."""
    threads, load = LOADS[name]
    results = {"nothing": []} | {way.name: [] for way in ways}
    alone = lambda: measure(Nothing(), memcached, storm, asked.seconds)
    server = Memcached(asked.target, threads=threads, connections=load["connections"],
                       arguments=["-m", "1024"], cpus=apart(threads))
    with server as memcached:
        memcached.fill(**load)
        with Storm(memcached, **load) as storm:
            results["nothing"].append(alone())
            for number in range(1, asked.rounds + 1):
                for way in list(ways):
                    try:
                        seen, after = measure(way, memcached, storm, asked.seconds), alone()
                    except Idle as reason:
                        print(f"{name}: round {number} of {way.name} is left out: {reason}")
                        continue
                    except Unavailable as reason:
                        print(f"{way.name} is left out: {reason}")
                        ways.remove(way)
                        del results[way.name]
                        continue
                    seen["without"] = (results["nothing"][-1]["server"] + after["server"]) / 2
                    results[way.name].append(seen)
                    results["nothing"].append(after)
    return {way: rounds for way, rounds in results.items() if rounds}


def table(name, results):
    width = max(map(len, [*results, " " * 18])) + 1
    print(f"\n{name}\n{'':{width}}{'server':>8}{'added':>7}{'from':>7}{'to':>7}{'times':>7}{'own':>7}"
          f"{'op/s':>9}{'p50':>8}{'p99':>8}{'B/op':>9}{'MiB':>6}  lost, in all rounds")
    for way, rounds in results.items():
        of = lambda what: median(one[what] for one in rounds)
        number = lambda what, digits: "" if of(what) is None else f"{of(what):.{digits}f}"
        if way == "nothing":
            added, times = sorted(one["server"] - of("server") for one in rounds), [1.0]
        else:
            added, times = adds(rounds), [one["server"] / one["without"] for one in rounds]
        print(f"{way:{width}}{of('server'):8.2f}{median(added):7.2f}{added[0]:7.2f}{added[-1]:7.2f}{median(times):7.2f}"
              f"{of('own'):7.2f}{of('rate'):9.0f}{of('p50'):8.0f}{of('p99'):8.0f}{number('bytes', 1):>9}"
              f"{number('memory', 0):>6}  {lost([one['left'] for one in rounds])}")


def adds(rounds):
    return sorted(one["server"] - one["without"] for one in rounds)


def lost(lefts):
    """What a way lost in all its rounds, and the most that waited on its ring in any."""
    lost, of = sum(left.lost for left in lefts), sum(left.of for left in lefts)
    waited = [left.waited for left in lefts if left.waited is not None]
    said = [f"{lost} of {of} {lefts[0].unit}"] if lost else []
    said += [f"(at most {max(waited) / 2**20:.1f} MiB waited on the ring)"] if waited else []
    return " ".join(said)


def ratios(results):
    """What one way adds for each of what another adds, where that can be told."""
    for one, other in PAIRS:
        if one not in results or other not in results:
            continue
        both = [adds(results[one]), adds(results[other])]
        rounds = min(map(len, both))
        noise = error([one["server"] for one in results["nothing"]], rounds)
        (low, middle, high), (other_low, other_middle, other_high) = map(quartiles, both)
        if min(low, other_low) > 0 and other_middle > 2 * noise:
            ratio = f"{middle / other_middle:.2f} of what {other} adds"
        else:
            ratio = (f"{low:.2f} to {high:.2f} µs, {other} {other_low:.2f} to {other_high:.2f} µs: "
                     "the ratio is not to be told")
        print(f"  {one} adds {ratio}")


def error(alone, rounds):
    """The standard error of a median of so many differences, each of one measurement and the
    mean of two, as the spread of the server alone has it, were it of a normal distribution."""
    low, _, high = quartiles(alone)
    return 1.253 * math.sqrt(1.5) * (high - low) / 1.349 / math.sqrt(rounds)


def quartiles(numbers):
    return statistics.quantiles(numbers, n=4, method="inclusive") if len(numbers) > 1 else list(numbers) * 3


def main():
    asking = asked()
    need(asking.target, ["mcrec"], ["storm", "empty"], ["1.6.18"])
    need_files(max(LOADS[name][1]["connections"] for name in asking.loads))
    ways = builds(asking.before) if asking.before else here()
    begun = time.monotonic()
    for name in asking.loads:
        try:
            results = compare(asking, name, ways)
        except Idle as reason:
            print(f"{name} is left out: {reason}")
            continue
        table(name, results)
        ratios(results)
    print(f"\n{asking.rounds} rounds of {asking.seconds} s each, {time.monotonic() - begun:.0f} s in all")


run(main)
