//! What a recording has counted so far, and what of that a file's footer says: each
//! file of a recording answers for its own span of time.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use anyhow::Result;
use mcrec_schema::footer::{Cost, Footer, Loss, ProgramCost, Sampling};

use crate::{
    counters::{Counted, Recorded},
    decode::Tally,
    drain::Control,
    host::OwnCost,
    loss::{KernelCounts, State, Taken},
    sample::SharedRates,
};

/// Entries of a loss series, at most; beyond it neighbours are made one.
const SERIES_MAX: usize = 4096;

/// How long a request may be under way, µs, and still be judged by the rate of its time. Of
/// all of a long recording each file would have to tell.
const UNDER_WAY_US: i64 = 3_600_000_000;

/// For the capture.
const HOW_SAMPLED: &str = "A key is recorded, with all of its operations, when the upper 32 bits \
     of its hash are below 2^32 / N, rounded down, where N is the one_in of the series. The hash is \
     FNV-1a with 64 bits of the key's bytes as the client sent them, and then the finalizer of \
     MurmurHash3 for 64 bits. Operations without a key are always recorded.";

/// Why a recording ends. Set before the ring is drained for the last time.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// In words, for the capture.
    pub(crate) reason: OnceLock<String>,
    /// How it stood when the probes were switched off.
    pub(crate) halt: OnceLock<Halt>,
    /// What memcached counted, if it was asked.
    pub(crate) counted: OnceLock<Counted>,
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

/// Everything that only grows while a recording goes on, at one moment of it.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    /// Wall clock, µs since the epoch.
    at_us: i64,
    /// `CLOCK_MONOTONIC`, ns.
    at_monotonic_ns: u64,
    /// Without a series.
    loss: Loss,
    sampled_out: u64,
    /// How often the sampling rate changed.
    rate_changes: usize,
    cost: Cost,
    requests_without_operation: u64,
    connections_encrypted: u64,
}

/// The stretch of a recording that one file holds.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    from: Totals,
    to: Totals,
    /// `[from, to, lost]`, as the footer has it.
    series: Vec<[i64; 3]>,
    /// The same of what may be lost; without stretches of nothing.
    possible: Vec<[i64; 3]>,
}

/// The counts of a recording.
pub(crate) struct Account {
    kernel: Arc<KernelCounts>,
    ending: Arc<Ending>,
    rates: Arc<SharedRates>,
    /// What does not change: the rest is filled in.
    template: Footer,
    own_cost: OwnCost,
    control: Arc<Control>,
    start: Totals,
    now: Totals,
}

impl Account {
    /// Begins to count, for footers like `template`, which says when the recording
    /// began.
    pub(crate) fn new(
        template: Footer,
        (kernel, ending): (Arc<KernelCounts>, Arc<Ending>),
        rates: Arc<SharedRates>,
        own_cost: OwnCost,
        control: Arc<Control>,
    ) -> Self {
        let start = Totals {
            at_us: template.capture.start_us,
            at_monotonic_ns: template.capture.start_monotonic_ns,
            loss: Loss::default(),
            sampled_out: 0,
            rate_changes: rates.lock().changes(),
            cost: Cost::default(),
            requests_without_operation: 0,
            connections_encrypted: 0,
        };
        let now = start.clone();
        Self { kernel, ending, rates, template, own_cost, control, now, start }
    }

    /// The recording begins now, at `at` (`CLOCK_MONOTONIC`, ns), and not when files and
    /// footers for it were made.
    pub(crate) fn begin(&mut self, at: u64) {
        self.start.at_monotonic_ns = at;
        self.start.at_us = wall_us(at, self.template.capture.clock_offset_ns);
        self.now = self.start.clone();
    }

    /// From now on footers compare what was recorded with what memcached counted, if it was
    /// asked.
    pub(crate) fn compare(&mut self, recorded: &Recorded) {
        self.template.server = self.ending.counted.get().map(|counted| recorded.compare(counted));
    }

    /// The counts as they were last looked at.
    pub(crate) fn now(&self) -> &Totals {
        &self.now
    }

    /// Why the recording ends, in words.
    pub(crate) fn reason(&self) -> String {
        self.ending.reason.get().cloned().unwrap_or_else(|| "recorder failed".to_owned())
    }

    /// How the recording stands once nothing comes from the ring any more.
    pub(crate) fn final_state(&self) -> State {
        match self.ending.abandoned.get() {
            None => State::Drained,
            Some(()) => State::Abandoned,
        }
    }

    /// Looks at all counts: `taken` and `tally` are those of this side of the ring,
    /// where what was recorded up to `seen_to` (`CLOCK_MONOTONIC`, ns) has arrived.
    ///
    /// # Errors
    ///
    /// When the kernel does not give its own.
    pub(crate) fn update(
        &mut self,
        seen_to: u64,
        taken: &Taken,
        tally: &Tally,
        state: State,
    ) -> Result<()> {
        let halt = self.ending.halt.get();
        let reached = seen_to.max(self.now.at_monotonic_ns);
        let at_monotonic_ns = match (state, halt) {
            (_, None) => reached,
            (State::Recording, Some(halt)) => reached.min(halt.at),
            (State::Drained | State::Abandoned, Some(halt)) => halt.at,
        };
        let (cpu, peak_memory) = self.own_cost.read();
        let programs =
            halt.map_or_else(|| self.kernel.statistics().cost(), |halt| halt.cost.clone());
        let ring_peak = self.control.ring_peak.load(Ordering::Relaxed);
        let seen = self.kernel.read()?;
        self.now = Totals {
            at_us: wall_us(at_monotonic_ns, self.template.capture.clock_offset_ns),
            at_monotonic_ns,
            loss: seen.loss(taken, state),
            sampled_out: seen.sampled_out(taken),
            rate_changes: self.rates.lock().changes(),
            cost: Cost { programs, cpu_s: cpu.as_secs_f64(), peak_memory, ring_peak },
            requests_without_operation: seen.requests_without_operation(),
            connections_encrypted: tally.encrypted,
        };
        Ok(())
    }

