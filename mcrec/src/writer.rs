//! Thread 2: takes batches of raw records, decodes and writes them, and commits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::RecvTimeoutError,
    },
    time::Duration,
};

use anyhow::{Error, Result, anyhow};
use mcrec_schema::{
    codes::{Op, Status},
    footer::Footer,
};

use crate::{
    account::{Account, wall_us},
    batch::Batch,
    counters::Recorded,
    decode::{self, Decoder, Operation},
    drain::Control,
    loss::{State, Taken},
    raw::{Batches, RawBatch},
    sample::{Rates, SharedRates},
    sink::{Dumped, GoesOn, Sink, Written},
};

/// Rows that are built before they are handed to the Parquet writer.
const BATCH_ROWS: usize = 8192;
/// Where a file is soon as large as it may be, fewer are: as many as fit at so many
/// bytes each, which is more than rows usually take,
const ROW_BYTES: u64 = 32;
/// but not fewer than this.
const BATCH_ROWS_LEAST: usize = 256;
/// By the time that so many records are decoded, memory has answered.
pub(crate) const AHEAD: usize = 12;
/// How often orders are looked for where nothing comes from the ring.
const ATTENTION: Duration = Duration::from_millis(100);

/// What the progress line shows; kept by the writer, read by the main thread.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Operations decoded for writing.
    pub(crate) operations: AtomicU64,
    /// Those that hit.
    pub(crate) hits: AtomicU64,
    /// Those that missed.
    pub(crate) misses: AtomicU64,
    /// Bytes on disk, or held in memory.
    pub(crate) bytes: AtomicU64,
    /// The main thread wants what is held in memory to be written.
    pub(crate) dump_wanted: AtomicBool,
}

/// When there is enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Operations.
    pub(crate) events: Option<u64>,
    /// Bytes on disk.
    pub(crate) bytes: Option<u64>,
}

/// How the recording went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What a footer of all that was recorded would say.
    pub(crate) footer: Footer,
    /// What is on disk.
    pub(crate) written: Written,
    /// Rows that are the beginning or end of a connection, and no operation.
    pub(crate) events: u64,
    /// Why it could not be written to the end.
    pub(crate) failure: Option<Error>,
}

/// Everything the thread owns.
pub(crate) struct Writer {
    pub(crate) sink: Sink,
    pub(crate) account: Account,
    pub(crate) limits: Limits,
    pub(crate) live: Arc<Live>,
    pub(crate) control: Arc<Control>,
}

/// What the main thread is told while the writer works.
#[derive(Debug)]
pub(crate) enum Notice {
    /// There are as many operations, or bytes, as were wanted: why, in words.
    LimitReached(&'static str),
    /// The file cannot be written any more.
    Failed,
    /// What was held in memory was written to a file, or why it was not.
    Dumped(Result<Dumped>),
    /// A file could not hold more.
    GoesOn(GoesOn),
}

impl Writer {
    /// The recording begins now, at `at` (`CLOCK_MONOTONIC`, ns).
    pub(crate) fn begin(&mut self, at: u64) {
        self.account.begin(at);
        self.sink.begin(&self.account);
    }

    /// Works until the channel is closed, then makes the final commit.
    pub(crate) fn run(
        mut self,
        mut rows: Rows,
        batches: &Batches,
        notice: impl Fn(Notice),
    ) -> Outcome {
        match self.record(batches, &mut rows, &notice) {
            Ok(()) => {
                let (written, closed) = self.sink.close();
                let events = rows.gathered.events();
                Outcome { footer: self.account.whole(), written, events, failure: closed.err() }
            }
            Err(failure) => {
                notice(Notice::Failed);
                self.close_failed(rows, batches, failure)
            }
        }
    }

