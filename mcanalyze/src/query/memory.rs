//! How much memory would help?

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
    item::{Effect, Effects, flushes},
    keys::hash::{Hashes, Hashing, KeyHash, Map},
    reuse::{PARTS, Point, Reuse, Use},
    scan::Rows,
    table::{Column, Section, Table, Unit, Value},
};

/// What an item takes beside key and value: its header, with the CAS number.
const ITEM_HEADER: i64 = 56;
/// Sizes of values that are remembered before those that no longer matter are let go.
const SIZES_MAX: usize = 1 << 18;

/// Nobody asks what a cache of less than this part of the working set would hit.
const LEAST_PART: f64 = 256.0;

/// What happens to a cache.
#[derive(Clone, Copy)]
enum Event {
    /// A key is used.
    Use(Used),
    /// The cache is emptied.
    Flush,
}

/// A use of a key.
#[derive(Clone, Copy)]
struct Used {
    key: KeyHash,
    what: Use,
    /// Nobody says whether it was done: it is, if the key is there, or if it is not.
    only_if_there: Option<bool>,
    key_len: i64,
    effect: Effect,
}

/// The hit ratio by memory, and what the keys take.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn memory(capture: &Capture) -> Result<[Section; 2]> {
    const COLUMNS: [&str; 6] = [
        columns::TS,
        columns::KEY,
        columns::KEY_LEN,
        columns::STATUS,
        columns::VALUE_SIZE,
        columns::TTL,
    ];
    let (whole, one_in) = capture.of_whole_keys();
    let hashing = Hashing::default();
    let mut hashes = Hashes::default();
    let mut replay =
        Replay { reuse: Reuse::of_one_in(one_in), sizes: Map::default(), kept: SIZES_MAX };
    let (mut hits, mut misses) = (0, 0);
    let make = |rows: &Rows, events: &mut VecDeque<(i64, Event)>| {
        let seen = make(&whole, rows, hashes.of(&rows.strings(columns::KEY)?, &hashing), events)?;
        (hits, misses) = (hits + seen.0, misses + seen.1);
        Ok(())
    };
    in_order(&whole, &COLUMNS, make, |_, event| match event {
        Event::Use(used) => replay.see(used),
        Event::Flush => replay.reuse.flush(),
    })?;
    let [figures, curve] = sections(&replay.reuse, hits, misses);
    let scaled = ["bytes", "hit_ratio", "hit_ratio_at_most"];
    Ok([figures.note_of_sample(one_in), curve.scaled(one_in > 1, &scaled)])
}

/// Events for the rows that are uses of a key, and those that flush. Returns how many hit
/// and missed.
fn make(
    capture: &Capture,
    rows: &Rows,
    hashes: &[KeyHash],
    events: &mut VecDeque<(i64, Event)>,
) -> Result<(i64, i64)> {
    let (keys, times) = (rows.strings(columns::KEY)?, rows.times()?);
    let (lengths, ttls) = (rows.ints(columns::KEY_LEN)?, rows.ints(columns::TTL)?);
    let (effects, flush) = (Effects::of(rows)?, flushes(&rows.strings(columns::OP)?));
    let (mut hits, mut misses) = (0, 0);
    for (row, key) in keys.ids().enumerate() {
        // It concerns all keys, whichever are asked for; one that is put off is left out.
        if flush.of(row) && capture.filter.is_within(times[row]) {
            if ttls.get(row).unwrap_or(0) == 0 {
                events.push_back((times[row], Event::Flush));
            }
            continue;
        }
        let Some(key) = key.filter(|_| rows.is_wanted(row)) else { continue };
        let Some((op, status)) = effects.words(row) else { continue };
        let Some((what, only_if_there)) = used(op, status) else { continue };
        hits += i64::from(what == Use::Hit);
        misses += i64::from(what == Use::Read && status == Status::Miss);
        let effect = match only_if_there {
            Some(_) => effects.if_done(row),
            None => effects.of_row(row),
        };
        let key_len = lengths.get(row).unwrap_or(0);
        let used = Used { key: hashes[key], what, only_if_there, key_len, effect };
        events.push_back((times[row], Event::Use(used)));
    }
    Ok((hits, misses))
}

/// What an operation is to a cache, and whether that hangs on the key being there: where
/// nobody says what became of it. `None` if it did nothing.
fn used(op: Op, status: Status) -> Option<(Use, Option<bool>)> {
    let unanswered = matches!(status, Status::NoReply | Status::Unknown);
    match op {
        Op::Get | Op::Gets | Op::Gat | Op::Gats => {
            Some((if status == Status::Hit { Use::Hit } else { Use::Read }, None))
        }
        // Where nothing was found there may have been something with more memory.
        Op::Delete => {
            let refused = matches!(status, Status::Exists | Status::Error | Status::ClientError);
            (!refused).then_some((Use::Delete, None))
        }
        // What is too large removes what was there.
        Op::Set if status == Status::ServerError => Some((Use::Delete, None)),
        Op::Set if unanswered => Some((Use::Store, None)),
        Op::Add if unanswered => Some((Use::Store, Some(false))),
        Op::Replace | Op::Cas | Op::Append | Op::Prepend | Op::Incr | Op::Decr | Op::Touch
            if unanswered =>
        {
            Some((Use::Store, Some(true)))
        }
        Op::Set | Op::Add | Op::Replace | Op::Cas | Op::Append | Op::Prepend => {
            (status == Status::Stored).then_some((Use::Store, None))
        }
        Op::Incr | Op::Decr | Op::Touch => {
            matches!(status, Status::Ok | Status::Touched).then_some((Use::Store, None))
        }
        _ => None,
    }
}

