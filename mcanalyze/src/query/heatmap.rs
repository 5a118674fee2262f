//! How were latencies spread, over time?

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use mcrec_schema::columns;

use crate::{capture::Capture, scan::scan};

/// Intervals that can be told apart.
const INTERVALS_MAX: usize = 100_000;

/// Operations by interval and power of two of their latency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heatmap {
    /// When the intervals begin, µs since the epoch.
    pub(crate) times: Vec<i64>,
    /// From which latency on, ns; each bucket ends where the next begins, at twice as much.
    pub(crate) from_ns: Vec<i64>,
    /// For each bucket a count for each interval.
    pub(crate) counts: Vec<Vec<i64>>,
}

/// The latencies in intervals of `step` µs.
///
/// # Errors
///
/// When the capture cannot be read, or has too many intervals.
pub(crate) fn heatmap(capture: &Capture, step: i64) -> Result<Heatmap> {
    type Counts = BTreeMap<i64, [i64; 64]>;
    let wanted = [columns::TS, columns::LATENCY_NS];
    let threads = scan(capture, &wanted, Counts::new, |counts, rows| {
        let (times, latencies) = (rows.times()?, rows.latencies()?);
        for row in (0..rows.len()).filter(|row| rows.is_wanted(*row)) {
            if let Some(latency) = latencies.get(row) {
                let bucket = latency.max(1).ilog2() as usize;
                counts.entry(times[row].div_euclid(step)).or_insert([0; 64])[bucket] += 1;
            }
        }
        if counts.len() > INTERVALS_MAX {
            bail!("there are more than {INTERVALS_MAX} intervals");
        }
        Ok(())
    })?;
    let mut all = Counts::new();
    for (interval, counts) in threads.into_iter().flatten() {
        let sum = all.entry(interval).or_insert([0; 64]);
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let filled = |bucket: &usize| all.values().any(|counts| counts[*bucket] > 0);
    let (Some(first), Some(last)) = ((0..63).find(filled), (0..63).rfind(filled)) else {
        return Ok(Heatmap::default());
    };
    Ok(Heatmap {
        times: all.keys().map(|interval| interval.saturating_mul(step)).collect(),
        from_ns: (first..=last).map(|bucket| 1 << bucket).collect(),
        counts: (first..=last)
            .map(|bucket| all.values().map(|counts| counts[bucket]).collect())
            .collect(),
    })
}
