//! The key-value metadata in the Parquet footer: what a capture says of itself.
//!
//! Each part is one entry, its value JSON. A reader ignores fields it does not
//! know, so that fields can be added without a new version.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use crate::cost::{Cost, ProgramCost};
use crate::{
    FORMAT_VERSION,
    derived::{Part, Step},
    server::ServerCounters,
};

/// Key of [`Format`].
pub const FORMAT: &str = "mcrec.format";
/// Key of [`Capture`].
pub const CAPTURE: &str = "mcrec.capture";
/// Key of [`Target`].
pub const TARGET: &str = "mcrec.target";
/// Key of [`Source`].
pub const SOURCE: &str = "mcrec.source";
/// Key of [`Loss`].
pub const LOSS: &str = "mcrec.loss";
/// Key of [`Sampling`].
pub const SAMPLING: &str = "mcrec.sampling";
/// Key of [`Cost`].
pub const COST: &str = "mcrec.cost";
/// Key of [`Privacy`].
pub const PRIVACY: &str = "mcrec.privacy";
/// Key of [`ServerCounters`].
pub const SERVER: &str = "mcrec.server_counters";
/// Key of the list of [`Step`]s.
pub const DERIVED: &str = "mcrec.derived";

/// The version of the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Format {
    /// Readers refuse a version newer than their own.
    pub version: u32,
    /// Readers read a minor version newer than their own, but for what it has more.
    #[serde(default)]
    pub minor: u32,
}

/// When, where and by what the capture was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// A UUID.
    pub id: String,
    /// Version of mcrec.
    pub mcrec_version: String,
    /// The recorder's command line.
    pub command_line: Vec<String>,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Start of recording, µs since the epoch, UTC.
    pub start_us: i64,
    /// End of recording, or the time of this commit; µs since the epoch, UTC.
    pub end_us: i64,
    /// Start of recording, `CLOCK_MONOTONIC`, ns.
    pub start_monotonic_ns: u64,
    /// End of recording, or the time of this commit; `CLOCK_MONOTONIC`, ns.
    pub end_monotonic_ns: u64,
    /// Wall clock minus monotonic clock at the start, ns. Every `ts` is
    /// monotonic time plus this, so a clock step does not disturb the order.
    pub clock_offset_ns: i64,
    /// Why it ended (`interrupted`, `terminated`, `duration`, `max-events`,
    /// `target exited`, …); null while recording, and so in a file whose
    /// recorder was killed.
    pub ended: Option<String>,
    /// Seconds between commits that were in force at this one.
    pub commit_interval_s: f64,
    /// How the footer was made up for a file that had lost its own, which then says
    /// neither what was lost nor what recording cost; null for all others.
    #[serde(default)]
    pub recovered: Option<String>,
}

/// The memcached that was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Process id.
    pub pid: i32,
    /// Path of the executable as the process sees it.
    pub executable: String,
    /// ELF build id, hexadecimal.
    pub build_id: Option<String>,
    /// memcached's version, as the executable states it.
    pub version: Option<String>,
    /// memcached's command line.
    pub command_line: Vec<String>,
    /// Addresses it listens on (`127.0.0.1:11211`, `unix:/run/memcached.sock`).
    pub listening: Vec<String>,
    /// Number of worker threads.
    pub worker_threads: usize,
}

/// How the operations were seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `syscalls` or `usdt`; of a trace that was imported, the name of its format.
    pub name: String,
    /// What it attached to.
    pub attached: Vec<Attached>,
    /// The definition of `latency_ns`.
    pub latency: String,
    /// What it sees: groups of commands.
    pub sees: Vec<String>,
    /// What it cannot see, and why.
    pub cannot_see: Vec<Blind>,
    /// Columns that this source leaves null (or, for `quiet`, false).
    pub columns_unknown: Vec<String>,
    /// Requests that were seen to begin and end without showing an operation:
    /// each was one of those that cannot be seen.
    pub requests_without_operation: u64,
    /// Connections that were seen to begin under TLS, whose requests were not.
    #[serde(default)]
    pub connections_encrypted: u64,
}

/// A probe that was attached to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    /// Name of the probe.
    pub probe: String,
    /// Number of its call sites in the executable.
    pub sites: usize,
}

/// A group of commands that the source cannot see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blind {
    /// Which commands.
    pub what: String,
    /// The reason.
    pub why: String,
}

