//! How long did the server take?

use std::collections::HashMap;

use anyhow::{Result, bail};
use mcrec_schema::{codes::Op, columns};

use super::top::{name_of, named};
use crate::{
    by::By,
    capture::Capture,
    cli::{Dimension, SortBy},
    keys::{Question, keys},
    percentile::{Distribution, Look, Window, looks, merged, percentiles},
    scan::{Rows, scan, scan_by},
    table::{Column, Section, Style, Table, Unit, Value},
};

/// How the latencies of all operations together are named, beside those of a command.
pub(crate) const ALL: &str = "all";

/// Powers of two that latencies are sorted into: bucket `n` is `2^n` to
/// `2^(n+1)` ns, the first also holds less, the last (over two hours) also more.
const BUCKETS: usize = 43;

/// More commands than there are, for newer recorders.
const OPS_MAX: usize = 2 * Op::ALL.len();

/// Name, title, and the part in ten-thousandths.
const PERCENTILES: [(&str, &str, u64); 6] = [
    ("p50_ns", "p50", 5_000),
    ("p90_ns", "p90", 9_000),
    ("p99_ns", "p99", 9_900),
    ("p999_ns", "p99.9", 9_990),
    ("p9999_ns", "p99.99", 9_999),
    ("max_ns", "max", 10_000),
];

/// The latencies of operations: percentiles and a histogram, for all commands together
/// and for each.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn latency(capture: &Capture) -> Result<[Section; 2]> {
    let mut by_op = by_op(capture)?;
    by_op.sort_by(|(one, of_one), (other, of_other)| {
        of_other.count().cmp(&of_one.count()).then_with(|| one.cmp(other))
    });
    let mut all = Distribution::default();
    by_op.iter().for_each(|(_, latencies)| all.merge(latencies.clone()));
    by_op.insert(0, (ALL.to_owned(), all));
    let (ops, mut latencies): (Vec<String>, Vec<Distribution>) = by_op.into_iter().unzip();
    let parts = PERCENTILES.map(|(.., part)| part);
    let found = percentiles(&mut latencies, parts, |windows| look_again(capture, &ops, windows))?;
    Ok(sections(capture, Dimension::Op, (&ops, &latencies), found))
}

/// The same by something else than the command: the `top` of those with most operations.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn latency_by(
    capture: &Capture,
    dimension: Dimension,
    by: &By,
    top: usize,
) -> Result<[Section; 2]> {
    let found = keys(capture, &Question { top, sort: SortBy::Calls, reverse: false, by })?;
    let names = found.top.into_iter().map(|group| group.key);
    let names: Vec<String> = [ALL.to_owned()].into_iter().chain(names).collect();
    let numbers: HashMap<&str, usize> =
        names.iter().enumerate().skip(1).map(|(number, name)| (name.as_str(), number)).collect();
    let begin = || vec![Distribution::default(); names.len()];
    let mut latencies = begin();
    let threads = each_of(capture, by, &numbers, begin, |latencies, number, latency| {
        latencies[number].add(latency);
    })?;
    for of_thread in threads {
        latencies.iter_mut().zip(of_thread).for_each(|(sum, other)| sum.merge(other));
    }
    let parts = PERCENTILES.map(|(.., part)| part);
    let found = percentiles(&mut latencies, parts, |windows| {
        let looks = || looks(windows);
        let threads = each_of(capture, by, &numbers, looks, |looks, number, latency| {
            looks[number].iter_mut().for_each(|look| look.add(latency));
        })?;
        Ok(merged(threads))
    })?;
    Ok(sections(capture, dimension, (&names, &latencies), found))
}

/// Lets `see` have each latency twice: with number 0, and with that of its group, if that
/// has one.
fn each_of<S: Send>(
    capture: &Capture,
    by: &By,
    numbers: &HashMap<&str, usize>,
    begin: impl Fn() -> S + Sync,
    see: impl Fn(&mut S, usize, i64) + Sync,
) -> Result<Vec<S>> {
    scan_by(capture, Some(by), &[columns::LATENCY_NS], begin, |state, rows| {
        let (groups, latencies) = (rows.groups()?, rows.latencies()?);
        let of_group: Vec<Option<usize>> =
            groups.values.iter().map(|name| numbers.get(name?).copied()).collect();
        for (row, group) in groups.ids().enumerate() {
            if let Some(latency) = latencies.get(row).filter(|_| rows.is_wanted(row)) {
                see(state, 0, latency);
                if let Some(number) = group.and_then(|group| of_group[group]) {
                    see(state, number, latency);
                }
            }
        }
        Ok(())
    })
}

fn sections(
    capture: &Capture,
    dimension: Dimension,
    (names, latencies): (&[String], &[Distribution]),
    found: Vec<[Option<i64>; PERCENTILES.len()]>,
) -> [Section; 2] {
    let mut rows = Vec::new();
    let mut histogram = Vec::new();
    for ((name, latencies), found) in names.iter().zip(latencies).zip(found) {
        let count = i64::try_from(latencies.count()).unwrap_or(i64::MAX);
        let first = [named(dimension, name), Value::Int(count)];
        rows.push(first.into_iter().chain(found.map(Value::from)).collect());
        for (bucket, count) in buckets(latencies.by_power_of_two()) {
            histogram.push(vec![
                named(dimension, name),
                Value::Int(if bucket == 0 { 0 } else { 1 << bucket }),
                Value::Int(1 << (bucket + 1)),
                Value::Int(i64::try_from(count).unwrap_or(i64::MAX)),
            ]);
        }
    }
    let percentiles = Table { columns: percentile_columns(name_of(dimension)), rows };
    let histogram = Table { columns: histogram_columns(name_of(dimension)), rows: histogram };
    let mut first = Section::lines("latency.percentiles", "latency", percentiles);
    if capture.sampling.is_some() {
        first = first.note("of the operations that were recorded: nothing here is scaled");
    }
    [
        first,
        Section { style: Style::Histograms, ..Section::lines("latency.histogram", "", histogram) }
            .or_else("no latency is known"),
    ]
}

