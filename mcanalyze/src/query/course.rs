//! How did traffic go, in a line?

use anyhow::Result;
use mcrec_schema::columns;

use super::heading::lossy;
use crate::{capture::Capture, scan::scan};

/// Parts that the time of a recording is cut into.
const PARTS: usize = 40;

/// Operations over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Course {
    /// Operations a second in each part of the time that was recorded, which are equally
    /// long.
    pub(crate) rates: Vec<f64>,
    /// In which of them operations were lost.
    pub(crate) lossy: Vec<bool>,
}

/// The course of the operations that are asked for. Empty where there is no time.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn course(capture: &Capture) -> Result<Course> {
    let spans = capture.spans();
    let (Some(start), Some(end)) =
        (spans.iter().map(|(start, _)| *start).min(), spans.iter().map(|(_, end)| *end).max())
    else {
        return Ok(Course::default());
    };
    let length = i128::from(end) - i128::from(start);
    if length < PARTS as i128 {
        return Ok(Course::default());
    }
    let part = |time: i64| {
        let at = (i128::from(time) - i128::from(start)) * PARTS as i128 / length;
        usize::try_from(at).unwrap_or(0).min(PARTS - 1)
    };
    let threads = scan(
        capture,
        &[columns::TS],
        || [0_i64; PARTS],
        |counts, rows| {
            let times = rows.times()?;
            for row in (0..rows.len()).filter(|row| rows.is_wanted(*row)) {
                counts[part(times[row])] += rows.weight(row);
            }
            Ok(())
        },
    )?;
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let seconds = length as f64 / 1e6 / PARTS as f64;
    let rate = |at: usize| {
        let count: i64 = threads.iter().map(|counts| counts[at]).sum();
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let count = count as f64;
        count / seconds
    };
    let mut marked = vec![false; PARTS];
    for [from, to, _] in lossy(capture) {
        marked[part(from)..=part(to).max(part(from))].fill(true);
    }
    Ok(Course { rates: (0..PARTS).map(rate).collect(), lossy: marked })
}
