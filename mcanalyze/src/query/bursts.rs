//! How bursty is the traffic? What a second does on average says little of what a server
//! must bear for some milliseconds.

use std::time::Duration;

use anyhow::Result;

use super::{heading::lossy, per_second, ratio, windows::counts};
use crate::{
    capture::Capture,
    table::{Column, Section, Table, Unit, Value},
};

/// Lengths of windows, µs, each a multiple of those before.
const WINDOWS: [i64; 7] =
    [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 60_000_000, 3_600_000_000];
/// Windows of the shortest length that are counted one by one: 1 ms for an hour.
const COUNTS_MAX: i64 = 1 << 22;

/// The busiest window of each length.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn bursts(capture: &Capture) -> Result<Section> {
    let (start, end) = capture.extent().unwrap_or_default();
    let length = end.saturating_sub(start).max(1);
    // With two of a length, one of them can be the busier.
    let is_of_use = |window: &i64| length / window < COUNTS_MAX && *window <= length / 2;
    let windows: Vec<i64> = WINDOWS.into_iter().filter(is_of_use).collect();
    let shortest = windows.first().copied().unwrap_or(length);
    let counts = counts(capture, start, shortest, usize::try_from(length / shortest)? + 1)?;
    let rows = windows.iter().map(|window| row(&counts, start, shortest, *window));
    let table = Table { columns: COLUMNS.to_vec(), rows: rows.collect() };
    let note = note_of_losses(&windows, &table.rows, &lossy(capture));
    let section = Section::lines("bursts", "the busiest window of each length", table)
        .scaled(capture.is_scaled(), &["operations", "rate"])
        .or_else("the recording is too short");
    let section = section.note(
        "× mean: against the mean of all windows of that length; idle: those without an operation.",
    );
    Ok(note.into_iter().fold(section, Section::note))
}

/// Which of the busiest windows were even busier, because operations were lost in them.
fn note_of_losses(windows: &[i64], rows: &[Vec<Value>], lossy: &[[i64; 3]]) -> Option<String> {
    let names = windows.iter().zip(rows).filter_map(|(window, row)| {
        let [Value::Text(name), Value::Int(from), ..] = row.as_slice() else { return None };
        let to = from.saturating_add(*window);
        let is_within = |[begin, end, _]: &[i64; 3]| *begin < to && end >= from;
        lossy.iter().any(is_within).then_some(name.as_str())
    });
    let names: Vec<&str> = names.collect();
    (!names.is_empty()).then(|| {
        format!("Operations were lost in the busiest {}: there were more.", names.join(", "))
    })
}

const COLUMNS: [Column; 6] = [
    Column::new("window", "window", Unit::Word),
    Column::new("time", "time", Unit::Time),
    Column::new("operations", "operations", Unit::Count),
    Column::new("rate", "req/s", Unit::Rate),
    Column::new("times_mean", "× mean", Unit::Number),
    Column::new("idle", "idle", Unit::Ratio),
];

fn row(counts: &[i64], start: i64, shortest: i64, window: i64) -> Vec<Value> {
    let in_one = usize::try_from(window / shortest).unwrap_or(1).max(1);
    let sums: Vec<i64> = counts.chunks(in_one).map(|counts| counts.iter().sum()).collect();
    // Of equal ones the first.
    let busiest = sums.iter().enumerate().rev().max_by_key(|(_, count)| **count);
    let (at, most) = busiest.map_or((0, 0), |(at, count)| (at, *count));
    #[expect(clippy::cast_precision_loss, reason = "of counts, and of some hours")]
    let (seconds, mean) =
        (window as f64 / 1e6, sums.iter().sum::<i64>() as f64 / sums.len().max(1) as f64);
    #[expect(clippy::cast_precision_loss, reason = "of counts")]
    let times_mean = (mean > 0.0).then(|| most as f64 / mean);
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let idle = sums.iter().filter(|count| **count == 0).count();
    let name = humantime::format_duration(Duration::from_micros(window.unsigned_abs()));
    vec![
        Value::Text(name.to_string()),
        Value::Int(start.saturating_add(count(at).saturating_mul(window))),
        Value::Int(most),
        per_second(most, seconds).into(),
        times_mean.into(),
        ratio(count(idle), count(sums.len())).into(),
    ]
}
