//! Reuse distances: how much else was used since a key was last used. Under LRU it is how
//! much memory it takes to hit. Pure.
//!
//! Where there are more keys than are held, they are those of a sample by their hash, whose
//! distances stand for as many times more (SHARDS, Waldspurger et al., FAST '15, with its
//! fixed size and its correction for keys that are called more often than the sample has
//! it).

mod stack;

use std::collections::BinaryHeap;

use crate::keys::hash::{KeyHash, Map};
use stack::Stack;

/// Keys that one estimate holds.
#[cfg(not(test))]
const KEYS_MAX: usize = 1 << 13;
#[cfg(test)]
const KEYS_MAX: usize = 1 << 9;

/// Estimates that are independent of each other, each of an eighth of the keys.
const ESTIMATES: usize = 8;
/// Each power of two of a distance is cut into so many buckets, so that memory is known to
/// three parts in a thousand.
pub(crate) const PARTS: u32 = 256;
/// Buckets of distances up to `2^48` bytes.
const BUCKETS: usize = 48 * PARTS as usize;

/// What happens to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It was read: what it takes to hit is wanted.
    Read,
    /// It was read, and hit.
    Hit,
    /// It was stored.
    Store,
    /// It is gone, so that the next read cannot hit.
    Delete,
}

/// Reads by how much memory it would have taken to hit.
#[derive(Clone, Debug)]
struct Distances {
    /// Reads by the bucket of their distance, scaled to all keys.
    by_bytes: Vec<f64>,
    /// Reads that hit, of keys that were not used before in the capture: by the bucket of
    /// the least that their distance can have been.
    from_before: Vec<f64>,
    /// Reads that no memory would have made hit: of keys that were not there before.
    cold: f64,
    reads: f64,
    /// The largest amount of memory that was in use, and keys, both scaled.
    bytes: f64,
    keys: f64,
}

/// One estimate.
struct Estimate {
    stack: Stack,
    /// The keys that are held, those furthest from the sample first.
    held: BinaryHeap<(u64, KeyHash)>,
    /// Hashes below this are in the sample.
    below: u64,
    /// All hashes are below this.
    of: u64,
    most: usize,
    /// The capture has one key in so many.
    one_in: f64,
    distances: Distances,
}

/// The hit ratio that an LRU cache of any size would have had.
pub(crate) struct Reuse {
    /// All keys, as long as they are few.
    all: Option<Estimate>,
    some: Vec<Estimate>,
    reads: u64,
}

/// How much of the reads hits with a memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// Bytes.
    pub(crate) memory: f64,
    /// If what was there before the capture took more than that.
    pub(crate) hit_ratio: f64,
    /// If it took no more than it must have.
    pub(crate) at_most: f64,
    /// The standard error of both by sampling; 0 if all keys were looked at.
    pub(crate) error: f64,
}

impl Reuse {
    /// For a capture that has one in `one_in` of the keys. One that has but a sample is
    /// never exact.
    pub(crate) fn of_one_in(one_in: u32) -> Self {
        let one_in = one_in.into();
        let some = |_| Estimate::of(u64::MAX >> 3, KEYS_MAX, one_in);
        let all = (one_in <= 1.0).then(|| Estimate::of(u64::MAX, KEYS_MAX * ESTIMATES, one_in));
        Self { all, some: (0..ESTIMATES).map(some).collect(), reads: 0 }
    }

    /// Whether what happens to a key matters: else it need not be told of it.
    pub(crate) fn wants(&self, key: KeyHash) -> bool {
        let (estimate, position) = place(key);
        self.all.is_some() || position < self.some[estimate].below
    }

    /// Whether a key that matters is in a cache that has room for all.
    pub(crate) fn holds(&self, key: KeyHash) -> bool {
        let some = || self.some[place(key).0].stack.holds(key);
        self.all.as_ref().map_or_else(some, |all| all.stack.holds(key))
    }

    /// Counts a read, whether its key matters or not.
    pub(crate) fn read(&mut self) {
        self.reads += 1;
    }

