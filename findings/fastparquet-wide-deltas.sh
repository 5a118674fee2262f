#!/bin/sh
# fastparquet 2026.9.0 reads wrong numbers from DELTA_BINARY_PACKED columns, without an error,
# once neighbours differ by much: where the deltas of a miniblock take more than 28 bits. The
# file is valid: pyarrow, which writes it here, DuckDB and polars read it back. Times in
# microseconds have such deltas after a gap of five minutes, expiries that mix 0 with dates
# too. A short run of values may come through where a longer one does not.
# Seen with Python 3.11, numpy 2.4.6, pyarrow 26.0.1, DuckDB 2.0.0, polars 2.1.0:
#   27 bits: fastparquet reads 301 of 301
#   32 bits: fastparquet reads 2 of 301
#     the first: -2463174207, not 3979276737
#   times with a gap of an hour: fastparquet reads 50 of 100, the last -3590.324224 s off
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check \
	fastparquet==2026.9.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1 duckdb==2.0.0 polars==2.1.0
cd "$folder"
python/bin/python - <<'END'
import random, sys
import duckdb, fastparquet, polars, pyarrow as pa, pyarrow.parquet as pq

def read(values, kind=pa.int64()):
    table = pa.table({"x": pa.array(values, kind)})
    packed = {"x": "DELTA_BINARY_PACKED"}
    pq.write_table(table, "x.parquet", use_dictionary=False, column_encoding=packed)
    assert pq.read_table("x.parquet") == table
    assert polars.read_parquet("x.parquet")["x"].cast(int).to_list() == values
    cast = "epoch_us(x)" if pa.types.is_timestamp(kind) else "x"
    found = duckdb.sql(f"SELECT {cast} FROM 'x.parquet'").fetchall()
    assert [row[0] for row in found] == values
    return fastparquet.ParquetFile("x.parquet").to_pandas()["x"].astype("int64").tolist()

right = {}
for bits in 27, 32:
    numbers = random.Random(bits)
    values = [0, *[numbers.getrandbits(bits) for _ in range(300)]]
    found = read(values)
    right[bits] = sum(mine == theirs for mine, theirs in zip(values, found))
    print(f"{bits} bits: fastparquet reads {right[bits]} of {len(values)}")
    wrong = [at for at in range(len(values)) if values[at] != found[at]]
    if wrong:
        print(f"  the first: {found[wrong[0]]}, not {values[wrong[0]]}")
# A request a second, and an hour without one.
second = 1_000_000
times = [1_767_225_600 * second + at * second + (at >= 50) * 3600 * second for at in range(100)]
found = read(times, pa.timestamp("us", tz="UTC"))
late = sum(mine == theirs for mine, theirs in zip(times, found))
print(f"times with a gap of an hour: fastparquet reads {late} of 100, the last {(found[-1] - times[-1]) / second} s off")
sys.exit(right[27] != 301 or right[32] > 10 or late == 100)
END
