#!/usr/bin/env python3
"""Whether anything is lost at the highest rate that a memcached reaches here.

    bench/highest.py TARGET [RUNS] [SECONDS]

TARGET as for cost.py. Needs root. Each run records a memcached for so long through both
sources in turn, with the ring as large as it is by default, under as much load as this
machine can put on it: pipelined gets and sets of small values, from threads for half of the
CPUs. `alone` is the rate just before, without a recorder, for a sixth of the time. The server's
own statistics, of before and after the recording, say what it did in all; `difference` is
what of that was neither recorded nor lost. It is below zero where the load ended with
requests that the server had read, and did not begin: system calls have them, without a
reply, at most one pipeline of each connection.
"""

import time

from machine import CPUS, Idle, Memcached, Recorder, Storm, losses
from script import need, parser, run, seconds, whole

THREADS = max(2, len(CPUS) // 2)
LOAD = {"keys": 100_000, "value": 20, "connections": 8 * THREADS, "pipeline": 32, "threads": THREADS}

# Until the server has done what it was sent.
SETTLE = 0.3


def asked():
    arguments = parser(__doc__)
    arguments.add_argument("runs", metavar="RUNS", nargs="?", type=whole(), default=10, help="10, if not given")
    arguments.add_argument("seconds", metavar="SECONDS", nargs="?", type=seconds, default=60,
                           help="that each is recorded for: 60, if not given")
    return arguments.parse_args()


def record(asked, source):
    """The rates without and with a recorder; and of the time with it what the server did, and
    the recorder."""
    with Memcached(asked.target, threads=max(4, THREADS), connections=LOAD["connections"],
                   arguments=["-m", "1024"]) as memcached:
        memcached.fill(**LOAD)
        with Storm(memcached, **LOAD) as storm:
            alone = storm.watch(asked.seconds / 6)
        time.sleep(SETTLE)
        had = memcached.operations()
        recorder = Recorder(memcached, "--source", source)
        with Storm(memcached, **LOAD) as storm:
            recorded = storm.watch(asked.seconds)
        time.sleep(SETTLE)
        recorder.stop()
        return alone["rate"], recorded["rate"], memcached.operations() - had, recorder


def main():
    asking = asked()
    need(asking.target, ["mcrec"], ["storm"], ["1.6.18"])
    print(f"{'run':>5}  {'source':10}{'alone/s':>10}{'op/s':>10}{'server did':>12}{'recorded':>12}"
          f"{'difference':>12}  lost")
    for number in range(1, asking.runs + 1):
        for source in ("syscalls", "usdt"):
            try:
                alone, rate, did, recorder = record(asking, source)
            except Idle as reason:
                print(f"{number:5}  {source:10} is left out: {reason}")
                continue
            recorded = recorder.operations()
            print(f"{number:5}  {source:10}{alone:10.0f}{rate:10.0f}{did:12}{recorded:12}"
                  f"{did - recorded - recorder.lost():12}  {losses([recorder])}")


run(main)
