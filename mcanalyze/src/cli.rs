//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Answers questions about captures of memcached that mcrec made.
///
/// Prints a summary of the capture and its top keys. Several files, a directory
/// of them or a quoted glob are read as one capture.
#[derive(Debug, Parser)]
#[command(
    name = "mcanalyze",
    version,
    after_help = "The columns, for each key:\n  \
        calls      operations on the key\n  \
        share      its part of all operations\n  \
        hit ratio  hits / (hits + misses)\n  \
        size       bytes of its value when last seen\n  \
        req/s      calls / duration of the recording\n  \
        kbps       kilobits (1000 bits) of value a second, stored and returned\n  \
        bytes      of value in all, stored and returned\n  \
        p50, p99   server-side latency: the smallest that 50 % or 99 % of its operations\n             \
                   do not exceed (nearest rank; quantile_disc in SQL)\n  \
        last       when it was last seen, UTC\n\
        Equal keys are in the order of their bytes.\n\n\
        Exit status: 0 done; 1 done, but the capture is incomplete (operations were lost, or its\n\
        recorder was cut off or is still at work); 2 could not do it."
)]
pub(crate) struct Cli {
    /// Captures: files, directories or quoted globs
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// How many keys to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: u32,

    /// What makes a key a top key, largest first
    #[arg(long, value_enum, default_value_t = SortBy::Calls)]
    pub(crate) sort: SortBy,

    /// Smallest first
    #[arg(long)]
    pub(crate) reverse: bool,

    /// Show latencies: percentiles and a log2 histogram, overall and by command
    #[arg(long)]
    pub(crate) latency: bool,

    /// Look at this key only, written as captures write it (`\xNN` for unprintable bytes)
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,

    /// How to print. json is one object; csv is one table: the top keys, or with
    /// --latency the percentiles
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// What the top keys are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortBy {
    /// Number of operations.
    Calls,
    /// Bytes of value, stored and returned.
    Bytes,
    /// Operations a second.
    Rate,
    /// Bytes of its value when last seen.
    Size,
    /// Number of misses.
    Misses,
    /// The 99th percentile of its latency.
    Latency,
    /// When it was last seen.
    Last,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One object.
    Json,
    /// One table.
    Csv,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
