//! A figure for each key, of as many keys at once as memory is meant for.

use std::{
    mem,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;

use super::{
    figure::{Figure, Seen},
    hash::{Hashing, KeyHash, Map},
};
use crate::{
    by::By,
    capture::Capture,
    scan::{OfDictionary, Rows, scan_by},
};

/// Hashes are cut into so many parts.
pub(super) const PARTS: usize = 256;

/// The figures of all keys whose hash lies in some of the parts.
pub(super) struct Table<F> {
    /// Which parts.
    pub(super) parts: Range<usize>,
    maps: Vec<Map<F>>,
}

impl<F: Figure> Table<F> {
    /// The figures of the keys in `parts`, or in fewer of them, from the first on,
    /// where there are more than `limit` keys.
    ///
    /// # Errors
    ///
    /// When the capture cannot be read.
    pub(super) fn fill(
        (capture, by): (&Capture, &By),
        hashing: &Hashing,
        parts: Range<usize>,
        limit: usize,
    ) -> Result<Self> {
        let shared = Shared {
            first: parts.start,
            end: AtomicUsize::new(parts.end),
            keys: AtomicUsize::new(0),
            limit,
            maps: parts.map(|_| Mutex::new(Map::default())).collect(),
        };
        let visit = |local: &mut Local<F>, rows: &Rows| local.add(rows, hashing, &shared);
        let locals = scan_by(capture, Some(by), F::COLUMNS, Local::default, visit)?;
        for mut local in locals {
            local.flush(hashing, &shared);
        }
        let parts = shared.first..shared.end.into_inner();
        let maps = shared.maps.into_iter().take(parts.len());
        let maps = maps.map(|map| map.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(Self { parts, maps: maps.collect() })
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.maps.iter().map(Map::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (KeyHash, F)> {
        self.maps.iter().flatten().map(|(hash, figure)| (*hash, *figure))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (KeyHash, &mut F)> {
        self.maps.iter_mut().flatten().map(|(hash, figure)| (*hash, figure))
    }

    pub(super) fn get(&self, key: KeyHash) -> Option<F> {
        self.maps.get(key.part().checked_sub(self.parts.start)?)?.get(&key).copied()
    }
}

/// What the threads fill together.
struct Shared<F> {
    first: usize,
    /// The first part that has been given up.
    end: AtomicUsize,
    keys: AtomicUsize,
    limit: usize,
    maps: Vec<Mutex<Map<F>>>,
}

impl<F> Shared<F> {
    /// Does `work` with the map of a part, unless it has been given up, and counts
    /// what came in.
    fn with(&self, part: usize, work: impl FnOnce(&mut Map<F>)) {
        let Some(map) = part.checked_sub(self.first).and_then(|at| self.maps.get(at)) else {
            return;
        };
        let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that nothing comes in once it has been emptied.
        if part >= self.end.load(Ordering::SeqCst) {
            return;
        }
        let before = map.len();
        work(&mut map);
        self.keys.fetch_add(map.len() - before, Ordering::Relaxed);
    }

    /// Gives up the later half of the parts when there are too many keys.
    fn keep_to_limit(&self) {
        let end = self.end.load(Ordering::SeqCst);
        if self.keys.load(Ordering::Relaxed) <= self.limit || end - self.first <= 1 {
            return;
        }
        let middle = end.midpoint(self.first);
        if self.end.compare_exchange(end, middle, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // Another thread is at it.
            return;
        }
        for map in &self.maps[middle - self.first..end - self.first] {
            let map = mem::take(&mut *map.lock().unwrap_or_else(PoisonError::into_inner));
            self.keys.fetch_sub(map.len(), Ordering::Relaxed);
        }
    }
}

/// What a thread has seen of a dictionary.
struct Local<F> {
    seen: OfDictionary<Seen<F>>,
    /// Hashes and figures, by part.
    by_part: Vec<Vec<(KeyHash, F)>>,
}

impl<F> Default for Local<F> {
    fn default() -> Self {
        let seen = OfDictionary::default();
        Self { seen, by_part: std::iter::repeat_with(Vec::new).take(PARTS).collect() }
    }
}

impl<F: Figure> Local<F> {
    fn add(&mut self, rows: &Rows, hashing: &Hashing, shared: &Shared<F>) -> Result<()> {
        let keys = rows.groups()?;
        if !self.seen.is_of(&keys) {
            self.flush(hashing, shared);
            self.seen.begin(&keys, keys.values.iter().map(|_| Seen::default()));
        }
        F::add(rows, &keys, &mut self.seen.made)
    }

    /// Hands over what was seen of the dictionary.
    fn flush(&mut self, hashing: &Hashing, shared: &Shared<F>) {
        let Some(keys) = self.seen.values() else { return };
        for (key, seen) in keys.iter().zip(&self.seen.made) {
            if let Some(key) = key.filter(|_| seen.seen) {
                let hash = hashing.hash(key);
                self.by_part[hash.part()].push((hash, seen.figure));
            }
        }
        for (part, seen) in self.by_part.iter_mut().enumerate().filter(|(_, seen)| !seen.is_empty())
        {
            shared.with(part, |map| {
                for (hash, figure) in &*seen {
                    map.entry(*hash).or_default().merge(*figure);
                }
            });
            seen.clear();
        }
        self.seen.made.clear();
        shared.keep_to_limit();
    }
}
