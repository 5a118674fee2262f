//! What happened when?

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use anyhow::{Result, bail};
use mcrec_schema::{codes::Status, columns};

use super::{heading::lossy, kbps, per_second, ratio};
use crate::{
    by::UNKNOWN,
    capture::{Capture, seconds},
    distinct::Distinct,
    filter::address,
    item::{Sent, Stores},
    keys::hash::{Hashing, KeyHash},
    percentile::{Distribution, Window, looks, merged, percentiles},
    scan::{OfDictionary, Rows, scan},
    table::{Column, Section, Table, Unit, Value},
};

/// Intervals that can be told apart.
const INTERVALS_MAX: usize = 100_000;
/// Lengths of intervals that people can read, µs.
const STEPS: [i64; 22] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    15_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
    86_400_000_000,
];

/// What is scaled in a sample.
const TOTALS: [&str; 9] = [
    "operations",
    "rate",
    "hits",
    "misses",
    "bytes_stored",
    "bytes_returned",
    "bandwidth_kbps",
    "distinct_keys",
    "new_keys",
];

/// What happened in an interval.
#[derive(Clone, Debug, Default)]
struct Interval {
    operations: i64,
    hits: i64,
    misses: i64,
    stored: i64,
    returned: i64,
    refused: i64,
    connections: HashSet<i64>,
    clients: HashSet<KeyHash>,
    latencies: Distribution,
}

impl Interval {
    fn merge(&mut self, other: Self) {
        self.operations = self.operations.saturating_add(other.operations);
        self.hits = self.hits.saturating_add(other.hits);
        self.misses = self.misses.saturating_add(other.misses);
        self.stored = self.stored.saturating_add(other.stored);
        self.returned = self.returned.saturating_add(other.returned);
        self.refused = self.refused.saturating_add(other.refused);
        self.connections.extend(other.connections);
        self.clients.extend(other.clients);
        self.latencies.merge(other.latencies);
    }
}

/// The length of an interval, µs: as asked for, or such that there are about as many as
/// `wanted` and not more.
pub(crate) fn step(capture: &Capture, every: Option<Duration>, wanted: i64) -> i64 {
    if let Some(every) = every {
        return i64::try_from(every.as_micros()).unwrap_or(i64::MAX).max(1);
    }
    let (start, end) = capture.extent().unwrap_or_default();
    let span = end.saturating_sub(start);
    let fits = |step: &i64| span / step < wanted;
    /// µs.
    const DAY: i64 = 86_400_000_000;
    let days = span / (wanted * DAY) + 1;
    STEPS.into_iter().find(fits).unwrap_or_else(|| days.saturating_mul(DAY))
}

/// Requests, hits, bytes, connections and latency in intervals of `step` µs, which begin
/// at whole multiples of it; with the keys in each, which takes longer, if asked for.
///
/// # Errors
///
/// When the capture cannot be read, or has too many intervals.
pub(crate) fn series(capture: &Capture, step: i64, with_keys: bool) -> Result<Section> {
    let mut intervals = intervals(capture, step)?;
    fill_gaps(&mut intervals);
    let quantiles = quantiles(capture, step, &mut intervals)?;
    let keys = if with_keys { Some(Keys::of(capture, step)?) } else { None };
    let lost = lost(capture, step, &intervals);
    let spans = capture.spans();
    let rows = intervals.into_iter().zip(quantiles).map(|((number, interval), [p50, p99])| {
        let seconds = recorded(&spans, number, step);
        let stored = interval.stored.saturating_add(interval.refused);
        let bytes = stored.saturating_add(interval.returned);
        let mut row = vec![
            Value::Int(number.saturating_mul(step)),
            Value::Int(interval.operations),
            per_second(interval.operations, seconds).into(),
            Value::Int(interval.hits),
            Value::Int(interval.misses),
            ratio(interval.hits, interval.hits + interval.misses).into(),
            Value::Int(interval.stored),
            Value::Int(interval.returned),
            kbps(bytes, seconds).into(),
            p50.into(),
            p99.into(),
            Value::Int(i64::try_from(interval.connections.len()).unwrap_or(i64::MAX)),
            Value::Int(i64::try_from(interval.clients.len()).unwrap_or(i64::MAX)),
            Value::Int(lost.counted.get(&number).copied().unwrap_or(0)),
            Value::from(if lost.around.contains(&number) { "!" } else { "" }),
        ];
        if let Some(keys) = &keys {
            row.extend(keys.in_interval(number));
        }
        row
    });
    let rows = rows.collect();
    let nothing_lost = lost.around.is_empty();
    let table = Table { columns: columns(with_keys, nothing_lost), rows };
    let every = humantime::format_duration(Duration::from_micros(step.unsigned_abs()));
    let title = format!("every {every}, from the times of requests");
    let mut section = Section::bars("series", &title, table, "operations")
        .scaled(capture.is_scaled(), &TOTALS)
        .or_else("no operations");
    if !nothing_lost {
        section = section.note(
            "!: some of lost were lost in the interval; they stand where it was noticed, at the \
             end of the time in which they were.",
        );
    }
    if keys.is_some_and(|keys| !keys.is_exact()) {
        section = section.note("keys over time are counted by a sample of them, to about 1 %");
    }
    Ok(section)
}

