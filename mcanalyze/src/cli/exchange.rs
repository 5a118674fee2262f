//! The command line of what goes to other programs and comes from them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{filter::FilterArgs, tools::OutputArgs};

/// What other programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// All columns, with a header. Keys that a spreadsheet would take for a formula have
    /// an apostrophe before them, and characters that do not print are \u{NNNN}.
    Csv,
    /// All columns, a JSON object a line.
    Jsonl,
    /// libCacheSim's records of 24 bytes. Its requests are the reads (get, gets, gat, gats),
    /// with sizes from all operations; stores too where --op names them.
    OracleGeneral,
    /// Twitter's CSV of seven fields, without a header.
    CacheTrace,
}

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Captures: files, directories or quoted globs
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// As what
    #[arg(long = "as", value_enum, value_name = "FORM")]
    pub(crate) form: Form,

    /// The file to write; must not exist. stdout without it, or for -
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Replace the output file if it exists
    #[arg(long, requires = "output")]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

/// What traces there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceKind {
    /// Twitter's CSV of seven fields, without a header.
    CacheTrace,
}

/// What to import.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The trace, plain or compressed with gzip or zstd; - is stdin
    #[arg(value_name = "TRACE")]
    pub(crate) trace: PathBuf,

    /// What kind of trace it is
    #[arg(long, value_enum, value_name = "KIND", default_value_t = TraceKind::CacheTrace)]
    pub(crate) from: TraceKind,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
