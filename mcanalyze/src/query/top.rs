//! Which keys stand out?

use anyhow::{Context, Result};
use mcrec_schema::{codes::Status, columns};
use polars::prelude::{DataFrame, Int64Chunked, LazyFrame, col, lit};

use super::{count_of, ints, kbps, latency_percentile, of_key, order, per_second, ratio, rows};
use crate::{
    capture::{Capture, collect},
    cli::SortBy,
    sampling::Sampling,
    table::{Column, Need, Table, Unit, Value},
};

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters<'a> {
    /// How many keys.
    pub(crate) top: u32,
    /// By what.
    pub(crate) sort: SortBy,
    /// Smallest first.
    pub(crate) reverse: bool,
    /// This key only.
    pub(crate) key: Option<&'a str>,
    /// All operations of the capture, of which each key has a share.
    pub(crate) operations: i64,
}

const COLUMNS: [Column; 13] = [
    Column { name: "key", title: "key", unit: Unit::Key, need: Need::Always },
    Column { name: "calls", title: "calls", unit: Unit::Count, need: Need::Always },
    Column { name: "share", title: "share", unit: Unit::Ratio, need: Need::Room },
    Column { name: "hits", title: "hits", unit: Unit::Count, need: Need::Program },
    Column { name: "misses", title: "misses", unit: Unit::Count, need: Need::Program },
    Column { name: "hit_ratio", title: "hit ratio", unit: Unit::Ratio, need: Need::Always },
    Column { name: "value_size", title: "size", unit: Unit::Bytes, need: Need::Room },
    Column { name: "rate", title: "req/s", unit: Unit::Rate, need: Need::Always },
    Column { name: "bandwidth_kbps", title: "kbps", unit: Unit::Kbps, need: Need::Room },
    Column { name: "bytes", title: "bytes", unit: Unit::Bytes, need: Need::Always },
    Column { name: "latency_p50_ns", title: "p50", unit: Unit::Nanoseconds, need: Need::Always },
    Column { name: "latency_p99_ns", title: "p99", unit: Unit::Nanoseconds, need: Need::Always },
    Column { name: "last", title: "last", unit: Unit::Time, need: Need::Room },
];

/// Only where the sample changed.
const RECORDED: Column =
    Column { name: "recorded", title: "recorded", unit: Unit::Word, need: Need::Always };

/// Whether a key of a sample was recorded all the time.
fn recorded(sampling: &Sampling, key: &str) -> Value {
    match sampling.has_all_of(key) {
        Some(true) => Value::Text("always".to_owned()),
        Some(false) => Value::Text("partly".to_owned()),
        None => Value::Null,
    }
}

/// The top keys. Percentiles are the expensive part, so they are taken of the
/// top keys alone, in a second pass, unless they decide which those are.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn top(capture: &Capture, parameters: &Parameters<'_>) -> Result<Table> {
    let keyed =
        of_key(capture.operations(), parameters.key).filter(col(columns::KEY).is_not_null());
    let mut aggregates = vec![
        rows().alias("calls"),
        count_of(Status::Hit).alias("hits"),
        count_of(Status::Miss).alias("misses"),
        col(columns::VALUE_SIZE).sum().alias("bytes"),
        col(columns::VALUE_SIZE).drop_nulls().last().alias("value_size"),
        col(columns::TS).max().alias("last"),
    ];
    if parameters.sort == SortBy::Latency {
        aggregates.push(latency_percentile(0.99).alias("latency_p99_ns"));
    }
    let by = match parameters.sort {
        SortBy::Calls | SortBy::Rate => "calls",
        SortBy::Bytes => "bytes",
        SortBy::Size => "value_size",
        SortBy::Misses => "misses",
        SortBy::Latency => "latency_p99_ns",
        SortBy::Last => "last",
    };
    let top = keyed
        .clone()
        .group_by([col(columns::KEY)])
        .agg(aggregates)
        .sort_by_exprs([col(by), col(columns::KEY)], order(parameters.reverse))
        .limit(parameters.top);
    let top = collect(top)?;
    let latencies = latencies(keyed, &top)?;
    table(capture, parameters, &top, &latencies)
}

/// p50 and p99 of the keys in `top`, in no particular order.
fn latencies(keyed: LazyFrame, top: &DataFrame) -> Result<DataFrame> {
    let keys = top.column(columns::KEY).context("no keys")?.as_materialized_series().clone();
    let is_top = col(columns::KEY).is_in(lit(keys).implode(true), false);
    collect(keyed.filter(is_top).group_by([col(columns::KEY)]).agg([
        latency_percentile(0.5).alias("latency_p50_ns"),
        latency_percentile(0.99).alias("latency_p99_ns"),
    ]))
}

fn table(
    capture: &Capture,
    parameters: &Parameters<'_>,
    top: &DataFrame,
    latencies: &DataFrame,
) -> Result<Table> {
    let seconds = capture.seconds();
    let keys = texts(top)?;
    let column = |name: &str| ints(top, name);
    let (calls, hits, misses) = (column("calls")?, column("hits")?, column("misses")?);
    let (bytes, sizes, last) = (column("bytes")?, column("value_size")?, column("last")?);
    let timed = texts(latencies)?;
    let (p50, p99) = (ints(latencies, "latency_p50_ns")?, ints(latencies, "latency_p99_ns")?);
    let changing = capture.sampling.as_ref().filter(|sampling| sampling.changes());
    let rows = keys.into_iter().enumerate().map(|(at_row, key)| {
        let number = |column: &Int64Chunked| column.get(at_row).unwrap_or(0);
        let at = timed.iter().position(|other| *other == key);
        let (calls, hits, misses) = (number(&calls), number(&hits), number(&misses));
        let bytes = number(&bytes);
        let recorded = changing.map(|sampling| recorded(sampling, &key));
        let mut row = vec![
            Value::Text(key),
            Value::Int(calls),
            ratio(calls, parameters.operations).into(),
            Value::Int(hits),
            Value::Int(misses),
            ratio(hits, hits + misses).into(),
            sizes.get(at_row).into(),
            per_second(calls, seconds).into(),
            kbps(bytes, seconds).into(),
            Value::Int(bytes),
            at.and_then(|at| p50.get(at)).into(),
            at.and_then(|at| p99.get(at)).into(),
            last.get(at_row).into(),
        ];
        row.extend(recorded);
        row
    });
    let columns = COLUMNS.into_iter().chain(changing.map(|_| RECORDED));
    Ok(Table { columns: columns.collect(), rows: rows.collect() })
}

fn texts(frame: &DataFrame) -> Result<Vec<String>> {
    let keys =
        frame.column(columns::KEY).and_then(|keys| keys.str().cloned()).context("no keys")?;
    Ok(keys.iter().flatten().map(str::to_owned).collect())
}