    /// A key that takes `bytes` is used.
    pub(crate) fn see(&mut self, key: KeyHash, what: Use, bytes: i64) {
        let bytes = bytes.unsigned_abs();
        if let Some(all) = &mut self.all {
            all.see(key, key.position(), what, bytes);
            if all.below < all.of {
                self.all = None;
            }
        }
        let (estimate, position) = place(key);
        self.some[estimate].see(key, position, what, bytes);
    }

    /// The cache is emptied.
    pub(crate) fn flush(&mut self) {
        self.all.iter_mut().chain(&mut self.some).for_each(Estimate::flush);
    }

    /// Whether all keys were looked at.
    pub(crate) fn is_exact(&self) -> bool {
        self.all.is_some()
    }

    /// Memory that all keys took at most at a time, bytes, and how many they were.
    pub(crate) fn working_set(&self) -> (f64, f64) {
        match &self.all {
            Some(all) => (all.distances.bytes, all.distances.keys),
            None => self.some.iter().fold((0.0, 0.0), |(bytes, keys), estimate| {
                (bytes + estimate.distances.bytes, keys + estimate.distances.keys)
            }),
        }
    }

    /// The part of the reads that are the first of their key, and do not hit with any
    /// memory.
    pub(crate) fn cold(&self) -> f64 {
        self.part(|distances| distances.cold)
    }

    /// The part of the reads that are the first of their key, and hit: it was there before
    /// the capture.
    pub(crate) fn there_before(&self) -> f64 {
        self.part(|distances| distances.from_before.iter().sum())
    }

    fn part(&self, of: impl Fn(&Distances) -> f64) -> f64 {
        let sum: f64 = match &self.all {
            Some(all) => of(&all.distances),
            None => self.some.iter().map(|estimate| of(&estimate.distances)).sum(),
        };
        sum / self.reads().max(1.0)
    }

    /// The hit ratios with the memory of each bucket, from the smallest with which anything
    /// can be hit to that with which no more can be; none without reads.
    pub(crate) fn curve(&self) -> Vec<Point> {
        if self.reads == 0 {
            return Vec::new();
        }
        let curves: Vec<[Vec<f64>; 2]> = match &self.all {
            Some(all) => vec![all.hits(self.reads())],
            None => {
                #[expect(clippy::cast_precision_loss, reason = "it is 8")]
                let reads = self.reads() / ESTIMATES as f64;
                self.some.iter().map(|estimate| estimate.hits(reads)).collect()
            }
        };
        let points = (0..BUCKETS).map(|bucket| {
            let [(hit_ratio, error), (at_most, other)] =
                [0, 1].map(|which| mean(curves.iter().map(|curve| curve[which][bucket])));
            Point { memory: upper(bucket), hit_ratio, at_most, error: error.max(other) }
        });
        let points: Vec<Point> = points.collect();
        let most = points.last().map_or(0.0, |point| point.at_most);
        let first = points.iter().position(|point| point.at_most > 0.0).unwrap_or(0);
        let last = points.iter().position(|point| point.at_most >= most).unwrap_or(0);
        points[first..=last.max(first)].to_vec()
    }

    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn reads(&self) -> f64 {
        self.reads as f64
    }
}

/// The mean of some ratios, within 0 and 1, and its standard error; 0 if it is but one.
fn mean(ratios: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "at most 8")]
    let count = ratios.len() as f64;
    let mean = ratios.clone().sum::<f64>() / count;
    let variance = ratios.map(|ratio| (ratio - mean).powi(2)).sum::<f64>();
    let error = if count > 1.0 { (variance / (count - 1.0) / count).sqrt() } else { 0.0 };
    (mean.clamp(0.0, 1.0), error)
}

/// Which estimate a key is for, and its place there.
fn place(key: KeyHash) -> (usize, u64) {
    let position = key.position();
    (usize::try_from(position & 7).unwrap_or(0), position >> 3)
}

impl Estimate {
    fn of(of: u64, most: usize, one_in: f64) -> Self {
        let distances = Distances {
            by_bytes: vec![0.0; BUCKETS],
            from_before: vec![0.0; BUCKETS],
            cold: 0.0,
            reads: 0.0,
            bytes: 0.0,
            keys: 0.0,
        };
        let (stack, held) = (Stack::default(), BinaryHeap::new());
        Self { stack, held, below: of, of, most, one_in, distances }
    }

