//! The command line: words in, checked values out.

use std::{
    io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{ArgGroup, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use mcrec_schema::sample::ONE_IN_MAX;

/// Records every operation of a running memcached into a Parquet capture.
///
/// Attaches to the unmodified server through eBPF and detaches when it ends:
/// on Ctrl-C, after --duration, --max-events or --max-size, or when memcached exits.
/// Needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE, to attach; after that it
/// can only write captures, which belong to the owner of their folder.
#[derive(Debug, Parser)]
#[command(
    name = "mcrec",
    version,
    args_conflicts_with_subcommands = true,
    allow_negative_numbers = true,
    group = ArgGroup::new("series").multiple(true),
    after_help = "Example: mcrec -p 2942 -o cap.parquet --duration 30s\n\n\
                  Exit status: 0 done; 1 done, but operations were lost or the capture is incomplete; \
                  2 could not do it.\n\
                  Read the capture with mcanalyze FILE, or with any Parquet reader."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) record: Record,
}

impl Cli {
    /// A script with which a shell completes command lines.
    pub(crate) fn completions(shell: Shell) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Self::command(), "mcrec", &mut script);
        script
    }

    /// Writes manual pages into a folder.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub(crate) fn write_manual(folder: &Path) -> io::Result<()> {
        clap_mangen::generate_to(Self::command(), folder)
    }
}

/// What mcrec does beside recording.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Finish a capture, in place, whose recorder was killed in the midst of a commit
    ///
    /// What was committed before is kept; a capture that is whole is not touched. Of a
    /// file that was cut off otherwise, as by a full disk or a copy that broke off, the
    /// complete row groups are kept; exit status 1 then, as it is not known what is
    /// missing.
    #[command(after_help = "Example: mcrec repair cap.parquet")]
    Repair {
        /// The capture
        file: PathBuf,
    },

    /// Print completions for a shell
    #[command(after_help = "Example: mcrec completions bash > /etc/bash_completion.d/mcrec")]
    Completions {
        /// Which
        shell: Shell,
    },

    /// Write manual pages, one for each command
    #[command(after_help = "Example: mcrec manual /usr/local/share/man/man1")]
    Manual {
        /// The folder that they go to
        folder: PathBuf,
    },
}

