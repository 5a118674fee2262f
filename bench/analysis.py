#!/usr/bin/env python3
"""How fast mcanalyze answers, beside DuckDB and polars asked the same of the same file.

    bench/analysis.py TARGET PYTHON [ROWS] [ROUNDS]

TARGET is cargo's target folder after `cargo build --release --bin mcanalyze --example
generate`, PYTHON an interpreter that has duckdb and polars (`make python`). A capture of
ROWS rows (20 million) is made first, and read once. In each round all are asked each
question in turn, in processes of their own. Printed are the median time, millions of rows a
second, the peak of memory, and the time against that of mcanalyze: above 1.0, mcanalyze was
faster. The others get the columns that mcanalyze prints, in the way that is fastest for
them: the figures of the top keys are computed for those keys only. All times have the start of
a program in them, of Python and its module for two of them; `start` is that alone, to
subtract. Before all, the three are asked once whether they agree, in the number of operations,
of hits and of misses, and in the calls of the top keys.
"""

import json
import os
import pathlib
import statistics
import subprocess
import time

from script import (CannotRun, end, need, need_modules, output, parser, run, start,
                    temporary_folder, whole)

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

# It shows how far it is where a question takes long, between its answers.
DUCKDB = "import duckdb; duckdb.sql('SET enable_progress_bar = false')"

# What to call it, how mcanalyze and polars are asked, and how DuckDB is.
QUESTIONS = [
    ("--top 20, with the summary", ["{file}", "--top", "20"], "top", [TOP, TOTALS]),
    ("latency", ["latency", "{file}"], "latency", [LATENCY, HISTOGRAM]),
    ("series", ["series", "{file}"], "series", [SERIES]),
]
# The totals, and the calls of the top keys, as JSON.
SAID_BY_DUCKDB = f"""
import json, sys
{DUCKDB}
keys, [totals] = (duckdb.sql(query).fetchall() for query in sys.argv[1:])
print(json.dumps([totals[:3], [key[1] for key in keys]]))
"""
SAID_BY_POLARS = """
import json, sys, polars, with_polars
keys, totals = polars.collect_all(with_polars.top(polars.scan_parquet(sys.argv[1]), 0), engine="streaming")
print(json.dumps([totals.row(0)[:3], keys["calls"].to_list()]))
"""


def asked():
    arguments = parser(__doc__)
    arguments.add_argument("python", metavar="PYTHON", help="an interpreter that has duckdb and polars")
    arguments.add_argument("rows", metavar="ROWS", nargs="?", type=whole(), default=20_000_000,
                           help="of the capture: 20 million, if not given")
    arguments.add_argument("rounds", metavar="ROUNDS", nargs="?", type=whole(), default=5, help="5, if not given")
    return arguments.parse_args()


def take(command):
    """Wall seconds and peak memory, MiB."""
    begin = time.monotonic()
    process = start(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    end(process)
    if process.returncode:
        raise CannotRun(f"{' '.join(map(str, command[:2]))} ended with {process.returncode}")
    return taken, usage.ru_maxrss / 1024


def in_duckdb(python, queries):
    calls = [f"duckdb.sql({query!r}).fetchall()" for query in queries]
    return [python, "-c", "\n".join([DUCKDB, *calls])]


def interval(python, file):
    """Microseconds of one, as mcanalyze chooses it: about 40 to a capture."""
    span = f"SELECT max(epoch_us(ts)) - min(epoch_us(ts)) FROM '{file}'"
    shown = output([python, "-c", f"import duckdb; print(duckdb.sql({span!r}).fetchall()[0][0])"])
    return max(int(shown) // 36, 1)


def agree(mcanalyze, python, file):
    """Whether they say the same. Of keys with as many calls any may be among the top."""
    mine = json.loads(output([mcanalyze, file, "--top", "20", "--format", "json"]))
    totals = [mine["capture"][name] for name in ("operations", "hits", "misses")]
    answers = {"mcanalyze": [totals, [row["calls"] for row in mine["top"]]]}
    queries = [query.format(file=file) for query in (TOP, TOTALS)]
    answers["DuckDB"] = json.loads(output([python, "-c", SAID_BY_DUCKDB, *queries]))
    beside = os.environ | {"PYTHONPATH": str(WITH_POLARS.parent)}
    answers["polars"] = json.loads(output([python, "-c", SAID_BY_POLARS, file], env=beside))
    for totals, calls in answers.values():
        calls.sort(reverse=True)
    first, *others = answers.values()
    if all(other == first for other in others):
        print("all agree in operations, hits, misses, and the calls of the top keys")
    else:
        print("they do not agree:", *(f"{name}: {answer}" for name, answer in answers.items()), sep="\n  ")


def compare(ways, rounds):
    """Of each, the medians of seconds and memory."""
    taken = {name: [] for name in ways}
    for round_number in range(rounds + 1):
        for name, command in ways.items():
            measured = take(command)
            # The first brings the file into memory.
            if round_number:
                taken[name].append(measured)
    return {name: [statistics.median(each) for each in zip(*rounds)] for name, rounds in taken.items()}


def show(what, results, rows=None):
    mine = results["mcanalyze"][0]
    for name, (seconds, memory) in results.items():
        rate = f"{rows / seconds / 1e6:8.1f} M/s{memory:7.0f} MiB" if rows else f"{'':23}"
        print(f"{what:28}{name:10}{seconds:8.2f} s{rate}{seconds / mine:7.2f}")
        what = ""


def main():
    asking = asked()
    need(asking.target, ["mcanalyze"], ["generate"], root=False)
    need_modules(asking.python, "duckdb", "polars")
    python, mcanalyze = asking.python, asking.target / "release/mcanalyze"
    with temporary_folder() as place:
        file = str(place / "capture.parquet")
        take([asking.target / "release/examples/generate", file, str(asking.rows)])
        print(f"{asking.rows:,} rows, {os.stat(file).st_size / 2**20:.0f} MiB, {os.cpu_count()} CPUs")
        agree(mcanalyze, python, file)
        show("start", compare({
            "mcanalyze": [mcanalyze, "--version"],
            "DuckDB": [python, "-c", DUCKDB],
            "polars": [python, "-c", "import polars"],
        }, asking.rounds))
        step = interval(python, file)
        for what, words, question, queries in QUESTIONS:
            show(what, compare({
                "mcanalyze": [mcanalyze, *(word.format(file=file) for word in words)],
                "DuckDB": in_duckdb(python, [query.format(file=file, step=step) for query in queries]),
                "polars": [python, WITH_POLARS, file, question, str(step)],
            }, asking.rounds), asking.rows)
        report = [mcanalyze, "report", file, "-o", place / "report.html"]
        show("report, all of it", {"mcanalyze": take(report)}, asking.rows)


run(main)
