//! At what rate keys are sampled, and when that changes. Pure: time and what the
//! recording costs come from outside.
//!
//! The rate that an operation falls under follows from its time alone: the rates
//! are a series, and what the capture has is exactly what lies in it. The kernel
//! leaves out what it can before, never more than that: see [`change`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use mcrec_schema::sample;

/// One key in so many is recorded: 1 is every key.
pub(crate) type OneIn = u32;

/// The rates of a recording, each from a point in time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// Rising in time; the first is that of all before the second, too.
    from: Vec<(i64, OneIn)>,
}

impl Rates {
    /// One rate from the start on, µs since the epoch.
    pub(crate) fn new(start: i64, one_in: OneIn) -> Self {
        Self { from: vec![(start, one_in)] }
    }

    /// The rate that is in force.
    pub(crate) fn now(&self) -> OneIn {
        self.from.last().map_or(1, |&(_, one_in)| one_in)
    }

    /// How often it changed.
    pub(crate) fn changes(&self) -> usize {
        self.from.len()
    }

    /// The rate is `one_in` from `from` on, µs since the epoch: later than all before.
    fn push(&mut self, from: i64, one_in: OneIn) {
        debug_assert!(self.from.last().is_none_or(|&(last, _)| last < from), "in order");
        self.from.push((from, one_in));
    }

    fn at(&self, ts: i64) -> OneIn {
        // What is decoded is mostly of now.
        let after = self.from.iter().rposition(|&(from, _)| from <= ts).unwrap_or(0);
        self.from.get(after).map_or(1, |&(_, one_in)| one_in)
    }

    /// Whether an operation on `key` at `ts`, µs since the epoch, is recorded.
    pub(crate) fn keeps(&self, ts: i64, key: Option<&[u8]>) -> bool {
        if let [(_, 1)] = self.from.as_slice() {
            return true;
        }
        key.is_none_or(|key| match self.at(ts) {
            1 => true,
            one_in => sample::contains(one_in, key),
        })
    }

    /// The stretches of `start` to `end` as the capture tells them.
    pub(crate) fn series(&self, start: i64, end: i64) -> Vec<[i64; 3]> {
        let ends = self.from.iter().skip(1).map(|&(from, _)| from).chain([i64::MAX]);
        let stretches = self.from.iter().zip(ends).enumerate();
        stretches
            .map(|(at, (&(from, one_in), to))| {
                let from = if at == 0 { start } else { from.max(start) };
                [from, to.min(end), i64::from(one_in)]
            })
            .filter(|[from, to, _]| from < to || (*from == start && *to == end))
            .collect()
    }
}

/// The rates as the main thread changes them and the writer sees them.
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

/// Changes the rate, so that no operation is left out by the kernel that falls
/// under a rate at which it is recorded: a sparser sample is told to the kernel
/// when it is in force, a denser one before.
///
/// `fix` makes the rates end in the new one and returns from when on, µs since the
/// epoch; `now` is the time in that measure; `tell` tells the kernel. Every
/// operation that was judged before `fix` returns is older than what it returns.
pub(crate) fn change(
    from: OneIn,
    to: OneIn,
    fix: impl FnOnce() -> i64,
    mut now: impl FnMut() -> i64,
    tell: impl FnOnce(OneIn),
) {
    if to < from {
        tell(to);
        fix();
    } else {
        let begins = fix();
        while now() < begins {
            std::hint::spin_loop();
        }
        tell(to);
    }
}

/// A change of the rate that is fixed at `now`, µs since the epoch. See [`change`].
pub(crate) fn fix(rates: &mut Rates, now: i64, to: OneIn) -> i64 {
    // What was judged so far is of this microsecond at the latest; and two changes
    // in one have one after the other.
    let last = rates.from.last().map_or(i64::MIN, |&(from, _)| from);
    let begins = (now + 1).max(last.saturating_add(1));
    rates.push(begins, to);
    begins
}

/// Keeps what recording costs the server within a budget, by a sparser sample.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Parts of one CPU, 1.0 for all of it.
    budget: f64,
    densest: OneIn,
    /// For each doubling so far, by what factor taking it back is expected to raise
    /// the cost.
    gains: Vec<f64>,
    /// What the last change, if nothing was measured since, came from.
    unmeasured: Option<OneIn>,
    /// The cost at the last measurement.
    before: f64,
    /// Measurements in a row that leave room for a denser sample.
    calm: u32,
    /// So many are wanted: more when the last attempt had to be taken back.
    patience: u32,
    last_was_denser: bool,
    told_of_the_end: bool,
}

