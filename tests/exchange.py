"""What went to other programs, as they read it, compared with the capture.

    exchange.py csv CAPTURE CSV [CONDITION]        every column of every row, in order
    exchange.py jsonl CAPTURE JSONL [CONDITION]    likewise
    exchange.py cache-trace CAPTURE TRACE          the requests that such a trace has
    exchange.py oracle-general CAPTURE RECORDS     each record, by brute force
    exchange.py imported CAPTURE IMPORTED          a capture that was exported and imported
    exchange.py terminal PROGRAM CAPTURE           nothing binary goes to a terminal

Says what it compared, and ends with status 1 where there is a difference.
"""

import csv
import json
import os
import re
import struct
import subprocess
import sys
import unicodedata
from datetime import datetime, timezone

import duckdb

from items import KEPT, PARTS, READS, STORES
from tools import assert_same, rows_of

TRACED = ["get", "gets", "set", "add", "replace", "cas", "append", "prepend", "delete", "incr", "decr"]
TEXTS = ["op", "protocol", "key", "status", "client", "meta_flags", "meta_returned", "host"]


def micros(text):
    time = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    since = time - datetime.fromtimestamp(0, timezone.utc)
    return (since.days * 86400 + since.seconds) * 10**6 + since.microseconds


def assert_inert(text):
    harmful = {c for c in text if unicodedata.category(c) in ["Cc", "Cf", "Zl", "Zp"]} - {"\n"}
    assert not harmful, harmful


def of_csv(name, field):
    """What a field stands for."""
    if name in TEXTS:
        if field.startswith("'") and field[1:].lstrip()[:1] in [*"=+-@|%＝＋－＠"]:
            field = field[1:]
        field = re.sub(r"\\u\{([0-9a-f]+)\}", lambda escape: chr(int(escape[1], 16)), field)
        return field or None
    if name == "ts":
        return micros(field)
    if name == "quiet":
        return {"true": True, "false": False}[field]
    return int(field) if field else None


def compare_csv(capture, path, condition="true"):
    text = open(path, encoding="utf-8", newline="").read()
    assert_inert(text)
    header, *lines = csv.reader(text.splitlines(keepends=True))
    expected = rows_of(capture, condition)
    assert expected and header == list(expected[0]), header
    found = [{name: of_csv(name, field) for name, field in zip(header, line, strict=True)} for line in lines]
    assert_same(expected, found)
    query = "SELECT * FROM read_csv(?, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"')"
    again = duckdb.execute(query, [path]).fetchall()
    assert [[field or "" for field in row] for row in again] == lines, "DuckDB reads it otherwise"


def compare_jsonl(capture, path, condition="true"):
    text = open(path, encoding="utf-8", newline="").read()
    assert_inert(text)
    found = [json.loads(line) for line in text.splitlines()]
    for row in found:
        row["ts"] = micros(row["ts"])
    expected = rows_of(capture, condition)
    assert expected and list(found[0]) == list(expected[0])
    assert_same(expected, found)
    types = {bool: "BOOLEAN", int: "BIGINT", str: "VARCHAR"}
    kind = lambda name: next((types[type(row[name])] for row in expected if row[name] is not None), "VARCHAR")
    columns = {name: kind(name) if name != "ts" else "TIMESTAMPTZ" for name in expected[0]}
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
    query = f"""
        SELECT * REPLACE (epoch_us(ts) AS ts)
        FROM read_json(?, format = 'newline_delimited', columns = {{{columns}}})
    """
    result = duckdb.execute(query, [path])
    names = [column[0] for column in result.description]
    assert_same(expected, [dict(zip(names, row)) for row in result.fetchall()])


