//! Figures over time, in a bounded number of intervals: where there would be more,
//! they become twice as long. Pure.

use super::batch::Operation;

/// The shortest interval, µs.
const SHORTEST: i64 = 1_000;

/// Time, cut into intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intervals {
    /// Where the first begins, µs since the epoch.
    pub(super) origin: i64,
    /// How long each is, µs.
    pub(super) length: i64,
    most: u16,
}

impl Intervals {
    /// No more than `most`.
    pub(super) fn from(origin: i64, most: u16) -> Self {
        Self { origin, length: SHORTEST, most }
    }

    /// The interval of a time, and by how many powers of two intervals had to become
    /// longer for that.
    pub(super) fn interval(&mut self, ts: i64) -> (u16, u32) {
        let after = ts.saturating_sub(self.origin).max(0);
        let mut longer = 0;
        while after / self.length >= i64::from(self.most) {
            self.lengthen();
            longer += 1;
        }
        (u16::try_from(after / self.length).unwrap_or(u16::MAX), longer)
    }

    /// Makes them twice as long.
    pub(super) fn lengthen(&mut self) {
        self.length = self.length.saturating_mul(2);
    }
}

/// What was in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) operations: i64,
    pub(super) hits: i64,
    pub(super) misses: i64,
    pub(super) bytes: i64,
}

impl Sums {
    /// With what the operation stands for.
    pub(super) fn add(&mut self, operation: &Operation) {
        let weight = operation.weight;
        self.operations = self.operations.saturating_add(weight);
        self.hits += if operation.hit == Some(true) { weight } else { 0 };
        self.misses += if operation.hit == Some(false) { weight } else { 0 };
        let bytes = operation.size.unwrap_or(0).saturating_mul(weight);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn merge(&mut self, other: Self) {
        self.operations = self.operations.saturating_add(other.operations);
        self.hits = self.hits.saturating_add(other.hits);
        self.misses = self.misses.saturating_add(other.misses);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// All operations over time.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) intervals: Intervals,
    pub(super) sums: Vec<Sums>,
    /// The last time that was seen.
    pub(super) last: i64,
}

impl Series {
    /// Beginning at a time, µs since the epoch.
    pub(super) fn from(origin: i64) -> Self {
        Self { intervals: Intervals::from(origin, 256), sums: Vec::new(), last: origin }
    }

    pub(super) fn add(&mut self, operation: &Operation) {
        let (interval, longer) = self.intervals.interval(operation.ts);
        for _ in 0..longer {
            let pairs = self.sums.chunks(2).map(|pair| {
                pair.iter().fold(Sums::default(), |mut sum, one| {
                    sum.merge(*one);
                    sum
                })
            });
            self.sums = pairs.collect();
        }
        let interval = usize::from(interval);
        if self.sums.len() <= interval {
            self.sums.resize(interval + 1, Sums::default());
        }
        self.sums[interval].add(operation);
        self.last = self.last.max(operation.ts);
    }

    /// How much of each interval was seen, in seconds: all but of the last.
    pub(super) fn seconds(&self) -> Vec<f64> {
        let count = self.sums.len();
        let length = self.intervals.length;
        let last = i64::try_from(count).unwrap_or(0).saturating_sub(1).saturating_mul(length);
        let of_last = self.last.saturating_sub(self.intervals.origin).saturating_sub(last);
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let seconds = |micros: i64| micros as f64 / 1e6;
        let mut all = vec![seconds(length); count];
        if let Some(last) = all.last_mut() {
            // Little of it says little.
            *last = seconds(of_last.clamp(length / 10, length));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{Intervals, SHORTEST, Series};
    use crate::live::batch::Operation;

    fn at(ts: i64) -> Operation {
        Operation {
            ts,
            command: 0,
            key: None,
            client: 0,
            hit: Some(true),
            size: Some(10),
            effect: crate::item::Effect::Is(10),
            latency: None,
            weight: 2,
        }
    }

    #[test]
    fn there_are_never_too_many_intervals() {
        let mut series = Series::from(1_000);
        for second in 0..1_000 {
            series.add(&at(1_000 + second * 1_000_000));
        }
        assert!(series.sums.len() <= 256, "{}", series.sums.len());
        assert_eq!(series.sums.iter().map(|sums| sums.operations).sum::<i64>(), 2_000);
        assert_eq!(series.sums.iter().map(|sums| sums.bytes).sum::<i64>(), 20_000);
        assert_eq!(series.seconds().len(), series.sums.len());
    }

    #[test]
    fn no_time_is_too_far_away() {
        let mut intervals = Intervals::from(0, 64);
        assert_eq!(intervals.interval(i64::MIN), (0, 0));
        assert_eq!(intervals.interval(SHORTEST * 63), (63, 0));
        assert_eq!(intervals.interval(SHORTEST * 64), (32, 1));
        let (interval, longer) = intervals.interval(i64::MAX);
        assert!(interval < 64 && longer > 30);
    }
}
