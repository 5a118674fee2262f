#!/usr/bin/env python3
"""What recording costs the server, beside the other ways to look at it.

    bench/cost.py TARGET [ROUNDS] [SECONDS] [LOAD...]

TARGET is cargo's target folder, after `make memcached` and `cargo build --release --bin
mcrec --example storm --example empty`. Needs root. README.md says how to read what it
prints.
"""

import pathlib
import sys
import time

from machine import Memcached, Storm, apart, many_files, median
from peers import Nothing, Unavailable, here

TARGET = pathlib.Path(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 1.5
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


def measure(way, memcached, storm):
    storm.look()
    way.begin(memcached)
    time.sleep(SETTLE)
    seen = storm.watch(SECONDS, way.spent)
    size, memory, lost = way.end()
    operations = seen["operations"] + storm.look()[0]
    return seen | {"bytes": size and size / operations, "memory": memory, "lost": lost}


def compare(name, ways):
    """Of each way, in each round: what was seen, and the server's cost without it, of just
    before and just after."""
    threads, load = LOADS[name]
    results = {way.name: [] for way in ways}
    arguments = ["-m", "1024", "-c", "2000"]
    with Memcached(TARGET, threads=threads, arguments=arguments, cpus=apart(threads)) as memcached:
        memcached.fill(**load)
        with Storm(memcached, **load) as storm:
            before = measure(Nothing(), memcached, storm)
            results["nothing"] = [before]
            for _ in range(ROUNDS):
                for way in list(ways):
                    try:
                        seen = measure(way, memcached, storm)
                    except Unavailable as reason:
                        print(f"{way.name} is left out: {reason}")
                        ways.remove(way)
                        del results[way.name]
                        continue
                    after = measure(Nothing(), memcached, storm)
                    seen["without"] = (before["server"] + after["server"]) / 2
                    results[way.name].append(seen)
                    results["nothing"].append(after)
                    before = after
    return results


def table(name, results):
    print(f"\n{name}\n{'':19}{'server':>8}{'added':>7}{'from':>7}{'to':>7}{'times':>7}{'own':>7}"
          f"{'op/s':>9}{'p50':>8}{'p99':>8}{'B/op':>7}{'MiB':>6}  lost, in the last round")
    for way in ["nothing", *(way for way in results if way != "nothing")]:
        rounds = results[way]
        of = lambda what: median(one[what] for one in rounds)
        number = lambda what, digits: "" if of(what) is None else f"{of(what):.{digits}f}"
        if way == "nothing":
            added, times = sorted(one["server"] - of("server") for one in rounds), [1.0]
        else:
            added = sorted(one["server"] - one["without"] for one in rounds)
            times = [one["server"] / one["without"] for one in rounds]
        print(f"{way:19}{of('server'):8.2f}{median(added):7.2f}{added[0]:7.2f}{added[-1]:7.2f}{median(times):7.2f}"
              f"{of('own'):7.2f}{of('rate'):9.0f}{of('p50'):8.0f}{of('p99'):8.0f}{number('bytes', 1):>7}"
              f"{number('memory', 0):>6}  {rounds[-1]['lost']}")
    targets({way: median(one["server"] - one.get("without", 0) for one in results[way]) for way in results})


def targets(added):
    """What one way adds for each of what another adds, where that can be told."""
    pairs = [("mcrec, usdt", "empty, probes"), ("arguments, probes", "empty, probes"),
             ("mcrec, usdt", "bpftrace by key"),
             ("mcrec, usdt", "bpftrace, 2 probes"), ("mcrec, syscalls", "empty, sockets"),
             ("mcrec, syscalls", "tcpdump -w"), ("mcrec, syscalls", "tcpdump -s 256"),
             ("mcrec, syscalls", "watch")]
    for one, other in pairs:
        if one in added and other in added:
            # A twentieth of what the server takes is lost in the noise.
            ratio = f"{added[one] / added[other]:.2f}" if added[other] > added["nothing"] / 20 else "not to be told"
            print(f"  {one} adds {ratio} of what {other} adds")


def main():
    many_files()
    ways = here()
    begun = time.monotonic()
    for name in sys.argv[4:] or LOADS:
        table(name, compare(name, ways))
    print(f"\n{ROUNDS} rounds of {SECONDS} s each, {time.monotonic() - begun:.0f} s in all")


main()