/// What was lost. `seen = written + losses.total()`, always.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Operations that the source saw.
    pub seen: u64,
    /// Rows in the capture.
    pub written: u64,
    /// Operations that are not in the capture, by reason.
    pub losses: Losses,
    /// What is in the capture but incomplete.
    pub incomplete: Incomplete,
    /// `[from, to, lost]` for each commit: µs since the epoch, UTC, and operations.
    pub series: Vec<[i64; 3]>,
    /// What may be missing beside the losses.
    #[serde(default)]
    pub possible: Possible,
    /// `[from, to, possible]` for commits in which `possible` grew, as `series`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub possible_series: Vec<[i64; 3]>,
}

impl Loss {
    /// What came after `before`, which was counted earlier; without a series.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let losses = self.losses.since(&before.losses);
        let written = self.written - before.written;
        Self {
            seen: written + losses.total(),
            written,
            losses,
            incomplete: self.incomplete.since(&before.incomplete),
            series: Vec::new(),
            possible: self.possible.since(&before.possible),
            possible_series: Vec::new(),
        }
    }

    /// Whether nothing was lost, nothing may have been, and nothing is incomplete.
    pub fn is_none(&self) -> bool {
        self.losses.total() == 0 && self.possible.total() == 0 && self.incomplete.total() == 0
    }
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl $name {
            /// Each reason with its count, zeros too.
            pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }

            /// Sets the count of a reason, if there is one of that name.
            pub fn set(&mut self, reason: &str, count: u64) {
                match reason {
                    $(stringify!($field) => self.$field = count,)*
                    _ => {}
                }
            }

            /// The sum over all reasons.
            pub fn total(&self) -> u64 {
                self.by_reason().map(|(_, count)| count).fold(0, u64::saturating_add)
            }
        }

        impl $name {
            /// What came after `before`, which was counted earlier.
            #[must_use]
            pub fn since(&self, before: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(before.$field),)* }
            }
        }

        impl std::ops::Add for $name {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self { $($field: self.$field.saturating_add(other.$field),)* }
            }
        }
    };
}

reasons! {
    /// Operations that were seen but are not in the capture, by reason.
    Losses {
        /// No room on the kernel's ring: the recorder did not keep up. Through
        /// `syscalls`, reads that began with a request: each carried one or more.
        ring_full,
        /// The probe's connection or key length could not be read.
        argument_unreadable,
        /// The connection's descriptor lies beyond the connection table.
        connection_untracked,
        /// The kernel skipped the program because another was running there.
        probe_missed,
        /// Reads of a connection that was out of step, as after something else was lost,
        /// that began with a request; and requests that a recording began in the midst
        /// of. Each is one request or more.
        connection_unsynced,
        /// Requests or replies that could not be decoded, each time a connection
        /// fell out of step for it. Until it is followed again operations are missing;
        /// and what was recorded of it may be wrong, or of what was no operation.
        decode_error,
        /// A record from the ring that does not have the shape of one.
        record_malformed,
        /// The file could not be written any more.
        write_failed,
        /// Not drained, because a second signal asked to stop at once.
        abandoned,
        /// Seen by the kernel's count and found nowhere: a fault of mcrec.
        unaccounted,
        /// In a slice of a recording whose losses had several reasons: which of them
        /// these had is known for the whole recording only.
        reason_not_known,
    }
}

impl Losses {
    /// So many of these: with their reason, where there is but one.
    #[must_use]
    pub fn some(&self, lost: u64) -> Self {
        if lost == self.total() {
            return *self;
        }
        let mut reasons = self.by_reason().filter(|(_, count)| *count > 0);
        let mut some = Self::default();
        match (reasons.next(), reasons.next()) {
            (Some((reason, _)), None) => some.set(reason, lost),
            _ => some.reason_not_known = lost,
        }
        some
    }

    /// Whether each stands for one operation, as seen by the source of this name: then
    /// so many are missing. Otherwise so many are, at least: through `syscalls` it is
    /// reads that are lost, with one operation or more in each.
    pub fn are_operations(&self, source: &str) -> bool {
        source == "usdt" || self.total() == self.write_failed
    }
}

reasons! {
    /// What may be missing beside the losses: upper bounds.
    Possible {
        /// Runs of a program that the kernel skipped, because another run of it waited for
        /// its CPU. Each may have hidden one read or one reply; one of another process hid
        /// nothing, and is counted too. A read has one operation or more, so this is no bound
        /// of operations.
        skipped_runs,
    }
}

