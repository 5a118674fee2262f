//! Answers as text, JSON or CSV. Knows nothing of how they came about.

pub(crate) mod check;
pub(crate) mod csv;
pub(crate) mod info;
pub(crate) mod json;
pub(crate) mod text;

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::files::Made;
use text::{bytes, grouped};

/// What there is to say of a capture that was made at `path`.
pub(crate) fn made(path: &Path, made: &Made) -> Vec<String> {
    let size = bytes(i64::try_from(made.bytes).unwrap_or(i64::MAX));
    let (written, read) = (grouped(made.written), grouped(made.read));
    let mut remarks = vec![format!("wrote {written} of {read} rows to {}, {size}", path.display())];
    if made.late > 0 {
        let late = grouped(made.late);
        remarks.push(format!("{late} rows come after rows of a later time: they were too late"));
    }
    if made.incomplete {
        remarks.push("the recording is incomplete; mcanalyze info says what is missing".to_owned());
    }
    remarks
}

/// A point in time, µs since the epoch, as RFC 3339 with microseconds.
fn rfc3339(micros: i64) -> String {
    humantime::format_rfc3339_micros(system_time(micros)).to_string()
}

fn system_time(micros: i64) -> SystemTime {
    /// The last moment that RFC 3339 can write: the end of the year 9999.
    const MAX: u64 = 253_402_300_799_999_999;
    let micros = u64::try_from(micros).unwrap_or(0).min(MAX);
    UNIX_EPOCH + Duration::from_micros(micros)
}
