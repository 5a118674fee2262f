"""Compares every figure of every question of mcanalyze with another way to find it.

    questions.py MCANALYZE CAPTURE [QUESTION...]

DuckDB computes what SQL can say, from the plain Parquet file; what came before what is
replayed here, row by row. Prints how many figures were compared, and each difference.
"""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, OrderedDict, defaultdict
from datetime import datetime, timezone

import duckdb

from items import KEPT, PARTS, READS, SAYS, STORES, replayed

# Which SQL reads as they are written.
WRITES = (*STORES, "incr", "decr", "delete")
ADDRESS = r"regexp_replace(regexp_replace(client, ':[0-9]+$', ''), '^\[(.*)\]$', '\1')"

program, path, *asked = sys.argv[1:]
compared = differences = 0
database = duckdb.connect()
database.execute(
    "CREATE TABLE everything AS SELECT *, epoch_us(ts) AS us FROM read_parquet(?, file_row_number = true)",
    [path],
)
database.execute(
    "CREATE VIEW capture AS SELECT * FROM everything WHERE op NOT IN ('connect', 'disconnect')"
)


def ask(*words):
    out = subprocess.run([program, *words, "--format", "json"], stdout=subprocess.PIPE, check=False)
    assert out.returncode in (0, 1), words
    return json.loads(out.stdout)


def sql(query, *values):
    return database.execute(query, values).fetchall()


def same(what, mine, theirs):
    global compared, differences
    compared += 1
    if isinstance(mine, float) or isinstance(theirs, float):
        equal = mine is not None and theirs is not None and math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-12)
        equal = equal or mine is theirs
    else:
        equal = mine == theirs
    if not equal:
        differences += 1
        if differences < 40:
            print(f"{what}: {mine!r}, not {theirs!r}")


def rows_same(what, mine, names, theirs):
    """Tables as lists: names of the columns that are compared, and rows of another engine."""
    same(f"{what}: rows", len(mine), len(theirs))
    for number, (row, other) in enumerate(zip(mine, theirs)):
        for name, value in zip(names, other):
            same(f"{what}[{number}].{name}", row[name], value)


