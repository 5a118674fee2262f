//! What must be known of a capture before any answer about it is believed.

use mcrec_capture::State;
use mcrec_schema::footer::{Footer, Incomplete, Losses, Possible};

use crate::{
    capture::{Capture, extent, seconds},
    sampling::Sampling,
};

/// What stands above every answer. It takes no look at the rows.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    /// What each file says of itself.
    pub(crate) footers: Vec<Footer>,
    /// Start of the recording, or of what is asked for, µs since the epoch, UTC.
    pub(crate) start: i64,
    /// End of it, µs since the epoch, UTC.
    pub(crate) end: i64,
    /// How long was recorded, seconds.
    pub(crate) seconds: f64,
    /// Nothing was recorded in the time that is asked for; start, end and length are those of
    /// what was.
    pub(crate) is_outside: bool,
    /// What was asked for, in words, if not everything.
    pub(crate) asked: Option<String>,
    /// Operations that were seen.
    pub(crate) seen: u64,
    /// Operations that were lost, by reason.
    pub(crate) losses: Losses,
    /// What may be missing beside those.
    pub(crate) possible: Possible,
    /// Intervals in which operations were lost, or may have been: µs since the epoch, and
    /// how many were.
    pub(crate) lossy: Vec<[i64; 3]>,
    /// What is there but incomplete.
    pub(crate) incomplete: Incomplete,
    /// Requests of commands that the source cannot see.
    pub(crate) requests_without_operation: u64,
    /// Files whose recording did not end, or has not yet.
    pub(crate) unended: usize,
    /// Files that had lost their footer, and with it how much was lost.
    pub(crate) recovered: usize,
    /// If the capture is a sample: then totals are scaled, and so estimates; the number
    /// of all operations is counted.
    pub(crate) sampling: Option<Sampling>,
    /// Whether totals are scaled.
    pub(crate) is_scaled: bool,
}

impl Heading {
    /// Whether there is nothing that a reader of any answer must know.
    pub(crate) fn is_complete(&self) -> bool {
        self.losses.total() == 0
            && self.possible.total() == 0
            && self.incomplete.total() == 0
            && self.unended == 0
            && self.recovered == 0
    }

    /// How many operations were lost at most. `None` where that is not known: through
    /// system calls it is reads that are lost, each with one operation or more, and where
    /// the kernel skipped programs more may be.
    pub(crate) fn lost_at_most(&self) -> Option<u64> {
        let all_are =
            self.losses.are_at_least() && self.footers.iter().all(Footer::losses_are_operations);
        (all_are && self.possible.total() == 0).then(|| self.losses.total())
    }
}

/// Intervals in which operations were lost, or may have been, of the time that is asked for:
/// µs since the epoch, and how many were.
pub(super) fn lossy(capture: &Capture) -> Vec<[i64; 3]> {
    let lost = capture.footers.iter().flat_map(|footer| &footer.loss.series);
    let mut lossy: Vec<[i64; 3]> = asked_for(capture, lost).collect();
    lossy.extend(possibly_lossy(capture).map(|[from, to, _]| [from, to, 0]));
    lossy.sort_unstable();
    lossy
}

/// Intervals in which operations may have been lost, and how many reads or replies at most.
fn possibly_lossy(capture: &Capture) -> impl Iterator<Item = [i64; 3]> {
    asked_for(capture, capture.footers.iter().flat_map(|footer| &footer.loss.possible_series))
}

/// Those of a series that count something, in the time that is asked for.
fn asked_for<'a>(
    capture: &Capture,
    series: impl Iterator<Item = &'a [i64; 3]>,
) -> impl Iterator<Item = [i64; 3]> {
    let (first, last) = (capture.filter.from.unwrap_or(i64::MIN), capture.filter.to);
    let asked = move |from: i64, to: i64| to >= first && last.is_none_or(|last| from < last);
    // What a file says is not always so: an interval that ends before it begins is none.
    let counts = move |&[from, to, count]: &[i64; 3]| count > 0 && from <= to && asked(from, to);
    series.copied().filter(counts)
}

/// The losses of those intervals, out of `all`.
fn losses_of(all: &Losses, lossy: &[[i64; 3]]) -> Losses {
    all.some(lossy.iter().map(|[.., lost]| lost.max(&0).unsigned_abs()).sum())
}

/// What may be missing, of the time that is asked for.
fn possible(capture: &Capture) -> Possible {
    if capture.filter.is_window() {
        let skipped = possibly_lossy(capture).map(|[.., count]| count.unsigned_abs());
        return Possible { skipped_runs: skipped.fold(0, u64::saturating_add) };
    }
    let footers = capture.footers.iter();
    footers.fold(Possible::default(), |sum, footer| sum + footer.loss.possible)
}

/// The heading of answers about the capture.
pub(crate) fn heading(capture: &Capture) -> Heading {
    let footers = &capture.footers;
    let sum = |count: fn(&Footer) -> u64| footers.iter().map(count).fold(0, u64::saturating_add);
    let mut spans = capture.spans();
    let is_outside = spans.is_empty();
    if is_outside {
        // This was recorded.
        spans = footers.iter().flat_map(Footer::spans).collect();
    }
    let (start, end) = extent(&spans).unwrap_or_default();
    let losses = footers.iter().fold(Losses::default(), |sum, footer| sum + footer.loss.losses);
    let lossy = lossy(capture);
    Heading {
        start,
        end,
        seconds: seconds(spans),
        is_outside,
        asked: capture.filter.describe(),
        seen: sum(|footer| footer.loss.seen),
        losses: if capture.filter.is_window() { losses_of(&losses, &lossy) } else { losses },
        possible: possible(capture),
        lossy,
        incomplete: footers
            .iter()
            .fold(Incomplete::default(), |sum, footer| sum + footer.loss.incomplete),
        requests_without_operation: sum(|footer| footer.source.requests_without_operation),
        unended: capture
            .files
            .iter()
            .filter(|file| file.state() != State::Whole || file.footer().capture.ended.is_none())
            .count(),
        recovered: footers.iter().filter(|footer| footer.capture.recovered.is_some()).count(),
        sampling: capture.sampling.clone(),
        is_scaled: capture.is_scaled(),
        footers: footers.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Capture, heading};

    #[test]
    fn how_much_was_lost_at_most_is_known_where_operations_are_counted_one_by_one() {
        let lossy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data/lossy.parquet");
        let mut heading = heading(&Capture::open(&[lossy]).unwrap());
        let lost = heading.losses.total();
        assert!(lost > 0);
        assert_eq!(heading.lost_at_most(), Some(lost));
        "syscalls".clone_into(&mut heading.footers[0].source.name);
        assert_eq!(heading.lost_at_most(), None);
        let losses = &mut heading.footers[0].loss.losses;
        losses.write_failed = std::mem::take(&mut losses.ring_full);
        assert_eq!(heading.lost_at_most(), Some(lost));
    }
}
