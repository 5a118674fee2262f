#!/usr/bin/env python3
"""What decode, batch and the Parquet encoder do by themselves, on one core.

    bench/pipeline.py TARGET [SECONDS] [--source SOURCE]

TARGET is cargo's target folder, after `make memcached` and `cargo build --release --example
storm --example pipeline`. Needs root. What a memcached under load puts on the ring in so
many seconds is kept in memory; then the load ends, and all of it goes through each stage
(mcrec/examples/pipeline.rs). Where processes run is left to the scheduler.
"""

import subprocess

from machine import Memcached, Storm
from script import CannotRun, need, parser, run, start, whole, with_source

LOAD = {"keys": 100_000, "value": 100, "connections": 16}


def asked():
    arguments = parser(__doc__)
    arguments.add_argument("seconds", metavar="SECONDS", nargs="?", type=whole(), default=5, help="5, if not given")
    with_source(arguments)
    return arguments.parse_args()


def measure(asked, load):
    with Memcached(asked.target, arguments=["-m", "1024"]) as memcached:
        memcached.fill(**load)
        command = [asked.target / "release/examples/pipeline", str(memcached.pid), str(asked.seconds), asked.source]
        with Storm(memcached, **load):
            pipeline = start(command, stdout=subprocess.PIPE, text=True)
            # Its table begins once it has gathered enough.
            print(pipeline.stdout.readline(), end="")
        print(pipeline.communicate()[0], end="")
        if pipeline.returncode:
            raise CannotRun("the pipeline failed")


def main():
    asking = asked()
    need(asking.target, [], ["storm", "pipeline"], ["1.6.18"])
    for name, load in [("one request at a time", LOAD), ("pipelines of 16", LOAD | {"pipeline": 16})]:
        print(f"\n{name}, recorded through {asking.source}")
        measure(asking, load)


run(main)
