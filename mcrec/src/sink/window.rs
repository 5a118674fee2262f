//! The flight recorder: what was recorded last, held in memory until it is wanted.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, anyhow};
use bytesize::ByteSize;
use mcrec_capture::{RowGroup, Writer};
use mcrec_schema::footer::Footer;

use super::{Written, place::Place, schedule::Schedule};
use crate::account::{Account, Span};

/// How much is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) last: Duration,
    /// Bytes, at most: the oldest go when there are more.
    pub(crate) bytes: u64,
}

/// Parts that the time which is kept is divided into, at most: each becomes a row group, and
/// a file cannot have any number of them.
const PARTS: u32 = 8192;
/// Row groups that are held at most, for the same reason: the oldest go when there are more.
const GROUPS_MAX: usize = 3 * PARTS as usize;

/// The last of a recording, a part for each commit.
pub(super) struct Window {
    place: Place,
    keep: Keep,
    commit_every: Duration,
    schedule: Schedule,
    /// Up to the last commit.
    span: Span,
    held: Held,
    written: Written,
    /// Rows that were ever committed, and the first of them that went to files: each file
    /// has the latest that there were.
    committed: u64,
    in_files: u64,
    /// A file that is being written, with all that was committed before.
    dump: Option<Dump>,
}

struct Dump {
    thread: JoinHandle<Result<Dumped>>,
    committed: u64,
}

/// A file that a window was written to.
#[derive(Debug)]
pub(crate) struct Dumped {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    /// Time that it covers.
    pub(crate) length: Duration,
}

impl Window {
    pub(super) fn new(place: Place, keep: Keep, commit_every: Duration, account: &Account) -> Self {
        // Nothing is safer for more of them.
        let commit_every = commit_every.max(keep.last / PARTS);
        Self {
            place,
            keep,
            commit_every,
            schedule: Schedule::new(commit_every),
            span: Span::begin(account.now()),
            held: Held::default(),
            written: Written::default(),
            committed: 0,
            in_files: 0,
            dump: None,
        }
    }

    /// The recording begins now.
    pub(super) fn begin(&mut self, account: &Account) {
        self.span = Span::begin(account.now());
    }

    pub(super) fn describe(&self) -> String {
        let Keep { last, bytes } = self.keep;
        let (last, bytes) = (humantime::format_duration(last), ByteSize(bytes));
        format!("memory, of which the last {last} are kept, up to {bytes}; SIGUSR1 writes them out")
    }

    pub(super) fn due_in(&self) -> Duration {
        self.schedule.due_in()
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> u64 {
        self.held.bytes
    }

    /// Adds what came since the last commit, and lets go what is too old.
    pub(super) fn commit(&mut self, groups: Vec<RowGroup>, account: &Account) {
        let mut span = Span::begin(self.span.end());
        span.advance(account.now());
        self.span = span.clone();
        self.committed += rows(&groups);
        self.held.push(Part { groups, span }, self.keep);
        self.schedule = Schedule::new(self.commit_every);
    }

    /// Whether a file is being written.
    pub(super) fn is_dumping(&self) -> bool {
        self.dump.is_some()
    }

    /// Begins to write what it holds to a file, whose end tells why it was written.
    pub(super) fn begin_dump(&mut self, account: &Account, reason: String) -> Result<()> {
        let parts = self.held.parts();
        let Some(span) = span(&parts) else { return Ok(()) };
        let footer = account.footer(&span, Some(reason), self.commit_every.as_secs_f64());
        let empty = Span::begin(span.start());
        let begun = account.footer(&empty, None, self.commit_every.as_secs_f64());
        let file = self.place.create(&begun)?;
        let length = span.length();
        let thread = thread::Builder::new().name("dump".to_owned());
        let thread = thread.spawn(move || write(file, &parts, &footer, length))?;
        self.dump = Some(Dump { thread, committed: self.committed });
        Ok(())
    }

    /// How writing a file went, once it has ended, or, to `wait` for that, now.
    pub(super) fn end_dump(&mut self, wait: bool) -> Option<Result<Dumped>> {
        self.dump.take_if(|dump| wait || dump.thread.is_finished()).map(|dump| {
            let dumped = dump.thread.join().map_err(|_| anyhow!("the writing thread failed"))??;
            self.in_files = dump.committed;
            self.written.add(&dumped.path);
            self.written.bytes += dumped.bytes;
            self.written.rows += dumped.rows;
            Ok(dumped)
        })
    }

    /// Of so many `rows` that there were, those that it holds and no file has, and those that
    /// never came to it.
    pub(super) fn unwritten(&self, rows: u64) -> u64 {
        let held = self.held.rows().min(self.committed - self.in_files);
        held + rows.saturating_sub(self.committed)
    }

    /// The files that were written.
    pub(super) fn written(&self) -> &Written {
        &self.written
    }
}

fn write(
    mut file: Writer,
    parts: &[Arc<Part>],
    footer: &Footer,
    length: Duration,
) -> Result<Dumped> {
    let groups: Vec<&RowGroup> = parts.iter().flat_map(|part| &part.groups).collect();
    if let Err(error) = file.commit(&groups, footer) {
        let rows: u64 = groups.iter().map(|group| group.rows()).sum();
        let error = error.context(format!("{rows} rows that were held in memory are not on disk"));
        // A file without rows would only look like a capture.
        return Err(match file.discard() {
            Ok(()) => error,
            Err(also) => error.context(format!("what there is of the file stays: {also:#}")),
        });
    }
    let (path, bytes, rows) = (file.path().to_owned(), file.bytes(), file.rows());
    file.close()?;
    Ok(Dumped { path, bytes, rows, length })
}

fn rows(groups: &[RowGroup]) -> u64 {
    groups.iter().map(RowGroup::rows).sum()
}

/// What came between two commits.
#[derive(Debug)]
struct Part {
    groups: Vec<RowGroup>,
    span: Span,
}

impl Part {
    fn bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.bytes().len() as u64).sum()
    }
}

/// Parts, the oldest first. Shared, so that they can be written while they go.
#[derive(Debug, Default)]
struct Held {
    parts: VecDeque<Arc<Part>>,
    bytes: u64,
    groups: usize,
}

impl Held {
    /// At least the latest is kept.
    fn push(&mut self, part: Part, keep: Keep) {
        let length = i64::try_from(keep.last.as_micros()).unwrap_or(i64::MAX);
        let oldest = part.span.end_us().saturating_sub(length);
        self.bytes += part.bytes();
        self.groups += part.groups.len();
        self.parts.push_back(Arc::new(part));
        while self.parts.len() > 1
            && (self.bytes > keep.bytes
                || self.groups > GROUPS_MAX
                || self.parts[0].span.end_us() <= oldest)
        {
            if let Some(gone) = self.parts.pop_front() {
                self.bytes -= gone.bytes();
                self.groups -= gone.groups.len();
            }
        }
    }

    fn rows(&self) -> u64 {
        self.parts.iter().map(|part| rows(&part.groups)).sum()
    }

    fn parts(&self) -> Vec<Arc<Part>> {
        self.parts.iter().map(Arc::clone).collect()
    }
}

/// The span of several parts.
fn span(parts: &[Arc<Part>]) -> Option<Span> {
    let (first, rest) = parts.split_first()?;
    let mut span = first.span.clone();
    rest.iter().for_each(|part| span.extend(&part.span));
    Some(span)
}
