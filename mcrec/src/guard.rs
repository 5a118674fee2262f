//! The sample while a recording goes on: what it costs is measured, and the rate
//! follows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mcrec_schema::footer::Capture;

use crate::{
    account::wall_us,
    cli::Record,
    host,
    probe::{Probes, Statistics},
    report,
    sample::{self, Guard, OneIn, Rates, SharedRates, Verdict},
};

/// How often the guard looks at what recording costs.
const GUARD_EVERY: Duration = Duration::from_secs(1);

/// The sample, and the guard that makes it sparser where recording costs too much.
pub(crate) struct Sampling {
    rates: Arc<SharedRates>,
    clock_offset_ns: i64,
    /// With its budget.
    guard: Option<(Guard, f64)>,
    /// Time and run time of the programs, ns, when it last looked.
    before: Option<(Instant, u64)>,
}

impl Sampling {
    /// What `options` ask for, in a recording that begins as `capture` says.
    pub(crate) fn new(options: &Record, capture: &Capture) -> Self {
        let densest = options.sample.unwrap_or(1);
        Self {
            rates: Arc::new(SharedRates::new(Rates::new(capture.start_us, densest))),
            clock_offset_ns: capture.clock_offset_ns,
            guard: options.max_overhead.map(|budget| (Guard::new(budget, densest), budget)),
            before: None,
        }
    }

    /// The rates, to be shared.
    pub(crate) fn rates(&self) -> Arc<SharedRates> {
        Arc::clone(&self.rates)
    }

    /// One key in so many is recorded.
    pub(crate) fn one_in(&self) -> OneIn {
        self.rates.lock().now()
    }

    /// Does what the guard wants, now and then. Returns what there is to say of it.
    pub(crate) fn tick(
        &mut self,
        probes: &mut Probes<'_>,
        statistics: &Statistics,
    ) -> Option<String> {
        let (guard, budget) = self.guard.as_mut()?;
        let now = Instant::now();
        if self.before.is_some_and(|(before, _)| now - before < GUARD_EVERY) {
            return None;
        }
        let run_time = statistics.cost().iter().map(|program| program.run_time_ns).sum();
        let (before, run_time_before) = self.before.replace((now, run_time))?;
        let spent = Duration::from_nanos(run_time.saturating_sub(run_time_before));
        let cost = spent.as_secs_f64() / (now - before).as_secs_f64();
        match guard.judge(cost) {
            Verdict::Stay => None,
            Verdict::Helpless => Some(report::helpless(cost, *budget)),
            Verdict::Change(to) => {
                let from = self.one_in();
                self.change(from, to, probes);
                Some(report::sampling_changed(from, to, cost, self.guard.as_ref()?.1))
            }
        }
    }

    fn change(&self, from: OneIn, to: OneIn, probes: &mut Probes<'_>) {
        let now = || wall_us(host::monotonic_ns(), self.clock_offset_ns);
        let fix = || {
            // Looked at with the rates in hand: whoever judged by those before did so
            // earlier.
            let mut rates = self.rates.lock();
            sample::fix(&mut rates, now(), to)
        };
        sample::change(from, to, fix, now, |one_in| probes.sample(one_in));
    }
}