reasons! {
    /// What is in the capture but incomplete.
    Incomplete {
        /// Records of the start or end of a request, of replies, or of a
        /// connection, that were lost: operations beside them have a null latency,
        /// and through `syscalls` an unknown status.
        request_boundaries_lost,
        /// Operations whose key's memory could not be read: `key` is null.
        key_unreadable,
    }
}

/// What was left out on purpose: all operations on the keys outside of a sample
/// (see [`sample`](crate::sample)). A capture without this entry has every
/// operation, and so has the default.
///
/// Operations without a key, and the beginnings and ends of connections, are
/// always there, so they are never to be scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// How a key is chosen, in words.
    pub how: String,
    /// Operations that were seen and left out. Neither losses, nor part of
    /// [`Loss::seen`]. Null where it is not known how many: in a slice of a capture.
    pub sampled_out: Option<u64>,
    /// `[from, to, one_in]` for each stretch, from the beginning of the recording to
    /// the end of this capture: µs since the epoch, UTC, and that one key in so many
    /// was recorded. A row has the rate of the stretch with `from <= ts < to`; the
    /// last has what comes after it too.
    pub series: Vec<[i64; 3]>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { how: String::new(), sampled_out: Some(0), series: Vec::new() }
    }
}

impl Sampling {
    /// Whether any operation may have been left out.
    pub fn is_sampled(&self) -> bool {
        self.sampled_out != Some(0) || self.series.iter().any(|stretch| stretch[2] > 1)
    }
}

/// In [`Privacy::keys_hashed`]: keys came as what a trace has in their place. Whatever
/// they look like, `key_len` is that of the original.
pub const ANONYMISED_IN_TRACE: &str = "as the trace has them, which whoever published it may \
                                       have anonymised";

/// What was done to the keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Privacy {
    /// How keys were hashed; null when they are as the clients sent them.
    pub keys_hashed: Option<String>,
}

/// The whole footer.
#[derive(Clone, Debug, PartialEq)]
pub struct Footer {
    /// The minor version of the format: which columns there are
    /// ([`columns::of_minor`](crate::columns::of_minor)).
    pub minor: u32,
    /// When, where and by what.
    pub capture: Capture,
    /// Of which memcached.
    pub target: Target,
    /// How it was seen.
    pub source: Source,
    /// What was lost.
    pub loss: Loss,
    /// What was left out on purpose.
    pub sampling: Sampling,
    /// What it cost.
    pub cost: Cost,
    /// What was done to the keys.
    pub privacy: Privacy,
    /// What memcached counted meanwhile, if it was asked: in the last file of a recording.
    pub server: Option<ServerCounters>,
    /// How it was made from other captures; empty for one that was recorded.
    pub derived: Vec<Step>,
}

/// Why a file's metadata is not that of a capture this version reads.
#[derive(Debug, PartialEq, Eq)]
pub enum FooterError {
    /// There is no `mcrec.format` entry: not a capture.
    NotACapture,
    /// The format is newer than this program.
    Newer(u32),
    /// The named entry is missing.
    Missing(&'static str),
    /// The named entry does not hold what it should.
    Malformed(&'static str, String),
}

impl std::fmt::Display for FooterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotACapture => {
                write!(f, "it is not a capture of mcrec (no {FORMAT} in its footer)")
            }
            Self::Newer(version) => write!(
                f,
                "it has format version {version}, and this program reads up to version \
                 {FORMAT_VERSION}: use a newer mcanalyze"
            ),
            Self::Missing(entry) => write!(f, "its footer has no {entry}: the file is damaged"),
            Self::Malformed(entry, error) => write!(f, "its {entry} is damaged: {error}"),
        }
    }
}

impl std::error::Error for FooterError {}

impl Footer {
    /// The captures that it consists of, if it was merged; none if it was recorded.
    pub fn parts(&self) -> &[Part] {
        self.derived.iter().rev().find(|step| !step.parts.is_empty()).map_or(&[], |s| &s.parts)
    }

    /// Whether as many operations are missing as were lost, and not more: see
    /// [`Losses::are_operations`].
    pub fn losses_are_operations(&self) -> bool {
        let are = |source: &Source, loss: &Loss| loss.losses.are_operations(&source.name);
        self.capture.recovered.is_none()
            && match self.parts() {
                [] => are(&self.source, &self.loss),
                parts => parts.iter().all(|part| are(&part.source, &part.loss)),
            }
    }