fn columns(with_keys: bool, nothing_lost: bool) -> Vec<Column> {
    let lost = Column::new("lost", "lost", Unit::Count);
    let lossy = Column::new("lossy", "", Unit::Word);
    let mut columns = vec![
        Column::new("time", "time", Unit::Time),
        Column::new("operations", "operations", Unit::Count),
        Column::new("rate", "req/s", Unit::Rate),
        Column::new("hits", "hits", Unit::Count).for_programs(),
        Column::new("misses", "misses", Unit::Count).for_programs(),
        Column::new("hit_ratio", "hit ratio", Unit::Ratio),
        Column::new("bytes_stored", "stored", Unit::Bytes).if_room(),
        Column::new("bytes_returned", "returned", Unit::Bytes).if_room(),
        Column::new("bandwidth_kbps", "kbps", Unit::Kbps),
        Column::new("latency_p50_ns", "p50", Unit::Nanoseconds),
        Column::new("latency_p99_ns", "p99", Unit::Nanoseconds),
        Column::new("connections", "conns", Unit::Count).if_room(),
        Column::new("clients", "clients", Unit::Count).if_room(),
        if nothing_lost { lost.for_programs() } else { lost },
        if nothing_lost { lossy.for_programs() } else { lossy },
    ];
    if with_keys {
        columns.push(Column::new("distinct_keys", "keys", Unit::Count));
        columns.push(Column::new("new_keys", "new keys", Unit::Count));
    }
    columns
}

fn intervals(capture: &Capture, step: i64) -> Result<BTreeMap<i64, Interval>> {
    const COLUMNS: [&str; 6] = [
        columns::CLIENT,
        columns::TS,
        columns::STATUS,
        columns::VALUE_SIZE,
        columns::LATENCY_NS,
        columns::CONN_ID,
    ];
    let hashing = Hashing::default();
    let threads = scan(capture, &COLUMNS, BTreeMap::new, |intervals, rows| {
        add(intervals, rows, step, &hashing)
    })?;
    let mut threads = threads.into_iter();
    let mut all = threads.next().unwrap_or_default();
    for (number, interval) in threads.flatten() {
        all.entry(number).or_insert_with(Interval::default).merge(interval);
    }
    Ok(all)
}