/// What to record, how, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Record {
    /// Process id of the memcached to record [default: the only one running]
    #[arg(short, long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) pid: Option<i32>,

    /// Record whatever runs under this name, as in memcached: wait until it does, and
    /// when it exits, for the next. Each goes to a file of its own, named as with
    /// --rotate-every
    #[arg(long, value_name = "NAME", conflicts_with = "pid", group = "series",
          value_parser = program_name)]
    pub(crate) follow: Option<String>,

    /// Do without a feature of this kernel, as on one that lacks it; for tests of what
    /// is done there
    #[arg(long, value_name = "FEATURE", value_enum, hide = true)]
    pub(crate) without: Vec<Lacking>,

    /// The process that --follow found
    #[arg(long, hide = true, requires = "follow")]
    pub(crate) followed: Option<i32>,

    /// How to see the operations: syscalls is what the server reads and sends, and
    /// sees every command; usdt is memcached's own probes (needs a memcached built
    /// with --enable-dtrace, up to 1.6.39); auto chooses
    #[arg(long, value_enum, default_value_t = SourceChoice::Auto)]
    pub(crate) source: SourceChoice,

    #[command(flatten)]
    pub(crate) files: Files,

    /// Stop after this long, as in 30s, 5m, 1h30m [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    pub(crate) duration: Option<Duration>,

    /// Stop after writing this many operations [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_events: Option<u64>,

    /// Stop before more than this is written, as in 500MB or 2GiB; with --keep-last, hold
    /// no more than this in memory [default: no limit; with --keep-last 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<u64>,

    /// Record pseudonyms in place of keys: each segment between : / . hashed with the
    /// secret in this file, so that prefixes and joins with other captures still work.
    /// Make one with: (umask 077; openssl rand -hex 16 > KEYFILE)
    #[arg(long, value_name = "KEYFILE")]
    pub(crate) hash_keys: Option<PathBuf>,

    /// Size of the ring between kernel and mcrec, 4KiB to 1GiB, rounded up to a
    /// power of two. It absorbs bursts; kernel memory, charged to mcrec
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = ring_size)]
    pub(crate) buffer_size: u32,

    /// Record one key in N, whole keys, chosen by a hash: 1/1 to 1/65536. What a
    /// sampled key shows is true, totals are estimates: mcanalyze scales them [default:
    /// every key]
    #[arg(long, value_name = "1/N", value_parser = sampling_rate)]
    pub(crate) sample: Option<u32>,

    /// Most CPU time that recording may cost memcached, in percent of one CPU, by the
    /// kernel's count. Above it fewer keys are recorded (as by --sample, which then is
    /// the most), and more again when there is room; each change is said, and stands in
    /// the capture [default: no limit]
    #[arg(long, value_name = "P%", value_parser = percentage)]
    pub(crate) max_overhead: Option<f64>,

    /// Ask memcached for its own counters (stats) when the recording begins and ends, and say
    /// how far what was recorded is from them. Takes one connection to it
    #[arg(long, conflicts_with_all = ["sample", "max_overhead"])]
    pub(crate) verify_with_stats: bool,

    /// Say what would be recorded, how, and what cannot be seen; record nothing
    #[arg(long)]
    pub(crate) check: bool,

    /// No progress and no summary; losses and errors only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lacking {
    /// Compare and swap in BPF programs.
    Atomics,
    /// What shows the calls on sockets alone.
    Sockets,
    /// Raw tracepoints that run undisturbed.
    RawTracepoints,
    /// Perf's tracepoints.
    PerfTracepoints,
}

/// Where the rows go.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// The capture to write; must not exist [default: mcrec-HOST-PID-TIME.parquet]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Replace the output file if it exists
    #[arg(long)]
    pub(crate) force: bool,

    /// Begin a new file after this long: FILE-TIME-NUMBER.parquet, each a complete
    /// capture, together all operations
    #[arg(long, value_name = "TIME", value_parser = rotation_interval, group = "series")]
    pub(crate) rotate_every: Option<Duration>,

    /// Begin a new file when this one has about so many bytes, as in 500MB or 1GiB
    #[arg(long, value_name = "SIZE", value_parser = size, group = "series")]
    pub(crate) rotate_size: Option<u64>,

    /// Keep this many files, those of earlier recordings of the same FILE included,
    /// and remove the oldest [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
          requires = "series")]
    pub(crate) keep: Option<u32>,

    /// Write nothing, but hold the last so long in memory; SIGUSR1 writes that out, to
    /// FILE-TIME-NUMBER.parquet, and so does the end
    #[arg(long, value_name = "TIME", value_parser = positive_duration,
          conflicts_with_all = ["rotate_every", "rotate_size", "keep"])]
    pub(crate) keep_last: Option<Duration>,

    /// Time between commits, at least 10ms: after each, the file on disk is a
    /// complete capture of everything before. On long, slow recordings the interval
    /// stretches (up to 60s) so that footers stay a small part of the file
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = commit_interval)]
    pub(crate) commit_every: Duration,

    /// Wait with each commit until it is on the disk, so that it survives a power
    /// failure too, and not only the end of mcrec
    #[arg(long)]
    pub(crate) fsync: bool,
}

impl Record {
    /// Whether the names of files have a time and a number.
    pub(crate) fn has_series(&self) -> bool {
        let Files { rotate_every, rotate_size, keep_last, .. } = self.files;
        rotate_every.is_some()
            || rotate_size.is_some()
            || keep_last.is_some()
            || self.follow.is_some()
    }
}

