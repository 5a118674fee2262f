//! What is known of a key, or of whatever else operations are grouped by, in little
//! memory: counts by latency, time, command and client are kept where there are any.

use super::batch::Operation;
use crate::item::Effect;

/// Counts by a number; most keys have a few.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts(Vec<(u16, u32)>);

impl Counts {
    /// Counts, and says whether the number is a new one.
    pub(super) fn add(&mut self, number: u16, count: u32) -> bool {
        // The last is looked at first: time goes on.
        if let Some((last, counted)) = self.0.last_mut()
            && *last == number
        {
            *counted = counted.saturating_add(count);
            return false;
        }
        match self.0.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(at) => {
                self.0[at].1 = self.0[at].1.saturating_add(count);
                false
            }
            Err(at) => {
                self.0.insert(at, (number, count));
                true
            }
        }
    }

    /// Each number, in order, with its count.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, i64)> + '_ {
        self.0.iter().map(|(number, count)| (*number, i64::from(*count)))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes one of numbers that are alike but for their last bits.
    pub(super) fn shift(&mut self, bits: u32) {
        let shift = |number: u16| number.checked_shr(bits).unwrap_or(0);
        self.0.iter_mut().for_each(|(number, _)| *number = shift(*number));
        self.0.dedup_by(|(later, more), (number, count)| {
            let same = later == number;
            if same {
                *count = count.saturating_add(*more);
            }
            same
        });
    }

    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(number, count)| {
            self.add(*number, *count);
        });
    }
}

/// Latencies: each power of two is cut into four, so that a percentile is off by an
/// eighth at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Latencies(Counts);

/// Each power of two is cut into `2^CUT`.
const CUT: u32 = 2;

impl Latencies {
    fn add(&mut self, ns: i64) {
        let ns = ns.max(1).unsigned_abs();
        let power = ns.ilog2();
        let part = if power < CUT { 0 } else { (ns >> (power - CUT)) & ((1 << CUT) - 1) };
        let cell = (u64::from(power) << CUT) + part;
        self.0.add(u16::try_from(cell).unwrap_or(u16::MAX), 1);
    }

    /// About the least that at least this part, in hundredths, does not exceed.
    pub(super) fn percentile(&self, part: i64) -> Option<i64> {
        let count: i64 = self.0.iter().map(|(_, count)| count).sum();
        let rank = count.saturating_mul(part).saturating_add(99).div_euclid(100).max(1);
        let mut before = 0;
        let mut cells = self.0.iter();
        let (cell, _) = cells.find(|(_, count)| {
            before += count;
            before >= rank
        })?;
        let power = u32::from(cell >> CUT);
        let part = i64::from(cell & ((1 << CUT) - 1));
        if power < CUT {
            return Some(1 << power);
        }
        let width = 1_i64 << (power - CUT);
        // The middle.
        Some(((part + (1 << CUT)) * width).saturating_add(width / 2))
    }

    /// How many there are from each power of two to the next: the power, and the count.
    pub(super) fn by_power(&self) -> Vec<(u32, i64)> {
        let mut powers: Vec<(u32, i64)> = Vec::new();
        for (cell, count) in self.0.iter() {
            let power = u32::from(cell >> CUT);
            // Those in between are seen to be empty.
            while powers.last().is_some_and(|(last, _)| last + 1 < power) {
                powers.push((powers.last().map_or(0, |(last, _)| last + 1), 0));
            }
            match powers.last_mut() {
                Some((last, sum)) if *last == power => *sum += count,
                _ => powers.push((power, count)),
            }
        }
        powers
    }
}

/// The least and the largest size that values had, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) min: i64,
    pub(super) max: i64,
}

/// What a key's clients are counted under that are too many.
pub(super) const OTHERS: u16 = u16::MAX;
/// So many clients of one key are told apart.
const CLIENTS_MAX: usize = 16;

/// A key, so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) calls: i64,
    pub(super) hits: i64,
    pub(super) misses: i64,
    /// Bytes of value in all, stored and returned.
    pub(super) bytes: i64,
    pub(super) sizes: Option<Sizes>,
    /// What is known of the item that is there; of what is no key, of the last value.
    pub(super) size: Effect,
    /// How often the cache was flushed before that was known.
    pub(super) flushes: u32,
    /// When it was first and last seen, µs since the epoch, UTC.
    pub(super) seen: Option<(i64, i64)>,
    pub(super) latencies: Latencies,
    /// By number of the command.
    pub(super) commands: Counts,
    /// By number of the client.
    pub(super) clients: Counts,
    /// By interval of time.
    pub(super) over_time: Counts,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            calls: 0,
            hits: 0,
            misses: 0,
            bytes: 0,
            sizes: None,
            size: Effect::Nothing,
            flushes: 0,
            seen: None,
            latencies: Latencies::default(),
            commands: Counts::default(),
            clients: Counts::default(),
            over_time: Counts::default(),
        }
    }
}