    /// The footer of a file that holds `span`, of which `ended` says why it ended, if
    /// it did, and `interval_s` is the time between commits that is in force.
    pub(crate) fn footer(&self, span: &Span, ended: Option<String>, interval_s: f64) -> Footer {
        let Span { from, to, series, possible } = span;
        let mut footer = self.template.clone();
        let capture = &mut footer.capture;
        (capture.start_us, capture.end_us) = (from.at_us, to.at_us);
        capture.start_monotonic_ns = from.at_monotonic_ns;
        capture.end_monotonic_ns = to.at_monotonic_ns;
        capture.ended = ended;
        capture.commit_interval_s = interval_s;
        footer.loss = Loss {
            series: series.clone(),
            possible_series: possible.clone(),
            ..to.loss.since(&from.loss)
        };
        footer.sampling = Sampling {
            how: HOW_SAMPLED.to_owned(),
            sampled_out: Some(to.sampled_out - from.sampled_out),
            // From earlier on: a row may be of a request that was long under way when its
            // file began.
            series: self
                .rates
                .lock()
                .series(self.start.at_us.max(from.at_us.saturating_sub(UNDER_WAY_US)), to.at_us),
        };
        footer.cost = to.cost.since(&from.cost);
        footer.source.requests_without_operation =
            to.requests_without_operation - from.requests_without_operation;
        footer.source.connections_encrypted = to.connections_encrypted - from.connections_encrypted;
        footer
    }

    /// The footer of all that was recorded, in however many files.
    pub(crate) fn whole(&self) -> Footer {
        let span = Span { to: self.now.clone(), ..Span::begin(&self.start) };
        self.footer(&span, Some(self.reason()), self.template.capture.commit_interval_s)
    }
}

impl Span {
    /// Begins where the recording was at `from`.
    pub(crate) fn begin(from: &Totals) -> Self {
        Self { from: from.clone(), to: from.clone(), series: Vec::new(), possible: Vec::new() }
    }

    /// Where it begins.
    pub(crate) fn start(&self) -> &Totals {
        &self.from
    }

    /// Where it ends.
    pub(crate) fn end(&self) -> &Totals {
        &self.to
    }

    /// How long it is.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_nanos(self.to.at_monotonic_ns.saturating_sub(self.from.at_monotonic_ns))
    }

    /// When it ends, µs since the epoch.
    pub(crate) fn end_us(&self) -> i64 {
        self.to.at_us
    }

    /// Whether at `to` there is more to say of the sample, though there be no rows.
    pub(crate) fn is_outdated(&self, to: &Totals) -> bool {
        (self.to.sampled_out, self.to.rate_changes) != (to.sampled_out, to.rate_changes)
    }

    /// Goes on to `to`, and returns how many operations were lost on the way.
    pub(crate) fn advance(&mut self, to: &Totals) -> u64 {
        let lost = to.loss.losses.total().saturating_sub(self.to.loss.losses.total());
        push(&mut self.series, [self.to.at_us, to.at_us, lost.cast_signed()]);
        let possible = to.loss.possible.since(&self.to.loss.possible).total();
        if possible > 0 {
            push(&mut self.possible, [self.to.at_us, to.at_us, possible.cast_signed()]);
        }
        self.to = to.clone();
        lost
    }

    /// Goes on with the span that follows this one.
    pub(crate) fn extend(&mut self, next: &Self) {
        for entry in &next.series {
            push(&mut self.series, *entry);
        }
        for entry in &next.possible {
            push(&mut self.possible, *entry);
        }
        self.to = next.to.clone();
    }
}

/// A stretch without loss is one entry, however long; and so that a series does not
/// grow with time, so are two entries where there are too many.
fn push(series: &mut Vec<[i64; 3]>, entry: [i64; 3]) {
    match series.last_mut() {
        Some(last) if entry[2] == 0 && last[2] == 0 => last[1] = entry[1],
        _ => series.push(entry),
    }
    if series.len() > SERIES_MAX {
        let pairs = series.chunks(2).map(|pair| {
            let last = pair.last().unwrap_or(&pair[0]);
            [pair[0][0], last[1], pair.iter().map(|entry| entry[2]).sum()]
        });
        *series = pairs.collect();
    }
}

/// Wall-clock time, µs since the epoch, of a monotonic time, ns.
pub(crate) fn wall_us(monotonic_ns: u64, clock_offset_ns: i64) -> i64 {
    (monotonic_ns.cast_signed() + clock_offset_ns).div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::{SERIES_MAX, push};

    #[test]
    fn a_series_keeps_its_sum_and_its_ends_and_does_not_grow() {
        let mut series = Vec::new();
        push(&mut series, [0, 5, 0]);
        push(&mut series, [5, 10, 0]);
        assert_eq!(series, [[0, 10, 0]]);
        for second in 10..100_000 {
            push(&mut series, [second, second + 1, second % 3]);
            assert!(series.len() <= SERIES_MAX);
        }
        assert_eq!((series[0][0], series.last().unwrap()[1]), (0, 100_000));
        assert!(series.windows(2).all(|pair| pair[0][1] == pair[1][0]));
        let lost: i64 = series.iter().map(|entry| entry[2]).sum();
        assert_eq!(lost, (10..100_000).map(|second| second % 3).sum::<i64>());
    }
}
