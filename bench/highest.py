#!/usr/bin/env python3
"""Whether anything is lost at the highest rate that a memcached reaches here.

    bench/highest.py TARGET [RUNS] [SECONDS]

TARGET as for cost.py. Needs root. Each run records a memcached for so long through both
sources in turn, with the ring as large as it is by default, under as much load as this
machine can put on it: pipelined gets and sets of small values.
"""

import pathlib
import sys

from machine import Memcached, Recorder, Storm, many_files

TARGET = pathlib.Path(sys.argv[1])
RUNS = int(sys.argv[2]) if len(sys.argv) > 2 else 10
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 60
LOAD = {"keys": 100_000, "value": 20, "connections": 16, "pipeline": 32, "threads": 2}


def main():
    many_files()
    print(f"{'run':>5}  {'source':10}{'op/s':>10}{'recorded':>12}{'ring':>10}  lost")
    for number in range(1, RUNS + 1):
        for source in ("syscalls", "usdt"):
            with Memcached(TARGET, threads=4, arguments=["-m", "1024"]) as memcached:
                memcached.fill(**LOAD)
                recorder = Recorder(memcached, "--source", source)
                with Storm(memcached, **LOAD) as storm:
                    seen = storm.watch(SECONDS)
                recorder.stop()
            print(f"{number:5}  {source:10}{seen['rate']:10.0f}{recorder.operations():12}{recorder.waited():>10}  "
                  f"{recorder.line('lost')}", flush=True)


main()
