"""Has other readers of Parquet read captures, and compares every value of every column.

    readers.py [--also READER] CAPTURE...

What pyarrow reads is what the others must. Prints for each capture which readers agree;
one that differs, or cannot read it, is named with the column or its error, and the status
is 1.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def columns_of(table):
    """Plain values, and times as microseconds."""
    at = table.schema.get_field_index("ts")
    times = table.column(at).cast(pa.timestamp("us")).cast(pa.int64())
    return table.set_column(at, "ts", times).to_pydict()


def with_pyarrow(path):
    return columns_of(pq.ParquetFile(path).read())


def without_missing(frame):
    import pandas

    columns = {}
    for name in frame.columns:
        column = frame[name]
        if name == "ts":
            column = column.astype("int64")
        values = column.astype(object).tolist()
        columns[name] = [None if pandas.isna(value) else value for value in values]
    return columns


def with_pandas(path):
    import pandas

    frame = pandas.read_parquet(path, engine="pyarrow", dtype_backend="numpy_nullable")
    return without_missing(frame)


def with_fastparquet(path):
    import fastparquet

    frame = fastparquet.ParquetFile(path).to_pandas()
    # It takes times for such without a zone.
    assert str(frame["ts"].dtype) == "datetime64[us]", frame["ts"].dtype
    return without_missing(frame)


def with_polars(path):
    import polars

    frame = polars.read_parquet(path)
    return frame.with_columns(polars.col("ts").dt.timestamp("us")).to_dict(as_series=False)


def with_duckdb(path):
    import duckdb

    query = """
        SELECT * EXCLUDE file_row_number REPLACE (epoch_us(ts) AS ts)
        FROM read_parquet(?, file_row_number = true) ORDER BY file_row_number
    """
    result = duckdb.execute(query, [path])
    names, rows = [column[0] for column in result.description], result.fetchall()
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def with_datafusion(path):
    import datafusion

    # One partition, so that rows come in the order of the file.
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(1))
    context.register_parquet("capture", path)
    return columns_of(context.sql("SELECT * FROM capture").to_arrow_table())


def with_hyparquet(path):
    node = pathlib.Path(os.environ["MCREC_NODE"])
    script = pathlib.Path(__file__).with_name("readers.mjs")
    command = [node / "node", script, node / "node_modules", path]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    # Numbers of 64 bits come as strings of digits behind a mark.
    number = lambda value: int(value[1:]) if isinstance(value, str) and value[:1] == "#" else value
    text = {"op", "protocol", "key", "status", "client", "host"}
    columns = json.loads(said)
    return {
        name: values if name in text else [number(value) for value in values]
        for name, values in columns.items()
    }


def with_chdb(path):
    import chdb

    query = f"SELECT * FROM file('{path}', Parquet) SETTINGS max_threads = 1"
    return columns_of(pa.ipc.open_file(chdb.query(query, "Arrow").bytes()).read_all())


READERS = {
    "pandas": with_pandas,
    "fastparquet": with_fastparquet,
    "polars": with_polars,
    "duckdb": with_duckdb,
    "datafusion": with_datafusion,
    "hyparquet": with_hyparquet,
}
OPTIONAL = {"chdb": with_chdb}


def difference(expected, found):
    """What the first difference is, if there is one."""
    if list(expected) != list(found):
        return f"columns {list(found)}"
    for name, values in expected.items():
        theirs = found[name]
        if len(theirs) != len(values):
            return f"{name}: {len(theirs)} rows, not {len(values)}"
        for row, (mine, other) in enumerate(zip(values, theirs, strict=True)):
            # A truth is no number, and a number no text.
            same_kind = isinstance(mine, type(other)) or isinstance(other, type(mine))
            if mine != other or not same_kind:
                return f"{name}, row {row}: {other!r}, not {mine!r}"
    return None


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--also", choices=OPTIONAL, action="append", default=[])
    arguments.add_argument("captures", nargs="+")
    arguments = arguments.parse_args()
    readers = READERS | {name: OPTIONAL[name] for name in arguments.also}
    status = 0
    for path in arguments.captures:
        expected, agree = with_pyarrow(path), []
        for name, read in readers.items():
            try:
                wrong = difference(expected, read(path))
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
            if wrong:
                status = 1
                print(f"{os.path.basename(path)}: {name}: {wrong}")
            else:
                agree.append(name)
        print(f"{os.path.basename(path)}: {len(expected['ts'])} rows: {' '.join(agree)}")
    sys.exit(status)


main()
