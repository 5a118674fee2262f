//! Where the rows go: into one file, a series of files, or a window in memory.

mod files;
mod names;
mod place;
mod schedule;
mod window;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use arrow_array::RecordBatch;
use mcrec_capture::{Encoder, ROW_GROUP_ROWS, RowGroup};
use mcrec_schema::columns;

use crate::account::Account;

use files::Files;
pub(crate) use files::{GoesOn, Rotation};
pub(crate) use place::Place;
use window::Window;
pub(crate) use window::{Dumped, Keep};

/// Rows that a row group may have beyond its measure: those that come before its commit,
/// which would be a group of their own.
const LATE_ROWS: usize = 1 << 16;

/// How a recording is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    /// All of it, in one file or several.
    All(Rotation),
    /// The last of it, in memory until it is wanted.
    Last(Keep),
}

/// Rows on their way to the disk.
pub(crate) struct Sink {
    encoder: Encoder,
    /// Row groups that wait for a commit, and their bytes.
    pending: Vec<RowGroup>,
    pending_bytes: u64,
    to: To,
}

enum To {
    Files(Box<Files>),
    Window(Box<Window>),
}

/// The files that a recording has written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) first: PathBuf,
    pub(crate) last: PathBuf,
    pub(crate) files: u64,
    /// So many of them, the latest, are kept.
    pub(crate) kept: u64,
    /// Of all.
    pub(crate) bytes: u64,
    /// In all.
    pub(crate) rows: u64,
    /// Someone removed the last while it was written.
    pub(crate) removed: bool,
}

impl Written {
    fn add(&mut self, path: &Path) {
        if self.files == 0 {
            path.clone_into(&mut self.first);
        }
        path.clone_into(&mut self.last);
        self.files += 1;
        self.kept = self.files;
    }
}

impl Sink {
    /// Begins: the first file, where there is one, is created, whole and without rows.
    ///
    /// # Errors
    ///
    /// When it cannot be created; then nothing is left behind.
    pub(crate) fn create(
        place: Place,
        kept: Kept,
        commit_every: Duration,
        account: &Account,
    ) -> Result<Self> {
        let to = match kept {
            Kept::All(rotation) => {
                To::Files(Files::create(place, rotation, commit_every, account)?.into())
            }
            Kept::Last(keep) => To::Window(Window::new(place, keep, commit_every, account).into()),
        };
        let encoder = Encoder::new(columns::schema().into());
        Ok(Self { encoder, pending: Vec::new(), pending_bytes: 0, to })
    }

    /// The recording begins now: all that was made before is for what comes.
    pub(crate) fn begin(&mut self, account: &Account) {
        match &mut self.to {
            To::Files(files) => files.begin(account),
            To::Window(window) => window.begin(account),
        }
    }

    /// Where it goes, in words.
    pub(crate) fn describe(&self) -> String {
        match &self.to {
            To::Files(files) => files.describe(),
            To::Window(window) => window.describe(),
        }
    }

