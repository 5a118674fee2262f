"""What the tools for captures should have made, by other engines; and broken captures.

    tools.py slice WHOLE SLICE CONDITION      the rows that an SQL condition takes
    tools.py merge MERGED PART...             all rows, renumbered, in the order of time
    tools.py anonymise WHOLE HASHED SECRET    the same but for the keys
    tools.py same A B                         the same rows, each connection's in order
    tools.py break WHOLE FOLDER FAULT...      WHOLE with each fault: FOLDER/FAULT.parquet

Says what it compared, and ends with status 1 where there is a difference.
"""

import json
import re
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pseudonyms import pseudonym


LATER = ["cas_sent", "cas_set", "meta_flags", "meta_returned"]


def rows_of(path, condition="true"):
    query = f"""
        SELECT * EXCLUDE file_row_number REPLACE (epoch_us(ts) AS ts)
        FROM read_parquet(?, file_row_number = true)
        WHERE {condition} ORDER BY file_row_number
    """
    result = duckdb.execute(query, [path])
    names = [column[0] for column in result.description]
    rows = [dict(zip(names, row)) for row in result.fetchall()]
    if LATER[0] in names:
        return rows
    # An older file. In what is made of it those are null, before the host.
    for row in rows:
        host = {"host": row.pop("host")} if "host" in row else {}
        row.update(dict.fromkeys(LATER) | host)
    return rows


def assert_same(expected, found):
    assert len(expected) == len(found), f"{len(found)} rows, not {len(expected)}"
    for number, (mine, theirs) in enumerate(zip(expected, found)):
        assert mine == theirs, f"row {number}: {theirs}, not {mine}"
    print(f"{len(expected)} rows compared, 0 differences")


def compare_slice(whole, part, condition):
    expected = rows_of(whole, condition)
    assert expected, "an empty slice proves nothing"
    assert len(expected) < len(rows_of(whole)), "nor does one of everything"
    assert_same(expected, rows_of(part))


def identity(row):
    return (row["conn_id"], row["request_id"], row["key_index"])


def compare_merge(merged, *parts):
    expected, conn_ids, request_ids, recordings = [], 0, 0, []
    starts = {path: footer_of(path)["mcrec.capture"]["start_us"] for path in parts}
    for path in sorted(parts, key=starts.get):
        recording = footer_of(path)["mcrec.capture"]["id"]
        assert recording not in recordings, "captures of one recording are told from others"
        recordings.append(recording)
        rows = rows_of(path)
        for row in rows:
            expected.append(
                row
                | {
                    "conn_id": row["conn_id"] + conn_ids,
                    "request_id": row["request_id"] + request_ids,
                    "host": footer_of(path)["mcrec.capture"]["host"],
                }
            )
        conn_ids += max(row["conn_id"] for row in rows)
        request_ids += max(row["request_id"] for row in rows)
    # Stable: rows of one connection and of equal time stay as they are.
    expected.sort(key=lambda row: row["ts"])
    found = rows_of(merged)
    times = [row["ts"] for row in found]
    assert times == sorted(times), "not in the order of time"
    assert_same(sorted(expected, key=identity), sorted(found, key=identity))
    assert_same(by_connection(expected), by_connection(found))


def by_connection(rows):
    return sorted(rows, key=lambda row: row["conn_id"])


def compare_same(one, other):
    one, other = rows_of(one), rows_of(other)
    # Of one recording alone.
    hosts = {row.pop("host", None) for row in other}
    assert len(hosts) == 1, hosts
    assert_same(sorted(one, key=identity), sorted(other, key=identity))
    assert_same(by_connection(one), by_connection(other))


def compare_anonymised(whole, hashed, secret):
    def hide(key):
        if key is None:
            return None
        unescape = lambda escape: bytes([int(escape[1], 16)])
        return pseudonym(secret, re.sub(rb"\\x([0-9a-f]{2})", unescape, key.encode()))

    secret = bytes.fromhex(secret)
    assert_same([row | {"key": hide(row["key"])} for row in rows_of(whole)], rows_of(hashed))


