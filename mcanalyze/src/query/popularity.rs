//! How popular are keys?

use std::collections::BTreeMap;

use anyhow::Result;

use super::ratio;
use crate::{
    capture::Capture,
    keys::frequencies,
    table::{Column, Section, Table, Unit, Value},
};

/// Keys with fewer calls say little of the rank that they would have.
const CALLS_MIN: i64 = 20;
/// Ranks that the exponent is made of, at most.
const RANKS_MAX: u64 = 1_000_000;

/// Calls by rank, and what they say.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn popularity(capture: &Capture) -> Result<[Section; 2]> {
    let (whole, one_in) = capture.of_whole_keys();
    let frequencies = frequencies(&whole)?;
    let ranked = Ranked::of(&frequencies);
    let ranks = ranked.some().into_iter().map(|(rank, calls)| {
        // Of a sample the second is about the second in so many more.
        let of_all = rank.saturating_mul(one_in.into());
        let share = ratio(ranked.calls_to(rank), ranked.calls);
        vec![Value::Int(of_all), Value::Int(calls), share.into()]
    });
    let columns = vec![
        Column::new("rank", "rank", Unit::Count),
        Column::new("calls", "calls", Unit::Count),
        Column::new("share_to_rank", "share of all up to here", Unit::Ratio),
    ];
    let table = Table { columns, rows: ranks.collect() };
    let ranks = Section::bars("popularity.ranks", "calls of the key of a rank", table, "calls")
        .scaled(one_in > 1, &["rank"])
        .or_else("no operations on keys");
    Ok([figures(&ranked, &frequencies, one_in).note_of_sample(one_in), ranks])
}

fn figures(ranked: &Ranked, frequencies: &BTreeMap<i64, u64>, one_in: u32) -> Section {
    let once = frequencies.get(&1).copied().unwrap_or(0);
    let once = i64::try_from(once).unwrap_or(i64::MAX);
    let of_all = |keys: i64| Value::Int(keys.saturating_mul(one_in.into()));
    let fit = ranked.zipf();
    let rows = vec![
        ("keys", of_all(ranked.keys), "count"),
        ("keys that were called once", of_all(once), "count"),
        ("share of keys", ratio(once, ranked.keys).into(), "ratio"),
        ("Zipf exponent", fit.map(|fit| fit.exponent).into(), "number"),
        ("R² of the line", fit.map(|fit| fit.r2).into(), "number"),
    ];
    super::figures("popularity.figures", "popularity", rows).note(format!(
        "The exponent is the likeliest one for the keys with at least {CALLS_MIN} calls; R² says \
         how well a line fits calls by rank, both as logarithms."
    ))
}

/// Keys by how often they were called, the most popular first.
struct Ranked {
    /// Calls, and the ranks of the first and last key with so many.
    steps: Vec<(i64, u64, u64)>,
    keys: i64,
    calls: i64,
}

/// How well Zipf's law fits.
#[derive(Clone, Copy, Debug)]
struct Fit {
    exponent: f64,
    r2: f64,
}

impl Ranked {
    fn of(frequencies: &BTreeMap<i64, u64>) -> Self {
        let mut steps = Vec::with_capacity(frequencies.len());
        let (mut last, mut calls) = (0, 0_i64);
        for (&of_each, &keys) in frequencies.iter().rev() {
            steps.push((of_each, last + 1, last + keys));
            last += keys;
            let all = of_each.saturating_mul(i64::try_from(keys).unwrap_or(i64::MAX));
            calls = calls.saturating_add(all);
        }
        Self { steps, keys: i64::try_from(last).unwrap_or(i64::MAX), calls }
    }

    /// Rank and calls, for ranks that are about as far from each other as logarithms.
    fn some(&self) -> Vec<(i64, i64)> {
        let mut some = Vec::new();
        let mut decade = 1_u64;
        while i64::try_from(decade).is_ok_and(|decade| decade <= self.keys) {
            for rank in [1, 2, 5].map(|n| decade.saturating_mul(n)) {
                if let Some(calls) = self.calls_of(rank) {
                    some.push((i64::try_from(rank).unwrap_or(i64::MAX), calls));
                }
            }
            decade = decade.saturating_mul(10);
        }
        let last = self.steps.last().map(|(calls, _, last)| (*last, *calls));
        if let Some((last, calls)) = last
            && let Ok(last) = i64::try_from(last)
            && some.last().is_some_and(|(rank, _)| *rank < last)
        {
            some.push((last, calls));
        }
        some
    }