/// A cache that is told of each use.
struct Replay {
    reuse: Reuse,
    /// The last known size of values of keys that matter.
    sizes: Map<i64>,
    kept: usize,
}

impl Replay {
    fn see(&mut self, used: Used) {
        if matches!(used.what, Use::Read | Use::Hit) {
            self.reuse.read();
        }
        if !self.reuse.wants(used.key) {
            return;
        }
        if used.only_if_there.is_some_and(|there| there != self.reuse.holds(used.key)) {
            return;
        }
        let size = self.sizes.entry(used.key).or_insert(0);
        match used.effect {
            Effect::Is(bytes) => *size = bytes,
            Effect::Kept(more) => *size = size.saturating_add(more),
            // With memory for it, what was there would be there again.
            Effect::Lost | Effect::Nothing => {}
        }
        let bytes = used.key_len.saturating_add(*size).saturating_add(ITEM_HEADER);
        self.reuse.see(used.key, used.what, bytes);
        if self.sizes.len() > self.kept {
            let reuse = &self.reuse;
            self.sizes.retain(|key, _| reuse.wants(*key));
            self.kept = (2 * self.sizes.len()).max(SIZES_MAX);
        }
    }
}

fn sections(reuse: &Reuse, hits: i64, misses: i64) -> [Section; 2] {
    let curve = reuse.curve();
    let (bytes, _) = reuse.working_set();
    // A quarter of a power of two is fine enough to read.
    let every = usize::try_from(PARTS / 4).unwrap_or(1);
    let fine = curve.iter().rev().step_by(every).collect::<Vec<_>>().into_iter().rev();
    let worth_it = fine.filter(|point| point.memory >= bytes / LEAST_PART);
    let exact = reuse.is_exact();
    let rows = worth_it.map(|point| {
        vec![
            Value::Int(whole(point.memory)),
            Value::Float(point.memory / bytes.max(1.0)),
            Value::Float(point.hit_ratio),
            Value::Float(point.at_most),
            if exact { Value::Null } else { Value::Float(point.error) },
        ]
    });
    let columns = vec![
        Column::new("bytes", "memory", Unit::Bytes),
        Column::new("of_working_set", "of working set", Unit::Ratio),
        Column::new("hit_ratio", "hit ratio", Unit::Ratio),
        Column::new("hit_ratio_at_most", "at most", Unit::Ratio),
        Column::new("error", "± by sampling keys", Unit::Ratio),
    ];
    let table = Table { columns, rows: rows.collect() };
    let title = "hit ratio of an ideal LRU cache by its memory";
    let curve_section = Section::bars("memory.curve", title, table, "hit_ratio")
        .or_else("no reads of keys that were there before")
        .note(OF_WHAT)
        .note(NOT_MEMCACHED);
    [of_all(reuse, &curve, hits, misses), curve_section]
}

/// What the curve is of.
const OF_WHAT: &str = "Of a cache that keeps the bytes that were used last, whatever their size: each \
    miss would have been filled at once, and what expires stays. Keys that hit before they were stored \
    were there before the recording, nobody knows how far down: the hit ratio has them as hits only \
    with memory for everything, `at most` as soon as that can be.";
/// What a memcached does otherwise, as far as it was measured.
const NOT_MEMCACHED: &str = "A memcached of that size may hit more or less: it has an LRU for each slab \
    class, whose pages move slowly. Measured beside this curve (memcached 1.6, up to 1.6.45): values of \
    50 B to 20 KB in 24 classes, 72 % instead of 55 % in 32 MB, 79 instead of 69 in 64 MB, 87 instead of \
    86 in 128 MB; where larger values become popular, 2 points less; in 16 MB for two kinds of values, \
    58 % instead of none, and none instead of 34 %.";

fn of_all(reuse: &Reuse, curve: &[Point], hits: i64, misses: i64) -> Section {
    let (bytes, keys) = reuse.working_set();
    let with = |part: f64, which: fn(&Point) -> f64| {
        let fits = curve.iter().rev().find(|point| point.memory <= bytes * part);
        Value::from(curve.first().map(|_| fits.map_or(0.0, which)))
    };
    let least = |part| with(part, |point| point.hit_ratio);
    let most = |part| with(part, |point| point.at_most);
    // Nothing is pushed out.
    let all = curve.last().map(|point| point.at_most);
    let rows = vec![
        ("keys in use at a time, at most", Value::Int(whole(keys)), "count"),
        ("memory that they take", Value::Int(whole(bytes)), "bytes"),
        ("hit ratio that was recorded", ratio(hits, hits + misses).into(), "ratio"),
        ("with all that memory it would be", all.into(), "ratio"),
        ("with half of it", least(0.5), "ratio"),
        ("with a quarter", least(0.25), "ratio"),
        ("with a tenth", least(0.1), "ratio"),
        ("reads of keys that were not there before", Value::Float(reuse.cold()), "ratio"),
        ("first reads of keys that were there", Value::Float(reuse.there_before()), "ratio"),
        ("with half of it, at most", most(0.5), "ratio"),
        ("with a quarter, at most", most(0.25), "ratio"),
        ("with a tenth, at most", most(0.1), "ratio"),
    ];
    let section = figures("memory.figures", "memory", rows);
    if reuse.is_exact() {
        return section;
    }
    section.note("From a sample of the keys (SHARDS), for there are many.")
}

fn whole(number: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "of bytes and keys")]
    let whole = number.round() as i64;
    whole
}
