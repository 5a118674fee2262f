//! Which keys stand out, in a bounded amount of memory, however many there are.
//!
//! One pass finds, for every key, the figure that decides ([`figure`]), under a
//! [hash](hash) in its place, so that memory does not depend on the lengths of
//! keys; where there are too many keys even so, it gives up a part of them, and
//! another pass sees to that ([`table`]). A last pass finds everything else about
//! the few keys that stand out ([`details`]).

pub(crate) mod changes;
mod details;
mod figure;
pub(crate) mod hash;
mod size;
mod slow;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    ops::Range,
};

use anyhow::Result;

use self::{
    details::details,
    figure::{Bytes, Calls, Figure, Last, Misses, Size, Slow, Weight, Writes},
    hash::{Hashing, KeyHash},
    table::{PARTS, Table},
};
use crate::{
    by::By,
    capture::Capture,
    cli::SortBy,
    scan::{OfDictionary, scan_by},
};

/// What is held at once.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Keys in one table.
    keys: usize,
    /// Keys of equal rank that are looked at in full, to be put in the order of
    /// their bytes, rather than in a pass of their own.
    equals: usize,
}

/// So many keys have half a gigabyte, and with more the hash tables would double.
const LIMITS: Limits = Limits { keys: 14_000_000, equals: 10_000 };

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// How many keys.
    pub(crate) top: usize,
    /// By what.
    pub(crate) sort: SortBy,
    /// Smallest first.
    pub(crate) reverse: bool,
    /// Of what, instead of keys.
    pub(crate) by: &'a By,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    /// How many keys there are in all.
    pub(crate) distinct: i64,
    /// Those that were asked for, in order.
    pub(crate) top: Vec<KeyFigures>,
}

/// A key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyFigures {
    /// As captures have it.
    pub(crate) key: String,
    /// Operations on it.
    pub(crate) calls: i64,
    pub(crate) hits: i64,
    pub(crate) misses: i64,
    /// Operations that store or change something.
    pub(crate) writes: i64,
    /// Bytes of value in all, stored and returned.
    pub(crate) bytes: i64,
    /// Bytes of the value that it has, as far as that is known: none if it is gone. Of a
    /// group of keys, of the last value that was seen.
    pub(crate) value_size: Option<i64>,
    /// When it was last seen, µs since the epoch, UTC.
    pub(crate) last: Option<i64>,
    /// Median latency, ns.
    pub(crate) latency_p50: Option<i64>,
    /// 99th percentile of the latency, ns.
    pub(crate) latency_p99: Option<i64>,
}

impl KeyFigures {
    fn figure(&self, sort: SortBy) -> Option<i64> {
        match sort {
            SortBy::Calls | SortBy::Rate => Some(self.calls),
            SortBy::Bytes => Some(self.bytes),
            SortBy::Size => self.value_size,
            SortBy::Misses => Some(self.misses),
            SortBy::Writes => Some(self.writes),
            SortBy::Latency => self.latency_p99,
            SortBy::Last => self.last,
        }
    }
}

/// Finds the keys that stand out, and counts all.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn keys(capture: &Capture, question: &Question<'_>) -> Result<Keys> {
    keys_within(capture, question, LIMITS)
}

/// How many keys there are, by a sample whose rate changed.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn keys_by_weight(capture: &Capture) -> Result<i64> {
    let hashing = Hashing::default();
    let (mut keys, mut parts) = (0_i64, 0..PARTS);
    while !parts.is_empty() {
        let source = (capture, &By::KEY);
        let table = Table::<Weight>::fill(source, &hashing, parts, LIMITS.keys)?;
        keys = table.iter().fold(keys, |keys, (_, weight)| keys.saturating_add(weight.0));
        parts = after(&table.parts);
    }
    Ok(keys)
}

/// The figures of these keys, in no particular order.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn figures_of(
    capture: &Capture,
    hashing: &Hashing,
    keys: &[KeyHash],
) -> Result<Vec<KeyFigures>> {
    details((capture, &By::KEY), hashing, keys)
}