/// The sources that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceChoice {
    /// The source that sees most of this memcached.
    Auto,
    /// What the server reads and sends.
    Syscalls,
    /// memcached's own USDT probes.
    Usdt,
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be more than zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write it as 30s, 5m or 1h30m")),
    }
}

fn commit_interval(text: &str) -> Result<Duration, String> {
    const MIN: Duration = Duration::from_millis(10);
    let interval = positive_duration(text)?;
    if interval < MIN { Err("must be at least 10ms".to_owned()) } else { Ok(interval) }
}

fn program_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('/') {
        return Err("a name is wanted, as in memcached, without a path".to_owned());
    }
    Ok(text.to_owned())
}

fn rotation_interval(text: &str) -> Result<Duration, String> {
    const MIN: Duration = Duration::from_secs(1);
    let interval = positive_duration(text)?;
    if interval < MIN { Err("must be at least 1s".to_owned()) } else { Ok(interval) }
}

fn bytes(text: &str) -> Result<u64, String> {
    let size = ByteSize::from_str(text).map(|size| size.as_u64());
    size.map_err(|_| "no size: write it as 64KiB, 500MB or 2GiB".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    const MIN: u64 = 64 << 10;
    let size = bytes(text)?;
    if size < MIN {
        return Err("must be at least 64KiB (KiB is 1024 bytes, kB 1000)".to_owned());
    }
    Ok(size)
}

fn ring_size(text: &str) -> Result<u32, String> {
    const MIN: u64 = 4 << 10;
    const MAX: u64 = 1 << 30;
    let size = bytes(text)?;
    if !(MIN..=MAX).contains(&size) {
        return Err("must be between 4KiB and 1GiB (KiB is 1024 bytes, kB 1000)".to_owned());
    }
    u32::try_from(size.next_power_of_two()).map_err(|error| error.to_string())
}

/// `1/16` as 16.
fn sampling_rate(text: &str) -> Result<u32, String> {
    let one_in = text.strip_prefix("1/").and_then(|one_in| one_in.parse().ok());
    one_in
        .filter(|one_in| (1..=ONE_IN_MAX).contains(one_in))
        .ok_or_else(|| format!("write it as 1/16: from 1/1 to 1/{ONE_IN_MAX}"))
}

/// `5%` as 0.05.
fn percentage(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    percent
        .filter(|percent| *percent > 0.0 && percent.is_finite())
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "write it as 5% or 0.5%: more than zero, of one CPU".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Cli, percentage, positive_duration, ring_size, sampling_rate};
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ring_sizes_are_powers_of_two_within_limits() {
        assert_eq!(ring_size("64MiB"), Ok(64 << 20));
        assert_eq!(ring_size("5KiB"), Ok(8 << 10));
        assert_eq!(ring_size("1GiB"), Ok(1 << 30));
        for refused in ["0", "4095", "2GiB", "many", "-1"] {
            assert!(ring_size(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_duration_of_nothing_is_refused() {
        assert!(positive_duration("0s").is_err());
        assert!(positive_duration("30").is_err());
        assert!(positive_duration("1m30s").is_ok());
    }

    #[test]
    fn a_sampling_rate_is_one_in_some() {
        assert_eq!(sampling_rate("1/1"), Ok(1));
        assert_eq!(sampling_rate("1/65536"), Ok(65536));
        for refused in ["16", "1/0", "1/65537", "2/3", "1/", "1/-4", "0.5", "5%"] {
            assert!(sampling_rate(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn an_overhead_is_a_percentage() {
        assert_eq!(percentage("5%"), Ok(0.05));
        assert_eq!(percentage("0.5 %"), Ok(0.005));
        assert_eq!(percentage("150%"), Ok(1.5));
        for refused in ["5", "0%", "-1%", "nan%", "inf%", "%", "much%"] {
            assert!(percentage(refused).is_err(), "{refused}");
        }
    }
}
