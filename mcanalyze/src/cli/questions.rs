//! The command line of the questions that have a name.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{Format, filter::FilterArgs};
use crate::cli::Dimension;

/// A question.
#[derive(Debug, Subcommand)]
pub(crate) enum Question {
    /// Latency percentiles, to p99.99, and a histogram: by command, or by what you say
    #[command(after_help = "Example: mcanalyze latency cap.parquet --by size --op get")]
    Latency(LatencyArgs),

    /// Requests, hit ratio, bytes, latency, keys and connections over time
    #[command(after_help = "Example: mcanalyze series cap.parquet --every 1s --prefix user:\n\
        Intervals in which operations were lost have a `!`, and how many those were.")]
    Series(SeriesArgs),

    /// Bursts: the busiest millisecond, second, minute, and how they compare with the mean
    #[command(after_help = "Example: mcanalyze bursts cap.parquet --op get")]
    Bursts(Asked),

    /// Namespaces that are found in the keys, as a tree
    #[command(after_help = "Example: mcanalyze prefixes cap.parquet --depth 2\n\
        Keys are cut at : / . and |, or at _ - # and , where they have none of those; digits, hashes \
        and other ids become *, and so do names of which there are too many.")]
    Prefixes(PrefixesArgs),

    /// The slowest operations, and what their worker thread did meanwhile
    #[command(after_help = "Example: mcanalyze slow cap.parquet --op get --top 10 --around 3")]
    Slow(SlowArgs),

    /// Misses and what follows: time until a key is set, keys read and never set, keys set
    /// and never read, keys used once
    #[command(after_help = "Example: mcanalyze misses cap.parquet --prefix session:")]
    Misses(TopArgs),

    /// How large values are, and how long they are to live
    #[command(after_help = "Example: mcanalyze sizes cap.parquet --op set")]
    Sizes(Asked),

    /// How popular keys are: calls by rank, Zipf's exponent, keys that are used once
    #[command(after_help = "Example: mcanalyze popularity cap.parquet")]
    Popularity(Asked),

    /// How much memory would help: hit ratio by memory, working set
    #[command(after_help = "Example: mcanalyze memory cap.parquet\n\
        What an ideal LRU cache of a size would have hit, had each miss been filled, by the reuse \
        distance of its keys; what is deleted leaves room, which brings nothing back. Up to 65,536 \
        keys it is computed from all, and memory is told apart in steps of 0.3 %; with more from a \
        sample of the keys (SHARDS), with the standard error of that. Reads that hit of keys that \
        were not used before in the capture were there before it: they count as hits with memory \
        for everything, and `at most` with what they must have taken.\n\
        It is not what a memcached of that size hits: that has an LRU for each slab class, and \
        was measured up to 17 points above this curve (values of very different sizes, little \
        memory), and 2 points below (popularity that moves to larger values); small caches of few \
        slab pages may do anything.")]
    Memory(Asked),

    /// What changed between two captures: keys and prefixes that are new, gone, hotter or
    /// colder; latency and sizes
    #[command(after_help = "Example: mcanalyze diff before.parquet after.parquet --by prefix")]
    Diff(DiffArgs),

    /// Which clients there are, and what each sends
    #[command(after_help = "Example: mcanalyze clients cap.parquet --status miss")]
    Clients(TopArgs),

    /// Anything else, in SQL over the table `capture`
    #[command(after_help = "Example: mcanalyze sql cap.parquet \"SELECT op, count(*) AS n FROM \
        capture GROUP BY op ORDER BY n DESC\"\n\
        The columns are those of the format, and the dialect is that of polars; rows of \
        connections coming and going are there too (op 'connect' and 'disconnect').")]
    Sql(SqlArgs),
}

/// What to ask of which captures.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// Captures: files, directories or quoted globs
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// How to print. json is one object; csv is the first table
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// The first few.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) asked: Asked,

    /// How many to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: u32,
}

/// Latencies of what.
#[derive(Debug, Args)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    pub(crate) asked: Asked,

    /// What to show percentiles of
    #[arg(long, value_enum, default_value_t = Dimension::Op)]
    pub(crate) by: Dimension,

    /// How many of them, those with the most operations
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: u32,
}

/// How fine.
#[derive(Debug, Args)]
pub(crate) struct SeriesArgs {
    #[command(flatten)]
    pub(crate) asked: Asked,

    /// Length of an interval: 100ms, 1s, 1m. One that fits, unless you say
    #[arg(long, value_name = "TIME", value_parser = every)]
    pub(crate) every: Option<Duration>,

    /// Count the keys of each interval too, and those that are new in it
    #[arg(long)]
    pub(crate) keys: bool,
}

/// What slow operations stood among.
#[derive(Debug, Args)]
pub(crate) struct SlowArgs {
    #[command(flatten)]
    pub(crate) top: TopArgs,

    /// Show so many operations before and after each too, of those that its worker received
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000))]
    pub(crate) around: u32,
}

/// How deep.
#[derive(Debug, Args)]
pub(crate) struct PrefixesArgs {
    #[command(flatten)]
    pub(crate) top: TopArgs,

    /// How many levels of namespaces
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) depth: u8,
}

/// Two captures.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The capture before: a file, a directory or a quoted glob
    #[arg(value_name = "BEFORE")]
    pub(crate) before: PathBuf,

    /// The capture after
    #[arg(value_name = "AFTER")]
    pub(crate) after: PathBuf,

    /// What to compare
    #[arg(long, value_enum, default_value_t = Dimension::Key)]
    pub(crate) by: Dimension,

    /// How many of each kind to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: u32,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// A page.
#[derive(Debug, Args)]
#[command(after_help = "Example: mcanalyze report cap.parquet -o report.html")]
pub(crate) struct ReportArgs {
    /// Captures: files, directories or quoted globs
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// The page to write, which must not exist; - is stdout
    #[arg(short, long, value_name = "HTML")]
    pub(crate) output: PathBuf,

    /// Replace the page if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// A query.
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// Captures, and last the query
    #[arg(required = true, num_args = 2.., value_names = ["FILE", "QUERY"])]
    pub(crate) words: Vec<String>,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

fn every(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it as 100ms, 1s or 1m"))?;
    if every < Duration::from_millis(1) {
        return Err("an interval has at least 1ms".to_owned());
    }
    Ok(every)
}