    /// Adds rows to the row group that is being built.
    ///
    /// # Errors
    ///
    /// When they cannot be encoded.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.encoder.write(batch)?;
        if self.encoder.rows() >= ROW_GROUP_ROWS + LATE_ROWS { self.finish_group() } else { Ok(()) }
    }

    fn finish_group(&mut self) -> Result<()> {
        if let Some(group) = self.encoder.finish()? {
            self.pending_bytes += group.bytes().len() as u64;
            self.pending.push(group);
        }
        Ok(())
    }

    /// How long until something is due.
    pub(crate) fn due_in(&self) -> Duration {
        match &self.to {
            To::Files(files) => files.due_in(),
            To::Window(window) => window.due_in(),
        }
    }

    /// Whether a commit is due.
    pub(crate) fn is_due(&self) -> bool {
        self.due_in().is_zero() || self.is_worth_it() || self.is_full()
    }

    /// Whether row groups are full, and worth a commit before its time.
    fn is_worth_it(&self) -> bool {
        let full = !self.pending.is_empty() || self.encoder.rows() >= ROW_GROUP_ROWS;
        full && match &self.to {
            To::Files(files) => files.is_worth_it(self.waiting()),
            To::Window(_) => true,
        }
    }

    /// Whether a commit would begin the next file.
    pub(crate) fn is_full(&self) -> bool {
        match &self.to {
            To::Files(files) => files.is_full(self.waiting()),
            To::Window(_) => false,
        }
    }

    /// Bytes that the file at hand may still take, where files have a size.
    pub(crate) fn room(&self) -> Option<u64> {
        match &self.to {
            To::Files(files) => Some(files.room()?.saturating_sub(self.waiting())),
            To::Window(_) => None,
        }
    }

    /// About how many bytes wait for a commit.
    fn waiting(&self) -> u64 {
        self.pending_bytes + self.encoder.bytes() as u64
    }

    /// Bytes written, or held in memory, with those that wait for a commit.
    pub(crate) fn size(&self) -> u64 {
        self.bytes() + self.waiting()
    }

    /// Bytes on disk, or held in memory.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.to {
            To::Files(files) => files.bytes(),
            To::Window(window) => window.bytes(),
        }
    }

    /// Commits all rows so far and what the account says now; begins the next file
    /// if this one is full.
    ///
    /// # Errors
    ///
    /// When the file cannot be written any more, or the next one cannot be created;
    /// what was committed before is as it was.
    pub(crate) fn commit(&mut self, account: &Account) -> Result<()> {
        let full = self.is_full();
        let groups = self.take()?;
        match &mut self.to {
            To::Files(files) if full => files.rotate(&groups, account),
            To::Files(files) => files.commit(&groups, account, None),
            To::Window(window) => {
                window.commit(groups, account);
                Ok(())
            }
        }
    }

    /// Where the recording goes on because a file could not hold more, once for each.
    pub(crate) fn goes_on(&mut self) -> Option<GoesOn> {
        match &mut self.to {
            To::Files(files) => files.goes_on(),
            To::Window(_) => None,
        }
    }

    fn take(&mut self) -> Result<Vec<RowGroup>> {
        self.finish_group()?;
        self.pending_bytes = 0;
        Ok(std::mem::take(&mut self.pending))
    }

    /// Whether what the window held is being written to a file.
    pub(crate) fn is_dumping(&self) -> bool {
        matches!(&self.to, To::Window(window) if window.is_dumping())
    }

    /// Begins to write what the window holds, up to the last commit, to a file. Not while
    /// the one before [is being written](Self::is_dumping).
    ///
    /// # Errors
    ///
    /// When the file cannot be created.
    pub(crate) fn begin_dump(&mut self, account: &Account) -> Result<()> {
        match &mut self.to {
            To::Files(_) => Ok(()),
            To::Window(window) => window.begin_dump(account, "asked for".to_owned()),
        }
    }

    /// How writing what the window held went, once it has ended, or, to `wait` for that, now.
    pub(crate) fn end_dump(&mut self, wait: bool) -> Option<Result<Dumped>> {
        match &mut self.to {
            To::Files(_) => None,
            To::Window(window) => window.end_dump(wait),
        }
    }

    /// Makes the final commit and ends: what a window holds is written as well.
    ///
    /// # Errors
    ///
    /// When that cannot be written. With `self` still there, so that
    /// [`Sink::close_failed`] can say so in the file.
    pub(crate) fn finish(&mut self, account: &Account) -> Result<()> {
        let groups = self.take()?;
        match &mut self.to {
            To::Files(files) => files.commit(&groups, account, Some(account.reason())),
            To::Window(window) => {
                window.commit(groups, account);
                window.begin_dump(account, account.reason())?;
                window.end_dump(true).transpose().map(drop)
            }
        }
    }

    /// Ends after [`Sink::finish`].
    ///
    /// # Errors
    ///
    /// When the disk reports that a file did not reach it.
    pub(crate) fn close(self) -> (Written, Result<()>) {
        match self.to {
            To::Files(files) => files.close(),
            To::Window(window) => (window.written().clone(), Ok(())),
        }
    }

    /// Of so many `rows` that there were, those that are in no file, and were not let go on
    /// purpose either.
    pub(crate) fn unwritten(&self, rows: u64) -> u64 {
        match &self.to {
            To::Files(files) => rows.saturating_sub(files.rows()),
            To::Window(window) => window.unwritten(rows),
        }
    }

    /// Ends after a commit that failed. The file at hand stays as the last one left
    /// it, and says what is missing if there is room for that.
    ///
    /// # Errors
    ///
    /// When there is none, or the disk reports that a file did not reach it.
    pub(crate) fn close_failed(self, account: &Account) -> (Written, Result<()>) {
        match self.to {
            To::Files(files) => files.close_failed(account),
            To::Window(window) => (window.written().clone(), Ok(())),
        }
    }
}
