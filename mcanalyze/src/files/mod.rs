//! Tools for captures as files: what is in one, whether it keeps its promises, and
//! new ones from those that are there. Row by row, in memory that does not grow with
//! the capture.

pub(crate) mod anonymise;
pub(crate) mod check;
pub(crate) mod info;
pub(crate) mod merge;
pub(crate) mod output;
pub(crate) mod partial;
mod rows;
pub(crate) mod slice;

pub(crate) use partial::Destination;

use mcrec_schema::{derived::Step, footer::Footer};

/// What a tool made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    /// Rows of the captures that it was made from.
    pub(crate) read: u64,
    /// Rows that it has.
    pub(crate) written: u64,
    /// Size, bytes.
    pub(crate) bytes: u64,
    /// Rows that are not in the order of time, as too many others are in between.
    pub(crate) late: u64,
    /// It, or what it was made from, is not all that there was to record.
    pub(crate) incomplete: bool,
}

/// A step that is about to be done to captures with these footers.
fn step<'a>(how: &str, footers: impl IntoIterator<Item = &'a Footer>) -> Step {
    let mut from: Vec<String> =
        footers.into_iter().map(|footer| footer.capture.id.clone()).collect();
    from.dedup();
    Step {
        how: how.to_owned(),
        mcanalyze_version: env!("CARGO_PKG_VERSION").to_owned(),
        from,
        slice: None,
        parts: Vec::new(),
    }
}

/// Whether the recording has its end and lost nothing, as far as is known.
fn is_complete(footer: &Footer) -> bool {
    footer.capture.ended.is_some() && footer.capture.recovered.is_none() && footer.loss.is_none()
}
