//! What follows misses? Which keys are read in vain, and which stored in vain?

use std::collections::VecDeque;

use anyhow::Result;
use mcrec_schema::{
    codes::{Op, Status},
    columns,
};

use super::{figures, ratio};
use crate::{
    capture::Capture,
    in_order::in_order,
    keys::{
        figures_of,
        hash::{Hashes, Hashing, KeyHash, Map},
    },
    percentile::{Distribution, looks, percentiles},
    scan::Rows,
    table::{Column, Section, Table, Unit, Value},
};

/// Keys that are held at once, some 70 bytes each.
const KEYS_MAX: usize = 4_000_000;
/// Keys with equal counts that are put in the order of their bytes.
const EQUALS_MAX: usize = 10_000;

/// Of the time to fill: median, p90, p99 and the longest.
const PARTS: [u64; 4] = [5_000, 9_000, 9_900, 10_000];

/// A use of a key.
#[derive(Clone, Copy)]
struct Event {
    key: KeyHash,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Miss,
    /// A read that hit, or of which that is not known.
    Read,
    Store,
    Other,
}

/// What happened to a key.
#[derive(Clone, Copy, Default)]
struct Fate {
    /// When it was first missed since it was stored, and how often since.
    gap: Option<i64>,
    gap_misses: i64,
    uses: i64,
    reads: i64,
    misses: i64,
    stores: i64,
}

/// What was found.
#[derive(Default)]
struct Fates {
    keys: Map<Fate>,
    /// One key in `2^level` is held.
    level: u32,
    filled_misses: i64,
}

/// Misses and fills, and the keys that are used in vain: the first `top` of each kind.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn misses(capture: &Capture, top: usize) -> Result<[Section; 3]> {
    let (whole, one_in) = capture.of_whole_keys();
    let capture = &*whole;
    let hashing = Hashing::default();
    let mut gaps = Distribution::default();
    let fates = Fates::of(capture, &hashing, |gap| gaps.add(gap))?;
    let filled = i64::try_from(gaps.count()).unwrap_or(i64::MAX);
    let times = percentiles(std::slice::from_mut(&mut gaps), PARTS, |windows| {
        let mut looks = looks(windows);
        Fates::of(capture, &hashing, |gap| {
            looks.iter_mut().flatten().for_each(|look| look.add(gap));
        })?;
        Ok(looks)
    })?;
    let times = times.first().copied().unwrap_or_default();
    let never_set = |fate: &Fate| (fate.stores == 0).then_some(fate.reads);
    let never_read = |fate: &Fate| (fate.reads == 0).then_some(fate.stores);
    Ok([
        fates.figures(filled, times, one_in, capture.filter.hides_operations_of_keys()),
        fates.keys_by(
            Section::lines("misses.never_set", "read, and never stored", table()),
            (capture, &hashing),
            top,
            never_set,
        )?,
        fates.keys_by(
            Section::lines("misses.never_read", "stored, and never read", table()),
            (capture, &hashing),
            top,
            never_read,
        )?,
    ])
}

fn make(
    rows: &Rows,
    hashing: &Hashing,
    hashes: &mut Hashes,
    events: &mut VecDeque<(i64, Event)>,
) -> Result<()> {
    let (keys, times) = (rows.strings(columns::KEY)?, rows.times()?);
    let (ops, status) = (rows.strings(columns::OP)?, rows.strings(columns::STATUS)?);
    let hashes = hashes.of(&keys, hashing);
    let (read, store) =
        (ops.each(|op| Op::is_in(&Op::READS, op)), ops.each(|op| Op::is_in(&Op::STORES, op)));
    let miss = status.each(|word| word == Status::Miss.as_str());
    let kept = [Status::Stored, Status::NoReply, Status::Unknown];
    let stored = status.each(|word| kept.iter().any(|status| status.as_str() == word));
    for (row, key) in keys.ids().enumerate() {
        let Some(key) = key.filter(|_| rows.is_wanted(row)) else { continue };
        let what = match (read.of(row), store.of(row)) {
            (true, _) if miss.of(row) => What::Miss,
            (true, _) => What::Read,
            (_, true) if stored.of(row) => What::Store,
            _ => What::Other,
        };
        events.push_back((times[row], Event { key: hashes[key], what }));
    }
    Ok(())
}

impl Fates {
    /// Of all keys that are asked for; `on_gap` is told how long a key was missing when it
    /// is stored, µs.
    fn of(capture: &Capture, hashing: &Hashing, mut on_gap: impl FnMut(i64)) -> Result<Self> {
        const COLUMNS: [&str; 3] = [columns::TS, columns::KEY, columns::STATUS];
        let (mut hashes, mut fates) = (Hashes::default(), Self::default());
        let make = |rows: &Rows, events: &mut VecDeque<(i64, Event)>| {
            make(rows, hashing, &mut hashes, events)
        };
        in_order(capture, &COLUMNS, make, |time, event| fates.see(time, event, &mut on_gap))?;
        Ok(fates)
    }

