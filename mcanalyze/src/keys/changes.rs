//! Calls of each key in two captures.

use std::ops::Range;

use anyhow::Result;

use super::{
    KeyFigures, LIMITS, after,
    details::details,
    figure::{Calls, Figure},
    hash::{Hashing, KeyHash, Map},
    table::{PARTS, Table},
};
use crate::{by::By, capture::Capture};

/// Equal changes that are put in the order of the keys' bytes.
const EQUALS_MAX: usize = 10_000;

/// Calls of each key before and after.
pub(crate) struct Changes {
    hashing: Hashing,
    calls: Map<[i64; 2]>,
}

impl Changes {
    /// Counts the calls of all keys of both.
    ///
    /// # Errors
    ///
    /// When a capture cannot be read, or there are too many keys.
    pub(crate) fn between(before: (&Capture, &By), after: (&Capture, &By)) -> Result<Self> {
        let hashing = Hashing::default();
        let mut calls = Map::default();
        for (side, source) in [before, after].into_iter().enumerate() {
            each(source, &hashing, |key, of_key| {
                calls.entry(key).or_insert([0, 0])[side] = of_key;
            })?;
        }
        Ok(Self { hashing, calls })
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// How many are so.
    pub(crate) fn count(&self, is: impl Fn([i64; 2]) -> bool) -> usize {
        self.calls.values().filter(|calls| is(**calls)).count()
    }

    /// The figures before and after of the keys that are so: `top` of them whose rate
    /// changed most.
    ///
    /// # Errors
    ///
    /// When a capture cannot be read.
    pub(crate) fn largest(
        &self,
        before: (&Capture, &By),
        after: (&Capture, &By),
        top: usize,
        seconds: [f64; 2],
        is: impl Fn([i64; 2]) -> bool,
    ) -> Result<Vec<[KeyFigures; 2]>> {
        #[expect(clippy::cast_precision_loss, reason = "of counts")]
        let by = |calls: [i64; 2]| {
            let rates = [0, 1].map(|side| calls[side] as f64 / seconds[side].max(1e-6));
            (rates[1] - rates[0]).abs()
        };
        let wanted = self.calls.iter().filter(|(_, calls)| is(**calls));
        let mut wanted: Vec<(f64, KeyHash)> =
            wanted.map(|(key, calls)| (by(*calls), *key)).collect();
        wanted.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let least = wanted.get(top.saturating_sub(1)).map_or(0.0, |(change, _)| *change);
        wanted.truncate(top + EQUALS_MAX);
        wanted.retain(|(change, _)| *change >= least);
        let hashes: Vec<KeyHash> = wanted.iter().map(|(_, key)| *key).collect();
        let mut found: Map<[KeyFigures; 2]> = Map::default();
        for (side, source) in [before, after].into_iter().enumerate() {
            for figures in details(source, &self.hashing, &hashes)? {
                let key = self.hashing.hash(&figures.key);
                found.entry(key).or_default()[side] = figures;
            }
        }
        let mut found: Vec<[KeyFigures; 2]> = found.into_values().collect();
        let key =
            |of: &[KeyFigures; 2]| of.each_ref().map(|side| side.key.clone()).into_iter().max();
        found.sort_by(|one, other| {
            let change = |of: &[KeyFigures; 2]| by(of.each_ref().map(|side| side.calls));
            change(other).total_cmp(&change(one)).then_with(|| key(one).cmp(&key(other)))
        });
        found.truncate(top);
        Ok(found)
    }
}

/// Lets `see` have the calls of each key.
fn each(
    source: (&Capture, &By),
    hashing: &Hashing,
    mut see: impl FnMut(KeyHash, i64),
) -> Result<()> {
    let mut parts: Range<usize> = 0..PARTS;
    while !parts.is_empty() {
        let table = Table::<Calls>::fill(source, hashing, parts, LIMITS.keys)?;
        table.iter().for_each(|(key, calls)| see(key, calls.value().unwrap_or(0)));
        parts = after(&table.parts);
    }
    Ok(())
}
