//! Thread 2: takes batches of raw records, decodes and writes them, and commits.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use anyhow::{Result, anyhow};
use mcrec_schema::{
    codes::{Op, Status},
    footer::{Footer, ProgramCost},
};

use crate::{
    batch::Batch,
    decode::{Decoder, Operation},
    drain::RawBatch,
    host,
    loss::{KernelCounts, State, Taken},
    sample::Rates,
    sink::{Schedule, Sink},
};

/// Rows that are built before they are handed to the Parquet writer.
const BATCH_ROWS: usize = 8192;
/// Encoded bytes that wait for a commit, at most.
const PENDING_BYTES: usize = 64 << 20;

/// What the progress line shows; kept by the writer, read by the main thread.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Operations decoded for writing.
    pub(crate) operations: AtomicU64,
    /// Those that hit.
    pub(crate) hits: AtomicU64,
    /// Those that missed.
    pub(crate) misses: AtomicU64,
    /// Size of the file on disk, bytes.
    pub(crate) bytes: AtomicU64,
}

/// Why a recording ends. Set before the ring is drained for the last time.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// In words, for the capture.
    pub(crate) reason: OnceLock<String>,
    /// How it stood when the probes were switched off.
    pub(crate) halt: OnceLock<Halt>,
    /// Records were left on the ring.
    pub(crate) abandoned: OnceLock<()>,
}

/// The end of what was recorded. Detaching comes after it and can take a while,
/// in which memcached still runs the programs, to no effect.
#[derive(Debug)]
pub(crate) struct Halt {
    /// `CLOCK_MONOTONIC`, ns.
    pub(crate) at: u64,
    /// What the programs had cost.
    pub(crate) cost: Vec<ProgramCost>,
}

/// How the writing went.
#[derive(Debug)]
pub(crate) struct Written {
    /// The footer as it stands in the file (or would, had it been written).
    pub(crate) footer: Footer,
    /// Size of the file, bytes.
    pub(crate) bytes: u64,
    /// Rows that are the beginning or end of a connection, and no operation.
    pub(crate) events: u64,
    /// Why the file could not be written to the end.
    pub(crate) failure: Option<anyhow::Error>,
}

/// Everything the thread owns.
pub(crate) struct Writer {
    pub(crate) sink: Sink,
    pub(crate) kernel: Arc<KernelCounts>,
    /// The footer so far: the fixed parts filled in, the others kept up.
    pub(crate) footer: Footer,
    pub(crate) commit_every: Duration,
    pub(crate) max_events: Option<u64>,
    /// Size of the ring, for the memory account.
    pub(crate) ring_bytes: u32,
    pub(crate) live: Arc<Live>,
    pub(crate) ending: Arc<Ending>,
    /// What is recorded of what comes.
    pub(crate) rates: Arc<SharedRates>,
}

/// The sampling rates of the recording, as the main thread sets them.
///
/// The writer looks at them after it got a batch: what it then takes from it is
/// older than any change that is yet to come.
#[derive(Debug)]
pub(crate) struct SharedRates(Mutex<Rates>);

impl SharedRates {
    /// These to begin with.
    pub(crate) fn new(rates: Rates) -> Self {
        Self(Mutex::new(rates))
    }

    /// To be looked at or changed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Rates> {
        // Whole at any moment, whoever panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the main thread is told while the writer works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// `--max-events` operations are there.
    LimitReached,
    /// The file cannot be written any more.
    Failed,
}

impl Writer {
    /// Works until the channel is closed, then makes the final commit.
    pub(crate) fn run(
        mut self,
        decoder: Decoder,
        batches: &Receiver<RawBatch>,
        notice: impl Fn(Notice),
    ) -> Written {
        let offset = self.footer.capture.clock_offset_ns;
        let mut rows = Rows::new(decoder, offset, self.max_events, self.rates.lock().clone());
        match self.record(batches, &mut rows, &notice) {
            Ok(()) => self.close(rows.gathered.events()),
            Err(failure) => {
                notice(Notice::Failed);
                self.close_failed(rows, batches, failure)
            }
        }
    }

