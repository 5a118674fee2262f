#!/usr/bin/env python3
"""How fast mcanalyze answers, beside DuckDB asked the same of the same file.

    bench/analysis.py TARGET PYTHON [ROWS] [ROUNDS]

TARGET is cargo's target folder after `cargo build --release --bin mcanalyze --example
generate`, PYTHON an interpreter that has duckdb (`make python`). A capture of ROWS rows (20
million) is made first, and read once. In each round both are asked each question in turn,
in processes of their own; the medians, their ratio and the peak of memory are printed.
Below 1.0, mcanalyze was faster. DuckDB gets the columns that mcanalyze prints, in the way
that is fastest for it: the figures of the top keys are computed for those keys only.
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

QUESTIONS = [
    ("--top 20, with the summary", ["{file}", "--top", "20"], [TOP, TOTALS]),
    ("latency", ["latency", "{file}"], [LATENCY, HISTOGRAM]),
    ("series", ["series", "{file}"], [SERIES]),
]


def run(command):
    """Wall seconds and peak memory, MiB."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, command
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def main():
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/capture.parquet"
        subprocess.run([TARGET / "release/examples/generate", file, ROWS], check=True)
        print(f"{int(ROWS):,} rows, {os.stat(file).st_size / 2**20:.0f} MiB, {os.cpu_count()} CPUs")
        # As mcanalyze chooses it: about 40 intervals.
        span = subprocess.run(
            [PYTHON, "-c", f"import duckdb; print(duckdb.sql(\"SELECT max(epoch_us(ts)) - min(epoch_us(ts)) FROM '{file}'\").fetchall()[0][0])"],
            stdout=subprocess.PIPE, check=True, text=True,
        )
        step = max(int(span.stdout) // 36, 1)
        print(f"{'':28}{'mcanalyze':>20}{'DuckDB':>20}  ratio")
        for name, words, queries in QUESTIONS:
            mine = [TARGET / "release/mcanalyze", *(word.format(file=file) for word in words)]
            script = "import duckdb\n" + "\n".join(
                f"duckdb.sql({query.format(file=file, step=step)!r}).fetchall()" for query in queries
            )
            theirs = [PYTHON, "-c", script]
            ways = {"mcanalyze": (mine, []), "DuckDB": (theirs, [])}
            for round_number in range(ROUNDS + 1):
                for command, times in ways.values():
                    measured = run(command)
                    # The first brings the file into memory.
                    if round_number:
                        times.append(measured)
            medians = [[statistics.median(each) for each in zip(*times)] for _, times in ways.values()]
            shown = "".join(f"{seconds:8.2f} s {memory:5.0f} MiB" for seconds, memory in medians)
            print(f"{name:28}{shown}  {medians[0][0] / medians[1][0]:.2f}")
        seconds, memory = run([TARGET / "release/mcanalyze", "report", file, "-o", f"{folder}/report.html"])
        print(f"{'report, all of it':28}{seconds:8.2f} s {memory:5.0f} MiB")


main()
