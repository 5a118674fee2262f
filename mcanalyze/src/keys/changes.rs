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

/// Keys that are held of both captures together.
const KEYS_MAX: usize = LIMITS.keys / 2;

/// Calls of each key before and after: those of all keys where they are few, and else of
/// some at a time, which takes a pass through both captures for each time.
pub(crate) struct Changes<'a> {
    sides: [(&'a Capture, &'a By); 2],
    hashing: Hashing,
    most: usize,
    keys: usize,
    /// Where one is all there is.
    whole: Option<Part>,
}

/// The keys whose hash lies in some of the parts.
struct Part([Table<Calls>; 2]);

/// What was found of changes.
pub(crate) struct Found<const KINDS: usize> {
    /// How many there are in all.
    pub(crate) count: usize,
    /// Keys of each kind, among which are those whose rate changed most: some more, where
    /// there are equals.
    pub(crate) largest: [Vec<KeyHash>; KINDS],
}

impl<'a> Changes<'a> {
    /// Counts the keys of both.
    ///
    /// # Errors
    ///
    /// When a capture cannot be read.
    pub(crate) fn between(
        before: (&'a Capture, &'a By),
        after: (&'a Capture, &'a By),
    ) -> Result<Self> {
        Self::within([before, after], KEYS_MAX)
    }

    fn within(sides: [(&'a Capture, &'a By); 2], most: usize) -> Result<Self> {
        let hashing = Hashing::default();
        let mut changes = Self { sides, hashing, most, keys: 0, whole: None };
        let mut parts = 0..PARTS;
        while !parts.is_empty() {
            let (part, of) = changes.part(parts)?;
            part.each(|_, _| changes.keys += 1);
            if of == (0..PARTS) {
                changes.whole = Some(part);
            }
            parts = after(&of);
        }
        Ok(changes)
    }

    /// The keys in the first of these parts, as many as there is room for, and in which.
    fn part(&self, parts: Range<usize>) -> Result<(Part, Range<usize>)> {
        let [before, after] = self.sides;
        let before = Table::fill(before, &self.hashing, parts, self.most)?;
        let after = Table::fill(after, &self.hashing, before.parts.clone(), self.most)?;
        let parts = after.parts.clone();
        Ok((Part([before, after]), parts))
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.keys
    }

    /// How many changes are of some `kind`, and for each of these the `top` keys.
    ///
    /// # Errors
    ///
    /// When a capture cannot be read.
    pub(crate) fn largest<const KINDS: usize>(
        &self,
        top: usize,
        seconds: [f64; 2],
        kind: impl Fn([i64; 2]) -> Option<usize>,
    ) -> Result<Found<KINDS>> {
        let mut count = 0;
        let mut found: [Vec<(f64, KeyHash)>; KINDS] = std::array::from_fn(|_| Vec::new());
        let mut see = |part: &Part| {
            part.each(|key, calls| {
                let Some(kind) = kind(calls) else { return };
                count += 1;
                found[kind].push((change(calls, seconds), key));
                if found[kind].len() >= 2 * top.saturating_add(EQUALS_MAX) {
                    cut(&mut found[kind], top);
                }
            });
        };
        if let Some(whole) = &self.whole {
            see(whole);
        } else {
            let mut parts = 0..PARTS;
            while !parts.is_empty() {
                let (part, of) = self.part(parts)?;
                see(&part);
                parts = after(&of);
            }
        }
        let largest = found.map(|mut found| {
            cut(&mut found, top);
            found.into_iter().map(|(_, key)| key).collect()
        });
        Ok(Found { count, largest })
    }

    /// The figures before and after of these keys, those whose rate changed most first.
    ///
    /// # Errors
    ///
    /// When a capture cannot be read.
    pub(crate) fn figures(
        &self,
        seconds: [f64; 2],
        keys: &[KeyHash],
    ) -> Result<Vec<[KeyFigures; 2]>> {
        let mut found: Map<[KeyFigures; 2]> = Map::default();
        for (side, source) in self.sides.into_iter().enumerate() {
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

/// Leaves the `top` largest changes, and some that equal the last of them.
fn cut(found: &mut Vec<(f64, KeyHash)>, top: usize) {
    // By the key where they are equal, so that the same ones stay however often it is cut.
    found.sort_by(|(one, key), (other, of)| other.total_cmp(one).then_with(|| key.cmp(of)));
    let least = found.get(top.saturating_sub(1)).map_or(0.0, |(change, _)| *change);
    found.truncate(top.saturating_add(EQUALS_MAX));
    found.retain(|(change, _)| *change >= least);
}

impl Part {
    /// Lets `see` have each key with its calls before and after.
    fn each(&self, mut see: impl FnMut(KeyHash, [i64; 2])) {
        let Self([before, after]) = self;
        let calls = |calls: Calls| calls.value().unwrap_or(0);
        for (key, of_key) in before.iter().filter(|(key, _)| after.parts.contains(&key.part())) {
            see(key, [calls(of_key), after.get(key).map_or(0, calls)]);
        }
        for (key, of_key) in after.iter().filter(|(key, _)| before.get(*key).is_none()) {
            see(key, [0, calls(of_key)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::Changes;
    use crate::{by::By, capture::Capture};

    #[test]
    fn more_keys_than_fit_have_the_same_changes() {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data");
        let open = |name: &str| Capture::open(&[samples.join(name)]).unwrap();
        let (before, after) = (open("zipf.parquet"), open("hostile.parquet"));
        let sides = [(&before, &By::KEY), (&after, &By::KEY)];
        let found = |most: usize| {
            let changes = Changes::within(sides, most).unwrap();
            let kind =
                |[before, after]: [i64; 2]| (before + after > 3).then_some(usize::from(after > 0));
            let largest = changes.largest::<2>(20, [1.0, 2.0], kind).unwrap();
            let keys = largest.largest.map(|keys| {
                let figures = changes.figures([1.0, 2.0], &keys).unwrap();
                let keys = figures.iter().map(|of| super::key_of(of).to_owned());
                keys.take(20).collect::<BTreeSet<String>>()
            });
            (changes.whole.is_some(), changes.len(), largest.count, keys)
        };
        let (is_whole, len, count, keys) = found(1 << 20);
        assert!(is_whole && len > 7_000 && count > 100 && keys.iter().all(|keys| keys.len() >= 10));
        for most in [1_000, 3_000] {
            assert_eq!(found(most), (false, len, count, keys.clone()));
        }
    }
}
