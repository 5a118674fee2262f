//! How long did the server take?

use anyhow::{Context, Result};
use mcrec_schema::columns;
use polars::prelude::{DataFrame, DataType, Expr, Int64Chunked, col, lit};

use super::{ints, latency_percentile, of_key, order, rows};
use crate::{
    capture::{Capture, collect},
    table::{Column, Need, Table, Unit, Value},
};

/// How the latencies of all operations together are named, beside those of a command.
pub(crate) const ALL: &str = "all";

/// Powers of two that latencies are sorted into: bucket `n` is `2^n` to
/// `2^(n+1)` ns, the first also holds less, the last (over two hours) also more.
const BUCKETS: u32 = 43;

const PERCENTILES: [(&str, &str, f64); 6] = [
    ("p50_ns", "p50", 0.5),
    ("p90_ns", "p90", 0.9),
    ("p99_ns", "p99", 0.99),
    ("p999_ns", "p99.9", 0.999),
    ("p9999_ns", "p99.99", 0.9999),
    ("max_ns", "max", 1.0),
];

/// Percentiles and histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Latency {
    /// A row for all commands together and one for each.
    pub(crate) percentiles: Table,
    /// A row for each bucket from the first to the last that is not empty, for
    /// all commands together and for each.
    pub(crate) histogram: Table,
}

/// The latencies of all operations, or of those on `key`.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn latency(capture: &Capture, key: Option<&str>) -> Result<Latency> {
    let known = of_key(capture.operations(), key).filter(col(columns::LATENCY_NS).is_not_null());
    let all = collect(known.clone().select(aggregates()))?;
    let by_op = collect(
        known
            .group_by([col(columns::OP)])
            .agg(aggregates())
            .sort_by_exprs([col("count"), col(columns::OP)], order(false)),
    )?;
    let mut latency = Latency {
        percentiles: Table { columns: percentile_columns(), rows: Vec::new() },
        histogram: Table { columns: HISTOGRAM_COLUMNS.to_vec(), rows: Vec::new() },
    };
    add(&mut latency, &all, &[ALL.to_owned()])?;
    let ops =
        by_op.column(columns::OP).and_then(|ops| ops.str().cloned()).context("no commands")?;
    add(&mut latency, &by_op, &ops.iter().flatten().map(str::to_owned).collect::<Vec<_>>())?;
    Ok(latency)
}

const HISTOGRAM_COLUMNS: [Column; 4] = [
    Column { name: "op", title: "command", unit: Unit::Word, need: Need::Always },
    Column { name: "from_ns", title: "from", unit: Unit::Nanoseconds, need: Need::Always },
    Column { name: "to_ns", title: "to", unit: Unit::Nanoseconds, need: Need::Always },
    Column { name: "count", title: "operations", unit: Unit::Count, need: Need::Always },
];

fn percentile_columns() -> Vec<Column> {
    let first = [
        Column { name: "op", title: "command", unit: Unit::Word, need: Need::Always },
        Column { name: "count", title: "operations", unit: Unit::Count, need: Need::Always },
    ];
    let percentiles = PERCENTILES.map(|(name, title, _)| Column {
        name,
        title,
        unit: Unit::Nanoseconds,
        need: Need::Always,
    });
    first.into_iter().chain(percentiles).collect()
}

/// Counts of latencies of at least each power of two: exact, unlike a logarithm
/// of floating point, and computed in one pass without keeping any latency.
fn aggregates() -> Vec<Expr> {
    let percentiles = PERCENTILES.map(|(name, _, q)| latency_percentile(q).alias(name));
    let at_least = (0..BUCKETS).map(|bucket| {
        let reached = col(columns::LATENCY_NS).gt_eq(lit(1_i64 << bucket));
        reached.cast(DataType::Int64).sum().alias(bucket_name(bucket))
    });
    std::iter::once(rows().alias("count")).chain(percentiles).chain(at_least).collect()
}

fn bucket_name(bucket: u32) -> String {
    format!("bucket_{bucket}")
}

fn add(latency: &mut Latency, frame: &DataFrame, names: &[String]) -> Result<()> {
    let count = ints(frame, "count")?;
    let percentiles: Vec<Int64Chunked> =
        PERCENTILES.iter().map(|(name, ..)| ints(frame, name)).collect::<Result<_>>()?;
    let at_least: Vec<Int64Chunked> =
        (0..BUCKETS).map(|bucket| ints(frame, &bucket_name(bucket))).collect::<Result<_>>()?;
    for (row, name) in names.iter().enumerate() {
        let operations = count.get(row).unwrap_or(0);
        let values = percentiles.iter().map(|column| column.get(row).into());
        let first = [Value::Text(name.clone()), Value::Int(operations)];
        latency.percentiles.rows.push(first.into_iter().chain(values).collect());
        let at_least = at_least.iter().map(|column| column.get(row).unwrap_or(0)).collect();
        for (bucket, count) in buckets(operations, at_least) {
            latency.histogram.rows.push(vec![
                Value::Text(name.clone()),
                Value::Int(if bucket == 0 { 0 } else { 1 << bucket }),
                Value::Int(1 << (bucket + 1)),
                Value::Int(count),
            ]);
        }
    }
    Ok(())
}

/// Bucket and count, from the first to the last bucket that is not empty.
fn buckets(operations: i64, mut at_least: Vec<i64>) -> Vec<(u32, i64)> {
    // What is below 1 ns is in the first bucket too.
    at_least[0] = operations;
    at_least.push(0);
    let counts: Vec<(u32, i64)> =
        (0..BUCKETS).zip(at_least.windows(2).map(|pair| pair[0] - pair[1])).collect();
    let filled = |(_, count): &(u32, i64)| *count > 0;
    match (counts.iter().position(filled), counts.iter().rposition(filled)) {
        (Some(first), Some(last)) => counts[first..=last].to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, buckets};

    #[test]
    fn buckets_run_from_the_first_to_the_last_that_is_filled() {
        // Latencies 0, 4, 5 and 16.
        let at_least = (0..BUCKETS).map(|bucket| match bucket {
            0..=2 => 3,
            3..=4 => 1,
            _ => 0,
        });
        let expected = [(0, 1), (1, 0), (2, 2), (3, 0), (4, 1)];
        assert_eq!(buckets(4, at_least.collect()), expected);
        assert_eq!(buckets(0, vec![0; BUCKETS as usize]), []);
    }
}
