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

    /// The keys that are so, among which are the `top` whose rate changed most: some more,
    /// where there are equals.
    pub(crate) fn largest(
        &self,
        top: usize,
        seconds: [f64; 2],
        is: impl Fn([i64; 2]) -> bool,
    ) -> Vec<KeyHash> {
        let wanted = self.calls.iter().filter(|(_, calls)| is(**calls));
        let mut wanted: Vec<(f64, KeyHash)> =
            wanted.map(|(key, calls)| (change(*calls, seconds), *key)).collect();
        wanted.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let least = wanted.get(top.saturating_sub(1)).map_or(0.0, |(change, _)| *change);
        wanted.truncate(top + EQUALS_MAX);
        wanted.retain(|(change, _)| *change >= least);
        wanted.into_iter().map(|(_, key)| key).collect()
    }

    /// The figures before and after of these keys, those whose rate changed most first.
    ///
    /// # Errors
    ///
    /// When a capture cannot be read.
    pub(crate) fn figures(
        &self,
        sides: [(&Capture, &By); 2],
        seconds: [f64; 2],
        keys: &[KeyHash],
    ) -> Result<Vec<[KeyFigures; 2]>> {
        let mut found: Map<[KeyFigures; 2]> = Map::default();
        for (side, source) in sides.into_iter().enumerate() {
            for figures in details(source, &self.hashing, keys)? {
                let key = self.hashing.hash(&figures.key);
                found.entry(key).or_default()[side] = figures;
            }
        }
        let mut found: Vec<[KeyFigures; 2]> = found.into_values().collect();
        found.sort_by(|one, other| {
            let by = |of: &[KeyFigures; 2]| change(of.each_ref().map(|side| side.calls), seconds);
            by(other).total_cmp(&by(one)).then_with(|| key_of(one).cmp(key_of(other)))
        });
        Ok(found)
    }
}

/// The key that both sides are of. Where one has no calls, it has no name for it.
pub(crate) fn key_of([before, after]: &[KeyFigures; 2]) -> &str {
    if after.key.is_empty() { &before.key } else { &after.key }
}

/// By how much a rate changed, a second.
#[expect(clippy::cast_precision_loss, reason = "of counts")]
fn change(calls: [i64; 2], seconds: [f64; 2]) -> f64 {
    let rates = [0, 1].map(|side| calls[side] as f64 / seconds[side].max(1e-6));
    (rates[1] - rates[0]).abs()
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