    /// For how many keys of the capture one of the sample stands.
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    fn scale(&self) -> f64 {
        let eighths = (u64::MAX / self.of.max(1)) as f64;
        self.of as f64 / self.below.max(1) as f64 * eighths
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate, or far below 2^53")]
    fn see(&mut self, key: KeyHash, position: u64, what: Use, bytes: u64) {
        if position > self.below {
            return;
        }
        let scale = self.scale();
        let reads = scale * self.of as f64 / u64::MAX as f64;
        if what == Use::Delete {
            self.stack.delete(key);
            return;
        }
        let peak = self.stack.peak();
        let before = self.stack.use_key(key, bytes);
        if what != Use::Store {
            let distances = &mut self.distances;
            distances.reads += reads;
            // What is used of the sample since, for all keys; and the key itself.
            let bucket = |since: u64| bucket(since as f64 * scale * self.one_in + bytes as f64);
            match before {
                Some(since) => distances.by_bytes[bucket(since)] += reads,
                // All that was used since the capture began came after it.
                None if what == Use::Hit => distances.from_before[bucket(peak)] += reads,
                None => distances.cold += reads,
            }
        }
        if before.is_none() {
            self.held.push((position, key));
            self.thin_out();
        }
        let scale = self.scale() * self.one_in;
        let (held, keys) = self.stack.size();
        let eighth = self.of as f64 / u64::MAX as f64;
        self.distances.bytes = self.distances.bytes.max(held as f64 * scale * eighth);
        self.distances.keys = self.distances.keys.max(keys as f64 * scale * eighth);
    }

    /// With too many keys, those furthest up are no longer in the sample.
    fn thin_out(&mut self) {
        while self.stack.size().1 > self.most {
            let Some((position, key)) = self.held.pop() else { return };
            self.stack.forget(key);
            self.below = position.saturating_sub(1);
        }
        // Those that were deleted and stored again are held twice.
        if self.held.len() > 2 * self.most {
            let mut held: Map<u64> = Map::default();
            held.extend(self.held.drain().map(|(position, key)| (key, position)));
            self.held.extend(held.into_iter().map(|(key, position)| (position, key)));
        }
    }

    fn flush(&mut self) {
        self.stack.clear();
        self.held.clear();
    }

    /// The part of `reads` that hits with the memory of each bucket, at least and at most.
    /// Reads that the sample has too many or too few are of keys that are called often,
    /// which hit with little.
    fn hits(&self, reads: f64) -> [Vec<f64>; 2] {
        let mut hits = if self.below < self.of { reads - self.distances.reads } else { 0.0 };
        if self.below == self.of && self.of < u64::MAX {
            hits = reads - self.distances.reads;
        }
        let mut from_before = 0.0;
        let both = self.distances.by_bytes.iter().zip(&self.distances.from_before);
        let of_bucket = both.map(|(count, count_from_before)| {
            hits += count;
            from_before += count_from_before;
            let part = |hits: f64| if reads > 0.0 { hits / reads } else { 0.0 };
            (part(hits), part(hits + from_before))
        });
        let (at_least, at_most) = of_bucket.unzip();
        [at_least, at_most]
    }
}

/// The bucket of a distance: the one whose upper end is the least that is not less.
fn bucket(bytes: f64) -> usize {
    let at = (bytes.max(1.0).log2() * f64::from(PARTS)).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to BUCKETS")]
    let bucket = at as usize;
    // What was rounded up too far, or not far enough.
    let mut bucket = bucket.min(BUCKETS - 1);
    while bucket > 0 && upper(bucket - 1) >= bytes {
        bucket -= 1;
    }
    while bucket < BUCKETS - 1 && upper(bucket) < bytes {
        bucket += 1;
    }
    bucket
}

/// The upper end of a bucket, whole bytes.
fn upper(bucket: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let bucket = bucket as f64;
    (bucket / f64::from(PARTS)).exp2().floor()
}

#[cfg(test)]
mod tests;
