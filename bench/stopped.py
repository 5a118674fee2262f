#!/usr/bin/env python3
"""What a recorder that stands still costs the server.

    bench/stopped.py TARGET [ROUNDS] [SECONDS]

TARGET is cargo's target folder, as for cost.py, and with the example `load`. Needs root.

A memcached under load, recorded; the recorder is stopped (SIGSTOP) for a while, so
that nobody empties the ring, and continued. Each round prints how many operations a
second the server did before, meanwhile and after, by its own statistics; the ratios
of a round are what to quote. At the end: what was lost, and whether rows and losses
add up to what the server did.
"""

import pathlib
import signal
import statistics
import subprocess
import sys
import time

from machine import Memcached, Recorder

TARGET = pathlib.Path(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 10
CONNECTIONS = 8


def rate(memcached):
    before, start = memcached.operations(), time.monotonic()
    time.sleep(SECONDS)
    return (memcached.operations() - before) / (time.monotonic() - start)


def one_round():
    with Memcached(TARGET, "debian-1.6.18", threads=4, arguments=["-m", "256"]) as memcached:
        recorder = Recorder(memcached)
        command = [TARGET / "release/examples/load", f"127.0.0.1:{memcached.port}"]
        command += [str(3 * SECONDS + 4), str(CONNECTIONS)]
        load = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(1)
        rates = [rate(memcached)]
        recorder.process.send_signal(signal.SIGSTOP)
        rates.append(rate(memcached))
        recorder.process.send_signal(signal.SIGCONT)
        rates.append(rate(memcached))
        load.wait()
        did = memcached.operations()
        recorder.stop()
    return rates, did, recorder.operations(), recorder.line("lost")


def main():
    print(f"{'before/s':>10}{'stopped/s':>11}{'after/s':>10}{'stopped/before':>16}")
    ratios = []
    for _ in range(ROUNDS):
        (before, stopped, after), did, recorded, lost = one_round()
        ratios.append(stopped / before)
        print(f"{before:10.0f}{stopped:11.0f}{after:10.0f}{stopped / before:16.2f}  "
              f"server did {did}, recorded {recorded}, lost {lost}")
    print(f"median ratio {statistics.median(ratios):.2f}")


main()
