"""Compares the answer of mcanalyze with that of other engines on the same file.

    engines.py CAPTURE FIGURE < ANSWER

ANSWER is what `mcanalyze CAPTURE --format json`, sorted by FIGURE, printed.
Three engines compute every figure of every key from the plain Parquet file,
each in its own way, and sort them.
"""

import json
import math
import sys
from datetime import datetime, timezone

import duckdb
import polars
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet as pq

from items import GROWS, SAYS, TELLS, replayed

WRITES = pyarrow.array(
    ["set", "add", "replace", "append", "prepend", "cas", "incr", "decr", "delete"]
)


def with_pyarrow(path):
    table = pq.read_table(path)
    keys = table.column("key").unique().drop_null()
    items = replayed(zip(*(table.column(name).to_pylist() for name in ("op", "key", "status", "value_size"))))
    answer = []
    for key in keys:
        rows = table.filter(pc.equal(table.column("key"), key))
        sizes = rows.column("value_size").drop_null()
        latencies = sorted(rows.column("latency_ns").drop_null().to_pylist())
        answer.append(
            {
                "key": key.as_py(),
                "calls": len(rows),
                "hits": pc.sum(pc.equal(rows.column("status"), "hit")).as_py(),
                "misses": pc.sum(pc.equal(rows.column("status"), "miss")).as_py(),
                "writes": pc.sum(pc.is_in(rows.column("op"), WRITES)).as_py(),
                "bytes": pc.sum(sizes).as_py() or 0,
                "value_size": items.get(key.as_py()),
                "latency_p50_ns": nearest_rank(latencies, 0.50),
                "latency_p99_ns": nearest_rank(latencies, 0.99),
                "last": pc.max(rows.column("ts")).as_py(),
            }
        )
    return answer


def nearest_rank(ordered, q):
    return ordered[math.ceil(q * len(ordered)) - 1] if ordered else None


def with_duckdb(path):
    query = f"""
        WITH every AS (FROM read_parquet(?, file_row_number = true)),
        told AS (
            SELECT key, max(file_row_number) AS row,
                   arg_max(CASE WHEN {SAYS} THEN value_size ELSE -1 END, file_row_number) AS size
            FROM every WHERE {TELLS} GROUP BY key),
        sized AS (
            SELECT key, CASE WHEN size >= 0
                AND row > (SELECT coalesce(max(file_row_number), -1) FROM every WHERE op = 'flush_all')
                THEN size + coalesce((SELECT sum(value_size) FROM every later WHERE later.key = told.key
                                      AND later.file_row_number > told.row AND {GROWS}), 0)::BIGINT
                END AS size FROM told)
        SELECT every.key AS key,
               count(*) AS calls,
               count(*) FILTER (status = 'hit') AS hits,
               count(*) FILTER (status = 'miss') AS misses,
               count(*) FILTER (op IN ('set', 'add', 'replace', 'append', 'prepend', 'cas',
                                       'incr', 'decr', 'delete')) AS writes,
               coalesce(sum(value_size), 0)::BIGINT AS bytes,
               any_value(sized.size) AS value_size,
               quantile_disc(latency_ns, 0.50) AS latency_p50_ns,
               quantile_disc(latency_ns, 0.99) AS latency_p99_ns,
               epoch_us(max(ts)) AS last
        FROM every LEFT JOIN sized ON sized.key = every.key
        WHERE every.key IS NOT NULL
        GROUP BY every.key
    """
    result = duckdb.execute(query, [path])
    names = [column[0] for column in result.description]
    rows = [dict(zip(names, row)) for row in result.fetchall()]
    for row in rows:
        row["last"] = datetime.fromtimestamp(row["last"] // 10**6, timezone.utc).replace(
            microsecond=row["last"] % 10**6
        )
    return rows


def with_polars(path):
    tells, says, grows = (polars.sql_expr(text) for text in (TELLS, SAYS, GROWS))
    row, size = polars.col("row"), polars.col("value_size")
    flushed = polars.col("op").eq("flush_all")
    return (
        polars.scan_parquet(path)
        .with_row_index("row")
        .with_columns(row.cast(polars.Int64))
        .with_columns(
            flush=polars.when(flushed).then(row).max().fill_null(-1),
            last=polars.when(tells).then(row).max().over("key"),
            said=polars.when(says).then(size),
            more=polars.when(grows).then(size).otherwise(0),
        )
        .filter(polars.col("key").is_not_null())
        .group_by("key", maintain_order=True)
        .agg(
            calls=polars.len(),
            hits=(polars.col("status") == "hit").sum(),
            misses=(polars.col("status") == "miss").sum(),
            writes=polars.col("op").is_in(WRITES.to_pylist()).sum(),
            bytes=polars.col("value_size").sum(),
            value_size=(
                polars.col("said").filter((row == polars.col("last")) & (row > polars.col("flush"))).first()
                + polars.col("more").filter(row > polars.col("last")).sum()
            ),
            latency_p50_ns=polars.col("latency_ns").quantile(0.50, "equiprobable"),
            latency_p99_ns=polars.col("latency_ns").quantile(0.99, "equiprobable"),
            last=polars.col("ts").max(),
        )
        .collect()
        .to_dicts()
    )


def main():
    path, figure = sys.argv[1:]
    answer = json.load(sys.stdin)
    seconds = answer["capture"]["duration_s"]
    total = answer["capture"]["operations"]
    differences = 0
    keyless = duckdb.execute(
        "SELECT count(*) FROM read_parquet(?) WHERE key IS NULL AND op NOT IN ('connect', 'disconnect')", [path]
    ).fetchone()[0]
    for engine in [with_pyarrow, with_duckdb, with_polars]:
        rows = engine(path)
        assert rows, "an empty capture proves nothing"
        rows.sort(key=lambda row: row["key"].encode())
        # Stable, so that equal ones stay in the order of their keys.
        rows.sort(key=lambda row: (row[figure] is not None, row[figure]), reverse=True)
        expected = rows[: len(answer["top"])]
        assert total == sum(row["calls"] for row in rows) + keyless, engine.__name__
        assert answer["capture"]["distinct_keys"] == len(rows), engine.__name__
        for mine, theirs in zip(answer["top"], expected, strict=True):
            theirs["last"] = theirs["last"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            theirs["share"] = theirs["calls"] / total
            theirs["rate"] = theirs["calls"] / seconds
            theirs["bandwidth_kbps"] = theirs["bytes"] * 8 / 1000 / seconds
            gets = theirs["hits"] + theirs["misses"]
            theirs["hit_ratio"] = theirs["hits"] / gets if gets else None
            assert mine.keys() == theirs.keys(), (mine.keys(), theirs.keys())
            for name, value in theirs.items():
                same = (
                    math.isclose(mine[name], value, rel_tol=1e-12)
                    if isinstance(value, float)
                    else mine[name] == value
                )
                if not same:
                    differences += 1
                    print(f"{engine.__name__}: {mine['key']}: {name} {value}, not {mine[name]}")
    print(f"{len(answer['top'])} keys compared with three engines, {differences} differences")
    sys.exit(differences > 0)


main()
