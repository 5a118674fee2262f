#!/usr/bin/env python3
"""How fast mcanalyze answers, beside DuckDB and polars asked the same of the same file.

    bench/analysis.py TARGET PYTHON [ROWS] [ROUNDS]

TARGET is cargo's target folder after `cargo build --release --bin mcanalyze --example
generate`, PYTHON an interpreter that has duckdb and polars (`make python`). A capture of
ROWS rows (20 million) is made first, and read once. In each round all are asked each
question in turn, in processes of their own. Printed are the median time, millions of rows a
second, the peak of memory, and the time against that of mcanalyze: above 1.0, mcanalyze was
faster. The others get the columns that mcanalyze prints, in the way that is fastest for
them: the figures of the top keys are computed for those keys only.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TARGET, PYTHON = map(pathlib.Path, sys.argv[1:3])
ROWS = sys.argv[3] if len(sys.argv) > 3 else "20000000"
ROUNDS = int(sys.argv[4]) if len(sys.argv) > 4 else 5
WITH_POLARS = pathlib.Path(__file__).with_name("with_polars.py")

STORES = "('set', 'add', 'replace', 'append', 'prepend', 'cas')"
TOP = """
    WITH top AS (SELECT key, count(*) AS calls FROM '{file}' WHERE key IS NOT NULL
                 GROUP BY key ORDER BY calls DESC, key LIMIT 20)
    SELECT key, any_value(calls) AS calls, count(*) FILTER (status = 'hit'),
           count(*) FILTER (status = 'miss'), sum(value_size), last(value_size ORDER BY ts),
           quantile_disc(latency_ns, [0.5, 0.99]), epoch_us(max(ts))
    FROM '{file}' JOIN top USING (key) GROUP BY key ORDER BY calls DESC"""
TOTALS = f"""
    SELECT count(*), count(*) FILTER (status = 'hit'), count(*) FILTER (status = 'miss'),
           count(DISTINCT key), sum(value_size), sum(value_size) FILTER (op IN {STORES})
    FROM '{{file}}'"""
LATENCY = """
    SELECT op, count(latency_ns), quantile_disc(latency_ns, [0.5, 0.9, 0.99, 0.999, 0.9999]),
           max(latency_ns) FROM '{file}' GROUP BY GROUPING SETS ((op), ())"""
HISTOGRAM = """
    SELECT op, floor(log2(greatest(latency_ns, 1))) AS bucket, count(*) FROM '{file}'
    WHERE latency_ns IS NOT NULL GROUP BY GROUPING SETS ((op, bucket), (bucket))"""
SERIES = f"""
    SELECT epoch_us(ts) // {{step}} AS slot, count(*), count(*) FILTER (status = 'hit'),
           count(*) FILTER (status = 'miss'), sum(value_size) FILTER (op IN {STORES}),
           sum(value_size) FILTER (op NOT IN {STORES}), quantile_disc(latency_ns, [0.5, 0.99]),
           count(DISTINCT conn_id) FROM '{{file}}' GROUP BY slot ORDER BY slot"""

# What to call it, how mcanalyze and polars are asked, and how DuckDB is.
QUESTIONS = [
    ("--top 20, with the summary", ["{file}", "--top", "20"], "top", [TOP, TOTALS]),
    ("latency", ["latency", "{file}"], "latency", [LATENCY, HISTOGRAM]),
    ("series", ["series", "{file}"], "series", [SERIES]),
]


def run(command):
    """Wall seconds and peak memory, MiB."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, command
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def in_duckdb(queries):
    calls = [f"duckdb.sql({query!r}).fetchall()" for query in queries]
    return [PYTHON, "-c", "\n".join(["import duckdb", *calls])]


def interval(file):
    """Microseconds of one, as mcanalyze chooses it: about 40 to a capture."""
    span = f"SELECT max(epoch_us(ts)) - min(epoch_us(ts)) FROM '{file}'"
    shown = subprocess.run([PYTHON, "-c", f"import duckdb; print(duckdb.sql({span!r}).fetchall()[0][0])"],
                           stdout=subprocess.PIPE, check=True, text=True)
    return max(int(shown.stdout) // 36, 1)


def compare(ways):
    """Of each, the medians of seconds and memory."""
    taken = {name: [] for name in ways}
    for round_number in range(ROUNDS + 1):
        for name, command in ways.items():
            measured = run(command)
            # The first brings the file into memory.
            if round_number:
                taken[name].append(measured)
    return {name: [statistics.median(each) for each in zip(*rounds)] for name, rounds in taken.items()}


def show(what, results):
    mine = results["mcanalyze"][0]
    for name, (seconds, memory) in results.items():
        print(f"{what:28}{name:10}{seconds:8.2f} s{int(ROWS) / seconds / 1e6:8.1f} M/s{memory:7.0f} MiB"
              f"{seconds / mine:7.2f}")
        what = ""


def main():
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/capture.parquet"
        subprocess.run([TARGET / "release/examples/generate", file, ROWS], check=True)
        print(f"{int(ROWS):,} rows, {os.stat(file).st_size / 2**20:.0f} MiB, {os.cpu_count()} CPUs")
        step = interval(file)
        mcanalyze = TARGET / "release/mcanalyze"
        for what, words, question, queries in QUESTIONS:
            show(what, compare({
                "mcanalyze": [mcanalyze, *(word.format(file=file) for word in words)],
                "DuckDB": in_duckdb([query.format(file=file, step=step) for query in queries]),
                "polars": [PYTHON, WITH_POLARS, file, question, str(step)],
            }))
        report = [mcanalyze, "report", file, "-o", f"{folder}/report.html"]
        show("report, all of it", {"mcanalyze": run(report)})


main()