/// What is to be done about the cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Stay,
    /// Record one key in so many from now on.
    Change(OneIn),
    /// Even the sparsest sample costs too much. Said once.
    Helpless,
}

impl Guard {
    /// A denser sample must be expected to cost less than this part of the budget.
    const COMFORT: f64 = 0.8;
    const PATIENCE: u32 = 5;
    const PATIENCE_MAX: u32 = 600;

    /// A guard of `budget`, parts of one CPU, that begins with one key in `densest`.
    pub(crate) fn new(budget: f64, densest: OneIn) -> Self {
        Self {
            budget,
            densest,
            gains: Vec::new(),
            unmeasured: None,
            before: 0.0,
            calm: 0,
            patience: Self::PATIENCE,
            last_was_denser: false,
            told_of_the_end: false,
        }
    }

    /// The rate in force.
    fn one_in(&self) -> OneIn {
        // No more doublings than there is room for.
        let doublings = u32::try_from(self.gains.len()).unwrap_or(u32::MAX);
        self.densest.saturating_mul(2_u32.saturating_pow(doublings)).min(sample::ONE_IN_MAX)
    }

    /// What to do now that recording costs `cost`, parts of one CPU, measured since
    /// the last verdict.
    pub(crate) fn judge(&mut self, cost: f64) -> Verdict {
        self.learn(cost);
        if cost > self.budget {
            return self.sparser();
        }
        let Some(gain) = self.gains.last() else { return Verdict::Stay };
        self.calm = if cost * gain < self.budget * Self::COMFORT { self.calm + 1 } else { 0 };
        if self.calm < self.patience {
            return Verdict::Stay;
        }
        self.calm = 0;
        if self.last_was_denser {
            self.patience = Self::PATIENCE;
        }
        self.last_was_denser = true;
        self.unmeasured = Some(self.one_in());
        self.gains.pop();
        Verdict::Change(self.one_in())
    }

    fn sparser(&mut self) -> Verdict {
        self.calm = 0;
        if self.one_in() == sample::ONE_IN_MAX {
            return match std::mem::replace(&mut self.told_of_the_end, true) {
                false => Verdict::Helpless,
                true => Verdict::Stay,
            };
        }
        if std::mem::take(&mut self.last_was_denser) {
            self.patience = (self.patience * 2).min(Self::PATIENCE_MAX);
        }
        self.unmeasured = Some(self.one_in());
        self.gains.push(2.0);
        Verdict::Change(self.one_in())
    }

