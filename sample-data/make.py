"""Makes the captures of this folder anew, on a real memcached: see README.md.

    sample-data/make.py TARGET

TARGET is cargo's target folder, after `make memcached` and
`cargo build --release --bin mcrec --example load`. Needs root and pyarrow.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
TARGET = pathlib.Path(sys.argv[1])
MCREC = TARGET / "release/mcrec"


class Memcached:
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        port_file = pathlib.Path(self.folder.name, "port")
        self.process = subprocess.Popen(
            [TARGET / "memcached/memcached-1.6.18", "-u", "root", "-l", "127.0.0.1", "-p", "-1"],
            env=os.environ | {"MEMCACHED_PORT_FILENAME": str(port_file)},
        )
        while not port_file.exists() or not port_file.read_text().strip():
            time.sleep(0.01)
        self.address = port_file.read_text().split("\n")[0].removeprefix("TCP INET: ")
        self.address = f"127.0.0.1:{self.address}"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def record(self, name, *arguments):
        """Starts mcrec and returns once it records."""
        command = [MCREC, "-p", str(self.process.pid), "-o", HERE / name, "--force", *arguments]
        recorder = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while "recording" not in recorder.stderr.readline():
            assert recorder.poll() is None
        return recorder

    def load(self, seconds, connections):
        load = TARGET / "release/examples/load"
        subprocess.run([load, self.address, str(seconds), str(connections)], check=True)

    def send(self, *commands):
        """Sends text commands, each with a reply of one line or ending in END."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port))) as connection:
            for command in commands:
                connection.sendall(command)
                reply = b""
                while not reply.endswith(b"\r\n"):
                    reply += connection.recv(65536)


def finish(recorder, expected):
    recorder.send_signal(signal.SIGINT)
    recorder.stderr.read()
    assert recorder.wait() == expected, recorder.returncode


HOSTILE = [
    b"\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    "\u009b31mC1".encode(),
    "user\u202e1:resu".encode(),
    "zero\u200bwidth".encode(),
    b"=cmd|'/c'!A1",
    b"<script>alert(1)</script>",
    b'quote"and,comma',
    b"back\\slash\\x41",
    b"\xff\xfe\x80not-utf8",
    b"tab\there",
    "zażółć-日本-🦀".encode(),
    b"k" * 250,
]


def in_sample(one_in, key):
    """By the words of the format: see schema/src/sample.rs."""
    value = 0xCBF29CE484222325
    for byte in key.encode():  # nothing in zipf.parquet is escaped
        value = (value ^ byte) * 0x100000001B3 % 2**64
    for factor in 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53:
        value = (value ^ value >> 33) * factor % 2**64
    return (value ^ value >> 33) >> 32 < 2**32 // one_in


def sample(name, *rates):
    """Of zipf.parquet, at rates that each hold for an equal part of the time."""
    table = pq.read_table(HERE / "zipf.parquet")
    metadata = dict(table.schema.metadata)
    capture, loss = (json.loads(metadata[b"mcrec." + part]) for part in (b"capture", b"loss"))
    start, end = capture["start_us"], capture["end_us"]
    times = [start + (end - start) * part // len(rates) for part in range(len(rates))]
    rate_at = lambda ts: [rate for time, rate in zip(times, rates) if time <= ts][-1]
    kept = [
        key is None or in_sample(rate_at(ts), key)
        for ts, key in zip(table["ts"].cast(pa.int64()).to_pylist(), table["key"].to_pylist())
    ]
    loss["seen"] = loss["written"] = sum(kept)
    sampling = {
        "how": "made of zipf.parquet",
        "sampled_out": len(kept) - sum(kept),
        "series": [list(one) for one in zip(times, times[1:] + [end], rates)],
    }
    metadata |= {b"mcrec.loss": json.dumps(loss), b"mcrec.sampling": json.dumps(sampling)}
    table = table.filter(pa.array(kept)).replace_schema_metadata(metadata)
    pq.write_table(table, HERE / name, compression="zstd")


def main():
    with Memcached() as memcached:
        recorder = memcached.record("zipf.parquet", "--max-events", "30000")
        memcached.load(2, 4)
        recorder.stderr.read()
        assert recorder.wait() == 0

    sample("sampled.parquet", 4)
    sample("resampled.parquet", 1, 8, 2)

    with Memcached() as memcached:
        recorder = memcached.record("hostile.parquet")
        for number, key in enumerate(HOSTILE):
            store = b"set %s 0 0 %d\r\n%s\r\n" % (key, number, b"v" * number)
            memcached.send(store, *[b"get %s\r\n" % key] * (number + 1), b"get no:%s\r\n" % key[:200])
        finish(recorder, 0)

    with Memcached() as memcached:
        recorder = memcached.record("empty.parquet")
        finish(recorder, 0)

    with Memcached() as memcached:
        recorder = memcached.record("lossy.parquet", "--buffer-size", "64KiB")
        memcached.send(*[b"get before:%d\r\n" % (number % 9) for number in range(900)])
        recorder.send_signal(signal.SIGSTOP)
        memcached.send(*[b"get during:%d\r\n" % (number % 9) for number in range(2000)])
        recorder.send_signal(signal.SIGCONT)
        finish(recorder, 1)

    with Memcached() as memcached:
        recorder = memcached.record("killed.parquet", "--commit-every", "100ms")
        memcached.send(*[b"get key:%d\r\n" % (number % 9) for number in range(900)])
        while pq.read_metadata(HERE / "killed.parquet").num_rows == 0:
            time.sleep(0.01)
        recorder.kill()
        recorder.wait()
        (HERE / "killed.parquet.journal").unlink()

    table = pq.read_table(HERE / "empty.parquet")
    metadata = dict(table.schema.metadata)
    newer = metadata | {b"mcrec.format": b'{"version":2}'}
    pq.write_table(table.replace_schema_metadata(newer), HERE / "newer.parquet")
    pq.write_table(table.replace_schema_metadata(None), HERE / "foreign.parquet", store_schema=False)
    whole = (HERE / "zipf.parquet").read_bytes()
    (HERE / "truncated.parquet").write_bytes(whole[: len(whole) // 50])
    for path in HERE.glob("*.parquet"):
        path.chmod(0o644)


main()
