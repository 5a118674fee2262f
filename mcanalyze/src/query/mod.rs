//! The questions, one a file: a capture and parameters in, an answer out.

pub(crate) mod bursts;
pub(crate) mod clients;
pub(crate) mod course;
pub(crate) mod diff;
pub(crate) mod heading;
pub(crate) mod heatmap;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod misses;
mod neighbours;
mod operation;
pub(crate) mod popularity;
pub(crate) mod prefixes;
pub(crate) mod series;
pub(crate) mod sizes;
pub(crate) mod slow;
pub(crate) mod sql;
pub(crate) mod summary;
pub(crate) mod top;
mod windows;

use crate::table::{Column, Section, Style, Table, Unit, Value};

/// A name and a figure to a line, with the unit of each: `count`, `ratio`, `bytes`, `ns`.
fn figures(
    name: &'static str,
    title: &str,
    rows: Vec<(&'static str, Value, &'static str)>,
) -> Section {
    let columns = vec![
        Column::new("figure", "figure", Unit::Word),
        Column::new("value", "value", Unit::Number),
        Column::new("unit", "unit", Unit::Word),
    ];
    let rows = rows.into_iter().map(|(name, value, unit)| vec![name.into(), value, unit.into()]);
    let table = Table { columns, rows: rows.collect() };
    Section { style: Style::Figures, ..Section::lines(name, title, table) }
}

/// `part / whole`, where there is a whole.
pub(crate) fn ratio(part: i64, whole: i64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 operations")]
    let (part, whole) = (part as f64, whole as f64);
    (whole > 0.0).then(|| part / whole)
}

/// `amount` a second over `seconds`, where there are any.
pub(crate) fn per_second(amount: i64, seconds: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    let amount = amount as f64;
    (seconds > 0.0).then(|| amount / seconds)
}

/// Kilobits (1000 bits) a second that `bytes` over `seconds` are.
pub(crate) fn kbps(bytes: i64, seconds: f64) -> Option<f64> {
    per_second(bytes, seconds).map(|rate| rate * 8.0 / 1000.0)
}