    fn see(&mut self, time: i64, Event { key, what }: Event, on_gap: &mut impl FnMut(i64)) {
        if !key.is_in_sample(self.level) {
            return;
        }
        let fate = self.keys.entry(key).or_default();
        fate.uses += 1;
        match what {
            What::Miss => {
                fate.reads += 1;
                fate.misses += 1;
                fate.gap.get_or_insert(time);
                fate.gap_misses += 1;
            }
            What::Read => fate.reads += 1,
            What::Store => {
                fate.stores += 1;
                if let Some(since) = fate.gap.take() {
                    on_gap(time.saturating_sub(since).max(0));
                    self.filled_misses += std::mem::take(&mut fate.gap_misses);
                }
            }
            What::Other => {}
        }
        if self.keys.len() > KEYS_MAX {
            self.level += 1;
            let level = self.level;
            self.keys.retain(|key, _| key.is_in_sample(level));
        }
    }

    fn figures(
        &self,
        filled: i64,
        times: [Option<i64>; PARTS.len()],
        one_in: u32,
        hides: bool,
    ) -> Section {
        let scale = i64::from(one_in).saturating_mul(1 << self.level.min(40));
        let scaled = |count: i64| Value::Int(count.saturating_mul(scale));
        let sum = |of: fn(&Fate) -> i64| self.keys.values().map(of).sum::<i64>();
        let misses = sum(|fate| fate.misses);
        let keys = i64::try_from(self.keys.len()).unwrap_or(i64::MAX);
        let never_set = sum(|fate| i64::from(fate.reads > 0 && fate.stores == 0));
        let never_read = sum(|fate| i64::from(fate.stores > 0 && fate.reads == 0));
        let once = sum(|fate| i64::from(fate.uses == 1));
        let open = sum(|fate| i64::from(fate.gap.is_some()));
        let [p50, p90, p99, max] = times;
        let time = |micros: Option<i64>| Value::from(micros.map(|us| us.saturating_mul(1_000)));
        let rows = vec![
            ("misses", scaled(misses), "count"),
            ("keys", scaled(keys), "count"),
            ("gaps: from a miss until the key was stored", scaled(filled), "count"),
            ("misses in those gaps", scaled(self.filled_misses), "count"),
            ("time to fill, median", time(p50), "ns"),
            ("time to fill, p90", time(p90), "ns"),
            ("time to fill, p99", time(p99), "ns"),
            ("time to fill, longest", time(max), "ns"),
            ("gaps that were not filled", scaled(open), "count"),
            ("keys that are read and never stored", scaled(never_set), "count"),
            ("share of keys", ratio(never_set, keys).into(), "ratio"),
            ("keys that are stored and never read", scaled(never_read), "count"),
            ("share of keys", ratio(never_read, keys).into(), "ratio"),
            ("keys that are used once", scaled(once), "count"),
            ("share of keys", ratio(once, keys).into(), "ratio"),
        ];
        let section = figures("misses.figures", "misses", rows);
        let mut section = section.note_of_sample(one_in);
        if hides {
            section = section.note(
                "What was not asked for is taken for not there: with a part of the commands, \
                 outcomes or sizes, keys seem unread or unstored that are not.",
            );
        }
        match self.level {
            0 => section,
            level => {
                section.note(format!("From one key in {}, for there are many.", 1_u64 << level))
            }
        }
    }

    /// The keys with the largest counts by `count`.
    fn keys_by(
        &self,
        mut section: Section,
        (capture, hashing): (&Capture, &Hashing),
        top: usize,
        count: impl Fn(&Fate) -> Option<i64>,
    ) -> Result<Section> {
        let counted = self.keys.iter().filter_map(|(key, fate)| Some((count(fate)?, *key)));
        let mut counted: Vec<(i64, KeyHash)> = counted.filter(|(count, _)| *count > 0).collect();
        counted.sort_unstable_by_key(|(count, _)| -count);
        let least = counted.get(top.saturating_sub(1)).map_or(0, |(count, _)| *count);
        let some = counted.iter().take_while(|(count, _)| *count >= least).take(top + EQUALS_MAX);
        let hashes: Vec<KeyHash> = some.map(|(_, key)| *key).collect();
        let mut found = figures_of(capture, hashing, &hashes)?;
        let by = |key: &str| self.keys.get(&hashing.hash(key)).and_then(&count).unwrap_or(0);
        found.sort_by(|one, other| {
            by(&other.key).cmp(&by(&one.key)).then_with(|| one.key.cmp(&other.key))
        });
        found.truncate(top);
        section.table.rows = found
            .into_iter()
            .map(|key| {
                let count = by(&key.key);
                let misses = Value::Int(key.misses);
                vec![
                    key.key.into(),
                    Value::Int(count),
                    misses,
                    key.value_size.into(),
                    key.last.into(),
                ]
            })
            .collect();
        Ok(section.or_else("none"))
    }
}

fn table() -> Table {
    let columns = vec![
        Column::new("key", "key", Unit::Key),
        Column::new("count", "times", Unit::Count),
        Column::new("misses", "misses", Unit::Count),
        Column::new("value_size", "size", Unit::Bytes),
        Column::new("last", "last", Unit::Time),
    ];
    Table { columns, rows: Vec::new() }
}
