//! Curves beside caches that are simulated.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "of small numbers"
)]

use super::{Reuse, Use};
use crate::keys::hash::KeyHash;

/// Zipf-like numbers, always the same.
fn numbers(count: usize, keys: u64) -> Vec<u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..count).map(|_| ((keys as f64).powf(next()) - 1.0) as u64).collect()
}

/// The hit ratio of an LRU cache of so many bytes, by being one.
fn simulated(trace: &[u64], size: impl Fn(u64) -> u64, memory: u64) -> f64 {
    let mut cache: Vec<u64> = Vec::new();
    let mut hits = 0;
    for key in trace {
        let before = cache.iter().rposition(|other| other == key);
        if let Some(at) = before {
            let used: u64 = cache[at..].iter().map(|key| size(*key)).sum();
            hits += usize::from(used <= memory);
            cache.remove(at);
        }
        cache.push(*key);
    }
    hits as f64 / trace.len() as f64
}

fn seen(trace: &[u64], size: impl Fn(u64) -> u64) -> Reuse {
    let mut reuse = Reuse::of_one_in(1);
    for key in trace {
        reuse.read();
        let hash = KeyHash::of_number(*key);
        if reuse.wants(hash) {
            reuse.see(hash, Use::Read, size(*key).cast_signed());
        }
    }
    reuse
}

#[test]
fn few_keys_have_the_hit_ratio_of_a_cache_that_is_simulated() {
    let trace = numbers(5_000, 1_000);
    let size = |key| 50 + key % 7 * 100;
    let reuse = seen(&trace, size);
    assert!(reuse.is_exact());
    let curve = reuse.curve();
    assert!(curve.len() > 500);
    for point in curve.iter().step_by(150) {
        let simulated = simulated(&trace, size, point.memory as u64);
        assert!((point.hit_ratio - simulated).abs() < 1e-9, "{point:?} {simulated}");
        assert_eq!(point.error, 0.0);
    }
}

#[test]
fn many_keys_have_nearly_that_and_the_error_says_how_nearly() {
    let trace = numbers(60_000, 40_000);
    let size = |key| 50 + key % 7 * 100;
    let reuse = seen(&trace, size);
    assert!(!reuse.is_exact());
    let mut beyond = 0;
    // With less than that, a sample of the keys can only say that it is little.
    let least = reuse.working_set().0 / 256.0;
    let curve: Vec<_> = reuse.curve().into_iter().filter(|point| point.memory >= least).collect();
    let some: Vec<_> = curve.iter().step_by(curve.len() / 8).collect();
    for point in &some {
        let simulated = simulated(&trace, size, point.memory as u64);
        let off = (point.hit_ratio - simulated).abs();
        assert!(off < 0.05, "{point:?} {simulated}");
        beyond += usize::from(off > 3.0 * point.error + 0.002);
    }
    assert!(beyond <= some.len() / 4, "{beyond}");
}
/// An LRU cache of so many bytes: keys with their sizes, the one used last at the end.
struct Cache {
    memory: u64,
    keys: Vec<(u64, u64)>,
}

impl Cache {
    fn delete(&mut self, key: u64) -> bool {
        let before = self.keys.iter().position(|(other, _)| *other == key);
        before.map(|at| self.keys.remove(at)).is_some()
    }

    /// Whether the key was there; it is now, if there is room for it at all.
    fn use_key(&mut self, key: u64, size: u64) -> bool {
        let was_there = self.delete(key);
        self.keys.push((key, size));
        while self.keys.iter().map(|(_, size)| size).sum::<u64>() > self.memory {
            self.keys.remove(0);
        }
        was_there
    }
}

#[test]
fn what_is_deleted_makes_room_and_brings_nothing_back() {
    // Reads, deletes, and stores of other sizes, of a few keys.
    let uses: Vec<(u64, Use, u64)> = numbers(6_000, 1 << 20)
        .chunks_exact(3)
        .map(|of| match of[1] % 10 {
            0..2 => (of[0] % 60, Use::Delete, 0),
            2..4 => (of[0] % 60, Use::Store, 50 + of[2] % 900),
            _ => (of[0] % 60, Use::Read, 0),
        })
        .collect();
    let mut reuse = Reuse::of_one_in(1);
    let mut sizes = std::collections::HashMap::new();
    let mut sized = Vec::new();
    for (key, what, size) in uses {
        let size = if what == Use::Store { size } else { *sizes.get(&key).unwrap_or(&100) };
        sizes.insert(key, size);
        sized.push((key, what, size));
        if what == Use::Read {
            reuse.read();
        }
        reuse.see(KeyHash::of_number(key), what, size.cast_signed());
    }
    assert!(reuse.is_exact());
    let reads = sized.iter().filter(|(_, what, _)| *what == Use::Read).count();
    let curve = reuse.curve();
    assert!(curve.len() > 500);
    for point in curve.iter().step_by(60) {
        let mut cache = Cache { memory: point.memory as u64, keys: Vec::new() };
        let mut hits = 0;
        for (key, what, size) in &sized {
            match what {
                Use::Delete => drop(cache.delete(*key)),
                Use::Read => hits += usize::from(cache.use_key(*key, *size)),
                _ => drop(cache.use_key(*key, *size)),
            }
        }
        let simulated = hits as f64 / reads as f64;
        assert!((point.hit_ratio - simulated).abs() < 1e-9, "{point:?} {simulated}");
    }
}

#[test]
fn a_first_read_that_hits_was_there_before() {
    let key = KeyHash::of_number;
    let mut reuse = Reuse::of_one_in(1);
    for (number, what) in [(1, Use::Hit), (2, Use::Read), (1, Use::Hit), (3, Use::Hit)] {
        reuse.read();
        reuse.see(key(number), what, 100);
    }
    assert_eq!((reuse.cold(), reuse.there_before()), (0.25, 0.5));
    let with = |memory: f64| {
        let curve = reuse.curve();
        let point = curve.iter().rev().find(|point| point.memory <= memory);
        point.map(|point| (point.hit_ratio, point.at_most))
    };
    // The first is the first of all; the third comes after the two others.
    assert_eq!(with(99.0), None);
    assert_eq!(with(101.0), Some((0.0, 0.25)));
    assert_eq!(with(201.0), Some((0.25, 0.5)));
    assert_eq!(with(301.0), Some((0.25, 0.75)));
    // After a flush nothing is there.
    reuse.flush();
    reuse.read();
    reuse.see(key(1), Use::Read, 100);
    assert_eq!(reuse.cold(), 0.4);
}