impl Figures {
    /// Takes an operation in, which did that to the item; says whether it is the first in
    /// its interval.
    pub(super) fn add(
        &mut self,
        operation: &Operation,
        effect: Effect,
        client: u16,
        interval: u16,
    ) -> bool {
        self.calls += 1;
        self.hits += i64::from(operation.hit == Some(true));
        self.misses += i64::from(operation.hit == Some(false));
        if let Some(size) = operation.size {
            self.bytes = self.bytes.saturating_add(size);
        }
        self.size = self.size.then(effect);
        if let Some(size) = self.size.size() {
            let Sizes { min, max } = self.sizes.unwrap_or(Sizes { min: size, max: size });
            self.sizes = Some(Sizes { min: min.min(size), max: max.max(size) });
        }
        let (first, last) = self.seen.unwrap_or((operation.ts, operation.ts));
        self.seen = Some((first.min(operation.ts), last.max(operation.ts)));
        if let Some(latency) = operation.latency {
            self.latencies.add(latency);
        }
        self.commands.add(operation.command.into(), 1);
        self.add_client(client, 1);
        self.over_time.add(interval, 1)
    }

    /// The cache was flushed so often by now: what was there before is gone.
    pub(super) fn flush(&mut self, flushes: u32) {
        if self.flushes != flushes {
            self.flushes = flushes;
            self.size = Effect::Lost;
        }
    }

    fn add_client(&mut self, client: u16, count: u32) {
        let known = self.clients.0.binary_search_by_key(&client, |(number, _)| *number).is_ok();
        let full = self.clients.len() >= CLIENTS_MAX && !known;
        self.clients.add(if full { OTHERS } else { client }, count);
    }

    /// Takes in those of another key.
    pub(super) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.hits += other.hits;
        self.misses += other.misses;
        self.bytes = self.bytes.saturating_add(other.bytes);
        let is_later = other.seen.map(|(_, last)| last) >= self.seen.map(|(_, last)| last);
        self.sizes = match (self.sizes, other.sizes) {
            (Some(mine), Some(theirs)) => {
                Some(Sizes { min: mine.min.min(theirs.min), max: mine.max.max(theirs.max) })
            }
            (mine, theirs) => mine.or(theirs),
        };
        if other.size.size().is_some() && (is_later || self.size.size().is_none()) {
            self.size = other.size;
        }
        self.seen = match (self.seen, other.seen) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (mine, theirs) => mine.or(theirs),
        };
        self.latencies.0.merge(&other.latencies.0);
        self.commands.merge(&other.commands);
        other.clients.0.iter().for_each(|(client, count)| self.add_client(*client, *count));
        self.over_time.merge(&other.over_time);
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Latencies};

    #[test]
    fn percentiles_are_off_by_an_eighth_at_most() {
        for ns in [1, 2, 3, 4, 5, 7, 100, 6_200, 41_800, 1 << 40, i64::MAX] {
            let mut latencies = Latencies::default();
            latencies.add(ns);
            let about = latencies.percentile(50).unwrap();
            assert!(about.abs_diff(ns) <= ns.unsigned_abs() / 7 + 1, "{ns} {about}");
        }
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|ns| latencies.add(ns * 1000));
        for (part, exact) in [(50, 500_000_i64), (99, 990_000)] {
            let about = latencies.percentile(part).unwrap();
            assert!(about.abs_diff(exact) <= exact.unsigned_abs() / 7, "{part} {about}");
        }
        assert_eq!(Latencies::default().percentile(50), None);
    }

    #[test]
    fn histograms_have_no_holes() {
        let mut latencies = Latencies::default();
        [5, 6, 40].into_iter().for_each(|ns| latencies.add(ns));
        assert_eq!(latencies.by_power(), [(2, 2), (3, 0), (4, 0), (5, 1)]);
    }

    #[test]
    fn intervals_become_longer() {
        let mut counts = Counts::default();
        for number in [0, 1, 1, 2, 5, 3] {
            counts.add(number, 1);
        }
        counts.shift(1);
        assert_eq!(counts.iter().collect::<Vec<_>>(), [(0, 3), (1, 2), (2, 1)]);
    }
}
