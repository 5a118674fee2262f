//! CAS uniques: which one of the target's stands for a recorded one.
//!
//! The target gives each item another unique than the recorded server did. Where a
//! reply had one, what the target returned in its place is remembered, and a later
//! request that compares with the recorded one is sent with that.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use mcrec_schema::sample;

/// So many are remembered, and up to as many older ones.
const GENERATION: usize = 1 << 17;

/// What is remembered, by all connections. In two generations: when one is full, the
/// one before is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Uniques(Mutex<[HashMap<u64, u64>; 2]>);

impl Uniques {
    /// The target returned `now` where `recorded` had been returned for `key`.
    pub(crate) fn remember(&self, key: &[u8], recorded: u64, now: u64) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations[0].len() >= GENERATION {
            generations.swap(0, 1);
            generations[0].clear();
        }
        let hash = sample::hash(key);
        generations[0].insert(of(hash, recorded), now);
        generations[0].insert(last(hash), now);
    }

    /// What stands for `recorded`, if that is known.
    pub(crate) fn now(&self, key: &[u8], recorded: u64) -> Option<u64> {
        self.find(of(sample::hash(key), recorded))
    }

    /// The last that the target returned for `key`; `None` if it returned none that is
    /// remembered.
    pub(crate) fn last(&self, key: &[u8]) -> Option<u64> {
        self.find(last(sample::hash(key)))
    }

    fn find(&self, name: u64) -> Option<u64> {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.iter().find_map(|generation| generation.get(&name).copied())
    }
}

fn of(key: u64, recorded: u64) -> u64 {
    (key ^ recorded.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The name of the last unique of a key.
fn last(key: u64) -> u64 {
    !key
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{GENERATION, Uniques};

    #[test]
    fn a_recorded_unique_stands_for_what_the_target_returned() {
        let uniques = Uniques::default();
        assert_eq!((uniques.now(b"a", 7), uniques.last(b"a")), (None, None));
        uniques.remember(b"a", 7, 70);
        uniques.remember(b"a", 8, 80);
        uniques.remember(b"b", 7, 71);
        assert_eq!(uniques.now(b"a", 7), Some(70));
        assert_eq!(uniques.now(b"a", 8), Some(80));
        assert_eq!(uniques.now(b"b", 7), Some(71));
        assert_eq!((uniques.now(b"a", 9), uniques.last(b"a")), (None, Some(80)));
    }

    #[test]
    fn so_many_are_remembered_and_not_more() {
        let uniques = Uniques::default();
        for number in 0..GENERATION as u64 * 3 {
            uniques.remember(&number.to_le_bytes(), 1, number);
        }
        let held: usize = uniques.0.lock().unwrap().iter().map(HashMap::capacity).sum();
        assert!(held <= GENERATION * 8, "{held}");
        assert_eq!(uniques.now(&0_u64.to_le_bytes(), 1), None);
        let last = GENERATION as u64 * 3 - 1;
        assert_eq!(uniques.now(&last.to_le_bytes(), 1), Some(last));
    }
}
