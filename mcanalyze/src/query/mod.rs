//! The questions, one a file: a capture and parameters in, an answer out.

pub(crate) mod latency;
pub(crate) mod summary;
pub(crate) mod top;

use anyhow::{Context, Result};
use mcrec_schema::{codes::Status, columns};
use polars::prelude::{DataFrame, DataType, Expr, col, len, lit};

/// How many rows have `status`. As 64 bits: polars counts in 32.
fn count_of(status: Status) -> Expr {
    col(columns::STATUS).eq(lit(status.as_str())).cast(DataType::Int64).sum()
}

/// How many rows there are, as 64 bits.
fn rows() -> Expr {
    len().cast(DataType::Int64)
}

/// The number in the first row of a column.
fn int(frame: &DataFrame, column: &str) -> Result<Option<i64>> {
    let series = frame.column(column).context("a column of the answer is missing")?;
    let series = series.cast(&DataType::Int64).context("a column of the answer is not a number")?;
    Ok(series.i64().context("a column of the answer is not a number")?.get(0))
}

/// `part / whole`, where there is a whole.
fn ratio(part: i64, whole: i64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 operations")]
    let (part, whole) = (part as f64, whole as f64);
    (whole > 0.0).then(|| part / whole)
}

/// `amount` a second over `seconds`, where there are any.
fn per_second(amount: i64, seconds: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    let amount = amount as f64;
    (seconds > 0.0).then(|| amount / seconds)
}

/// Kilobits (1000 bits) a second that `bytes` over `seconds` are.
fn kbps(bytes: i64, seconds: f64) -> Option<f64> {
    per_second(bytes, seconds).map(|rate| rate * 8.0 / 1000.0)
}
