//! The command line of the tools for captures as files.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use mcrec_schema::key::as_captured;

use super::{
    exchange::{ExportArgs, ImportArgs},
    words::{op, when},
};
use crate::files::slice::When;

/// Tools for captures as files.
#[derive(Debug, Subcommand)]
pub(crate) enum Tool {
    /// Show all that a capture says of itself: recording, target, coverage, losses,
    /// cost, row groups, and what each column takes
    #[command(after_help = "Example: mcanalyze info cap.parquet")]
    Info(Look),

    /// Check that a capture keeps every guarantee of the format
    #[command(after_help = "Example: mcanalyze check cap.parquet && echo sound\n\
                      Exit status: 0 all are kept; 1 one is broken; 2 it cannot be opened.")]
    Check(Look),

    /// Write some of the operations of a capture as a capture: those for which all that
    /// is asked for is so
    #[command(after_help = "Example: mcanalyze slice cap.parquet --from +60s --to +90s --op set \
                            -o sets.parquet\n\
                            What was lost is known by time, not by key: a slice has all losses of \
                            its window.")]
    Slice(SliceArgs),

    /// Make one capture of several, ordered by time
    #[command(
        after_help = "Example: mcanalyze merge host-a.parquet host-b.parquet -o both.parquet\n\
                            Files of one recording keep their conn_id and request_id; those of \
                            others are renumbered. A column host says where each row is from; \
                            mcrec.derived (see info) which conn_id are of which server."
    )]
    Merge(MergeArgs),

    /// Write a capture with hashed keys, as mcrec --hash-keys would have recorded it
    #[command(after_help = "Example: (umask 077; openssl rand -hex 16 > key)\n         \
                            mcanalyze anonymise cap.parquet --hash-keys key -o shared.parquet\n\
                            Clients' addresses and command lines stay as they are.")]
    Anonymise(AnonymiseArgs),

    /// Write a capture, or some of its operations, as other programs read it
    #[command(
        after_help = "Example: mcanalyze export cap.parquet --as oracle-general -o cap.bin\n\
        csv and jsonl have a row a line, and with no filter those of connections coming and going \
        too.\n\
        cache-trace (github.com/twitter/cache-trace) has whole seconds since the start of the \
        recording, key, key size, value size, conn_id, operation and TTL, 0 for what is not \
        known; of a trace that was imported, its own seconds and clients. It has get gets set add replace cas append prepend delete incr decr. A comma in a key is \
        \\x2c; other bytes that do not print are \\xNN, too.\n\
        oracle-general (github.com/1a1a11a/libCacheSim) has reads as requests: get gets gat gats; \
        stores too, if --op names them. An object is a key: the 64-bit FNV-1a \
        of its bytes, through the finalizer of MurmurHash3. Its size is that of the key and of \
        the value that it had by then, or else has first later, by all operations of the capture, \
        asked for or not; 1 for a value of which none says it. The next request is told by its number among those that are written, from 1, as \
        libCacheSim counts; -1 if there is none. On its way to stdout it takes 24 bytes a request \
        in TMPDIR.\n\
        What has no place in a form is left out, and counted on stderr.\n\
        Exit status: 0 done; 1 done, but the capture is incomplete; 2 could not do it."
    )]
    Export(ExportArgs),

    /// Make a capture of a trace that somebody published
    #[command(after_help = "Example: mcanalyze import cluster52.0.zst -o cluster52.parquet\n\
        A cache-trace (github.com/twitter/cache-trace) says neither what became of a request, \
        nor how long it took: status is unknown, latency null. Times are its whole seconds, from \
        1970 on; conn_id is the client id + 1; \\xNN in a key is that byte.\n\
        Exit status: 0 done; 1 done, but lines were skipped; 2 could not do it.")]
    Import(ImportArgs),
}

/// A capture to look at.
#[derive(Debug, Args)]
pub(crate) struct Look {
    /// The capture
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// How to print
    #[arg(long, value_enum, default_value_t = Printed::Text)]
    pub(crate) format: Printed,
}

/// How to print what is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Printed {
    /// For people.
    Text,
    /// One object.
    Json,
}

/// Where to write.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// The capture to write; must not exist
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Replace the output file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// Which rows to take.
#[derive(Debug, Args)]
pub(crate) struct SliceArgs {
    /// The capture
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// From this time on: 2026-11-24T21:00:00Z, or +10s after the start
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) from: Option<When>,

    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) to: Option<When>,

    /// This key, written as it is printed
    #[arg(long = "key-is", alias = "key", value_name = "KEY", value_parser = as_captured)]
    pub(crate) key: Option<String>,

    /// Keys that begin so, written as they are printed
    #[arg(long, value_name = "PREFIX", value_parser = as_captured)]
    pub(crate) prefix: Option<String>,

    /// These operations, as in get,set
    #[arg(long, value_name = "OP", value_delimiter = ',', value_parser = op)]
    pub(crate) op: Vec<String>,

    /// These connections, by conn_id
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) conn: Vec<i64>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What to merge.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The captures
    #[arg(required = true, num_args = 1.., value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What to anonymise.
#[derive(Debug, Args)]
pub(crate) struct AnonymiseArgs {
    /// The capture
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// The file with the secret: 32 hexadecimal digits, readable by nobody else
    #[arg(long, value_name = "KEYFILE")]
    pub(crate) hash_keys: PathBuf,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
