#!/usr/bin/env python3
"""What analysis.py asks of mcanalyze, asked of polars:

    bench/with_polars.py FILE QUESTION STEP

QUESTION is top, latency or series; STEP is the length of an interval of series, µs.
"""

import sys

import polars as pl

STORES = ["set", "add", "replace", "append", "prepend", "cas"]
SIZE, LATENCY = pl.col("value_size"), pl.col("latency_ns")
STORED = pl.col("op").is_in(STORES)


def count(status):
    return (pl.col("status") == status).sum().alias(status)


def percentiles(*ranks):
    return [LATENCY.quantile(rank, "higher").alias(f"p{100 * rank:g}") for rank in ranks]


def top(rows, _step):
    keys = rows.filter(pl.col("key").is_not_null()).group_by("key").len("calls").top_k(20, by="calls")
    figures = [pl.first("calls"), count("hit"), count("miss"), SIZE.sum().alias("bytes"),
               SIZE.sort_by("ts").last().alias("size"), *percentiles(0.5, 0.99), pl.max("ts")]
    totals = [pl.len(), count("hit"), count("miss"), pl.n_unique("key"), SIZE.sum().alias("bytes"),
              SIZE.filter(STORED).sum().alias("stored")]
    return [rows.join(keys, on="key").group_by("key").agg(figures).sort("calls", descending=True),
            rows.select(totals)]


def latency(rows, _step):
    figures = [LATENCY.count().alias("count"), *percentiles(0.5, 0.9, 0.99, 0.999, 0.9999),
               LATENCY.max().alias("max")]
    bucket = LATENCY.clip(1).log(2).floor().alias("bucket")
    return [rows.group_by("op").agg(figures), rows.select(figures),
            rows.filter(LATENCY.is_not_null()).group_by("op", bucket).len()]


def series(rows, step):
    slot = (pl.col("ts").dt.epoch("us") // step).alias("slot")
    figures = [pl.len(), count("hit"), count("miss"), SIZE.filter(STORED).sum().alias("stored"),
               SIZE.filter(~STORED).sum().alias("returned"), *percentiles(0.5, 0.99),
               pl.n_unique("conn_id")]
    return [rows.group_by(slot).agg(figures).sort("slot")]


def main():
    file, question, step = sys.argv[1:]
    ask = {"top": top, "latency": latency, "series": series}[question]
    pl.collect_all(ask(pl.scan_parquet(file), int(step)), engine="streaming")


if __name__ == "__main__":
    main()