/// For each number of operations on a key, how many keys have so many.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn frequencies(capture: &Capture) -> Result<BTreeMap<i64, u64>> {
    let hashing = Hashing::default();
    let (mut frequencies, mut parts) = (BTreeMap::new(), 0..PARTS);
    while !parts.is_empty() {
        let source = (capture, &By::KEY);
        let table = Table::<Calls>::fill(source, &hashing, parts, LIMITS.keys)?;
        for calls in table.iter().filter_map(|(_, calls)| calls.value()) {
            *frequencies.entry(calls).or_insert(0) += 1;
        }
        parts = after(&table.parts);
    }
    Ok(frequencies)
}

/// The parts of all hashes that come after some that had room: as many.
fn after(parts: &Range<usize>) -> Range<usize> {
    parts.end..PARTS.min(parts.end + parts.len())
}

fn keys_within(capture: &Capture, question: &Question<'_>, limits: Limits) -> Result<Keys> {
    let hashing = Hashing::default();
    let search = Search { capture, hashing: &hashing, question, limits };
    let source = (capture, question.by);
    let (distinct, found) = match question.sort {
        SortBy::Calls | SortBy::Rate => search.run::<Calls>(|_| Ok(()))?,
        SortBy::Bytes => search.run::<Bytes>(|_| Ok(()))?,
        SortBy::Size => search.run::<Size>(|table| size::in_the_end(source, &hashing, table))?,
        SortBy::Misses => search.run::<Misses>(|_| Ok(()))?,
        SortBy::Writes => search.run::<Writes>(|_| Ok(()))?,
        SortBy::Last => search.run::<Last>(|_| Ok(()))?,
        SortBy::Latency => {
            search.run::<Slow>(|table| slow::percentiles(source, &hashing, table))?
        }
    };
    let mut top = details(source, &hashing, &found)?;
    let place = |key: &KeyFigures| place(key.figure(question.sort), question.reverse);
    top.sort_by(|one, other| (place(one), &one.key).cmp(&(place(other), &other.key)));
    top.truncate(question.top);
    Ok(Keys { distinct: i64::try_from(distinct).unwrap_or(i64::MAX), top })
}

/// What orders keys, smallest first: whether the figure is unknown, then the figure,
/// all bits turned where the largest comes first.
type Place = (bool, i64);

fn place(figure: Option<i64>, reverse: bool) -> Place {
    let figure = figure.map(|figure| if reverse { figure } else { !figure });
    (figure.is_none(), figure.unwrap_or(0))
}

/// The search for the keys that stand out.
#[derive(Clone, Copy)]
struct Search<'a> {
    capture: &'a Capture,
    hashing: &'a Hashing,
    question: &'a Question<'a>,
    limits: Limits,
}

