//! What must be known of a capture while it is looked at.

use mcrec_capture::{State, is_being_recorded};
use mcrec_schema::footer::Footer;

use crate::{
    capture::Capture,
    query::heading::heading,
    render::text::{grouped, inert},
};

/// What a capture says of itself, as it is now.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// What it is called.
    pub(super) name: String,
    /// Start and end, µs since the epoch, UTC.
    pub(super) start: i64,
    pub(super) end: i64,
    /// How long was recorded.
    pub(super) seconds: f64,
    pub(super) rows: u64,
    pub(super) is_sampled: bool,
    /// What must be known before any figure is believed, the gravest first.
    pub(super) warnings: Vec<String>,
    /// When operations were lost, and how many.
    pub(super) lossy: Vec<[i64; 3]>,
}

impl About {
    /// What there is to know of a capture that was opened, of which files are `gone` that
    /// are counted all the same.
    pub(super) fn of(capture: &Capture, gone: &[Footer]) -> Self {
        let mut with_gone = capture.clone();
        with_gone.footers.extend_from_slice(gone);
        let heading = heading(&with_gone);
        let names = capture.files.iter().map(mcrec_capture::Capture::path);
        let names: Vec<_> = names.filter_map(|path| path.file_name()).collect();
        let name = match names.as_slice() {
            [first] => inert(&first.to_string_lossy()),
            [first, ..] => {
                format!("{} and {} more", inert(&first.to_string_lossy()), names.len() - 1)
            }
            [] => String::new(),
        };
        let mut warnings = Vec::new();
        let lost = heading.losses.of_operations().total();
        if lost > 0 {
            let lost = grouped(lost);
            warnings.push(match heading.lost_at_most() {
                Some(_) => format!("LOST {lost} of {}", grouped(heading.seen)),
                None if heading.losses.are_at_least() => format!("LOST at least {lost}"),
                None => format!("LOST about {lost}"),
            });
        }
        if heading.losses.decode_error > 0 {
            let times = grouped(heading.losses.decode_error);
            warnings.push(format!("MISREAD {times} times: figures may be too low or too high"));
        }
        if heading.possible.total() > 0 {
            let possible = grouped(heading.possible.total());
            warnings.push(format!("MAY LACK up to {possible} reads or replies"));
        }
        if let Some(sampling) = &heading.sampling {
            let (densest, sparsest) = (sampling.densest, sampling.sparsest);
            warnings.push(match sampling.changes() {
                true => format!("SAMPLED 1/{densest} to 1/{sparsest} of the keys, ~ is scaled"),
                false => format!("SAMPLED 1/{densest} of the keys, ~ is scaled"),
            });
        }
        if heading.recovered > 0 {
            warnings.push("RECOVERED: how many operations are missing is not known".to_owned());
        }
        if heading.incomplete.total() > 0 {
            warnings.push(format!("INCOMPLETE {}", grouped(heading.incomplete.total())));
        }
        let is_open = |file: &&mcrec_capture::Capture| is_being_recorded(file.path());
        let recorded = capture.files.iter().filter(|f| f.footer().capture.ended.is_none());
        if recorded.clone().any(|file| is_open(&file)) {
            warnings.push("STILL BEING RECORDED".to_owned());
        } else if recorded.count() > 0 || capture.files.iter().any(|f| f.state() != State::Whole) {
            warnings.push("CUT OFF: its recorder did not end it".to_owned());
        }
        if let Some(asked) = &heading.asked {
            warnings.push(format!("ONLY {}", inert(asked)));
        }
        Self {
            name,
            start: heading.start,
            end: heading.end,
            seconds: heading.seconds,
            rows: capture.files.iter().map(mcrec_capture::Capture::rows).sum::<u64>()
                + gone.iter().map(|footer| footer.loss.written).sum::<u64>(),
            is_sampled: heading.is_scaled,
            warnings,
            lossy: heading.lossy,
        }
    }
}
