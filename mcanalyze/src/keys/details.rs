//! Everything about a few keys.

use anyhow::Result;
use mcrec_schema::{codes::Status, columns};

use super::{
    KeyFigures,
    figure::writes,
    hash::{Hashing, KeyHash, Map},
    size::grown,
};
use crate::{
    by::By,
    capture::Capture,
    item::{Effects, Flushes, Told},
    percentile::{Distribution, Look, Window, looks, merged, percentiles},
    scan::{OfDictionary, Rows, Strings, scan_by},
};

/// The figures of these keys, in no particular order.
///
/// # Errors
///
/// When the capture cannot be read.
pub(super) fn details(
    (capture, by): (&Capture, &By),
    hashing: &Hashing,
    keys: &[KeyHash],
) -> Result<Vec<KeyFigures>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = Wanted { hashing, numbers: keys.iter().copied().zip(0..).collect() };
    let begin = || (Numbers::default(), vec![Detail::default(); keys.len()], Flushes::default());
    const COLUMNS: [&str; 4] =
        [columns::STATUS, columns::VALUE_SIZE, columns::LATENCY_NS, columns::TS];
    let threads = scan_by(capture, Some(by), &COLUMNS, begin, |state, rows| {
        let (numbers, details, flushes) = state;
        add(rows, numbers.of(&wanted, &rows.groups()?), details)?;
        flushes.see(capture, rows)
    })?;
    let mut flushes = Flushes::default();
    threads.iter().for_each(|(.., of_thread)| flushes.merge(of_thread));
    let mut threads = threads.into_iter().map(|(_, details, _)| details);
    let mut details = threads.next().unwrap_or_default();
    for other in threads {
        details.iter_mut().zip(other).for_each(|(detail, other)| detail.merge(other));
    }
    if by.is_key() {
        in_the_end(capture, &flushes, hashing, keys, &mut details)?;
    }
    let (mut figures, mut latencies): (Vec<KeyFigures>, Vec<Distribution>) =
        details.into_iter().map(Detail::finish).unzip();
    let found = percentiles(&mut latencies, [5_000, 9_900], |windows| {
        look_again((capture, by), &wanted, windows)
    })?;
    for (figures, [p50, p99]) in figures.iter_mut().zip(found) {
        (figures.latency_p50, figures.latency_p99) = (p50, p99);
    }
    figures.retain(|figures| figures.calls > 0);
    Ok(figures)
}

/// Makes the sizes that were told those that items have in the end.
fn in_the_end(
    capture: &Capture,
    flushes: &Flushes,
    hashing: &Hashing,
    keys: &[KeyHash],
    details: &mut [Detail],
) -> Result<()> {
    let last = flushes.last(capture);
    details.iter_mut().for_each(|detail| detail.size.flush(&last));
    let mut open = Map::default();
    let sizes = keys.iter().zip(&*details);
    open.extend(sizes.filter_map(|(key, detail)| Some((*key, detail.size.is_open()?))));
    let grown = grown(capture, hashing, &open)?;
    for (key, detail) in keys.iter().zip(details) {
        if let Some(by) = grown.get(key) {
            detail.size.grow(*by);
        }
    }
    Ok(())
}

/// Which keys are wanted, and their numbers.
struct Wanted<'a> {
    hashing: &'a Hashing,
    numbers: Map<usize>,
}

/// The number of each wanted key of a dictionary.
#[derive(Default)]
struct Numbers(OfDictionary<Option<usize>>);

impl Numbers {
    /// The wanted keys among the rows: their row, their number, and the key.
    fn of<'a>(
        &'a mut self,
        wanted: &Wanted<'_>,
        keys: &Strings<'a>,
    ) -> impl Iterator<Item = (usize, usize, &'a str)> + use<'a> {
        if !self.0.is_of(keys) {
            let number =
                |key: Option<&str>| wanted.numbers.get(&wanted.hashing.hash(key?)).copied();
            self.0.begin(keys, keys.values.iter().map(number));
        }
        let (numbers, values) = (&self.0.made, keys.values);
        keys.ids().enumerate().filter_map(move |(row, key)| {
            let key = key?;
            Some((row, numbers[key]?, values.value(key)))
        })
    }
}

/// A key, so far.
#[derive(Clone, Default)]
struct Detail {
    figures: KeyFigures,
    size: Told,
    latencies: Distribution,
}

impl Detail {
    fn finish(mut self) -> (KeyFigures, Distribution) {
        self.figures.value_size = self.size.size();
        (self.figures, self.latencies)
    }

    fn merge(&mut self, other: Self) {
        let (mine, theirs) = (&mut self.figures, other.figures);
        if mine.key.is_empty() {
            mine.key = theirs.key;
        }
        mine.calls += theirs.calls;
        mine.hits += theirs.hits;
        mine.misses += theirs.misses;
        mine.writes += theirs.writes;
        mine.bytes = mine.bytes.saturating_add(theirs.bytes);
        mine.last = mine.last.max(theirs.last);
        self.size.merge(other.size);
        self.latencies.merge(other.latencies);
    }
}

fn add<'a>(
    rows: &Rows,
    wanted: impl Iterator<Item = (usize, usize, &'a str)>,
    details: &mut [Detail],
) -> Result<()> {
    let (sizes, times) = (rows.ints(columns::VALUE_SIZE)?, rows.times()?);
    let (latencies, status) = (rows.latencies()?, rows.strings(columns::STATUS)?);
    let (writes, effects, by_key) = (writes(rows)?, Effects::of(rows)?, rows.are_by_key());
    let (hit, miss) = (status.number(Status::Hit.as_str()), status.number(Status::Miss.as_str()));
    for (row, number, key) in wanted.filter(|(row, ..)| rows.is_wanted(*row)) {
        let detail = &mut details[number];
        let figures = &mut detail.figures;
        if figures.calls == 0 {
            key.clone_into(&mut figures.key);
        }
        let weight = rows.weight_in_group(row);
        figures.calls += weight;
        let status = Some(status.array.keys().value(row));
        figures.hits += i64::from(status == hit) * weight;
        figures.misses += i64::from(status == miss) * weight;
        figures.writes += i64::from(writes.of(row)) * weight;
        figures.last = figures.last.max(Some(times[row]));
        if let Some(size) = sizes.get(row) {
            figures.bytes = figures.bytes.saturating_add(size.saturating_mul(weight));
        }
        let effect = effects.of_row(row);
        if by_key || effect.size().is_some() {
            detail.size.see(rows.first + row as u64, effect);
        }
        if let Some(latency) = latencies.get(row) {
            detail.latencies.add(latency);
        }
    }
    Ok(())
}

/// Another look at the latencies of the keys.
fn look_again(
    (capture, by): (&Capture, &By),
    wanted: &Wanted<'_>,
    windows: &[Vec<Window>],
) -> Result<Vec<Vec<Look>>> {
    let begin = || (Numbers::default(), looks(windows));
    let threads =
        scan_by(capture, Some(by), &[columns::LATENCY_NS], begin, |(numbers, looks), rows| {
            let latencies = rows.latencies()?;
            for (row, number, _) in numbers.of(wanted, &rows.groups()?) {
                if let Some(latency) = latencies.get(row).filter(|_| rows.is_wanted(row)) {
                    looks[number].iter_mut().for_each(|look| look.add(latency));
                }
            }
            Ok(())
        })?;
    Ok(merged(threads.into_iter().map(|(_, looks)| looks).collect()))
}