def time(us):
    moment = datetime.fromtimestamp(us // 10**6, timezone.utc).replace(microsecond=us % 10**6)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def micros(text):
    return round(datetime.fromisoformat(text).timestamp() * 10**6)


# What stores sent that was not refused, and what was returned.
STORED = f"coalesce(sum(value_size) FILTER (op IN {STORES} AND status IN {KEPT}), 0)::BIGINT"
REFUSED = f"coalesce(sum(value_size) FILTER (op IN {STORES} AND status NOT IN {KEPT}), 0)::BIGINT"
RETURNED = f"coalesce(sum(value_size) FILTER (op NOT IN {STORES}), 0)::BIGINT"


def ratio(part, whole):
    return part / whole if whole else None


def groups():
    dimensions = {
        "key": "key",
        "op": "op",
        "protocol": "coalesce(protocol, 'unknown')",
        "conn": "conn_id",
        "client": f"coalesce({ADDRESS}, 'unknown')",
        "thread": "thread_id",
        "status": "status",
    }
    names = {"conn": "conn_id", "thread": "thread_id"}
    items = replayed(sql("SELECT op, key, status, value_size FROM everything ORDER BY file_row_number"))
    for by, expression in dimensions.items():
        for sort, order in [("calls", "calls"), ("bytes", "bytes"), ("writes", "writes")]:
            answer = ask(path, "--by", by, "--sort", sort, "--top", "15")
            theirs = sql(
                f"""SELECT {expression} AS name, count(*) AS calls,
                       count(*) FILTER (status = 'hit'), count(*) FILTER (status = 'miss'),
                       count(*) FILTER (op IN {WRITES}) AS writes,
                       coalesce(sum(value_size), 0)::BIGINT AS bytes,
                       last(value_size ORDER BY file_row_number) FILTER (value_size IS NOT NULL AND {SAYS}),
                       quantile_disc(latency_ns, 0.5), quantile_disc(latency_ns, 0.99)
                    FROM capture WHERE {expression} IS NOT NULL
                    GROUP BY name ORDER BY {order} DESC, encode(name::VARCHAR) LIMIT 15"""
            )
            if by == "key":
                theirs = [(*row[:6], items.get(row[0]), *row[7:]) for row in theirs]
            columns = ["calls", "hits", "misses", "writes", "bytes", "value_size"]
            columns = [names.get(by, by), *columns, "latency_p50_ns", "latency_p99_ns"]
            rows_same(f"--by {by} --sort {sort}", answer["top"], columns, theirs)


def filters():
    start = sql("SELECT min(us) FROM capture")[0][0]
    middle = sql("SELECT quantile_disc(us, 0.5) FROM capture")[0][0]
    client = sql(f"SELECT {ADDRESS} FROM capture WHERE client IS NOT NULL LIMIT 1")
    cases = [
        (["--op", "get"], "op = 'get'"),
        (["--op", "set,delete"], "op IN ('set', 'delete')"),
        (["--key", "^user:[0-9]+:"], "regexp_matches(key, '^user:[0-9]+:')"),
        (["--key", "7.*e$"], "regexp_matches(key, '7.*e$')"),
        (["--prefix", "session:"], "starts_with(key, 'session:')"),
        (["--status", "miss"], "status = 'miss'"),
        (["--conn", "1,3"], "conn_id IN (1, 3)"),
        (["--min-size", "200", "--max-size", "1KiB"], "value_size BETWEEN 200 AND 1024"),
        (["--min-latency", "10us"], "latency_ns >= 10000"),
        (["--from", time(middle)], f"us >= {middle}"),
        (["--to", time(middle)], f"us < {middle}"),
        (["--where", "value_size > 300 AND key LIKE '%1%'"], "value_size > 300 AND key LIKE '%1%'"),
        (["--op", "get", "--status", "hit", "--min-size", "64", "--prefix", "user:"],
         "op = 'get' AND status = 'hit' AND value_size >= 64 AND starts_with(key, 'user:')"),
    ]
    if client:
        cases.append((["--client", client[0][0]], f"{ADDRESS} = '{client[0][0]}'"))
    for words, where in cases:
        capture = ask(path, *words)["capture"]
        theirs = sql(
            f"""SELECT count(*), count(*) FILTER (status = 'hit'), count(*) FILTER (status = 'miss'),
                       count(DISTINCT key),
                       {STORED}, {RETURNED}
                FROM capture WHERE {where}"""
        )[0]
        names = ["operations", "hits", "misses", "distinct_keys", "bytes_stored", "bytes_returned"]
        for name, value in zip(names, theirs):
            same(f"{words}.{name}", capture[name], value)
        same(f"{words}.of_operations", capture["of_operations"], sql("SELECT count(*) FROM capture")[0][0])
    return start


def series():
    for every, step in [("10ms", 10_000), ("1s", 1_000_000)]:
        answer = ask("series", path, "--every", every, "--keys")
        start, end = (micros(answer["capture"][name]) for name in ("start", "end"))
        answer = answer["series"]
        found = {
            row[0]: row[1:]
            for row in sql(
                f"""WITH first AS (SELECT key, min(us) AS us FROM capture GROUP BY key),
                     new AS (SELECT us // {step} AS slot, count(key) AS keys FROM first GROUP BY slot)
                    SELECT c.us // {step} AS slot, count(*), count(*) FILTER (status = 'hit'),
                       count(*) FILTER (status = 'miss'),
                       {STORED}, {RETURNED},
                       quantile_disc(latency_ns, 0.5), quantile_disc(latency_ns, 0.99),
                       count(DISTINCT conn_id), count(DISTINCT coalesce({ADDRESS}, 'unknown')), count(DISTINCT c.key),
                       coalesce(max(new.keys), 0)
                    FROM capture c LEFT JOIN new ON new.slot = c.us // {step} GROUP BY c.us // {step}"""
            )
        }
        refused = dict(sql(f"SELECT us // {step}, {REFUSED} FROM capture GROUP BY us // {step}"))
        none = (0, 0, 0, 0, 0, None, None, 0, 0, 0, 0)
        theirs = [(time(at * step), *found.get(at, none)) for at in range(min(found), max(found) + 1)]
        names = ["time", "operations", "hits", "misses", "bytes_stored", "bytes_returned"]
        names += ["latency_p50_ns", "latency_p99_ns", "connections", "clients", "distinct_keys", "new_keys"]
        rows_same(f"series {every}", answer, names, theirs)
        for row in answer:
            # The first and last were recorded in part.
            begin = micros(row["time"])
            part = min(begin + step, end) - max(begin, start)
            length = part if part > 0 else step
            same("series rate", row["rate"], row["operations"] / (length / 1e6))
            moved = row["bytes_stored"] + row["bytes_returned"] + refused.get(begin // step, 0)
            same("series kbps", row["bandwidth_kbps"], moved / (length / 1e6) * 8 / 1000)


def latency():
    names = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns"]
    quantiles = ", ".join(f"quantile_disc(latency_ns, {q})" for q in (0.5, 0.9, 0.99, 0.999, 0.9999))
    dimensions = {
        "op": "op",
        "client": f"coalesce({ADDRESS}, 'unknown')",
        "size": "CASE WHEN value_size IS NULL THEN -1 WHEN value_size = 0 THEN 0 "
        "ELSE 1 << floor(log2(value_size))::BIGINT END",
    }
    for by, expression in dimensions.items():
        answer = ask("latency", path, "--by", by)["latency"]
        theirs = sql(
            f"""SELECT count(latency_ns) AS n, {quantiles}, max(latency_ns)
                FROM capture WHERE latency_ns IS NOT NULL GROUP BY {expression} ORDER BY n DESC"""
        )
        theirs = theirs[:20]
        everything = sql(f"SELECT count(latency_ns), {quantiles}, max(latency_ns) FROM capture")
        mine = answer["percentiles"]
        figures = sorted(tuple(row[name] for name in ["count", *names]) for row in mine[1:])
        same(f"latency --by {by}", figures, sorted(theirs))
        rows_same("latency of all", mine[:1], ["count", *names], everything)
    histogram = ask("latency", path)["latency"]["histogram"]
    theirs = sql(
        """SELECT CASE WHEN latency_ns < 2 THEN 0 ELSE 1 << floor(log2(latency_ns))::BIGINT END AS slot,
                  count(*) FROM capture WHERE latency_ns IS NOT NULL GROUP BY slot ORDER BY slot"""
    )
    mine = [row for row in histogram if row["op"] == "all" and row["count"]]
    rows_same("histogram", mine, ["from_ns", "count"], theirs)


def prefixes():
    for row in ask("prefixes", path, "--top", "40")["prefixes"]:
        like = "^" + ".*".join(re.escape(part) for part in row["prefix"].split("*"))
        like += "$" if row["prefix"][-1:] not in ":/.|" else ""
        theirs = sql(
            """SELECT count(*), count(*) FILTER (status = 'hit'), count(*) FILTER (status = 'miss'),
                      coalesce(sum(value_size), 0)::BIGINT, count(DISTINCT key)
               FROM capture WHERE regexp_matches(key, ?)""",
            like,
        )
        rows_same(f"prefix {row['prefix']}", [row], ["calls", "hits", "misses", "bytes", "keys"], theirs)


def slow():
    mine = ask("slow", path, "--top", "25")["slow"]
    theirs = sql(
        """SELECT us, latency_ns, op, key, status, value_size, conn_id, thread_id,
                  (SELECT count(*) FROM capture o WHERE o.thread_id = c.thread_id
                     AND o.us BETWEEN c.us AND c.us + c.latency_ns // 1000
                     AND o.file_row_number <> c.file_row_number)
           FROM capture c WHERE latency_ns IS NOT NULL
           ORDER BY latency_ns DESC, file_row_number LIMIT 25"""
    )
    theirs = [(time(row[0]), *row[1:]) for row in theirs]
    names = ["time", "latency_ns", "op", "key", "status", "value_size", "conn_id", "thread_id", "meanwhile"]
    rows_same("slow", mine, names, theirs)
    # What stands around each, by going through all that its worker received.
    answer = ask("slow", path, "--top", "5", "--around", "3")
    by_worker = defaultdict(list)
    for row in sql("SELECT thread_id, us, file_row_number, op, key FROM everything ORDER BY us, file_row_number"):
        by_worker[row[0]].append(row[1:])
    wanted = []
    top = sql("""SELECT thread_id, us, file_row_number FROM capture WHERE latency_ns IS NOT NULL
                 ORDER BY latency_ns DESC, file_row_number LIMIT 5""")
    for number, (worker, *place) in enumerate(top, 1):
        received = by_worker[worker]
        at = next(at for at, row in enumerate(received) if list(row[:2]) == place)
        for near in range(max(at - 3, 0), min(at + 4, len(received))):
            us, _, op, key = received[near]
            wanted.append((str(number), f"{near - at:+d}" if near != at else "0", time(us), op, key))
    rows_same("neighbours", answer["neighbours"], ["of", "place", "time", "op", "key"], wanted)


def bursts():
    answer = ask("bursts", path)
    start, end = (micros(answer["capture"][name]) for name in ("start", "end"))
    lengths = {"1ms": 10**3, "10ms": 10**4, "100ms": 10**5, "1s": 10**6, "10s": 10**7, "1m": 6 * 10**7}
    for row in answer["bursts"]:
        length = lengths[row["window"]]
        of_all = (end - start) // length + 1
        # Windows that are cut at the end are windows too.
        counts = Counter()
        for (us,) in sql("SELECT us FROM capture"):
            counts[min(max((us - start) // length, 0), of_all - 1)] += 1
        most = max(counts.values())
        first = min(at for at, count in counts.items() if count == most)
        same("bursts", row["operations"], most)
        same("bursts rate", row["rate"], most * 1e6 / length)
        same("bursts time", row["time"], time(start + first * length))
        same("bursts mean", row["times_mean"], most / (sum(counts.values()) / of_all))
        same("bursts idle", row["idle"], 1 - len(counts) / of_all)


def sizes():
    answer = ask("sizes", path)
    whole = f"(op NOT IN {PARTS} AND status IN {KEPT})"
    theirs = sql(
        f"""SELECT CASE WHEN value_size = 0 THEN 0 ELSE 1 << floor(log2(value_size))::BIGINT END AS slot,
                   count(*), count(*) FILTER (op IN {STORES}), count(*) FILTER (op NOT IN {STORES}),
                   sum(value_size)::BIGINT
            FROM capture WHERE value_size IS NOT NULL AND (op NOT IN {STORES} OR {whole})
            GROUP BY slot ORDER BY slot"""
    )
    rows_same("sizes", answer["sizes"], ["from", "values", "stored", "returned", "bytes"], theirs)
    stores = sql(f"SELECT count(*), count(*) FILTER (ttl BETWEEN 601 AND 3600) FROM capture WHERE op IN {STORES} AND {whole}")
    same("ttls", sum(row["stores"] for row in answer["ttls"]), stores[0][0])
    hour = [row["stores"] for row in answer["ttls"] if row["ttl"] == "up to 1 h"]
    same("ttls up to 1 h", sum(hour), stores[0][1])


def popularity():
    answer = ask("popularity", path)["popularity"]
    calls = [row[0] for row in sql("SELECT count(*) AS n FROM capture WHERE key IS NOT NULL GROUP BY key ORDER BY n DESC")]
    for row in answer["ranks"]:
        same(f"rank {row['rank']}", row["calls"], calls[row["rank"] - 1])
        same("share", row["share_to_rank"], sum(calls[: row["rank"]]) / sum(calls))
    figures = [row["value"] for row in answer["figures"]]
    once = sum(n == 1 for n in calls)
    same("popularity", figures[:3], [len(calls), once, ratio(once, len(calls))])
    often = [n for n in calls if n >= 20]
    if len(often) < 10:
        return same("no exponent", figures[3], None)
    logs = [math.log(rank + 1) for rank in range(len(often))]

    def likelihood(s):
        total = math.log(sum(math.exp(-s * log) for log in logs))
        return sum(n * (-s * log - total) for n, log in zip(often, logs))

    low, high = 0.0, 5.0
    for _ in range(80):
        one, other = low + (high - low) / 3, high - (high - low) / 3
        low, high = (one, high) if likelihood(one) < likelihood(other) else (low, other)
    same("Zipf exponent", round(figures[3], 4), round(low, 4))


def in_order(flushes=False):
    also = " OR op = 'flush_all' AND coalesce(ttl, 0) = 0" if flushes else ""
    return sql(
        "SELECT us, op, key, status, value_size, key_len FROM capture "
        f"WHERE key IS NOT NULL{also} ORDER BY us, file_row_number"
    )


def misses():
    answer = ask("misses", path, "--top", "10")["misses"]
    keys = defaultdict(lambda: {"uses": 0, "reads": 0, "misses": 0, "stores": 0, "gap": None, "in_gap": 0})
    gaps, in_gaps = [], 0
    for us, op, key, status, _, _ in in_order():
        fate = keys[key]
        fate["uses"] += 1
        if op in READS:
            fate["reads"] += 1
            if status == "miss":
                fate["misses"] += 1
                fate["in_gap"] += 1
                fate["gap"] = us if fate["gap"] is None else fate["gap"]
        elif op in STORES and status in ("stored", "no_reply", "unknown"):
            fate["stores"] += 1
            if fate["gap"] is not None:
                gaps.append(us - fate["gap"])
                in_gaps += fate["in_gap"]
                fate["gap"], fate["in_gap"] = None, 0
    gaps.sort()
    rank = lambda q: gaps[max(math.ceil(q * len(gaps)), 1) - 1] * 1000 if gaps else None
    fates = keys.values()
    never_set = {key: fate["reads"] for key, fate in keys.items() if fate["reads"] and not fate["stores"]}
    never_read = {key: fate["stores"] for key, fate in keys.items() if fate["stores"] and not fate["reads"]}
    once = sum(fate["uses"] == 1 for fate in fates)
    theirs = [
        sum(fate["misses"] for fate in fates), len(keys), len(gaps), in_gaps,
        rank(0.5), rank(0.9), rank(0.99), rank(1),
        sum(fate["gap"] is not None for fate in fates),
        len(never_set), ratio(len(never_set), len(keys)),
        len(never_read), ratio(len(never_read), len(keys)),
        once, ratio(once, len(keys)),
    ]
    for row, value in zip(answer["figures"], theirs, strict=True):
        same(f"misses: {row['figure']}", row["value"], value)
    for name, counts in [("never_set", never_set), ("never_read", never_read)]:
        first = sorted(counts.items(), key=lambda item: (-item[1], item[0].encode()))[:10]
        rows_same(name, answer[name], ["key", "count"], first)


def is_used(op, status, is_there):
    """What an operation is to a cache: read, stored, deleted, or nothing."""
    unanswered = status in ("no_reply", "unknown")
    if op in READS:
        return "read"
    if op == "delete":
        return "deleted" if status not in ("exists", "error", "client_error") else None
    if op == "set" and status == "server_error":
        return "deleted"
    if op == "add" and unanswered:
        return None if is_there else "stored"
    if unanswered and op in (*STORES, "incr", "decr", "touch"):
        return "stored" if op == "set" or is_there else None
    done = "stored" if op in STORES else "touched" if op == "touch" else "ok"
    return "stored" if op in (*STORES, "incr", "decr", "touch") and status == done else None


def uses():
    """What happens to a cache: reads with whether they hit, stores and deletes, of keys with bytes."""
    sizes, there = {}, set()
    for _, op, key, status, size, key_len in in_order(True):
        if op == "flush_all":
            there = set()
            yield "flushed", None, 0, None
            continue
        use = is_used(op, status, key in there)
        if use is None:
            continue
        if use != "deleted" and size is not None and (op in STORES or op in READS and status in ("hit", "unknown")):
            sizes[key] = sizes.get(key, 0) + size if op in PARTS else size
        there.discard(key) if use == "deleted" else there.add(key)
        yield use, key, key_len + sizes.get(key, 0) + 56, status


def hits_of(events, memory):
    """The hits of an LRU cache with so many bytes, by being one."""
    cache, total, hits = OrderedDict(), 0, 0
    for use, key, own, _ in events:
        if use == "flushed":
            cache, total = OrderedDict(), 0
            continue
        if use == "read" and key in cache:
            # A read may say for the first time how large the item was all along.
            total += own - cache[key]
            cache[key] = own
            while total > memory:
                total -= cache.popitem(last=False)[1]
            hits += key in cache
        total -= cache.pop(key, 0)
        if use != "deleted":
            cache[key] = own
            total += own
            while total > memory:
                total -= cache.popitem(last=False)[1]
    return hits


def memory():
    answer = ask("memory", path)["memory"]
    events = list(uses())
    there, total, peak, most, in_use = {}, 0, 0, 0, 0
    reads, cold, before = [], 0, []
    for use, key, own, status in events:
        if use == "flushed":
            there, total, peak = {}, 0, 0
            continue
        if use == "read":
            reads.append(status)
            if key not in there and status == "hit":
                # All that was used since came after it.
                before.append(peak + own)
            cold += key not in there and status != "hit"
        total -= there.pop(key, 0)
        if use != "deleted":
            there[key] = own
            total += own
        peak = max(peak, total)
        most, in_use = max(most, total), max(in_use, len(there))
    count = len(reads)
    for row in answer["curve"]:
        hits = hits_of(events, row["bytes"])
        same(f"hit ratio with {row['bytes']}", row["hit_ratio"], hits / count)
        at_most = hits + sum(least <= row["bytes"] for least in before)
        same(f"at most with {row['bytes']}", row["hit_ratio_at_most"], at_most / count)
        same("error", row["error"], None)
    figures = [row["value"] for row in answer["figures"]]
    same("keys in use", figures[0], in_use)
    same("working set", figures[1], most)
    hits = reads.count("hit")
    same("recorded", figures[2], ratio(hits, hits + reads.count("miss")))
    same("with all", figures[3], 1 - cold / count)
    for at, part in [(4, 0.5), (5, 0.25), (6, 0.1)]:
        # Memory is told apart by 256 steps to a power of two.
        memories = [most * part * less for less in (2 ** (-1 / 256), 1)]
        hits = [hits_of(events, memory) for memory in memories]
        same(f"with {part}", hits[0] / count <= figures[at] <= hits[1] / count, True)
        hits = [hits[n] + sum(least <= memory for least in before) for n, memory in enumerate(memories)]
        same(f"with {part}, at most", hits[0] / count <= figures[at + 5] <= hits[1] / count, True)
    same("cold", figures[7], ratio(cold, count))
    same("from before", figures[8], ratio(len(before), count))


def compare():
    half = sql("SELECT quantile_disc(us, 0.5) FROM capture")[0][0]
    with tempfile.TemporaryDirectory() as folder:
        before, after = os.path.join(folder, "a.parquet"), os.path.join(folder, "b.parquet")
        for words, out in [(["--to", time(half)], before), (["--from", time(half)], after)]:
            subprocess.run([program, "slice", path, *words, "-o", out], check=True, stderr=subprocess.DEVNULL)
        answer = ask("diff", before, after, "--top", "30")
        calls = Counter()
        for key, early, late in sql(
            f"""SELECT key, count(*) FILTER (us < {half}), count(*) FILTER (us >= {half})
                FROM capture WHERE key IS NOT NULL GROUP BY key"""
        ):
            calls[key] = (early, late)
        for kind, rows in answer["diff"].items():
            for row in rows if kind in ("new", "gone", "hotter", "colder") else []:
                same(f"diff {kind} {row['key']}", (row["calls_before"], row["calls_after"]), calls[row["key"]])
        for row in answer["diff"]["latency"]:
            quantile = {"p50": 0.5, "p99": 0.99}[row["quantile"]]
            theirs = sql(
                f"""SELECT quantile_disc(latency_ns, {quantile}) FILTER (us < {half}),
                           quantile_disc(latency_ns, {quantile}) FILTER (us >= {half})
                    FROM capture WHERE op = ?""",
                row["op"],
            )[0]
            same(f"diff latency {row['op']}", (row["before_ns"], row["after_ns"]), theirs)
        theirs = sql(
            f"""SELECT avg(value_size) FILTER (us < {half}), avg(value_size) FILTER (us >= {half}) FROM capture
                WHERE op NOT IN {STORES} OR (op NOT IN {PARTS} AND status IN {KEPT})"""
        )
        mine = answer["diff"]["sizes"][0]
        same("diff sizes", [mine["mean_before"], mine["mean_after"]], [round(mean) for mean in theirs[0]])


def statements():
    query = "SELECT op, count(*) AS n, sum(value_size) AS bytes, max(latency_ns) AS slowest FROM capture GROUP BY op ORDER BY n DESC, op"
    rows_same("sql", ask("sql", path, query)["rows"], ["op", "n", "bytes", "slowest"],
              sql(query.replace("FROM capture", "FROM everything")))
    for where in ["", " WHERE op = 'get'", " WHERE value_size > 100 AND key LIKE 'user%'"]:
        query = f"SELECT count(*) AS n FROM capture{where}"
        rows_same(query, ask("sql", path, query)["rows"], ["n"],
                  sql(query.replace("FROM capture", "FROM everything")))


def clients():
    theirs = sql(
        f"""SELECT coalesce({ADDRESS}, 'unknown') AS name, count(DISTINCT conn_id), count(*) AS calls,
                   count(*) FILTER (status = 'hit')
            FROM capture GROUP BY name ORDER BY calls DESC, encode(name) LIMIT 20"""
    )
    rows_same("clients", ask("clients", path)["clients"], ["client", "connections", "calls", "hits"], theirs)


for question in [groups, filters, series, bursts, latency, prefixes, slow, sizes, popularity, misses, memory,
                 compare, statements, clients]:
    if asked and question.__name__ not in asked:
        continue
    before = compared
    question()
    print(f"{question.__name__}: {compared - before} figures")
print(f"{compared} figures compared, {differences} differences")
sys.exit(differences > 0)
