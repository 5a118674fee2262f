//! The 99th percentile of the latency of every key.
//!
//! It is the largest latency but so many: none where there are less than 100
//! latencies, and one more for each further hundred. So what has to be kept are a
//! hundredth of the latencies of those keys that have 100 of them or more.

use std::{cmp::Reverse, collections::BinaryHeap};

use anyhow::Result;
use mcrec_schema::columns;

use super::{
    figure::Slow,
    hash::{Hashing, Map},
    table::Table,
};
use crate::{
    by::By,
    capture::Capture,
    scan::{OfDictionary, Rows, scan_by},
};

/// With so many latencies the 99th percentile is no longer the largest.
const MANY: u64 = 100;

/// Makes percentiles of the largest latencies that stand in `table`.
///
/// # Errors
///
/// When the capture cannot be read.
pub(super) fn percentiles(
    (capture, by): (&Capture, &By),
    hashing: &Hashing,
    table: &mut Table<Slow>,
) -> Result<()> {
    let many = table.iter().filter(|(_, slow)| slow.timed >= MANY);
    let (hashes, counts): (Vec<_>, Vec<_>) = many.map(|(hash, slow)| (hash, slow.timed)).unzip();
    if hashes.is_empty() {
        return Ok(());
    }
    let numbers: Map<usize> = hashes.into_iter().zip(0..).collect();
    let begin = || Largest {
        numbers: OfDictionary::default(),
        kept: counts.iter().map(|_| BinaryHeap::new()).collect(),
    };
    let threads = scan_by(capture, Some(by), &[columns::LATENCY_NS], begin, |largest, rows| {
        largest.add(rows, &counts, |key| numbers.get(&hashing.hash(key)).copied())
    })?;
    let mut threads = threads.into_iter().map(|largest| largest.kept);
    let mut largest = threads.next().unwrap_or_default();
    for other in threads {
        for (number, other) in other.into_iter().enumerate() {
            for Reverse(latency) in other {
                keep(&mut largest[number], latency, counts[number]);
            }
        }
    }
    for (hash, slow) in table.iter_mut() {
        if let Some(number) = numbers.get(&hash)
            && let Some(Reverse(latency)) = largest[*number].peek()
        {
            slow.latency = *latency;
        }
    }
    Ok(())
}

/// The largest latencies that a thread has seen of each key.
struct Largest {
    numbers: OfDictionary<Option<usize>>,
    /// The least on top.
    kept: Vec<BinaryHeap<Reverse<i64>>>,
}

impl Largest {
    fn add(
        &mut self,
        rows: &Rows,
        counts: &[u64],
        number: impl Fn(&str) -> Option<usize>,
    ) -> Result<()> {
        let (keys, latencies) = (rows.groups()?, rows.latencies()?);
        if !self.numbers.is_of(&keys) {
            self.numbers.begin(&keys, keys.values.iter().map(|key| number(key?)));
        }
        for (row, key) in keys.ids().enumerate() {
            if let Some(number) = key.and_then(|key| self.numbers.made[key])
                && let Some(latency) = latencies.get(row).filter(|_| rows.is_wanted(row))
            {
                keep(&mut self.kept[number], latency, counts[number]);
            }
        }
        Ok(())
    }
}

/// Keeps as many of the largest of `count` latencies as it takes to have the 99th
/// percentile as the least of them.
fn keep(kept: &mut BinaryHeap<Reverse<i64>>, latency: i64, count: u64) {
    if (kept.len() as u64) < count / MANY + 1 {
        kept.push(Reverse(latency));
    } else if let Some(mut least) = kept.peek_mut()
        && least.0 < latency
    {
        *least = Reverse(latency);
    }
}
