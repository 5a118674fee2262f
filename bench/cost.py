#!/usr/bin/env python3
"""What recording costs the server: through system calls and through probes,
beside memcached's own `watch` and beside `tcpdump`.

    bench/cost.py TARGET [ROUNDS] [SECONDS]

TARGET is cargo's target folder, after `make memcached` and
`cargo build --release --bin mcrec --example load`. Needs root.

Each round starts a fresh memcached for each way, in turn, puts the same load on
it and takes the CPU time that the server itself used for an operation: from
/proc, so that whatever else the machine does counts for less. The ways of a
round are compared with each other; the medians of those ratios are what to
quote. `watch` and `tcpdump` lose entries and packets under load, and their losses
are printed. A way whose program is not here is left out by name.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TARGET = pathlib.Path(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 4
CONNECTIONS = 8


class Memcached:
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        port_file = pathlib.Path(self.folder.name, "port")
        self.process = subprocess.Popen(
            [TARGET / "memcached/memcached-1.6.18", "-u", "root", "-l", "127.0.0.1", "-p", "-1",
             "-t", "1"],
            env=os.environ | {"MEMCACHED_PORT_FILENAME": str(port_file)},
        )
        while not port_file.exists() or "\n" not in port_file.read_text():
            time.sleep(0.01)
        self.port = int(re.search(r"TCP INET: (\d+)", port_file.read_text())[1])
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def cpu(self):
        """CPU seconds of the server so far, user and system."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stats(self):
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"stats\r\n")
            text = b""
            while not text.endswith(b"END\r\n"):
                text += connection.recv(65536)
        return {name: int(value) for name, value in re.findall(r"STAT (\w+) (\d+)\r", text.decode())}


def operations(stats):
    return stats["cmd_get"] + stats["cmd_set"] + stats["delete_hits"] + stats["delete_misses"]


def nothing(memcached, load):
    load()
    return "", 0


def mcrec(source):
    def record(memcached, load):
        path = pathlib.Path(memcached.folder.name, "capture.parquet")
        command = [TARGET / "release/mcrec", "-p", str(memcached.process.pid), "-o", path]
        command += ["--source", source]
        recorder = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while "recording" not in recorder.stderr.readline():
            pass
        load()
        recorder.send_signal(signal.SIGINT)
        said = recorder.stderr.read()
        recorder.wait()
        own = float(re.search(r"mcrec ([\d.]+) s of CPU", said)[1])
        return re.search(r"lost +(.*)", said)[1], own

    return record


def tcpdump(memcached, load):
    path = pathlib.Path(memcached.folder.name, "capture.pcap")
    # As much of each packet as holds a request or the head of a reply.
    command = ["tcpdump", "-i", "lo", "-s", "256", "-B", "65536", "-w", path, "-Z", "root",
               "tcp", "port", str(memcached.port)]
    dumper = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while "listening on" not in dumper.stderr.readline():
        pass
    load()
    children = os.times().children_user + os.times().children_system
    dumper.send_signal(signal.SIGINT)
    said = dumper.stderr.read()
    dumper.wait()
    own = os.times().children_user + os.times().children_system - children
    dropped = int(re.search(r"(\d+) packets? dropped by kernel", said)[1])
    total = dropped + int(re.search(r"(\d+) packets? captured", said)[1])
    return f"{dropped} of {total} packets" if dropped else "nothing", own


def watch(memcached, load):
    watcher = socket.create_connection(("127.0.0.1", memcached.port))
    watcher.sendall(b"watch fetchers mutations\r\n")
    assert watcher.recv(4) == b"OK\r\n"
    lines = skipped = 0

    def drain():
        nonlocal lines, skipped
        while data := watcher.recv(1 << 20):
            lines += data.count(b"\n")
            skipped += sum(int(number) for number in re.findall(rb"skipped=(\d+)", data))

    reader = threading.Thread(target=drain)
    before = time.process_time()
    reader.start()
    load()
    own = time.process_time() - before
    watcher.shutdown(socket.SHUT_RDWR)
    reader.join()
    dropped = memcached.stats()["log_worker_dropped"]
    lost = skipped + dropped
    return f"{lost} of {lines + lost} entries" if lost else "nothing", own


def measure(way):
    with Memcached() as memcached:
        def load():
            command = [TARGET / "release/examples/load", f"127.0.0.1:{memcached.port}"]
            command += [str(SECONDS), str(CONNECTIONS)]
            before = memcached.cpu(), operations(memcached.stats())
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            load.cpu = memcached.cpu() - before[0]
            load.operations = operations(memcached.stats()) - before[1]

        lost, own = way(memcached, load)
        each = 1e6 / load.operations
        return load.cpu * each, own * each, load.operations / SECONDS, lost


def main():
    ways = {
        "nothing": nothing,
        "mcrec, syscalls": mcrec("syscalls"),
        "mcrec, usdt": mcrec("usdt"),
        "watch": watch,
        "tcpdump -w": tcpdump,
    }
    if not shutil.which("tcpdump"):
        del ways["tcpdump -w"]
        print("tcpdump is not installed, and so left out")
    results = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, record in ways.items():
            results[way].append(measure(record))
    print(f"{'way':17}{'server µs/op':>14}{'ratio':>8}{'from':>7}{'to':>7}{'own µs/op':>11}{'op/s':>10}"
          "  lost in the last round")
    for way, rounds in results.items():
        server = statistics.median(result[0] for result in rounds)
        ratios = sorted(r[0] / base[0] for r, base in zip(rounds, results["nothing"]))
        own = statistics.median(result[1] for result in rounds)
        rate = statistics.median(result[2] for result in rounds)
        print(f"{way:17}{server:14.2f}{statistics.median(ratios):8.2f}{ratios[0]:7.2f}{ratios[-1]:7.2f}"
              f"{own:11.2f}{rate:10.0f}  {rounds[-1][3]}")


main()