    /// Learns from the first measurement after a change. A part of the cost is that
    /// of keys, which doubles with them, the rest stays: so less than a doubling.
    fn learn(&mut self, cost: f64) {
        let before = std::mem::replace(&mut self.before, cost);
        let Some(from) = self.unmeasured.take() else { return };
        let denser = from > self.one_in();
        let Some(gain) = self.gains.last_mut() else { return };
        if denser && before > 0.0 {
            // The next step adds twice what this one did.
            *gain = gain.min(3.0 - 2.0 * before / cost.max(before)).max(1.0);
        } else if !denser && cost > 0.0 {
            *gain = (before / cost).clamp(1.0, 2.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use mcrec_schema::sample;

    use super::{Guard, Rates, Verdict, change, fix};

    #[test]
    fn each_operation_falls_under_the_rate_of_its_time() {
        let mut rates = Rates::new(100, 1);
        let keys: Vec<String> = (0..2000).map(|n| format!("key:{n}")).collect();
        let kept = |rates: &Rates, ts: i64| -> Vec<bool> {
            keys.iter().map(|key| rates.keeps(ts, Some(key.as_bytes()))).collect()
        };
        let of = |one_in| -> Vec<bool> {
            keys.iter().map(|key| sample::contains(one_in, key.as_bytes())).collect()
        };
        assert_eq!(kept(&rates, 100), vec![true; keys.len()]);
        assert_eq!(fix(&mut rates, 200, 16), 201);
        // Two in one microsecond.
        assert_eq!(fix(&mut rates, 200, 32), 202);
        assert_eq!(fix(&mut rates, 300, 4), 301);
        for (ts, one_in) in
            [(0, 1), (100, 1), (200, 1), (201, 16), (202, 32), (300, 32), (301, 4), (9999, 4)]
        {
            assert_eq!(kept(&rates, ts), of(one_in), "at {ts}");
            assert!(rates.keeps(ts, None), "what has no key is no sample's");
        }
        assert_eq!((rates.now(), rates.changes()), (4, 4));
    }

    #[test]
    fn a_file_tells_the_rates_of_its_own_span() {
        let mut rates = Rates::new(100, 1);
        assert_eq!(rates.series(100, 100), [[100, 100, 1]]);
        assert_eq!(rates.series(100, 150), [[100, 150, 1]]);
        fix(&mut rates, 199, 2);
        fix(&mut rates, 299, 4);
        assert_eq!(rates.series(100, 400), [[100, 200, 1], [200, 300, 2], [300, 400, 4]]);
        assert_eq!(rates.series(220, 250), [[220, 250, 2]]);
        assert_eq!(rates.series(200, 300), [[200, 300, 2]]);
        assert_eq!(rates.series(250, 350), [[250, 300, 2], [300, 350, 4]]);
        assert_eq!(rates.series(350, 350), [[350, 350, 4]]);
        // A clock that stood a little behind when the recording began.
        assert_eq!(rates.series(90, 150), [[90, 150, 1]]);
    }

    #[test]
    fn the_kernel_never_samples_more_sparsely_than_the_capture_says() {
        for (from, to) in [(1, 2), (4, 64), (2, 1), (64, 4)] {
            let clock = RefCell::new(1000);
            let rates = RefCell::new(Rates::new(0, from));
            let kernel = RefCell::new(from);
            let now = || {
                *clock.borrow_mut() += 1;
                *clock.borrow()
            };
            // At any moment: what the kernel leaves out then, the capture does too.
            let check = || assert!(*kernel.borrow() <= rates.borrow().at(*clock.borrow()));
            let fixed = || {
                check();
                let begins = fix(&mut rates.borrow_mut(), *clock.borrow(), to);
                check();
                begins
            };
            let tell = |one_in| {
                check();
                *kernel.borrow_mut() = one_in;
                check();
            };
            change(from, to, fixed, now, tell);
            assert_eq!((*kernel.borrow(), rates.borrow().now()), (to, to));
        }
    }

    /// Runs `guard` against a cost of `floor` plus `rest` for every key, for so many
    /// measurements. Returns the rates that it went through.
    fn run(guard: &mut Guard, floor: f64, rest: f64, measurements: usize) -> Vec<u32> {
        let changes = (0..measurements).filter_map(|_| {
            match guard.judge(floor + rest / f64::from(guard.one_in())) {
                Verdict::Change(one_in) => Some(one_in),
                Verdict::Stay => None,
                Verdict::Helpless => Some(0),
            }
        });
        changes.collect()
    }

    #[test]
    fn the_sample_is_as_dense_as_the_budget_allows() {
        let mut guard = Guard::new(0.05, 1);
        assert!(run(&mut guard, 0.01, 0.03, 100).is_empty(), "within the budget");
        assert_eq!(run(&mut guard, 0.01, 0.30, 100), [2, 4, 8], "and no further");
        assert!(run(&mut guard, 0.01, 0.20, 100).is_empty(), "1/4 would be over it");
        assert_eq!(run(&mut guard, 0.01, 0.02, 100), [4, 2, 1], "all again");
        assert_eq!(run(&mut guard, 0.01, 0.30, 4), [2, 4, 8], "at once");
    }

    #[test]
    fn a_floor_does_not_keep_the_sample_sparse() {
        let mut guard = Guard::new(0.05, 1);
        assert_eq!(run(&mut guard, 0.02, 0.2, 10), [2, 4, 8]);
        // At 1/8 nearly all is the floor, as each step back shows.
        assert_eq!(run(&mut guard, 0.02, 0.015, 100), [4, 2, 1]);
    }

    #[test]
    fn what_is_asked_for_is_the_densest() {
        let mut guard = Guard::new(0.05, 48);
        assert_eq!(run(&mut guard, 0.0, 4.0, 20), [96]);
        assert_eq!(run(&mut guard, 0.0, 0.1, 20), [48]);
        assert!(run(&mut guard, 0.0, 0.0, 100).is_empty());
    }

    #[test]
    fn helplessness_is_said_once() {
        let mut guard = Guard::new(0.05, 1);
        let rates = run(&mut guard, 0.06, 1.0, 100);
        assert_eq!(rates.len(), 17);
        assert_eq!(rates[15..], [65536, 0]);
        let mut guard = Guard::new(0.05, 48);
        assert!(run(&mut guard, 0.06, 1.0, 100).ends_with(&[49152, 65536, 0]));
    }

    #[test]
    fn a_load_that_swings_makes_the_guard_more_patient() {
        let mut guard = Guard::new(0.05, 1);
        let changes: usize = (0..400)
            .map(|swing| {
                let rest = if swing % 2 == 0 { 0.07 } else { 0.01 };
                run(&mut guard, 0.0, rest, 10).len()
            })
            .sum();
        assert!(changes < 40, "{changes} changes in 4000 measurements");
    }
}
