//! The command line.

pub(crate) mod exchange;
pub(crate) mod filter;
pub(crate) mod live;
pub(crate) mod pages;
pub(crate) mod questions;
pub(crate) mod tools;
mod words;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use filter::FilterArgs;

/// Answers questions about captures of memcached that mcrec made.
///
/// Prints a summary of the capture and its top keys. Several files, a directory
/// of them or a quoted glob are read as one capture.
#[derive(Debug, Parser)]
#[command(
    name = "mcanalyze",
    version,
    args_conflicts_with_subcommands = true,
    allow_negative_numbers = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = "The columns, for each key:\n  \
        calls      operations on the key\n  \
        share      its part of all operations\n  \
        hit ratio  hits / (hits + misses)\n  \
        size       bytes of the value that it has, as replies tell: what was stored or\n             \
                   returned last, with what was appended since. None if it is gone (deleted,\n             \
                   flushed, missed) or not known (after incr and decr, or add, replace, cas,\n             \
                   append without a reply; a set without one is taken for stored). Of a group,\n             \
                   of the last whole value; of what is asked for, no more than that tells\n  \
        req/s      calls / duration of the recording\n  \
        kbps       kilobits (1000 bits) of value a second, stored and returned\n  \
        bytes      of value in all, sent by stores (kept or not) and returned\n  \
        p50, p99   latency: the smallest that 50 % or 99 % of its operations do not exceed\n             \
                   (nearest rank; quantile_disc in SQL). It is the server's, but for the\n             \
                   wait for a value that the client sends late\n  \
        last       when it was last seen, UTC\n\
        Equal keys are in the order of their bytes.\n\n\
        Of a capture that is a sample of the keys (mcrec --sample, --max-overhead), the number of\n\
        operations is counted, and what is marked ~ is scaled. The figures of a key are its own;\n\
        where the sample changed, `recorded` says whether it was recorded always or partly.\n\
        Latencies are those of the sample.\n\n\
        Example: mcanalyze cap.parquet --op get --status miss --by prefix --sort misses\n\n\
        Exit status: 0 done; 1 done, but the capture is incomplete (operations were lost, or its\n\
        recorder was cut off or is still at work); 2 could not do it."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Captures: files, directories or quoted globs
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// How many keys, or whatever --by says, to show
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: u32,

    /// What to show instead of keys
    #[arg(long, value_enum, default_value_t = Dimension::Key)]
    pub(crate) by: Dimension,

    /// What makes a key a top key, largest first
    #[arg(long, value_enum, default_value_t = SortBy::Calls)]
    pub(crate) sort: SortBy,

    /// Smallest first
    #[arg(long)]
    pub(crate) reverse: bool,

    /// Show latencies: percentiles and a log2 histogram, overall and by command
    #[arg(long)]
    pub(crate) latency: bool,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// How to print. json is one object; csv is one table: the top keys, or with
    /// --latency the percentiles, where keys that a spreadsheet would take for a
    /// formula have an apostrophe before them
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Everything but the summary and the top keys.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Question(questions::Question),
    /// Write all of it as one HTML page that opens anywhere
    Report(questions::ReportArgs),
    #[command(flatten)]
    Live(live::Live),
    #[command(flatten)]
    Tool(tools::Tool),
    #[command(flatten)]
    Page(pages::Page),
}

/// What to group by, as people ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dimension {
    /// Each key.
    Key,
    /// What keys have in common: user:*:profile for user:17:profile.
    Prefix,
    /// The command.
    Op,
    /// text, meta or binary.
    Protocol,
    /// The connection, by `conn_id`.
    Conn,
    /// The client's address, whatever its port.
    Client,
    /// The worker thread.
    Thread,
    /// The outcome.
    Status,
    /// The size of the value, by powers of two.
    Size,
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
    /// Bytes of the value that it has.
    Size,
    /// Number of misses.
    Misses,
    /// Number of operations that store or change something.
    Writes,
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
    /// Tables for a forge or a wiki.
    Markdown,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
