//! Answers as text, JSON or CSV. Knows nothing of how they came about.

pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod text;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
