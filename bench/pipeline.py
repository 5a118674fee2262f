#!/usr/bin/env python3
"""What decode, batch and the Parquet encoder do by themselves, on one core.

    bench/pipeline.py TARGET [SECONDS]

TARGET is cargo's target folder, after `make memcached` and `cargo build --release --example
storm --example pipeline`. Needs root. What a memcached under load puts on the ring in so
many seconds is kept in memory; then the load ends, and all of it goes through each stage
(mcrec/examples/pipeline.rs).
"""

import pathlib
import subprocess
import sys

from machine import Memcached, Storm, many_files

TARGET = pathlib.Path(sys.argv[1])
SECONDS = sys.argv[2] if len(sys.argv) > 2 else "5"
LOAD = {"keys": 100_000, "value": 100, "connections": 16}


def main():
    many_files()
    for name, load in [("one request at a time", LOAD), ("pipelines of 16", LOAD | {"pipeline": 16})]:
        print(f"\n{name}", flush=True)
        with Memcached(TARGET, arguments=["-m", "1024"]) as memcached:
            memcached.fill(**load)
            command = [TARGET / "release/examples/pipeline", str(memcached.pid), SECONDS]
            with Storm(memcached, **load):
                pipeline = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                # Its table begins once it has gathered enough.
                print(pipeline.stdout.readline(), end="")
            print(pipeline.communicate()[0], end="")
            assert pipeline.returncode == 0


main()
