//! The command line.

pub(crate) mod pages;
mod words;

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, Parser, ValueEnum};
use mcrec_schema::{codes::Protocol, key::as_captured};
use regex::Regex;

use crate::{
    run::Plan,
    schedule::Pace,
    target::Target,
    trace::{Shape, Trace, filter::Filter},
};
use words::{When, client, latency, op, part, patience, rate, regex, size, speed, status, when};

/// Drives a memcached with the traffic that mcrec recorded.
///
/// Sends the operations of captures to a test memcached as they really happened: each
/// recorded connection is a connection, with its order, gaps, pipelines, multi-gets,
/// sizes, flags and times to live; and reports how faithful that was. It never waits
/// for a slow server before it sends what is due.
#[derive(Debug, Parser)]
#[command(
    name = "mcreplay",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = "--to is the target here, so the window of time is --from and --until (in mcanalyze it is\n\
        --from and --to). Filters mean what they mean in mcanalyze.\n\n\
        What a capture does not tell:\n  \
        values       are generated: the same for the same key and size, up to 20 bytes digits\n  \
        incr, decr   count by 1, from 0\n  \
        meta flags   are sent as they were, but for the contents of opaque tokens; of older\n               \
        captures those that other columns show, and a token fills the line\n  \
        CAS uniques  are sent as those that the target returned in the recorded ones' place,\n               \
        for which requests wait, if they are still to come\n  \
        TTLs         that are not known are not sent as 0: see --unknown-ttl\n  \
        errors       requests refused as malformed, auth, watch and administration are left out\n\
        What cannot be done as it was, or is left out, is counted and said before it begins.\n\
        Times to live that are points in time (over 30 days) are moved to now; relative ones are\n\
        sent as they are, at every speed.\n\n\
        Example: mcreplay cap.parquet --to 127.0.0.1:11212 --warm --speed 2\n\n\
        Exit status: 0 done; 1 done, but you must know something (operations that were not sent\n\
        or not answered, a capture with losses); 2 could not do it."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) page: Option<pages::Page>,

    /// Captures: files, directories or quoted globs; several are replayed together
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// The memcached to drive: HOST:PORT or unix:PATH
    #[arg(long, required = true, value_name = "TARGET")]
    pub(crate) to: Option<String>,

    /// Drive a target that is neither loopback nor private
    #[arg(long)]
    pub(crate) yes_really: bool,

    #[command(flatten)]
    pub(crate) pace: PaceArgs,

    #[command(flatten)]
    pub(crate) how: HowArgs,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,

    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// How fast.
#[derive(Debug, Args)]
#[command(next_help_heading = "How fast")]
pub(crate) struct PaceArgs {
    /// 1 for as it was recorded, 4 for four times as fast, or max: as fast as the target
    /// answers
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    speed: Pace,

    /// So many operations a second, in the recorded order: 500, 50k
    #[arg(long, value_name = "N", value_parser = rate, conflicts_with = "speed")]
    rate: Option<Pace>,

    /// With --speed max: requests that are open on a connection at most
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    depth: u32,

    /// Play it again and again: --loop=3 for so many times, --loop until Ctrl-C
    #[arg(long = "loop", value_name = "TIMES", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    passes: Option<u64>,
}

/// What is made of the recorded traffic.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to send")]
pub(crate) struct HowArgs {
    /// First load every key that was there before its first operation, with its recorded
    /// size: then the hit ratio is right from the start. Takes some 16 bytes of memory a key
    #[arg(long)]
    pub(crate) warm: bool,

    /// So many connections, not one for each that was recorded (so many for the binary
    /// protocol, and as many for the others)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    connections: Option<u64>,

    /// Send everything in this protocol. Multi-gets become pipelines in meta and binary
    #[arg(long, value_enum)]
    protocol: Option<Forced>,

    /// Send stores and touches whose time to live the capture does not know, as those seen
    /// through probes, with this one: seconds, 0 for no end. Without it they are left out
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..=2_592_000))]
    unknown_ttl: Option<i64>,

    /// Do everything on K times as many keys, over K times as many connections: K times the
    /// load
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeat_keys: u32,

    /// Which part of values can be compressed away: 0 to 1
    #[arg(long, value_name = "PART", default_value = "0.5", value_parser = part)]
    compressibility: f64,

    /// Give up a connection that is not answered for so long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = patience)]
    timeout: Duration,

    /// Threads that send
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
}

/// Which operations to replay: those for which all that is asked for is so.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which operations")]
pub(crate) struct FilterArgs {
    /// These commands, as in get,set
    #[arg(long, value_name = "OP", value_delimiter = ',', value_parser = op)]
    op: Vec<String>,