    /// The stretches of time that it covers, µs since the epoch, UTC. Those of
    /// several recordings may overlap, or have a gap between them.
    pub fn spans(&self) -> Vec<(i64, i64)> {
        let (start, end) = (self.capture.start_us, self.capture.end_us);
        match self.parts() {
            [] => vec![(start, end)],
            // A slice of a merged capture covers less.
            parts => parts
                .iter()
                .map(|part| (part.capture.start_us.max(start), part.capture.end_us.min(end)))
                .filter(|(from, to)| from <= to)
                .collect(),
        }
    }

    /// The footer as entries of Parquet key-value metadata.
    pub fn to_entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = vec![
            (FORMAT, json(&Format { version: FORMAT_VERSION, minor: self.minor })),
            (CAPTURE, json(&self.capture)),
            (TARGET, json(&self.target)),
            (SOURCE, json(&self.source)),
            (LOSS, json(&self.loss)),
            (SAMPLING, json(&self.sampling)),
            (COST, json(&self.cost)),
            (PRIVACY, json(&self.privacy)),
        ];
        if let Some(server) = &self.server {
            entries.push((SERVER, json(server)));
        }
        if !self.derived.is_empty() {
            entries.push((DERIVED, json(&self.derived)));
        }
        entries
    }

    /// Reads the footer from Parquet key-value metadata, where `entry` looks up
    /// the value of a key.
    ///
    /// # Errors
    ///
    /// When it is no capture, newer than this version, or damaged.
    pub fn from_entries<'a>(entry: impl Fn(&str) -> Option<&'a str>) -> Result<Self, FooterError> {
        let format = entry(FORMAT).ok_or(FooterError::NotACapture)?;
        let format: Format = parse(FORMAT, format)?;
        if format.version > FORMAT_VERSION {
            return Err(FooterError::Newer(format.version));
        }
        Ok(Self {
            minor: format.minor,
            capture: required(&entry, CAPTURE)?,
            target: required(&entry, TARGET)?,
            source: required(&entry, SOURCE)?,
            loss: required(&entry, LOSS)?,
            // Older than samples: every operation.
            sampling: entry(SAMPLING)
                .map_or_else(|| Ok(Sampling::default()), |text| parse(SAMPLING, text))?,
            cost: required(&entry, COST)?,
            privacy: required(&entry, PRIVACY)?,
            server: entry(SERVER).map(|text| parse(SERVER, text)).transpose()?,
            derived: entry(DERIVED).map_or(Ok(Vec::new()), |text| parse(DERIVED, text))?,
        })
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("structs of strings and numbers are always JSON")
}

fn required<'a, T: DeserializeOwned>(
    entry: impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
) -> Result<T, FooterError> {
    parse(name, entry(name).ok_or(FooterError::Missing(name))?)
}

fn parse<T: DeserializeOwned>(name: &'static str, text: &str) -> Result<T, FooterError> {
    serde_json::from_str(text).map_err(|error| FooterError::Malformed(name, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{Footer, FooterError, Losses};

    #[test]
    fn a_file_of_someone_else_is_told_from_a_newer_capture() {
        assert_eq!(Footer::from_entries(|_| None), Err(FooterError::NotACapture));
        assert_eq!(
            Footer::from_entries(|_| Some(r#"{"version": 2, "more": []}"#)),
            Err(FooterError::Newer(2))
        );
        assert!(matches!(
            Footer::from_entries(|_| Some("{")),
            Err(FooterError::Malformed("mcrec.format", _))
        ));
    }

    #[test]
    fn reasons_unknown_to_this_version_and_missing_ones_are_read() {
        let losses: Losses = serde_json::from_str(r#"{"ring_full": 3, "later": 1}"#).unwrap();
        assert_eq!(losses, Losses { ring_full: 3, ..Losses::default() });
        assert_eq!(losses.total(), 3);
    }

    #[test]
    fn what_is_lost_through_syscalls_are_reads_unless_it_could_not_be_written() {
        let ring_full = Losses { ring_full: 3, ..Losses::default() };
        assert!(ring_full.are_operations("usdt") && !ring_full.are_operations("syscalls"));
        assert!(Losses { write_failed: 3, ..Losses::default() }.are_operations("syscalls"));
    }
}