    fn record(
        &mut self,
        batches: &Batches,
        rows: &mut Rows,
        notice: &impl Fn(Notice),
    ) -> Result<()> {
        let mut limit_told = false;
        loop {
            // Read before it shows that there is nothing that came before.
            let drained_to = self.control.drained_to.load(Ordering::Acquire);
            match batches.next(self.sink.due_in().min(ATTENTION)) {
                Ok(batch) => {
                    self.take(&batch, rows)?;
                    batches.done(batch);
                }
                Err(RecvTimeoutError::Timeout) => rows.seen_to(drained_to),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(limit) = self.limit_reached(rows).filter(|_| !limit_told) {
                limit_told = true;
                rows.gathered.end();
                notice(Notice::LimitReached(limit));
            }
            if let Some(dumped) = self.sink.end_dump(false) {
                notice(Notice::Dumped(dumped));
            }
            // One that is asked for while another is written comes after it.
            if !self.sink.is_dumping() && self.live.dump_wanted.swap(false, Ordering::Relaxed) {
                self.dump(rows, notice)?;
            } else if self.sink.is_due() {
                self.commit(rows)?;
            }
            if let Some(goes_on) = self.sink.goes_on() {
                notice(Notice::GoesOn(goes_on));
            }
            self.tell(rows);
        }
        // That one which was asked for failed does not keep the last from being written.
        if let Some(dumped) = self.sink.end_dump(true) {
            notice(Notice::Dumped(dumped));
        }
        rows.gathered.learn();
        rows.finish();
        self.encode(rows)?;
        if let Some(recorded) = &rows.gathered.recorded {
            self.account.compare(recorded);
        }
        self.update(rows, rows.gathered.decoded, 0, self.account.final_state())?;
        self.sink.finish(&self.account)?;
        self.tell(rows);
        Ok(())
    }

    fn limit_reached(&self, rows: &Rows) -> Option<&'static str> {
        if self.size_reached() {
            return Some("max-size");
        }
        rows.gathered.is_full().then_some("max-events")
    }

    fn size_reached(&self) -> bool {
        self.limits.bytes.is_some_and(|most| self.sink.size() >= most)
    }

    fn take(&mut self, batch: &RawBatch, rows: &mut Rows) -> Result<()> {
        rows.gathered.learn();
        let mut enough = self.batch_rows();
        for (record, later) in batch.records_and_later(AHEAD) {
            if let Some(later) = later {
                rows.decoder.expect(later);
            }
            rows.decode(record);
            if rows.gathered.batch.rows() < enough {
                continue;
            }
            self.encode(rows)?;
            if self.size_reached() {
                rows.gathered.end();
            } else if self.sink.is_full() {
                rows.seen_to(decode::time_of(record).unwrap_or(0));
                self.commit(rows)?;
            }
            enough = self.batch_rows();
        }
        rows.seen_to(batch.last().and_then(decode::time_of).unwrap_or(0));
        Ok(())
    }

    /// Rows that are built before they are handed on, now.
    fn batch_rows(&self) -> usize {
        let wanted = self.limits.bytes.map(|most| most.saturating_sub(self.sink.size()));
        let room = wanted.into_iter().chain(self.sink.room()).min().unwrap_or(u64::MAX);
        let fitting = usize::try_from(room / ROW_BYTES).unwrap_or(BATCH_ROWS);
        fitting.clamp(BATCH_ROWS_LEAST, BATCH_ROWS)
    }

    fn encode(&mut self, rows: &mut Rows) -> Result<()> {
        if rows.gathered.batch.rows() == 0 {
            return Ok(());
        }
        self.sink.write(&rows.gathered.batch.take()?)
    }

    fn commit(&mut self, rows: &mut Rows) -> Result<()> {
        rows.settle();
        self.encode(rows)?;
        self.update(rows, rows.gathered.decoded, 0, State::Recording)?;
        self.sink.commit(&self.account)
    }

    /// Writes what is held in memory, up to now. That it cannot be written does not
    /// end the recording.
    fn dump(&mut self, rows: &mut Rows, notice: &impl Fn(Notice)) -> Result<()> {
        self.commit(rows)?;
        if let Err(error) = self.sink.begin_dump(&self.account) {
            notice(Notice::Dumped(Err(error)));
        }
        Ok(())
    }

    fn update(&mut self, rows: &Rows, written: u64, write_failed: u64, state: State) -> Result<()> {
        let tally = rows.decoder.tally();
        let taken = Taken {
            counted_records: tally.counted_records,
            written,
            unsynced: tally.unsynced,
            decode_errors: tally.decode_errors,
            write_failed,
            malformed: rows.malformed,
            sampled_out: rows.gathered.sampled_out,
        };
        self.account.update(rows.seen_to, &taken, &tally, state)
    }

    /// The file could not be written. What was committed stays; what came after
    /// is counted, in the file too if there is room for that.
    fn close_failed(mut self, mut rows: Rows, batches: &Batches, failure: Error) -> Outcome {
        // Until the probes are off and the ring is empty: the count is of all.
        for batch in batches.rest() {
            rows.gathered.learn();
            batch.records().for_each(|record| rows.decode(record));
            batches.done(batch);
            rows.gathered.batch = Batch::new(0, None);
        }
        rows.gathered.learn();
        rows.finish();
        let write_failed = self.sink.unwritten(rows.gathered.decoded);
        let written = rows.gathered.decoded - write_failed;
        let updated = self.update(&rows, written, write_failed, self.account.final_state());
        let (written, closed) = self.sink.close_failed(&self.account);
        let failure = match updated.and(closed) {
            Ok(()) => failure,
            Err(also) => anyhow!("{failure:#}; its footer could not be completed either: {also:#}"),
        };
        // Which of the rows were not written is not told apart.
        Outcome { footer: self.account.whole(), written, events: 0, failure: Some(failure) }
    }

