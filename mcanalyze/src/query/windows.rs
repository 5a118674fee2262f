//! How many operations are there in each of many windows of time?

use anyhow::Result;
use mcrec_schema::columns;

use crate::{
    capture::Capture,
    scan::{added, scan},
};

/// The operations that are asked for in each of `count` windows of `length` µs, of which the
/// first begins at `start`. What comes before or after them belongs to the first or last:
/// it was under way when a recording began, or ended.
///
/// # Errors
///
/// When the capture cannot be read.
pub(super) fn counts(capture: &Capture, start: i64, length: i64, count: usize) -> Result<Vec<i64>> {
    let begin = || vec![0_i64; count];
    let threads = scan(capture, &[columns::TS], begin, |counts, rows| {
        let times = rows.times()?;
        for row in (0..rows.len()).filter(|row| rows.is_wanted(*row)) {
            counts[place(times[row], start, length, count)] += rows.weight(row);
        }
        Ok(())
    })?;
    Ok(added(threads))
}

/// The number of the window that a time lies in.
pub(super) fn place(time: i64, start: i64, length: i64, count: usize) -> usize {
    let at = time.saturating_sub(start) / length;
    usize::try_from(at).unwrap_or(0).min(count - 1)
}