    fn record(
        &mut self,
        batches: &Receiver<RawBatch>,
        rows: &mut Rows,
        notice: &impl Fn(Notice),
    ) -> Result<()> {
        let mut schedule = Schedule::new(self.commit_every);
        let mut limit_told = false;
        loop {
            match batches.recv_timeout(schedule.due_in()) {
                Ok(batch) => self.take(&batch, rows)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if rows.gathered.limit_reached() && !limit_told {
                limit_told = true;
                notice(Notice::LimitReached);
            }
            if schedule.due_in().is_zero() || self.sink.pending_bytes() >= PENDING_BYTES {
                self.commit(rows, State::Recording, &mut schedule)?;
            }
            self.tell(rows);
        }
        rows.gathered.learn(&self.rates);
        rows.finish();
        self.footer.capture.ended = Some(self.reason());
        self.commit(rows, self.final_state(), &mut schedule)?;
        self.tell(rows);
        Ok(())
    }

    fn take(&mut self, batch: &RawBatch, rows: &mut Rows) -> Result<()> {
        rows.gathered.learn(&self.rates);
        for record in batch.records() {
            rows.decode(record);
            if rows.gathered.batch.rows() >= BATCH_ROWS {
                self.sink.write(&rows.gathered.batch.take()?)?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, rows: &mut Rows, state: State, schedule: &mut Schedule) -> Result<()> {
        if rows.gathered.batch.rows() > 0 {
            self.sink.write(&rows.gathered.batch.take()?)?;
        }
        self.footer.capture.commit_interval_s = schedule.interval().as_secs_f64();
        let sampling =
            |footer: &Footer| (footer.sampling.sampled_out, footer.sampling.series.len());
        let sampling_before = sampling(&self.footer);
        let lost = self.describe(rows, rows.gathered.decoded, 0, state)?;
        let counted = lost > 0 || sampling(&self.footer) != sampling_before;
        let idle = self.sink.uncommitted_rows() == 0 && !counted && state == State::Recording;
        let footer_bytes = if idle { 0 } else { self.sink.commit(&self.footer)? };
        schedule.done(footer_bytes as u64, self.sink.bytes());
        Ok(())
    }

    /// Brings the parts of the footer that change up to date, and returns how many
    /// operations were lost since it last was.
    fn describe(
        &mut self,
        rows: &Rows,
        written: u64,
        write_failed: u64,
        state: State,
    ) -> Result<u64> {
        let tally = rows.decoder.tally();
        let taken = Taken {
            counted_records: tally.counted_records,
            written,
            unsynced: tally.unsynced,
            decode_errors: tally.decode_errors,
            write_failed,
            malformed: rows.malformed,
        };
        let capture = &mut self.footer.capture;
        let from = capture.end_us;
        let halt = self.ending.halt.get();
        capture.end_monotonic_ns = halt.map_or_else(host::monotonic_ns, |halt| halt.at);
        capture.end_us = wall_us(capture.end_monotonic_ns, capture.clock_offset_ns);
        let seen = self.kernel.read()?;
        let sampling = &mut self.footer.sampling;
        sampling.sampled_out = seen.sampled_out() + rows.gathered.sampled_out;
        sampling.series = self.rates.lock().series(capture.start_us, capture.end_us);
        let mut loss = seen.loss(&taken, state);
        loss.series = std::mem::take(&mut self.footer.loss.series);
        let lost_before = self.footer.loss.losses.total();
        let lost = loss.losses.total().saturating_sub(lost_before);
        match loss.series.last_mut() {
            // A stretch without loss is one entry, however long.
            Some(last) if lost == 0 && last[2] == 0 => last[1] = capture.end_us,
            _ => loss.series.push([from, capture.end_us, lost.cast_signed()]),
        }
        self.footer.loss = loss;
        let (cpu, peak_memory) = host::own_cost(self.ring_bytes);
        self.footer.cost.programs =
            halt.map_or_else(|| self.kernel.statistics().cost(), |halt| halt.cost.clone());
        self.footer.cost.cpu_s = cpu.as_secs_f64();
        self.footer.cost.peak_memory = peak_memory;
        self.footer.source.requests_without_operation = tally.requests_without_operation;
        self.footer.source.connections_encrypted = tally.encrypted;
        Ok(lost)
    }

    fn close(self, events: u64) -> Written {
        let bytes = self.sink.bytes();
        let failure = self.sink.close().err();
        Written { footer: self.footer, bytes, events, failure }
    }

    /// The file could not be written. What was committed stays; what came after
    /// is counted, in the file too if there is room for that.
    fn close_failed(
        mut self,
        mut rows: Rows,
        batches: &Receiver<RawBatch>,
        failure: anyhow::Error,
    ) -> Written {
        // Until the probes are off and the ring is empty: the count is of all.
        for batch in batches {
            rows.gathered.learn(&self.rates);
            batch.records().for_each(|record| rows.decode(record));
            rows.gathered.batch = Batch::new(0);
        }
        rows.finish();
        let written = self.sink.committed_rows();
        let write_failed = rows.gathered.decoded - written;
        self.footer.capture.ended = Some(self.reason());
        let amended = self
            .describe(&rows, written, write_failed, self.final_state())
            .and_then(|_| self.sink.amend(&self.footer));
        let bytes = self.sink.bytes();
        let failure = match amended.and(self.sink.close()) {
            Ok(()) => failure,
            Err(also) => anyhow!("{failure:#}; its footer could not be completed either: {also:#}"),
        };
        // Which of the rows were not written is not told apart.
        Written { footer: self.footer, bytes, events: 0, failure: Some(failure) }
    }

    fn reason(&self) -> String {
        self.ending.reason.get().cloned().unwrap_or_else(|| "recorder failed".to_owned())
    }

    fn final_state(&self) -> State {
        match self.ending.abandoned.get() {
            None => State::Drained,
            Some(()) => State::Abandoned,
        }
    }

    fn tell(&self, rows: &Rows) {
        let Gathered { operations, hits, misses, .. } = rows.gathered;
        self.live.operations.store(operations, Ordering::Relaxed);
        self.live.hits.store(hits, Ordering::Relaxed);
        self.live.misses.store(misses, Ordering::Relaxed);
        self.live.bytes.store(self.sink.bytes(), Ordering::Relaxed);
    }
}

/// Wall-clock time, µs since the epoch, of a monotonic time, ns.
pub(crate) fn wall_us(monotonic_ns: u64, clock_offset_ns: i64) -> i64 {
    (monotonic_ns.cast_signed() + clock_offset_ns).div_euclid(1000)
}

/// Records on their way to becoming rows.
struct Rows {
    decoder: Decoder,
    malformed: u64,
    gathered: Gathered,
}

/// Operations that were decoded.
struct Gathered {
    batch: Batch,
    rates: Rates,
    /// Wall clock minus monotonic clock, ns.
    clock_offset: i64,
    max_events: u64,
    /// Rows.
    decoded: u64,
    /// Of those, the ones that clients asked for.
    operations: u64,
    hits: u64,
    misses: u64,
    /// Operations outside of the sample.
    sampled_out: u64,
}

impl Rows {
    fn new(decoder: Decoder, clock_offset: i64, max_events: Option<u64>, rates: Rates) -> Self {
        let gathered = Gathered {
            batch: Batch::new(clock_offset),
            rates,
            clock_offset,
            max_events: max_events.unwrap_or(u64::MAX),
            decoded: 0,
            operations: 0,
            hits: 0,
            misses: 0,
            sampled_out: 0,
        };
        Self { decoder, malformed: 0, gathered }
    }

    fn decode(&mut self, record: &[u8]) {
        let decoded = self.decoder.decode(record, &mut |operation| self.gathered.take(operation));
        self.malformed += u64::from(decoded.is_err());
    }

    fn finish(&mut self) {
        self.decoder.finish(&mut |operation| self.gathered.take(operation));
    }
}

impl Gathered {
    /// Takes note of changes of the sampling rate.
    fn learn(&mut self, shared: &SharedRates) {
        let rates = shared.lock();
        if rates.changes() != self.rates.changes() {
            self.rates = rates.clone();
        }
    }

    fn take(&mut self, operation: &Operation<'_>) {
        if self.limit_reached() {
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
        self.batch.push(operation);
    }

    fn events(&self) -> u64 {
        self.decoded - self.operations
    }

    fn limit_reached(&self) -> bool {
        self.operations >= self.max_events
    }
}