    fn tell(&self, rows: &Rows) {
        let Gathered { operations, hits, misses, .. } = rows.gathered;
        self.live.operations.store(operations, Ordering::Relaxed);
        self.live.hits.store(hits, Ordering::Relaxed);
        self.live.misses.store(misses, Ordering::Relaxed);
        self.live.bytes.store(self.sink.bytes(), Ordering::Relaxed);
    }
}

/// Records on their way to becoming rows.
pub(crate) struct Rows {
    decoder: Decoder,
    malformed: u64,
    /// `CLOCK_MONOTONIC`, ns: what was recorded up to then was decoded.
    seen_to: u64,
    gathered: Gathered,
}

/// Operations that were decoded.
struct Gathered {
    batch: Batch,
    /// The sampling rates, as the main thread sets them, and as they were when the
    /// batch at hand had come: what is in it is older than any change since.
    shared: Arc<SharedRates>,
    rates: Rates,
    /// Wall clock minus monotonic clock, ns.
    clock_offset: i64,
    /// Operations that are wanted.
    most: u64,
    /// Rows.
    decoded: u64,
    /// Of those, the ones that clients asked for.
    operations: u64,
    hits: u64,
    misses: u64,
    /// For the comparison with memcached's own counters, if that is wanted.
    recorded: Option<Recorded>,
    /// Operations outside of the sample.
    sampled_out: u64,
}

impl Rows {
    /// Rows go into `batch`; at most `max_events` operations are taken, of those in the
    /// sample of their time. `clock_offset` is wall clock minus monotonic clock, ns. What is
    /// taken is counted in `recorded`, if there is one.
    pub(crate) fn new(
        decoder: Decoder,
        batch: Batch,
        max_events: Option<u64>,
        (shared, clock_offset): (Arc<SharedRates>, i64),
        recorded: Option<Recorded>,
    ) -> Self {
        let rates = shared.lock().clone();
        let gathered = Gathered {
            batch,
            shared,
            rates,
            clock_offset,
            most: max_events.unwrap_or(u64::MAX),
            decoded: 0,
            operations: 0,
            hits: 0,
            misses: 0,
            recorded,
            sampled_out: 0,
        };
        Self { decoder, malformed: 0, seen_to: 0, gathered }
    }

    fn decode(&mut self, record: &[u8]) {
        let decoded = self.decoder.decode(record, &mut |operation| self.gathered.take(operation));
        self.malformed += u64::from(decoded.is_err());
    }

    fn seen_to(&mut self, time: u64) {
        self.seen_to = self.seen_to.max(time);
    }

    /// What was complete some time ago does not wait for more to come.
    fn settle(&mut self) {
        self.decoder.settle(self.seen_to, &mut |operation| self.gathered.take(operation));
    }

    fn finish(&mut self) {
        self.decoder.finish(&mut |operation| self.gathered.take(operation));
    }
}

impl Gathered {
    /// Takes note of changes of the sampling rate.
    fn learn(&mut self) {
        let rates = self.shared.lock();
        if rates.changes() != self.rates.changes() {
            self.rates = rates.clone();
        }
    }

    fn take(&mut self, operation: &Operation<'_>) {
        if self.is_full() {
            return;
        }
        if !self.rates.keeps(wall_us(operation.ts, self.clock_offset), operation.key) {
            self.sampled_out += 1;
            return;
        }
        self.decoded += 1;
        if !matches!(operation.op, Op::Connect | Op::Disconnect) {
            self.operations += 1;
        }
        self.hits += u64::from(operation.status == Status::Hit);
        self.misses += u64::from(operation.status == Status::Miss);
        if let Some(recorded) = &mut self.recorded {
            recorded.count(operation.op, operation.status, operation.protocol);
        }
        self.batch.push(operation);
    }

    fn events(&self) -> u64 {
        self.decoded - self.operations
    }

    fn is_full(&self) -> bool {
        self.operations >= self.most
    }

    /// Nothing more is wanted.
    fn end(&mut self) {
        self.most = self.operations;
    }
}
