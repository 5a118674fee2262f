#!/usr/bin/env python3
"""How faithful a replay is, and how fast it can be, beside memaslap and memslap.

    bench/replay.py TARGET PYTHON [SECONDS] [ROWS]

TARGET is cargo's target folder, as for cost.py; PYTHON one with pyarrow and numpy. Needs
root, and Debian's libmemcached-tools for the comparison. With ROWS, a capture of so many
is generated and replayed as fast as possible, to see what memory that takes.

Fidelity: a load of about 20,000 operations a second on 16 connections is recorded, from a
memcached that had its keys before, replayed to a fresh one with --warm, and recorded again
there. Then the two captures are compared: operations and outcomes in order on each
connection, and when they came.
"""

import json
import os
import re
import shutil
import subprocess
import time

from machine import Memcached, Recorder, Storm
from script import (CannotRun, end, need, need_modules, one_line, output, parser, run, start,
                    temporary_folder, whole)

LOAD = {"connections": 16, "threads": 4, "keys": 20000, "value": 100}
BUILD = "debian-1.6.18"

COMPARE = """
import sys, json, numpy, pyarrow.parquet as parquet
COLUMNS = ["ts", "op", "key", "status", "conn_id", "value_size"]
def connections(path):
    table = parquet.read_table(path, columns=COLUMNS).to_pandas()
    table = table[~table["op"].isin(["connect", "disconnect"])]
    table["ts"] = table["ts"].astype("int64")
    return {tuple(zip(rows["op"][:50], rows["key"][:50])): rows
            for _, rows in table.groupby("conn_id", sort=False)}
was, again = connections(sys.argv[1]), connections(sys.argv[2])
# The second has the connections that warmed the target, too.
both = was.keys() & again.keys()
gaps, drifts, operations, other, order = [], [], 0, 0, was.keys() <= again.keys()
first = min(was[name]["ts"].min() for name in both)
first_again = min(again[name]["ts"].min() for name in both)
for name in both:
    one, two = was[name], again[name]
    operations += len(one)
    same = len(one) == len(two) and all(
        list(one[column]) == list(two[column]) for column in ["op", "key"])
    order &= same
    if not same:
        continue
    other += int((one["status"].values != two["status"].values).sum())
    gaps.append(abs(numpy.diff(one["ts"].values) - numpy.diff(two["ts"].values)))
    drifts.append(abs(one["ts"].values - first - (two["ts"].values - first_again)))
def at(all):
    all = numpy.concatenate(all) / 1000 if all else numpy.array([float("nan")])
    return [float(numpy.percentile(all, q)) for q in (50, 99, 100)]
print(json.dumps({"same_order": bool(order), "operations": operations, "other_outcomes": other,
    "gaps_ms": at(gaps), "drift_ms": at(drifts)}))
"""


def asked():
    arguments = parser(__doc__)
    arguments.add_argument("python", metavar="PYTHON", help="an interpreter that has pyarrow and numpy")
    arguments.add_argument("seconds", metavar="SECONDS", nargs="?", type=whole(), default=10,
                           help="of each load: 10, if not given")
    arguments.add_argument("rows", metavar="ROWS", nargs="?", type=whole(0), default=0,
                           help="of a capture that is generated: none, if not given")
    return arguments.parse_args()


def replay(capture, memcached, *arguments):
    """What mcreplay reports, and its peak of memory, MiB."""
    command = ["/usr/bin/time", "-f", "%M", memcached.target / "release/mcreplay", capture, "--to",
               f"127.0.0.1:{memcached.port}", "--format", "json", "-q", *arguments]
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    report, error = process.communicate()
    end(process)
    if process.returncode not in (0, 1):
        raise CannotRun(f"mcreplay failed: {error}{report}")
    return json.loads(report), int(error.split()[-1]) / 1024