/// The latencies of each command.
pub(super) fn by_op(capture: &Capture) -> Result<Vec<(String, Distribution)>> {
    let begin = Vec::<(String, Distribution)>::new;
    let threads = scan(capture, &[columns::LATENCY_NS], begin, |by_op, rows| {
        let ops = rows.strings(columns::OP)?.values.iter();
        let numbers = ops.map(|op| op.map(|op| number_of(op, by_op)).transpose());
        let numbers: Vec<Option<usize>> = numbers.collect::<Result<_>>()?;
        each(rows, &numbers, |number, latency| by_op[number].1.add(latency))
    })?;
    let mut threads = threads.into_iter();
    let mut all = threads.next().unwrap_or_default();
    for (op, latencies) in threads.flatten() {
        let number = number_of(&op, &mut all)?;
        all[number].1.merge(latencies);
    }
    all.retain(|(_, latencies)| latencies.count() > 0);
    Ok(all)
}

/// The place of a command's latencies, which may be a new one.
fn number_of(op: &str, by_op: &mut Vec<(String, Distribution)>) -> Result<usize> {
    if let Some(number) = by_op.iter().position(|(other, _)| other == op) {
        return Ok(number);
    }
    if by_op.len() >= OPS_MAX {
        bail!("cannot read the capture: it is damaged (more commands than there are)");
    }
    by_op.push((op.to_owned(), Distribution::default()));
    Ok(by_op.len() - 1)
}

/// Another look at the latencies of all commands, the first of `ops`, and of each.
pub(super) fn look_again(
    capture: &Capture,
    ops: &[String],
    windows: &[Vec<Window>],
) -> Result<Vec<Vec<Look>>> {
    let begin = || looks(windows);
    let threads = scan(capture, &[columns::LATENCY_NS], begin, |looks, rows| {
        let number = |op: &str| ops.iter().skip(1).position(|other| other == op);
        let numbers = rows.strings(columns::OP)?.values.iter().map(|op| number(op?));
        let numbers: Vec<Option<usize>> = numbers.collect();
        let Some((all, by_op)) = looks.split_first_mut() else { return Ok(()) };
        each(rows, &numbers, |number, latency| {
            all.iter_mut().chain(&mut by_op[number]).for_each(|look| look.add(latency));
        })
    })?;
    Ok(merged(threads))
}

/// Lets `see` have each latency that is known, and the number of its command.
fn each(rows: &Rows, numbers: &[Option<usize>], mut see: impl FnMut(usize, i64)) -> Result<()> {
    let (ops, latencies) = (rows.strings(columns::OP)?, rows.latencies()?);
    for (row, op) in ops.ids().enumerate() {
        if let Some(latency) = latencies.get(row)
            && let Some(number) = op.and_then(|op| numbers[op])
            && rows.is_wanted(row)
        {
            see(number, latency);
        }
    }
    Ok(())
}

fn histogram_columns(name: Column) -> Vec<Column> {
    vec![
        name,
        Column::new("from_ns", "from", Unit::Nanoseconds),
        Column::new("to_ns", "to", Unit::Nanoseconds),
        Column::new("count", "operations", Unit::Count),
    ]
}

fn percentile_columns(name: Column) -> Vec<Column> {
    let first = [name, Column::new("count", "operations", Unit::Count)];
    let percentiles =
        PERCENTILES.map(|(name, title, _)| Column::new(name, title, Unit::Nanoseconds));
    first.into_iter().chain(percentiles).collect()
}

/// Bucket and count, from the first to the last bucket that is not empty.
fn buckets(by_power_of_two: [u64; 63]) -> Vec<(u32, u64)> {
    let (within, beyond) = by_power_of_two.split_at(BUCKETS);
    let mut counts: Vec<(u32, u64)> = (0..).zip(within.iter().copied()).collect();
    if let Some((_, last)) = counts.last_mut() {
        *last += beyond.iter().sum::<u64>();
    }
    let filled = |(_, count): &(u32, u64)| *count > 0;
    match (counts.iter().position(filled), counts.iter().rposition(filled)) {
        (Some(first), Some(last)) => counts[first..=last].to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::buckets;
    use crate::percentile::Distribution;

    #[test]
    fn buckets_run_from_the_first_to_the_last_that_is_filled() {
        let of = |latencies: &[i64]| {
            let mut distribution = Distribution::default();
            latencies.iter().for_each(|latency| distribution.add(*latency));
            buckets(distribution.by_power_of_two())
        };
        assert_eq!(of(&[0, 4, 5, 16]), [(0, 1), (1, 0), (2, 2), (3, 0), (4, 1)]);
        assert_eq!(of(&[1 << 42, i64::MAX]), [(42, 2)]);
        assert_eq!(of(&[]), []);
    }
}