def footer_of(path):
    metadata = pq.read_metadata(path).metadata
    entries = {name.decode(): value for name, value in metadata.items()}
    return {name: json.loads(value) for name, value in entries.items() if name.startswith("mcrec.")}


def with_value(table, name, row, value):
    values = table.column(name).to_pylist()
    values[row] = value(values[row]) if callable(value) else value
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


def swapped(table, name, one, other):
    values = table.column(name).to_pylist()
    return with_value(with_value(table, name, one, values[other]), name, other, values[one])


def with_field(table, name, type=None, nullable=None):
    at = table.schema.get_field_index(name)
    field = table.schema.field(at)
    field = field.with_type(type or field.type)
    field = field.with_nullable(field.nullable if nullable is None else nullable)
    return table.set_column(at, field, table.column(name).cast(field.type))


def two_of_a_connection(table):
    """Two rows of one connection, of different requests and times."""
    rows = table.select(["conn_id", "request_id", "ts"]).to_pylist()
    for one, first in enumerate(rows):
        for other, second in enumerate(rows[one + 1 :], one + 1):
            if first["conn_id"] == second["conn_id"] and first["ts"] < second["ts"]:
                return one, other
    raise AssertionError("no connection has two")


def break_all(whole, folder, *faults):
    for fault in faults:
        break_capture(whole, f"{folder}/{fault}.parquet", fault)


def break_capture(whole, broken, fault):
    table = pq.read_table(whole)
    footer = footer_of(whole)
    loss, capture = footer["mcrec.loss"], footer["mcrec.capture"]
    statistics = True
    stored = table.column("op").to_pylist().index("set")
    if fault == "nothing":
        pass
    elif fault == "written":
        loss["written"] += 1
        loss["seen"] += 1
    elif fault == "seen":
        loss["seen"] += 1
    elif fault == "series-sum":
        loss["series"][0][2] += 1
    elif fault == "series-outside":
        loss["series"][-1][1] += 10**9
    elif fault == "span":
        capture["end_monotonic_ns"] = capture["start_monotonic_ns"] - 1
    elif fault == "op":
        table = with_value(table, "op", 3, "GET")
    elif fault == "protocol":
        table = with_value(table, "protocol", 3, "http")
    elif fault == "status":
        table = with_value(table, "status", stored, "hit")
    elif fault == "key-control":
        table = with_value(table, "key", 3, "a\nb")
    elif fault == "key-twice-escaped":
        table = with_value(table, "key", 3, r"\x41")
    elif fault == "key-length":
        table = with_value(table, "key_len", 3, lambda length: length + 1)
    elif fault == "size":
        table = with_value(table, "value_size", stored, -2)
    elif fault == "connection":
        table = with_value(table, "conn_id", 3, 0)
    elif fault == "time":
        one, other = two_of_a_connection(table)
        table = swapped(table, "ts", one, other)
    elif fault == "request":
        one, other = two_of_a_connection(table)
        table = swapped(table, "request_id", one, other)
    elif fault == "key-index":
        table = with_value(table, "key_index", 3, -1)
    elif fault == "type":
        table = with_field(table, "thread_id", pa.int64())
    elif fault == "nulls":
        table = with_field(table, "quiet", nullable=True)
    elif fault == "statistics":
        statistics = False
    elif fault == "elsewhere":
        capture["host"] = "elsewhere"
    elif fault == "hashed":
        footer["mcrec.privacy"]["keys_hashed"] = "so it says"
    else:
        raise AssertionError(fault)
    metadata = {name: json.dumps(value) for name, value in footer.items()}
    table = table.replace_schema_metadata(metadata)
    pq.write_table(table, broken, compression="zstd", write_statistics=statistics)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {
        "slice": compare_slice,
        "merge": compare_merge,
        "anonymise": compare_anonymised,
        "same": compare_same,
        "break": break_all,
    }[command](*arguments)