fn add(
    intervals: &mut BTreeMap<i64, Interval>,
    rows: &Rows,
    step: i64,
    hashing: &Hashing,
) -> Result<()> {
    let (times, latencies) = (rows.times()?, rows.latencies()?);
    let (sizes, conn_ids) = (rows.ints(columns::VALUE_SIZE)?, rows.ints(columns::CONN_ID)?);
    let status = rows.strings(columns::STATUS)?;
    let (hit, miss) = (status.number(Status::Hit.as_str()), status.number(Status::Miss.as_str()));
    let statuses = status.array.keys().values();
    let clients = rows.strings(columns::CLIENT)?;
    let stores = Stores::of(rows)?;
    // Rows of one interval are mostly next to each other.
    let (mut at, mut interval) = (i64::MIN, Interval::default());
    let mut hand_over = |at: i64, interval: Interval| {
        if interval.operations > 0 {
            intervals.entry(at).or_default().merge(interval);
        }
        if intervals.len() > INTERVALS_MAX {
            bail!("there are more than {INTERVALS_MAX} intervals: use a longer --every");
        }
        Ok(())
    };
    for row in (0..rows.len()).filter(|row| rows.is_wanted(*row)) {
        let number = times[row].div_euclid(step);
        if number != at {
            hand_over(at, std::mem::take(&mut interval))?;
            at = number;
        }
        let weight = rows.weight(row);
        interval.operations += weight;
        interval.hits += if Some(statuses[row]) == hit { weight } else { 0 };
        interval.misses += if Some(statuses[row]) == miss { weight } else { 0 };
        let bytes = sizes.get(row).unwrap_or(0).saturating_mul(weight);
        let to = match stores.of_row(row) {
            Sent::Nothing => &mut interval.returned,
            Sent::Refused => &mut interval.refused,
            Sent::Part | Sent::Value => &mut interval.stored,
        };
        *to = to.saturating_add(bytes);
        if let Some(conn_id) = conn_ids.get(row)
            && interval.connections.insert(conn_id)
        {
            // A connection has one client.
            let client = clients.get(row).map_or(UNKNOWN, address);
            interval.clients.insert(hashing.hash(client));
        }
        if let Some(latency) = latencies.get(row) {
            interval.latencies.add(latency);
        }
    }
    hand_over(at, interval)
}

/// Intervals in which nothing happened are there too, unless a damaged clock made them
/// too many.
fn fill_gaps(intervals: &mut BTreeMap<i64, Interval>) {
    let (Some((&first, _)), Some((&last, _))) =
        (intervals.first_key_value(), intervals.last_key_value())
    else {
        return;
    };
    let count = last.saturating_sub(first);
    if usize::try_from(count).is_ok_and(|count| count < INTERVALS_MAX) {
        for number in first..=last {
            intervals.entry(number).or_default();
        }
    }
}

/// Median and 99th percentile of the latencies of each interval.
fn quantiles(
    capture: &Capture,
    step: i64,
    intervals: &mut BTreeMap<i64, Interval>,
) -> Result<Vec<[Option<i64>; 2]>> {
    let numbers: Vec<i64> = intervals.keys().copied().collect();
    let mut latencies: Vec<Distribution> =
        intervals.values_mut().map(|interval| std::mem::take(&mut interval.latencies)).collect();
    percentiles(&mut latencies, [5_000, 9_900], |windows: &[Vec<Window>]| {
        let columns = [columns::TS, columns::LATENCY_NS];
        let threads = scan(
            capture,
            &columns,
            || looks(windows),
            |looks, rows| {
                let (times, latencies) = (rows.times()?, rows.latencies()?);
                for row in (0..rows.len()).filter(|row| rows.is_wanted(*row)) {
                    if let Some(latency) = latencies.get(row)
                        && let Ok(at) = numbers.binary_search(&times[row].div_euclid(step))
                    {
                        looks[at].iter_mut().for_each(|look| look.add(latency));
                    }
                }
                Ok(())
            },
        )?;
        Ok(merged(threads))
    })
}

/// How long was recorded of an interval, seconds. What came before the recording, and was
/// under way when it began, has the whole interval.
fn recorded(spans: &[(i64, i64)], number: i64, step: i64) -> f64 {
    let begin = number.saturating_mul(step);
    let end = begin.saturating_add(step);
    let parts = spans.iter().map(|(from, to)| ((*from).max(begin), (*to).min(end)));
    let parts: Vec<(i64, i64)> = parts.filter(|(from, to)| from < to).collect();
    if parts.is_empty() { seconds(vec![(begin, end)]) } else { seconds(parts) }
}

