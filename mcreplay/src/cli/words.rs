//! How single words of the command line are read.

use std::{net::IpAddr, net::SocketAddr, time::Duration};

use mcrec_schema::codes::{Op, Status};
use regex::Regex;

use crate::schedule::Pace;

/// A point in time, by itself or after the start of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// µs since the epoch, UTC.
    At(i64),
    /// µs since the start of the recording.
    After(i64),
}

impl When {
    /// µs since the epoch, UTC, of a recording that began at `start`.
    pub(crate) fn absolute(self, start: i64) -> i64 {
        match self {
            Self::At(time) => time,
            Self::After(time) => start.saturating_add(time),
        }
    }
}

fn word<'a>(
    text: &str,
    what: &str,
    words: impl Iterator<Item = &'a str> + Clone,
) -> Result<String, String> {
    if words.clone().any(|word| word == text) {
        return Ok(text.to_owned());
    }
    let all: Vec<&str> = words.collect();
    Err(format!("there is no such {what}; there are {}", all.join(" ")))
}

/// A command as the format has it.
pub(super) fn op(text: &str) -> Result<String, String> {
    word(text, "operation", Op::ALL.iter().map(|op| op.as_str()))
}

/// An outcome as the format has it.
pub(super) fn status(text: &str) -> Result<String, String> {
    word(text, "outcome", Status::ALL.iter().map(|status| status.as_str()))
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

/// A point in time.
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

pub(super) fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the expression is too big".to_owned(),
        error => error.to_string(),
    })
}

pub(super) fn client(text: &str) -> Result<String, String> {
    let is_address = text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok();
    if is_address || text == "unix" || text == "unknown" {
        return Ok(text.to_owned());
    }
    Err("it is no address: 203.0.113.7, 203.0.113.7:40708, [2001:db8::7]:40708".to_owned())
}

/// Nanoseconds.
pub(super) fn latency(text: &str) -> Result<i64, String> {
    let latency: Duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it as 500us or 2ms"))?;
    i64::try_from(latency.as_nanos()).map_err(|_| "that is too long".to_owned())
}

/// A time that the target is waited for.
pub(super) fn patience(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it as 5s or 500ms"))?;
    if time.is_zero() { Err("it must be some time".to_owned()) } else { Ok(time) }
}

/// `1`, `0.5`, `max`; how many requests may be open then, another word says.
pub(super) fn speed(text: &str) -> Result<Pace, String> {
    if text == "max" {
        return Ok(Pace::Max(1));
    }
    let speed: f64 = text.parse().map_err(|_| "write it as 1, 0.5, 4 or max".to_owned())?;
    // Slower than that, and gaps have no number.
    let sensible = (1e-6..=1e6).contains(&speed);
    if sensible { Ok(Pace::Recorded(speed)) } else { Err("0.000001 to 1000000".to_owned()) }
}

/// Operations a second: `500`, `50k`, `1.5M`.
pub(super) fn rate(text: &str) -> Result<Pace, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    let wrong = || "write it as 500, 50k or 1.5M, operations a second".to_owned();
    let rate = digits.parse::<f64>().map_err(|_| wrong())? * unit;
    if (1e-3..=1e9).contains(&rate) { Ok(Pace::Rate(rate)) } else { Err(wrong()) }
}

/// 0 to 1, or percent.
pub(super) fn part(text: &str) -> Result<f64, String> {
    let (digits, unit) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 0.01));
    let part = digits.trim().parse::<f64>().map(|part| part * unit);
    part.ok().filter(|part| (0.0..=1.0).contains(part)).ok_or("write it as 0.5 or 50%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Pace, When, latency, part, rate, size, speed, when};

    #[test]
    fn words_are_read_or_refused() {
        assert_eq!(when("+1s500ms"), Ok(When::After(1_500_000)));
        assert_eq!(when("1970-01-01T00:00:10.000001Z"), Ok(When::At(10_000_001)));
        assert_eq!((speed("max"), speed("0.5")), (Ok(Pace::Max(1)), Ok(Pace::Recorded(0.5))));
        assert!(speed("0").is_err() && speed("-1").is_err() && speed("nan").is_err());
        assert_eq!(rate("50k"), Ok(Pace::Rate(50_000.0)));
        assert_eq!(rate("1.5M"), Ok(Pace::Rate(1_500_000.0)));
        assert!(rate("0").is_err() && rate("fast").is_err());
        assert_eq!((part("0.5"), part("100%")), (Ok(0.5), Ok(1.0)));
        assert!(part("2").is_err() && latency("5").is_err() && size("1kb").is_err());
    }
}
