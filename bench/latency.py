#!/usr/bin/env python3
"""The latency that mcrec records, beside the one that a client measures.

    bench/latency.py TARGET PYTHON [REQUESTS]

TARGET is cargo's target folder, as for cost.py; PYTHON one with pyarrow. Needs root.

One idle connection, one get at a time, recorded through system calls and through
probes at once, so that both see the same requests. What the network and the wake-ups
take is measured with a server on the same machine that only echoes: client less
network is what a recorder ought to say, but for the echo server's own work.
"""

import os
import pathlib
import select
import socket
import statistics
import subprocess
import sys
import time

from machine import Memcached, Recorder

TARGET = pathlib.Path(sys.argv[1])
PYTHON = sys.argv[2]
REQUESTS = int(sys.argv[3]) if len(sys.argv) > 3 else 3000
READ = """
import sys, pyarrow.parquet as parquet
rows = parquet.read_table(sys.argv[1], columns=["op", "latency_ns"]).to_pylist()
print(*(row["latency_ns"] for row in rows if row["op"] == "get"))
"""


def round_trips(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    for _ in range(REQUESTS):
        start = time.perf_counter_ns()
        connection.sendall(b"get a\r\n")
        connection.recv(4096)
        times.append(time.perf_counter_ns() - start)
        time.sleep(0.0005)  # idle: the server sleeps between requests
    connection.close()
    return times


def echo(listener):
    connection, _ = listener.accept()
    poll = select.epoll()
    poll.register(connection, select.EPOLLIN)
    while True:
        poll.poll()
        data = connection.recv(16384)
        if not data:
            os._exit(0)
        connection.send(data)


def line(name, times):
    times = sorted(times)
    at = [times[int(len(times) * part)] / 1000 for part in (0.5, 0.9, 0.99)]
    print(f"{name:40}{at[0]:8.1f}{at[1]:8.1f}{at[2]:8.1f}")


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        echo(listener)
    network = round_trips(listener.getsockname()[1])
    os.waitpid(child, 0)

    with Memcached(TARGET, threads=4) as memcached:
        recorders = [
            Recorder(memcached, "--source", source, name=source) for source in ("syscalls", "usdt")
        ]
        client = round_trips(memcached.port)
        recorded = {}
        for recorder in recorders:
            path = recorder.stop().path
            text = subprocess.run([PYTHON, "-c", READ, path], check=True, capture_output=True, text=True)
            recorded[path.name] = [int(number) for number in text.stdout.split()]

    print(f"{'µs':40}{'p50':>8}{'p90':>8}{'p99':>8}")
    line("client: round trip to memcached", client)
    line("client: round trip to the echo server", network)
    line("mcrec, syscalls: read to end of send", recorded["syscalls"])
    line("mcrec, usdt: start to end of command", recorded["usdt"])
    rest = statistics.median(client) - statistics.median(network)
    off = statistics.median(recorded["syscalls"]) - rest
    print(f"\nmedians: client less network {rest / 1000:.1f} µs; syscalls differs by {off / 1000:+.1f} µs")


main()
