#!/usr/bin/env python3
"""The latency that mcrec records, beside the one that a client measures.

    bench/latency.py TARGET PYTHON [REQUESTS]

TARGET is cargo's target folder, as for cost.py; PYTHON one with pyarrow. Needs root.

One idle connection, one get of a missing key at a time, recorded through system calls and
through probes at once, so that both see the same requests. What the network and the wake-ups
take is measured before that, with a server on the same machine that only echoes: client less
network is what a recorder ought to say, but for the echo server's own work, and for what the
two recorders cost, which are attached to memcached only. Where processes run is left to the
scheduler.
"""

import contextlib
import multiprocessing
import select
import signal
import socket
import statistics
import time

from machine import Memcached, Recorder
from script import ENDING, CannotRun, need, need_modules, output, parser, run, whole

READ = """
import sys, pyarrow.parquet as parquet
rows = parquet.read_table(sys.argv[1], columns=["op", "latency_ns"]).to_pylist()
print(*(row["latency_ns"] for row in rows if row["op"] == "get" and row["latency_ns"] is not None))
"""


def asked():
    arguments = parser(__doc__)
    arguments.add_argument("python", metavar="PYTHON", help="an interpreter that has pyarrow")
    arguments.add_argument("requests", metavar="REQUESTS", nargs="?", type=whole(), default=3000,
                           help="3000, if not given")
    return arguments.parse_args()


def round_trips(port, requests):
    times = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(requests):
            start = time.perf_counter_ns()
            connection.sendall(b"get a\r\n")
            if not connection.recv(4096):
                raise CannotRun("the server closed the connection")
            times.append(time.perf_counter_ns() - start)
            time.sleep(0.0005)  # idle: the server sleeps between requests
    return times


def echo(listener):
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    connection, _ = listener.accept()
    poll = select.epoll()
    poll.register(connection, select.EPOLLIN)
    while True:
        poll.poll()
        data = connection.recv(16384)
        if not data:
            return
        connection.send(data)


def through_network(requests):
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as started:
        server = multiprocessing.get_context("fork").Process(target=echo, args=[listener])
        server.start()
        started.callback(server.join)
        started.callback(server.kill)
        return round_trips(listener.getsockname()[1], requests)


def through_memcached(asked):
    """What the client measured, and what each source recorded."""
    recorded = {}
    with Memcached(asked.target, threads=4) as memcached:
        recorders = [
            Recorder(memcached, "--source", source, name=source) for source in ("syscalls", "usdt")
        ]
        client = round_trips(memcached.port, asked.requests)
        for recorder in recorders:
            path = recorder.stop().path
            recorded[path.name] = [int(number) for number in output([asked.python, "-c", READ, path]).split()]
            if not recorded[path.name]:
                raise CannotRun(f"nothing was recorded through {path.name}")
    return client, recorded


def line(name, times):
    times = sorted(times)
    at = [times[int(len(times) * part)] / 1000 for part in (0.5, 0.9, 0.99)]
    print(f"{name:40}{at[0]:8.1f}{at[1]:8.1f}{at[2]:8.1f}")


def main():
    asking = asked()
    need(asking.target, ["mcrec"], servers=["1.6.18"])
    need_modules(asking.python, "pyarrow")
    network = through_network(asking.requests)
    client, recorded = through_memcached(asking)
    print(f"{'µs':40}{'p50':>8}{'p90':>8}{'p99':>8}")
    line("client: round trip to memcached", client)
    line("client: round trip to the echo server", network)
    line("mcrec, syscalls: read to end of send", recorded["syscalls"])
    line("mcrec, usdt: start to end of command", recorded["usdt"])
    rest = statistics.median(client) - statistics.median(network)
    off = statistics.median(recorded["syscalls"]) - rest
    print(f"\nmedians: client less network {rest / 1000:.1f} µs; syscalls differs by {off / 1000:+.1f} µs")


run(main)