impl Search<'_> {
    /// How many keys there are, and those among which are the ones asked for: some
    /// more, where there are equals.
    fn run<F: Figure>(
        &self,
        finish: impl Fn(&mut Table<F>) -> Result<()>,
    ) -> Result<(usize, Vec<KeyHash>)> {
        let (mut distinct, mut found) = (0, Vec::new());
        let mut parts: Range<usize> = 0..PARTS;
        while !parts.is_empty() {
            let mut table = Table::fill(
                (self.capture, self.question.by),
                self.hashing,
                parts,
                self.limits.keys,
            )?;
            distinct += table.len();
            finish(&mut table)?;
            found.extend(self.first(&table)?);
            parts = after(&table.parts);
        }
        if let Some((last, _)) = worst(found.iter().map(|(place, _)| *place), self.question.top) {
            found.retain(|(place, _)| *place <= last);
        }
        Ok((distinct, found.into_iter().map(|(_, hash)| hash).collect()))
    }

    /// The keys of a table that come first, and perhaps some that equal the last of them.
    fn first<F: Figure>(&self, table: &Table<F>) -> Result<Vec<(Place, KeyHash)>> {
        let top = self.question.top;
        let place = |figure: F| place(figure.value(), self.question.reverse);
        let all = || table.iter().map(|(hash, figure)| (place(figure), hash));
        let Some((last, before)) = worst(all().map(|(place, _)| place), top) else {
            return Ok(if top == 0 { Vec::new() } else { all().collect() });
        };
        let equals = all().filter(|(place, _)| *place == last).count();
        if before + equals <= top + self.limits.equals {
            return Ok(all().filter(|(place, _)| *place <= last).collect());
        }
        let is_equal = |hash| table.get(hash).is_some_and(|figure| place(figure) == last);
        let equals = self.least_keys(top - before, is_equal)?;
        let better = all().filter(|(place, _)| *place < last);
        Ok(better.chain(equals.into_iter().map(|hash| (last, hash))).collect())
    }

    /// The first `count` keys in the order of their bytes of those that are `wanted`.
    fn least_keys(
        &self,
        count: usize,
        wanted: impl Fn(KeyHash) -> bool + Sync,
    ) -> Result<Vec<KeyHash>> {
        let begin = || (OfDictionary::default(), BTreeSet::<String>::new());
        let by = Some(self.question.by);
        let threads = scan_by(self.capture, by, &[], begin, |(seen, least), rows| {
            let keys = rows.groups()?;
            if seen.is_of(&keys) {
                return Ok(());
            }
            seen.begin(&keys, std::iter::empty::<()>());
            for key in keys.values.iter().flatten() {
                let in_question =
                    least.len() < count || least.last().is_some_and(|last| key < last.as_str());
                if in_question && wanted(self.hashing.hash(key)) {
                    least.insert(key.to_owned());
                    if least.len() > count {
                        least.pop_last();
                    }
                }
            }
            Ok(())
        })?;
        let all: BTreeSet<String> = threads.into_iter().flat_map(|(_, least)| least).collect();
        Ok(all.iter().take(count).map(|key| self.hashing.hash(key)).collect())
    }
}

/// The place that the last of the first `top` has, and how many come before it in
/// truth; `None` where there are not more than `top`, or none is wanted.
fn worst(places: impl Iterator<Item = Place>, top: usize) -> Option<(Place, usize)> {
    let mut first = BinaryHeap::new();
    let mut more = false;
    for place in places {
        if first.len() < top {
            first.push(place);
        } else {
            more = true;
            if let Some(mut last) = first.peek_mut()
                && place < *last
            {
                *last = place;
            }
        }
    }
    let last = first.peek().copied().filter(|_| more)?;
    Some((last, first.iter().filter(|place| **place < last).count()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{LIMITS, Limits, Question, keys, keys_within};
    use crate::{by::By, capture::Capture, cli::SortBy};

    const SORTS: [SortBy; 8] = [
        SortBy::Calls,
        SortBy::Bytes,
        SortBy::Rate,
        SortBy::Size,
        SortBy::Misses,
        SortBy::Writes,
        SortBy::Latency,
        SortBy::Last,
    ];

    #[test]
    fn more_keys_than_fit_have_the_same_answers() {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data");
        // The same capture in two files would be one; these are two.
        let files = ["zipf.parquet", "hostile.parquet"].map(|name| samples.join(name));
        let capture = Capture::open(&files).unwrap();
        for (sort, reverse) in SORTS.into_iter().flat_map(|sort| [(sort, false), (sort, true)]) {
            let question = Question { top: usize::MAX, sort, reverse, by: &By::KEY };
            let all = keys(&capture, &question).unwrap();
            assert!(all.distinct > 1_000);
            assert_eq!(i64::try_from(all.top.len()), Ok(all.distinct));
            for top in [1, 20, 500] {
                for limits in [
                    Limits { keys: 100, equals: 0 },
                    Limits { keys: 1_000, equals: 3 },
                    Limits { equals: 0, ..LIMITS },
                    LIMITS,
                ] {
                    let question = Question { top, ..question };
                    let some = keys_within(&capture, &question, limits).unwrap();
                    assert_eq!(some.distinct, all.distinct, "{sort:?} {limits:?}");
                    assert_eq!(some.top, all.top[..top], "{sort:?} {reverse} {limits:?}");
                }
            }
        }
    }
}
