"""Compares what fastparquet reads of captures with what pyarrow reads of them.

    plain_reader.py CAPTURE...
"""

import sys

import fastparquet
import pyarrow.parquet as pq


def values(column):
    return column.astype(object).where(column.notna(), None).tolist()


for path in sys.argv[1:]:
    expected = pq.read_table(path).to_pandas()
    # fastparquet leaves out that times are those of UTC.
    expected["ts"] = expected["ts"].dt.tz_localize(None)
    read = fastparquet.ParquetFile(path).to_pandas()
    assert list(read.columns) == list(expected.columns), path
    for name in expected.columns:
        if values(read[name]) != values(expected[name]):
            sys.exit(f"{path}: column {name} is read otherwise")
    print(f"{path}: {len(expected)} rows are the same")
