#!/usr/bin/env python3
"""What a recorder that stands still costs the server.

    bench/stopped.py TARGET [ROUNDS] [SECONDS] [--source SOURCE]

TARGET as for cost.py. Needs root.

A memcached under load, recorded through a ring of 4 MiB, which is soon full; the recorder is
stopped (SIGSTOP) for a while, so that nobody empties the ring, and continued. Each round
prints how many operations a second the server did before, meanwhile and after, by its own
statistics; the ratios of a round are what to quote. `meanwhile` begins two seconds after
the stop, and everything in it has to be lost, or the ring was not full. At the end of a
round: what was recorded and what was lost, against what the server did. Each record that is
lost was of one operation or more, and with one operation to a read, as here, of one: so the two
add up to what the server did, and what they differ by is printed. The script's own requests
for statistics, which one of the sources records, are left out.
"""

import signal
import statistics
import time

from machine import Idle, Memcached, Recorder, Storm
from script import need, parser, run, seconds, whole, with_source

LOAD = {"keys": 50_000, "value": 100, "connections": 8, "threads": 8}
RING = "4MiB"
# Until the ring is full.
FILLS = 2


def asked():
    arguments = parser(__doc__)
    arguments.add_argument("rounds", metavar="ROUNDS", nargs="?", type=whole(), default=3, help="3, if not given")
    arguments.add_argument("seconds", metavar="SECONDS", nargs="?", type=seconds, default=10,
                           help="before, meanwhile and after: 10, if not given")
    with_source(arguments)
    return arguments.parse_args()


def operations(memcached, seconds):
    """What the server does in so long, and in a second."""
    before, start = memcached.operations(), time.monotonic()
    time.sleep(seconds)
    did = memcached.operations() - before
    if not did:
        raise Idle(f"no operation in {seconds} s")
    return did, did / (time.monotonic() - start)


def stop_and_go(memcached, recorder, seconds):
    """What it does before, meanwhile and after."""
    before = operations(memcached, seconds)
    recorder.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(FILLS)
        meanwhile = operations(memcached, seconds)
    finally:
        recorder.process.send_signal(signal.SIGCONT)
    return before, meanwhile, operations(memcached, seconds)


def one_round(asked):
    """What was seen, and of all operations between the beginning and the end of the recording:
    what the server did, what was recorded, and what was lost."""
    with Memcached(asked.target, "debian-1.6.18" if asked.source == "syscalls" else "1.6.18", threads=4,
                   connections=LOAD["connections"], arguments=["-m", "256"]) as memcached:
        memcached.fill(**LOAD)
        had = memcached.operations()
        recorder = Recorder(memcached, "--source", asked.source, "--buffer-size", RING)
        asked_before = memcached.asked
        with Storm(memcached, **LOAD):
            time.sleep(1)
            phases = stop_and_go(memcached, recorder, asked.seconds)
        own = memcached.asked - asked_before if asked.source == "syscalls" else 0
        recorder.stop()
        return phases, memcached.operations() - had, recorder.operations() - own, recorder.lost()


def main():
    asking = asked()
    need(asking.target, ["mcrec"], ["storm"], ["debian-1.6.18", "1.6.18"])
    print(f"recorded through {asking.source}, operations a second")
    print(f"{'before':>10}{'meanwhile':>11}{'after':>10}{'meanwhile/before':>18}")
    ratios = []
    for _ in range(asking.rounds):
        try:
            ((_, before), (missed, meanwhile), (_, after)), did, recorded, lost = one_round(asking)
        except Idle as reason:
            print(f"left out: {reason}")
            continue
        full = "" if lost >= missed else "; the ring was not full all the while"
        ratios.append(meanwhile / before)
        print(f"{before:10.0f}{meanwhile:11.0f}{after:10.0f}{meanwhile / before:18.2f}  server did {did}, "
              f"recorded {recorded}, lost {lost}, difference {did - recorded - lost}{full}")
    if ratios:
        print(f"median ratio {statistics.median(ratios):.2f}")


run(main)
