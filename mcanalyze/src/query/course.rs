//! How did traffic go, in a line?

use anyhow::Result;

use super::{
    heading::lossy,
    windows::{counts, place},
};
use crate::{capture::Capture, query::per_second};

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
    let (start, end) = capture.extent().unwrap_or_default();
    let part = end.saturating_sub(start) / i64::try_from(PARTS)?;
    if part == 0 {
        return Ok(Course::default());
    }
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let seconds = part as f64 / 1e6;
    let counts = counts(capture, start, part, PARTS)?;
    let rates = counts.into_iter().filter_map(|count| per_second(count, seconds)).collect();
    let mut marked = vec![false; PARTS];
    for [from, to, _] in lossy(capture) {
        let (first, last) = (place(from, start, part, PARTS), place(to, start, part, PARTS));
        marked[first..=last.max(first)].fill(true);
    }
    Ok(Course { rates, lossy: marked })
}