def fidelity(asked, place):
    first, again = place / "first.parquet", place / "again.parquet"
    with Memcached(asked.target, BUILD, threads=4) as memcached:
        memcached.fill(**LOAD)
        recorder = Recorder(memcached)
        # Each thread sends on its four connections, and then pauses.
        with Storm(memcached, **LOAD, pause=500_000):
            time.sleep(asked.seconds)
        recorder.stop()
        rate = recorder.operations() / asked.seconds
        shutil.copy(recorder.path, first)
    with Memcached(asked.target, BUILD, threads=4) as memcached:
        recorder = Recorder(memcached)
        report, _ = replay(first, memcached, "--warm")
        recorder.stop()
        shutil.copy(recorder.path, again)
        lost = recorder.line("lost")
    compared = json.loads(output([asked.python, "-c", COMPARE, first, again]))
    ratio = {name: report["hit_ratio"][name]["ratio"] for name in ("recorded", "now")}
    late = {name: value / 1e6 for name, value in report["lateness_ns"].items() if name != "count"}
    print(f"recorded                 {rate:,.0f} operations a second, {LOAD['connections']} connections")
    print(f"the same in order        {compared['same_order']}, {compared['operations']:,} operations")
    gaps = [f"{it:.3f}" for it in compared["gaps_ms"]]
    print(f"gaps differ by, ms       p50 {gaps[0]}, p99 {gaps[1]}, max {gaps[2]}")
    drift = [f"{it:.3f}" for it in compared["drift_ms"]]
    print(f"times differ by, ms      p50 {drift[0]}, p99 {drift[1]}, max {drift[2]}")
    print(f"behind schedule, ms      p50 {late['p50']:.3f}, p99 {late['p99']:.3f}, max {late['max']:.3f}")
    print(f"hit ratio with --warm    {ratio['now']:.4%}, recorded {ratio['recorded']:.4%}; lost: {lost}")
    print(f"other outcomes           {compared['other_outcomes']:,}")


def left_out(name):
    print(f"{name} is not installed (libmemcached-tools), and so left out")


def said_by(*command):
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    return done.stdout + done.stderr


def memcaslap(memcached, seconds, config):
    text = said_by("memcaslap", "-s", f"127.0.0.1:{memcached.port}", "-T", "2", "-c", "16", "-t", f"{seconds}s",
                   "-F", str(config), "-d", "1")
    tps = re.search(r"TPS: (\d+)", text)
    print(f"memaslap, 16 connections          {tps[1] if tps else one_line(text)} operations a second")


def memcslap(memcached, *_):
    count, threads = 20000, 16
    begun = time.monotonic()
    said_by("memcslap", f"--servers=127.0.0.1:{memcached.port}", "--test=get", "--tcp-nodelay",
            f"--concurrency={threads}", f"--execute-number={count}", f"--initial-load={count}")
    took = time.monotonic() - begun
    gets = memcached.stats()["cmd_get"]
    print(f"memslap get, 16 connections       {gets / took:,.0f} operations a second, with its loading")


SLAPS = {"memcaslap": memcaslap, "memcslap": memcslap}


def peers(asked, place):
    config = place / "memaslap.conf"
    # Keys and values of storm's sizes, ten gets to a set.
    config.write_text("key\n16 24 1\nvalue\n100 100 1\ncmd\n0 0.0909\n1 0.9091\n")
    with Memcached(asked.target, BUILD, threads=4) as memcached:
        memcached.fill(**LOAD)
        recorder = Recorder(memcached)
        with Storm(memcached, **LOAD):
            time.sleep(asked.seconds)
        recorder.stop()
        capture = place / "full.parquet"
        shutil.copy(recorder.path, capture)
    here = [shown for name, shown in SLAPS.items() if shutil.which(name) or left_out(name)]
    for _ in range(3):
        for slap in here:
            with Memcached(asked.target, BUILD, threads=4) as memcached:
                slap(memcached, asked.seconds, config)
        for depth in ["1", "32"]:
            with Memcached(asked.target, BUILD, threads=4) as memcached:
                report, memory = replay(capture, memcached, "--speed", "max", "--depth", depth)
                rate = report["operations"] / report["seconds"]
                print(f"mcreplay --speed max --depth {depth:2}    {rate:,.0f} operations a second, {memory:.0f} MiB")


def length(asked, place):
    capture = place / "long.parquet"
    generate = asked.target / "release/examples/generate"
    output([generate, capture, str(asked.rows)])
    with Memcached(asked.target, BUILD, threads=4, arguments=["-m", "2048"]) as memcached:
        report, memory = replay(capture, memcached, "--speed", "max")
        rate = report["operations"] / report["seconds"]
        print(f"{report['operations']:,} operations, {rate:,.0f} a second: {memory:.0f} MiB")
        report, memory = replay(capture, memcached, "--speed", "max", "--warm", "--until", "+10s")
        print(f"with --warm: {memory:.0f} MiB")


def main():
    asking = asked()
    need(asking.target, ["mcrec", "mcreplay"], ["storm", *(["generate"] if asking.rows else [])], [BUILD])
    need_modules(asking.python, "pyarrow", "numpy")
    if not os.access("/usr/bin/time", os.X_OK):
        raise CannotRun("/usr/bin/time is not installed")
    with temporary_folder() as place:
        if asking.rows:
            return length(asking, place)
        fidelity(asking, place)
        peers(asking, place)


run(main)
