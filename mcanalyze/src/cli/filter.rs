//! The words that choose operations.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::Args;
use mcrec_schema::{codes::Status, key::as_captured};
use regex::Regex;

use super::words::{op, size, when, word};
use crate::{by::UNKNOWN, files::slice::When};

/// Which operations to look at: those for which all that is asked for is so.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which operations")]
pub(crate) struct FilterArgs {
    /// These commands, as in get,set
    #[arg(long, value_name = "OP", value_delimiter = ',', value_parser = op)]
    pub(crate) op: Vec<String>,

    /// Keys in which this is found: '^user:[0-9]+$'. Keys are as they are printed, so
    /// that a byte that is no text is \\xNN to the expression
    #[arg(long, value_name = "REGEX", value_parser = regex)]
    pub(crate) key: Option<Regex>,

    /// This key only, written as it is printed: `\xNN` for a byte, `\u{NNNN}` for a
    /// character that does not print
    #[arg(long, value_name = "KEY", value_parser = as_captured)]
    pub(crate) key_is: Option<String>,

    /// Keys that begin so, written as they are printed
    #[arg(long, value_name = "PREFIX", value_parser = as_captured)]
    pub(crate) prefix: Option<String>,

    /// These clients: 203.0.113.7, 203.0.113.7:40708, unix, or unknown
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = client)]
    pub(crate) client: Vec<String>,

    /// These connections, by conn_id
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) conn: Vec<i64>,

    /// These outcomes, as in miss,not_stored
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    pub(crate) status: Vec<String>,

    /// Values of at least so many bytes: 100, 4KiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) min_size: Option<i64>,

    /// Values of at most so many bytes
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<i64>,

    /// Operations that took the server at least so long: 500us, 2ms
    #[arg(long, value_name = "TIME", value_parser = latency)]
    pub(crate) min_latency: Option<i64>,

    /// From this time on: 2026-11-24T21:00:00Z, or +10s after the start
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) from: Option<When>,

    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) to: Option<When>,

    /// Operations for which this is true, an SQL expression over the columns of the
    /// format: "value_size > 1000 AND ts >= '2026-11-24 21:00:00'" (times are UTC).
    /// It is answered for all rows first, and takes some bits of memory for each
    #[arg(long = "where", value_name = "SQL")]
    pub(crate) sql: Option<String>,
}

impl FilterArgs {
    /// What is asked for, in the words of the command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let time = |when: &When| match when {
            When::At(micros) => crate::render::rfc3339(*micros),
            When::After(micros) => {
                let after = Duration::from_micros(micros.unsigned_abs());
                format!("+{}", humantime::format_duration(after))
            }
        };
        let latency = |ns: i64| humantime::format_duration(Duration::from_nanos(ns.unsigned_abs()));
        let connections: Vec<String> = self.conn.iter().map(i64::to_string).collect();
        let of = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
        let all = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
        [
            of("op", all(&self.op)),
            of("key", self.key.as_ref().map(ToString::to_string)),
            of("key-is", self.key_is.clone()),
            of("prefix", self.prefix.clone()),
            of("client", all(&self.client)),
            of("conn", all(&connections)),
            of("status", all(&self.status)),
            of("min-size", self.min_size.map(|size| size.to_string())),
            of("max-size", self.max_size.map(|size| size.to_string())),
            of("min-latency", self.min_latency.map(|ns| latency(ns).to_string())),
            of("from", self.from.as_ref().map(time)),
            of("to", self.to.as_ref().map(time)),
            of("where", self.sql.clone()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the expression is too big".to_owned(),
        error => error.to_string(),
    })
}

fn client(text: &str) -> Result<String, String> {
    let is_address = text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok();
    if is_address || text == "unix" || text == UNKNOWN {
        return Ok(text.to_owned());
    }
    Err("it is no address: 203.0.113.7, 203.0.113.7:40708, [2001:db8::7]:40708".to_owned())
}

fn status(text: &str) -> Result<String, String> {
    word(text, "outcome", Status::ALL.iter().map(|status| status.as_str()))
}

/// Nanoseconds.
fn latency(text: &str) -> Result<i64, String> {
    let latency: Duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it as 500us or 2ms"))?;
    i64::try_from(latency.as_nanos()).map_err(|_| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{latency, status};

    #[test]
    fn words_and_times_are_checked() {
        assert_eq!(latency("1.5ms").ok().or(latency("1ms500us").ok()), Some(1_500_000));
        assert!(latency("5").is_err() && status("gone").is_err());
        assert_eq!(status("miss").as_deref(), Ok("miss"));
    }
}
