#!/usr/bin/env python3
"""Whether recording costs more with more connections, more keys, or as it goes on.

    bench/growth.py TARGET [ROUNDS] [SECONDS] [MINUTES]

TARGET as for cost.py. Needs root. For each size it prints what an operation took the
server without and with mcrec, what mcrec took itself, and its memory; the last column is
what recording added, server and mcrec together, against the first size. The length of
a capture is tried with one of MINUTES: its first minute against its last.
"""

import pathlib
import sys
import time

from machine import Memcached, Recorder, cpu, many_files, median

TARGET = pathlib.Path(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
MINUTES = int(sys.argv[4]) if len(sys.argv) > 4 else 5
# As few bytes to a value as let ten million be stored.
LOAD = {"value": 20, "keys": 1000, "connections": 16, "threads": 2}
CONNECTIONS = [16, 1, 1000, 10_000]
KEYS = [1000, 100_000, 10_000_000]
ARGUMENTS = ["-m", "4096", "-c", "12000"]


def measure(load, recorded):
    with Memcached(TARGET, threads=2, arguments=ARGUMENTS) as memcached:
        memcached.fill(**load)
        recorder = Recorder(memcached) if recorded else None
        before = cpu(memcached.pid)
        storm = memcached.storm(**load, seconds=SECONDS)
        operations = float(storm.stdout.read().split()[0])
        assert storm.wait() == 0
        server = cpu(memcached.pid) - before
        if recorder:
            recorder.stop()
        each = 1e6 / operations
        return server * each, recorder.own * each if recorder else 0.0, recorder


def compare(name, sizes):
    print(f"\n{name:>12}{'server':>9}{'recorded':>10}{'mcrec':>8}{'memory':>10}{'added':>8}{'against':>9}  lost")
    first = None
    for size in sizes:
        load = LOAD | {name: size}
        load["threads"] = min(load["threads"], load["connections"])
        rounds = [(measure(load, False), measure(load, True)) for _ in range(ROUNDS)]
        server = median(plain[0] for plain, _ in rounds)
        recorded = median(seen[0] for _, seen in rounds)
        own = median(seen[1] for _, seen in rounds)
        # Each beside its neighbour in time.
        added = median(seen[0] - plain[0] + seen[1] for plain, seen in rounds)
        first = first or added
        last = rounds[-1][1][2]
        print(f"{size:12}{server:9.2f}{recorded:10.2f}{own:8.2f}{last.memory:6.0f} MiB{added:8.2f}"
              f"{added / first:9.2f}  {last.line('lost')}")


def over_time():
    with Memcached(TARGET, threads=2, arguments=ARGUMENTS) as memcached:
        load = LOAD | {"keys": 1_000_000}
        memcached.fill(**load)
        recorder = Recorder(memcached)
        storm = memcached.storm(**load, seconds=60 * MINUTES + 2)
        minutes = []
        for _ in range(MINUTES):
            before = cpu(memcached.pid), cpu(recorder.process.pid), memcached.operations()
            time.sleep(60)
            after = cpu(memcached.pid), cpu(recorder.process.pid), memcached.operations()
            each = 1e6 / (after[2] - before[2])
            minutes.append(((after[0] - before[0]) * each, (after[1] - before[1]) * each))
        storm.communicate()
        recorder.stop()
    print(f"\n{'minute':>12}{'recorded':>10}{'mcrec':>8}")
    for number, (server, own) in enumerate(minutes, 1):
        print(f"{number:12}{server:10.2f}{own:8.2f}")
    print(f"last against first: {sum(minutes[-1]) / sum(minutes[0]):.2f}; {recorder.line('file')}; "
          f"lost {recorder.line('lost')}; {recorder.memory:.0f} MiB")


def main():
    many_files()
    print("µs of CPU an operation, medians")
    compare("connections", CONNECTIONS)
    compare("keys", KEYS)
    over_time()


main()
