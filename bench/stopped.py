#!/usr/bin/env python3
"""What a recorder that stands still costs the server.

    bench/stopped.py TARGET [ROUNDS] [SECONDS]

TARGET is cargo's target folder, as for cost.py. Needs root.

A memcached under load, recorded; the recorder is stopped (SIGSTOP) for a while, so
that nobody empties the ring, and continued. Each round prints how many operations a
second the server did before, meanwhile and after, by its own statistics; the ratios
of a round are what to quote. At the end: what was lost, and whether rows and losses
add up to what the server did.
"""

import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TARGET = pathlib.Path(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 10
CONNECTIONS = 8


def stats(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"stats\r\n")
        text = b""
        while not text.endswith(b"END\r\n"):
            text += connection.recv(65536)
    values = dict(re.findall(r"STAT (\w+) (\d+)\r", text.decode()))
    return sum(int(values[name]) for name in ["cmd_get", "cmd_set", "delete_hits", "delete_misses"])


def rate(port):
    before, start = stats(port), time.monotonic()
    time.sleep(SECONDS)
    return (stats(port) - before) / (time.monotonic() - start)


def one_round(folder):
    port_file = folder / "port"
    memcached = subprocess.Popen(
        [TARGET / "memcached/memcached-debian-1.6.18", "-u", "root", "-l", "127.0.0.1", "-p", "-1",
         "-m", "256"],
        env=os.environ | {"MEMCACHED_PORT_FILENAME": str(port_file)},
    )
    while not port_file.exists() or "\n" not in port_file.read_text():
        time.sleep(0.01)
    port = int(re.search(r"TCP INET: (\d+)", port_file.read_text())[1])
    recorder = subprocess.Popen(
        [TARGET / "release/mcrec", "-p", str(memcached.pid), "-o", folder / "c.parquet"],
        stderr=subprocess.PIPE, text=True,
    )
    while "recording" not in recorder.stderr.readline():
        pass
    load = subprocess.Popen(
        [TARGET / "release/examples/load", f"127.0.0.1:{port}", str(3 * SECONDS + 4),
         str(CONNECTIONS)],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1)
    rates = [rate(port)]
    recorder.send_signal(signal.SIGSTOP)
    rates.append(rate(port))
    recorder.send_signal(signal.SIGCONT)
    rates.append(rate(port))
    load.wait()
    did = stats(port)
    recorder.send_signal(signal.SIGINT)
    said = recorder.stderr.read()
    recorder.wait()
    memcached.kill()
    memcached.wait()
    recorded = int(re.search(r"recorded +([\d,]+)", said)[1].replace(",", ""))
    return rates, did, recorded, re.search(r"lost +(.*)", said)[1]


def main():
    print(f"{'before/s':>10}{'stopped/s':>11}{'after/s':>10}{'stopped/before':>16}")
    ratios = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            (before, stopped, after), did, recorded, lost = one_round(pathlib.Path(folder))
        ratios.append(stopped / before)
        print(f"{before:10.0f}{stopped:11.0f}{after:10.0f}{stopped / before:16.2f}  "
              f"server did {did}, recorded {recorded}, lost {lost}")
    print(f"median ratio {statistics.median(ratios):.2f}")


main()
