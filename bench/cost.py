#!/usr/bin/env python3
"""What recording costs the server, beside the other ways to look at it.

    bench/cost.py TARGET [ROUNDS] [SECONDS] [LOAD...]

TARGET is cargo's target folder, after `make memcached` and
`cargo build --release --bin mcrec --example storm`. Needs root. README.md says how to read
what it prints.
"""

import pathlib
import sys
import time

from machine import Memcached, cpu, many_files, median
from peers import Unavailable, here

TARGET = pathlib.Path(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
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


def measure(way, threads, load):
    with Memcached(TARGET, threads=threads, arguments=["-m", "1024", "-c", "2000"]) as memcached:
        memcached.fill(**load)
        way.begin(memcached)
        before = cpu(memcached.pid)
        storm = memcached.storm(**load, seconds=SECONDS)
        operations, seconds, p50, p99 = (float(word) for word in storm.stdout.read().split())
        assert storm.wait() == 0
        server = cpu(memcached.pid) - before
        own, lost = way.end()
        each = 1e6 / operations
        return {
            "server": server * each,
            "own": own * each,
            "rate": operations / seconds,
            "p50": p50 / 1000,
            "p99": p99 / 1000,
            "bytes": getattr(way, "bytes_each", None) or getattr(way, "bytes", 0) / operations or None,
            "lost": lost,
        }


def table(name, results):
    print(f"\n{name}\n{'':17}{'server':>8}{'added':>7}{'times':>7}{'from':>6}{'to':>6}{'own':>7}"
          f"{'op/s':>9}{'p50':>8}{'p99':>8}{'B/op':>7}  lost in the last round")
    base = results["nothing"]
    for way, rounds in results.items():
        of = lambda what: median(one[what] for one in rounds)
        added = median(one["server"] - other["server"] for one, other in zip(rounds, base))
        times = sorted(one["server"] / other["server"] for one, other in zip(rounds, base))
        size = "" if of("bytes") is None else f"{of('bytes'):.1f}"
        print(f"{way:17}{of('server'):8.2f}{added:7.2f}{median(times):7.2f}{times[0]:6.2f}{times[-1]:6.2f}"
              f"{of('own'):7.2f}{of('rate'):9.0f}{of('p50'):8.0f}{of('p99'):8.0f}{size:>7}  {rounds[-1]['lost']}")


def main():
    many_files()
    ways = here()
    begun = time.monotonic()
    for name in sys.argv[4:] or LOADS:
        results = {way.name: [] for way in ways}
        for _ in range(ROUNDS):
            for way in list(ways):
                try:
                    results[way.name].append(measure(way, *LOADS[name]))
                except Unavailable as reason:
                    print(f"{way.name} is left out: {reason}")
                    ways.remove(way)
                    del results[way.name]
        table(name, results)
    print(f"\n{ROUNDS} rounds of {SECONDS} s each, {time.monotonic() - begun:.0f} s in all")


main()