def as_bytes(key):
    """The bytes that a key of a capture, or of a trace that was made of one, stands for."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda escape: bytes([int(escape[1], 16)]), key.encode())


def start_of(capture):
    import pyarrow.parquet as pq

    return json.loads(pq.read_metadata(capture).metadata[b"mcrec.capture"])["start_us"]


def requests_of(capture, ops):
    start = start_of(capture)
    for row in rows_of(capture):
        if row["op"] in ops and row["key"] is not None:
            yield row | {"seconds": max(row["ts"] - start, 0) // 10**6, "bytes": as_bytes(row["key"])}


def compare_cache_trace(capture, path):
    text = open(path, encoding="utf-8", newline="").read()
    assert_inert(text)
    found = [line.split(",") for line in text.splitlines()]
    assert {len(fields) for fields in found} == {7}
    found = [[*fields[:1], as_bytes(fields[1]), *fields[2:]] for fields in found]
    expected = [
        [
            str(row["seconds"]),
            row["bytes"],
            str(row["key_len"]),
            str(row["value_size"] or 0),
            str(row["conn_id"]),
            row["op"],
            str(row["ttl"] or 0),
        ]
        for row in requests_of(capture, TRACED)
    ]
    assert_same(expected, found)


def compare_imported(capture, imported):
    expected = [
        {
            "ts": row["seconds"] * 10**6,
            "op": row["op"],
            "protocol": None,
            "key": row["key"],
            "key_len": row["key_len"],
            "status": "unknown",
            "value_size": row["value_size"] or (0 if row["op"] in STORES else None),
            "latency_ns": None,
            "ttl": row["ttl"] or (0 if row["op"] in STORES else None),
            "client_flags": None,
            "cas": None,
            "request_bytes": None,
            "response_bytes": None,
            "quiet": False,
            "request_id": number,
            "key_index": 0,
            "conn_id": row["conn_id"] + 1,
            "client": None,
            "thread_id": 0,
            "cas_sent": None,
            "cas_set": None,
            "meta_flags": None,
            "meta_returned": None,
        }
        for number, row in enumerate(requests_of(capture, TRACED), 1)
    ]
    assert_same(expected, rows_of(imported))


def object_of(key):
    """FNV-1a with 64 bits, and the finalizer of MurmurHash3."""
    value = 0xCBF29CE484222325
    for byte in key:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    for factor in 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53:
        value = (value ^ value >> 33) * factor % 2**64
    return value ^ value >> 33


def compare_oracle_general(capture, path, ops=""):
    """Reads are requests, and stores where `ops` names them; sizes are from all rows."""
    asked = ops.split(",") if ops else READS
    every = [row | {"bytes": as_bytes(row["key"])} for row in rows_of(capture) if row["key"] is not None]
    start = start_of(capture)
    rows, sizes = [], {}
    for number, row in enumerate(every):
        if row["op"] in asked:
            seconds = max(row["ts"] - start, 0) // 10**6
            rows.append(row | {"number": number, "seconds": seconds})
        # Where it is known what the whole value was.
        known, size = sizes.setdefault(row["bytes"], []), row["value_size"]
        if size is None:
            continue
        if row["op"] in PARTS:
            if row["status"] == "stored" and known:
                known.append((number, known[-1][1] + size))
        elif row["op"] in READS and row["status"] in ("hit", "unknown"):
            known.append((number, size))
        elif row["op"] == "set" and row["status"] in KEPT or row["status"] == "stored":
            known.append((number, size))
    keys = [row["bytes"] for row in rows]
    places = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    expected = []
    for place, row in enumerate(rows):
        # Numbered from 1, as libCacheSim's own converter does it.
        later = [other for other in places[row["bytes"]] if other > place]
        following = later[0] + 1 if later else -1
        known = sizes[row["bytes"]]
        before = [size for at, size in known if at <= row["number"]]
        after = [size for at, size in known if at > row["number"]]
        value = before[-1] if before else after[0] if after else 1
        size = max(row["key_len"] + value, 1)
        expected.append((row["seconds"], object_of(row["bytes"]), size, following))
    records = open(path, "rb").read()
    assert len(records) == 24 * len(rows), len(records)
    found = list(struct.iter_unpack("<IQIq", records))
    assert any(record[3] > 0 for record in found), "one that never looks ahead proves nothing"
    assert_same(expected, found)


def refused_on_terminal(program, capture):
    master, terminal = os.openpty()
    command = [program, "export", capture, "--as", "oracle-general"]
    result = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE)
    os.close(terminal)
    assert result.returncode == 2 and b"terminal" in result.stderr, result
    try:
        assert os.read(master, 100) == b""
    except OSError:
        pass  # that nobody has the other end any more


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {
        "csv": compare_csv,
        "jsonl": compare_jsonl,
        "cache-trace": compare_cache_trace,
        "oracle-general": compare_oracle_general,
        "imported": compare_imported,
        "terminal": refused_on_terminal,
    }[command](*arguments)