    /// Keys in which this is found: '^user:[0-9]+$'. Keys are as they are printed
    #[arg(long, value_name = "REGEX", value_parser = regex)]
    key: Option<Regex>,

    /// This key only, written as it is printed: `\xNN` for a byte, `\u{NNNN}` for a
    /// character that does not print
    #[arg(long, value_name = "KEY", value_parser = as_captured)]
    key_is: Option<String>,

    /// Keys that begin so, written as they are printed
    #[arg(long, value_name = "PREFIX", value_parser = as_captured)]
    prefix: Option<String>,

    /// These clients: 203.0.113.7, 203.0.113.7:40708, unix, or unknown
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = client)]
    client: Vec<String>,

    /// These connections, by conn_id
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(i64).range(1..))]
    conn: Vec<i64>,

    /// These outcomes, as in miss,not_stored
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    status: Vec<String>,

    /// Values of at least so many bytes: 100, 4KiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    min_size: Option<i64>,

    /// Values of at most so many bytes
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<i64>,

    /// Operations that took the recorded server at least so long: 500us, 2ms
    #[arg(long, value_name = "TIME", value_parser = latency)]
    min_latency: Option<i64>,

    /// From this time on: 2026-11-24T21:00:00Z, or +10s after the start
    #[arg(long, value_name = "TIME", value_parser = when)]
    from: Option<When>,

    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = when)]
    until: Option<When>,
}

/// A protocol that everything is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Forced {
    /// The classic text protocol.
    Text,
    /// The meta protocol.
    Meta,
    /// The binary protocol.
    Binary,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One object.
    Json,
}

impl Cli {
    /// What is to be done with `trace`.
    ///
    /// # Errors
    ///
    /// When the target or the window is none.
    pub(crate) fn plan(&self, trace: &Trace, target: Target) -> Result<Plan> {
        let (how, pace) = (&self.how, &self.pace);
        let protocol = how.protocol.map(|forced| match forced {
            Forced::Text => Protocol::Text,
            Forced::Meta => Protocol::Meta,
            Forced::Binary => Protocol::Binary,
        });
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        // The target needs a processor, too.
        let threads = how.threads.map_or((threads / 2).clamp(1, 8), usize::from);
        let speed = match pace.speed {
            Pace::Max(_) => Pace::Max(pace.depth),
            speed => speed,
        };
        Ok(Plan {
            target,
            filter: self.filter.filter(trace.start_us())?,
            shape: Shape { protocol, connections: how.connections, unknown_ttl: how.unknown_ttl },
            pace: pace.rate.unwrap_or(speed),
            passes: match pace.passes {
                None => Some(1),
                Some(0) => None,
                passes => passes,
            },
            copies: how.repeat_keys,
            compressibility: how.compressibility,
            patience: how.timeout,
            threads,
        })
    }
}

impl FilterArgs {
    /// Of recordings that began at `start`, µs since the epoch.
    fn filter(&self, start: i64) -> Result<Filter> {
        let [from, until] = [self.from, self.until].map(|it| it.map(|when| when.absolute(start)));
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            bail!("nothing lies between --from and --until: the first is not before the second");
        }
        Ok(Filter {
            ops: self.op.clone(),
            key: self.key.clone(),
            key_is: self.key_is.clone(),
            prefix: self.prefix.clone(),
            clients: self.client.clone(),
            conn_ids: self.conn.clone(),
            statuses: self.status.clone(),
            min_size: self.min_size,
            max_size: self.max_size,
            min_latency: self.min_latency,
            from,
            until,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Pace};

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_pace_is_a_speed_or_a_rate() {
        let parse = |words: &[&str]| {
            Cli::try_parse_from([&["mcreplay", "cap", "--to", "localhost:1"], words].concat())
        };
        assert!(parse(&["--speed", "max"]).is_ok_and(|cli| cli.pace.speed == Pace::Max(1)));
        assert!(parse(&[]).is_ok_and(|cli| cli.pace.speed == Pace::Recorded(1.0)));
        assert!(parse(&["--rate", "50k"]).is_ok());
        assert!(parse(&["--rate", "50k", "--speed", "2"]).is_err());
        assert!(parse(&["--loop"]).is_ok_and(|cli| cli.pace.passes == Some(0)));
        assert!(parse(&["--loop=3"]).is_ok_and(|cli| cli.pace.passes == Some(3)));
        assert!(Cli::try_parse_from(["mcreplay", "cap"]).is_err());
    }
}