    fn calls_of(&self, rank: u64) -> Option<i64> {
        let step = self.steps.partition_point(|(.., last)| *last < rank);
        self.steps.get(step).map(|(calls, ..)| *calls)
    }

    /// Calls of the keys up to a rank.
    fn calls_to(&self, rank: i64) -> i64 {
        let rank = rank.unsigned_abs();
        let steps = self.steps.iter().take_while(|(_, first, _)| *first <= rank);
        steps.fold(0, |sum, (calls, first, last)| {
            let keys = i64::try_from(rank.min(*last) - first + 1).unwrap_or(i64::MAX);
            sum.saturating_add(calls.saturating_mul(keys))
        })
    }

    /// The exponent under which what was called is likeliest, for the keys of which it
    /// was often enough; none if those are few.
    #[expect(clippy::cast_precision_loss, reason = "of counts far below 2^53")]
    fn zipf(&self) -> Option<Fit> {
        let often = self.steps.iter().filter(|(calls, ..)| *calls >= CALLS_MIN);
        let often: Vec<_> = often.filter(|(_, first, _)| *first <= RANKS_MAX).collect();
        let ranks = often.last().map(|(.., last)| (*last).min(RANKS_MAX))?;
        if ranks < 10 {
            return None;
        }
        let logs: Vec<f64> = (1..=ranks).map(|rank| (rank as f64).ln()).collect();
        let mut calls = Vec::with_capacity(logs.len());
        for (of_each, first, last) in often {
            calls.extend((*first..=(*last).min(ranks)).map(|_| *of_each as f64));
        }
        let all: f64 = calls.iter().sum();
        // The likeliest exponent is that with this expectation of the logarithm of a rank.
        let wanted = calls.iter().zip(&logs).map(|(calls, log)| calls * log).sum::<f64>() / all;
        let expectation = |exponent: f64| {
            let weights = logs.iter().map(|log| (-exponent * log).exp());
            let (sum, of_logs) = weights
                .zip(&logs)
                .fold((0.0, 0.0), |(sum, of_logs), (w, log)| (sum + w, of_logs + w * log));
            of_logs / sum
        };
        let (mut low, mut high) = (0.0, 10.0);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if expectation(middle) > wanted { low = middle } else { high = middle }
        }
        Some(Fit { exponent: low, r2: r2(&logs, &calls) })
    }
}

/// How much of the variance of the logarithm of calls a line over `logs` explains, at
/// ranks that are about as far from each other as logarithms.
fn r2(logs: &[f64], calls: &[f64]) -> f64 {
    let mut points = Vec::new();
    let mut rank = 1;
    while rank <= logs.len() {
        points.push((logs[rank - 1], calls[rank - 1].ln()));
        rank = rank + 1 + rank / 20;
    }
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let sums = points.iter().fold((0.0, 0.0, 0.0), |(xx, xy, yy), (px, py)| {
        let (dx, dy) = (px - x, py - y);
        (xx + dx * dx, xy + dx * dy, yy + dy * dy)
    });
    if sums.0 * sums.2 > 0.0 { sums.1 * sums.1 / (sums.0 * sums.2) } else { 1.0 }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "of small numbers")]
mod tests {
    use super::Ranked;

    #[test]
    fn the_exponent_of_a_law_is_found() {
        for exponent in [0.6, 0.99, 1.3] {
            let calls = (1..=20_000).map(|rank| (1e6 / f64::from(rank).powf(exponent)).round());
            let mut frequencies = std::collections::BTreeMap::new();
            for of_key in calls {
                *frequencies.entry(of_key as i64).or_insert(0) += 1;
            }
            let fit = Ranked::of(&frequencies).zipf().unwrap();
            assert!((fit.exponent - exponent).abs() < 0.01, "{exponent} {fit:?}");
            assert!(fit.r2 > 0.99);
        }
    }

    #[test]
    fn ranks_have_calls() {
        let ranked = Ranked::of(&[(1, 3), (5, 2), (100, 1)].into());
        assert_eq!(ranked.some(), [(1, 100), (2, 5), (5, 1), (6, 1)]);
        assert_eq!((ranked.keys, ranked.calls, ranked.calls_to(2)), (6, 113, 105));
    }
}
