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

from machine import Memcached, Recorder, Storm, apart, many_files, median

TARGET = pathlib.Path(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
MINUTES = int(sys.argv[4]) if len(sys.argv) > 4 else 5
# As few bytes to a value as let ten million be stored.
LOAD = {"value": 20, "keys": 1000, "connections": 16}
CONNECTIONS = [16, 1, 1000, 10_000]
KEYS = [1000, 100_000, 10_000_000]
ARGUMENTS = ["-m", "4096", "-c", "12000"]


def measure(memcached, storm):
    """The server without a recorder, just before and just after it has one, and with it."""
    before = storm.watch(SECONDS)
    recorder = Recorder(memcached)
    recorded = storm.watch(SECONDS, recorder.spent)
    recorder.stop()
    recorder.path.unlink()
    after = storm.watch(SECONDS)
    without = (before["server"] + after["server"]) / 2
    return without, recorded["server"], recorded["own"], recorder


def compare(name, sizes):
    print(f"\n{name:>12}{'server':>9}{'recorded':>10}{'mcrec':>8}{'memory':>10}{'added':>8}{'against':>9}"
          f"{'mcrec against':>15}  lost")
    first = None
    for size in sizes:
        load = LOAD | {name: size}
        with Memcached(TARGET, arguments=ARGUMENTS, cpus=apart(1)) as memcached:
            memcached.fill(**load)
            with Storm(memcached, **load) as storm:
                rounds = [measure(memcached, storm) for _ in range(ROUNDS)]
        server, recorded, own = (median(one[at] for one in rounds) for at in range(3))
        # Each beside its neighbours in time.
        added = median(recorded - server + own for server, recorded, own, _ in rounds)
        first = first or (added, own)
        last = rounds[-1][3]
        print(f"{size:12}{server:9.2f}{recorded:10.2f}{own:8.2f}{last.memory:6.0f} MiB{added:8.2f}"
              f"{added / first[0]:9.2f}{own / first[1]:15.2f}  {last.line('lost')}")


def over_time():
    """Its cost in each minute, and whether anything is lost."""
    with Memcached(TARGET, arguments=ARGUMENTS, cpus=apart(1)) as memcached:
        load = LOAD | {"keys": 1_000_000}
        memcached.fill(**load)
        recorder = Recorder(memcached)
        with Storm(memcached, **load) as storm:
            minutes = [storm.watch(60, recorder.spent) for _ in range(MINUTES)]
        recorder.stop()
    print(f"\n{'minute':>12}{'recorded':>10}{'mcrec':>8}{'op/s':>10}")
    for number, minute in enumerate(minutes, 1):
        print(f"{number:12}{minute['server']:10.2f}{minute['own']:8.2f}{minute['rate']:10.0f}")
    last, first = (minute["server"] + minute["own"] for minute in (minutes[-1], minutes[0]))
    print(f"last against first: {last / first:.2f}; {recorder.line('file')}; "
          f"lost {recorder.line('lost')}; {recorder.memory:.0f} MiB")


def main():
    many_files()
    print("µs of CPU an operation, medians")
    compare("connections", CONNECTIONS)
    compare("keys", KEYS)
    over_time()


main()
