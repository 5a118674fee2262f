//! Files that are committed to, one after the other.

use std::{
    path::PathBuf,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use mcrec_capture::{RowGroup, Writer};

use super::{Written, place::Place, schedule::Schedule};
use crate::account::{Account, Span};

/// When a file is full and the next begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rotation {
    pub(crate) every: Option<Duration>,
    /// Bytes.
    pub(crate) size: Option<u64>,
}

/// What a file ends with when the next one begins.
const ROTATED: &str = "rotated";

/// The file at hand, and the ones before it.
pub(super) struct Files {
    place: Place,
    rotation: Rotation,
    commit_every: Duration,
    file: Writer,
    begun: Instant,
    schedule: Schedule,
    span: Span,
    written: Written,
    /// The file before, which is being brought to the disk: that takes a slow disk
    /// longer than the ring could wait.
    closing: Option<JoinHandle<Result<()>>>,
    /// Where it goes on, unasked for and not yet said.
    goes_on: Option<GoesOn>,
}

/// A file has as many row groups as it can, and the next one has what follows.
#[derive(Debug)]
pub(crate) struct GoesOn {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}

impl Files {
    /// Creates the first file.
    pub(super) fn create(
        mut place: Place,
        rotation: Rotation,
        commit_every: Duration,
        account: &Account,
    ) -> Result<Self> {
        let span = Span::begin(account.now());
        let file = place.create(&account.footer(&span, None, commit_every.as_secs_f64()))?;
        let mut written = Written::default();
        written.add(file.path());
        Ok(Self {
            place,
            rotation,
            commit_every,
            file,
            begun: Instant::now(),
            schedule: Schedule::new(commit_every),
            span,
            written,
            closing: None,
            goes_on: None,
        })
    }

    /// The recording begins now.
    pub(super) fn begin(&mut self, account: &Account) {
        self.span = Span::begin(account.now());
    }

    pub(super) fn describe(&self) -> String {
        self.file.path().display().to_string()
    }

    pub(super) fn due_in(&self) -> Duration {
        let rotation = self.rotation.every.map(|every| every.saturating_sub(self.begun.elapsed()));
        self.schedule.due_in().min(rotation.unwrap_or(Duration::MAX))
    }

    /// Whether so many bytes are worth a commit before its time.
    pub(super) fn is_worth_it(&self, pending: u64) -> bool {
        self.schedule.is_worth_it(pending)
    }

    /// Bytes of all files so far.
    pub(super) fn bytes(&self) -> u64 {
        self.written.bytes + self.file.bytes()
    }

    /// Rows of all files so far.
    pub(super) fn rows(&self) -> u64 {
        self.written.rows + self.file.rows()
    }

    /// Whether it is time for the next file, when `pending` bytes wait for this one.
    pub(super) fn is_full(&self, pending: u64) -> bool {
        self.file.is_full()
            || self.rotation.every.is_some_and(|every| self.begun.elapsed() >= every)
            || self.room().is_some_and(|room| pending >= room)
    }

    /// Where the recording goes on because a file could not hold more, once for each.
    pub(super) fn goes_on(&mut self) -> Option<GoesOn> {
        self.goes_on.take()
    }

    /// Bytes that may be added to this file, where files have a size.
    pub(super) fn room(&self) -> Option<u64> {
        Some(self.rotation.size?.saturating_sub(self.file.bytes()))
    }

    /// Commits `groups`, and what the account says now. With `ended`, it is the
    /// file's last commit, and it says why.
    pub(super) fn commit(
        &mut self,
        groups: &[RowGroup],
        account: &Account,
        ended: Option<String>,
    ) -> Result<()> {
        let outdated = self.span.is_outdated(account.now());
        let lost = self.span.advance(account.now());
        let interval = self.schedule.interval().as_secs_f64();
        let idle = groups.is_empty() && lost == 0 && !outdated && ended.is_none();
        let footer_bytes = if idle {
            0
        } else {
            self.file.commit(groups, &account.footer(&self.span, ended, interval))?
        };
        self.schedule.done(footer_bytes as u64, self.file.bytes());
        Ok(())
    }

    /// Commits `groups` as the last of this file and begins the next.
    pub(super) fn rotate(&mut self, groups: &[RowGroup], account: &Account) -> Result<()> {
        self.commit(groups, account, Some(ROTATED.to_owned()))?;
        let span = Span::begin(account.now());
        let footer = account.footer(&span, None, self.commit_every.as_secs_f64());
        let next = self.place.create(&footer)?;
        if self.file.is_full() {
            let (from, to) = (self.file.path().to_owned(), next.path().to_owned());
            self.goes_on = Some(GoesOn { from, to });
        }
        self.written.add(next.path());
        self.span = span;
        self.schedule = Schedule::new(self.commit_every);
        self.begun = Instant::now();
        let full = std::mem::replace(&mut self.file, next);
        self.written.bytes += full.bytes();
        self.written.rows += full.rows();
        self.await_closing()?;
        let closing = thread::Builder::new().name("closing".to_owned());
        self.closing = Some(closing.spawn(move || full.close())?);
        Ok(())
    }

    /// Ends after the last commit.
    pub(super) fn close(mut self) -> (Written, Result<()>) {
        self.written.bytes = self.bytes();
        self.written.rows = self.rows();
        self.written.kept = self.place.kept(self.written.files);
        let closed = self.await_closing();
        (self.written, closed.and(self.file.close()))
    }

    /// Ends after a commit that failed: the file stays as the last one left it, and
    /// says what is missing if there is room for that.
    pub(super) fn close_failed(mut self, account: &Account) -> (Written, Result<()>) {
        self.span.advance(account.now());
        let interval = self.schedule.interval().as_secs_f64();
        let amended =
            self.file.amend(&account.footer(&self.span, Some(account.reason()), interval));
        self.written.bytes = self.bytes();
        self.written.rows = self.rows();
        self.written.kept = self.place.kept(self.written.files);
        self.written.removed = self.file.is_removed();
        let closed = self.await_closing();
        (self.written, amended.and(closed).and_then(|()| self.file.close()))
    }

    fn await_closing(&mut self) -> Result<()> {
        match self.closing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(closed) => closed.map_err(|_| anyhow!("the closing thread failed"))?,
        }
    }
}