/// Operations that were lost.
#[derive(Debug, Default)]
struct Lost {
    /// How many, by the interval in which that was noticed.
    counted: BTreeMap<i64, i64>,
    /// Intervals that lie, in part, in a time in which some were.
    around: BTreeSet<i64>,
}

fn lost(capture: &Capture, step: i64, intervals: &BTreeMap<i64, Interval>) -> Lost {
    let mut lost = Lost::default();
    for [from, to, count] in lossy(capture) {
        let (first, last) = (from.div_euclid(step), to.div_euclid(step));
        let mut last_of = None;
        for (number, _) in intervals.range(first..=last.max(first)) {
            lost.around.insert(*number);
            last_of = Some(*number);
        }
        // After the last interval too.
        let noticed = last_of.or_else(|| intervals.keys().next_back().copied());
        if let Some(noticed) = noticed {
            *lost.counted.entry(noticed).or_insert(0) += count;
        }
    }
    lost
}

/// The keys in each interval.
struct Keys {
    distinct: BTreeMap<i64, i64>,
    new: BTreeMap<i64, i64>,
    exact: bool,
}

impl Keys {
    fn of(capture: &Capture, step: i64) -> Result<Self> {
        let hashing = Hashing::default();
        let begin = || KeysOfThread {
            hashes: OfDictionary::default(),
            in_intervals: Distinct::new(),
            all: Distinct::new(),
        };
        let columns = [columns::TS, columns::KEY];
        let threads =
            scan(capture, &columns, begin, |thread, rows| thread.add(rows, step, &hashing))?;
        let mut threads = threads.into_iter();
        let mut keys = threads.next().unwrap_or_else(begin);
        for other in threads {
            keys.in_intervals.merge(other.in_intervals);
            keys.all.merge(other.all);
        }
        let mut sums = [BTreeMap::new(), BTreeMap::new()];
        for (number, of_sample, weight) in keys.in_intervals.iter() {
            *sums[0].entry(number).or_insert(0) += weight * of_sample;
        }
        for ((), (first, of_sample), weight) in keys.all.iter() {
            *sums[1].entry(first.div_euclid(step)).or_insert(0) += weight * of_sample;
        }
        let [distinct, new] = sums;
        let exact = keys.in_intervals.is_exact() && keys.all.is_exact();
        Ok(Self { distinct, new, exact })
    }

    fn in_interval(&self, number: i64) -> [Value; 2] {
        [&self.distinct, &self.new]
            .map(|counts| Value::Int(counts.get(&number).copied().unwrap_or(0)))
    }

    fn is_exact(&self) -> bool {
        self.exact
    }
}

/// What a thread has seen of the keys.
struct KeysOfThread {
    /// Of each key of a dictionary, and the interval in which it was last seen.
    hashes: OfDictionary<(KeyHash, i64)>,
    /// With how many keys each stands for, in a sample.
    in_intervals: Distinct<i64, i64>,
    /// With the time at which each key was first seen, and how many it stood for then.
    all: Distinct<(), (i64, i64)>,
}

impl KeysOfThread {
    fn add(&mut self, rows: &Rows, step: i64, hashing: &Hashing) -> Result<()> {
        let (keys, times) = (rows.strings(columns::KEY)?, rows.times()?);
        if !self.hashes.is_of(&keys) {
            let hash = |key: Option<&str>| (hashing.hash(key.unwrap_or("")), i64::MIN);
            self.hashes.begin(&keys, keys.values.iter().map(hash));
        }
        for (row, key) in keys.ids().enumerate() {
            let Some(key) = key.filter(|_| rows.is_wanted(row)) else { continue };
            let (hash, last) = &mut self.hashes.made[key];
            let number = times[row].div_euclid(step);
            if *last != number {
                *last = number;
                let weight = rows.weight(row);
                self.in_intervals.add(number, *hash, weight);
                self.all.add((), *hash, (times[row], weight));
            }
        }
        Ok(())
    }
}
