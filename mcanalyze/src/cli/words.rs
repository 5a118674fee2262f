//! How single words of the command line are read.

use std::time::Duration;

use mcrec_schema::codes::Op;

use crate::files::slice::When;

/// One of the words that there are.
pub(super) fn word<'a>(
    text: &str,
    what: &str,
    mut words: impl Iterator<Item = &'a str> + Clone,
) -> Result<String, String> {
    let all: Vec<&str> = words.clone().collect();
    if words.any(|word| word == text) {
        return Ok(text.to_owned());
    }
    Err(format!("there is no such {what}; there are {}", all.join(" ")))
}

/// A command as the format has it.
pub(super) fn op(text: &str) -> Result<String, String> {
    word(text, "operation", Op::ALL.iter().map(|op| op.as_str()))
}

/// Bytes: `100`, `4KiB`, `1M`.
pub(super) fn size(text: &str) -> Result<i64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let unit = match text[digits.len()..].trim_start() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err("write it as 100, 4KiB, 1MiB or 2GiB".to_owned()),
    };
    let number: i64 = digits.parse().map_err(|_| "write it as 100, 4KiB or 1MiB".to_owned())?;
    number.checked_mul(1 << unit).filter(|size| *size >= 0).ok_or("that is too large".to_owned())
}

/// A point in time, by itself or after the start of the capture.
pub(super) fn when(text: &str) -> Result<When, String> {
    let micros = |duration: Duration| i64::try_from(duration.as_micros());
    if let Some(after) = text.strip_prefix('+') {
        let after = humantime::parse_duration(after)
            .map_err(|error| format!("{error}; write it as +10s or +1m30s"))?;
        return micros(after).map(When::After).map_err(|_| "that is too long".to_owned());
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|error| {
        format!("{error}; write it as 2026-11-24T21:00:00Z, or as +10s after the start")
    })?;
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    micros(since).map(When::At).map_err(|_| "that is too late".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{When, op, size, when};

    #[test]
    fn times_are_absolute_or_after_the_start() {
        assert_eq!(when("+1.5s").ok().or(when("+1s500ms").ok()), Some(When::After(1_500_000)));
        assert_eq!(when("1970-01-01T00:00:10.000001Z"), Ok(When::At(10_000_001)));
        assert_eq!(when("1970-01-01 00:00:10"), Ok(When::At(10_000_000)));
        for refused in ["", "10", "+", "+10", "yesterday", "21:00"] {
            assert!(when(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn operations_are_words_of_the_format() {
        assert!(op("get").is_ok() && op("connect").is_ok());
        assert!(op("GET").is_err() && op("mg").is_err() && op("").is_err());
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!((size("0"), size("4KiB"), size("1M")), (Ok(0), Ok(4096), Ok(1 << 20)));
        assert!(size("-1").is_err() && size("1kb").is_err() && size("9999999999G").is_err());
    }
}
