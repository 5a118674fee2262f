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
    keys::hash::{Hashes, Hashing, KeyHash, Map},
    reuse::{PARTS, Reuse, Use},
    scan::Rows,
    table::{Column, Section, Table, Unit, Value},
};

/// What an item takes beside key and value: its header, with the CAS number.
const ITEM_HEADER: i64 = 56;
/// Sizes of values that are remembered before those that no longer matter are let go.
const SIZES_MAX: usize = 1 << 18;

/// Nobody asks what a cache of less than this part of the working set would hit.
const LEAST_PART: f64 = 256.0;

/// A use of a key.
#[derive(Clone, Copy)]
struct Event {
    key: KeyHash,
    what: Use,
    key_len: i64,
    size: Size,
}

/// What a use says of the size of a value.
#[derive(Clone, Copy)]
enum Size {
    Is(i64),
    Grows(i64),
    Same,
}

/// The hit ratio by memory, and what the keys take.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn memory(capture: &Capture) -> Result<[Section; 2]> {
    const COLUMNS: [&str; 5] =
        [columns::TS, columns::KEY, columns::KEY_LEN, columns::STATUS, columns::VALUE_SIZE];
    let (whole, one_in) = capture.of_whole_keys();
    let hashing = Hashing::default();
    let mut hashes = Hashes::default();
    let mut replay =
        Replay { reuse: Reuse::of_one_in(one_in), sizes: Map::default(), kept: SIZES_MAX };
    let (mut hits, mut misses) = (0, 0);
    let make = |rows: &Rows, events: &mut VecDeque<(i64, Event)>| {
        let seen = make(rows, &hashing, &mut hashes, events)?;
        (hits, misses) = (hits + seen.0, misses + seen.1);
        Ok(())
    };
    in_order(&whole, &COLUMNS, make, |_, event| replay.see(event))?;
    let [figures, curve] = sections(&replay.reuse, hits, misses);
    Ok([figures.note_of_sample(one_in), curve.scaled(one_in > 1, &["bytes", "hit_ratio"])])
}

/// Events for the rows that are uses of a key. Returns how many hit and missed.
fn make(
    rows: &Rows,
    hashing: &Hashing,
    hashes: &mut Hashes,
    events: &mut VecDeque<(i64, Event)>,
) -> Result<(i64, i64)> {
    let (keys, times) = (rows.strings(columns::KEY)?, rows.times()?);
    let (ops, status) = (rows.strings(columns::OP)?, rows.strings(columns::STATUS)?);
    let (sizes, lengths) = (rows.ints(columns::VALUE_SIZE)?, rows.ints(columns::KEY_LEN)?);
    let hashes = hashes.of(&keys, hashing);
    let is = |words: &'static [Op]| ops.each(move |op| Op::is_in(words, op));
    let (read, store, change) = (is(&Op::READS), is(&Op::STORES), is(&Op::CHANGES));
    let (grow, delete) = (is(&[Op::Append, Op::Prepend]), is(&[Op::Delete]));
    let touch = is(&[Op::Touch]);
    let has = |words: &'static [Status]| {
        status.each(move |word| words.iter().any(|status| status.as_str() == word))
    };
    let (hit, miss) = (has(&[Status::Hit]), has(&[Status::Miss]));
    // What is not known to have failed.
    let done = has(&[
        Status::Stored,
        Status::Deleted,
        Status::Touched,
        Status::Ok,
        Status::NoReply,
        Status::Unknown,
    ]);
    let (mut hits, mut misses) = (0, 0);
    for (row, key) in keys.ids().enumerate() {
        let Some(key) = key.filter(|_| rows.is_wanted(row)) else { continue };
        let size = sizes.get(row).map_or(Size::Same, Size::Is);
        let (what, size) = if read.of(row) {
            hits += i64::from(hit.of(row));
            misses += i64::from(miss.of(row));
            (Use::Read, size)
        } else if !done.of(row) {
            continue;
        } else if delete.of(row) {
            (Use::Delete, Size::Same)
        } else if grow.of(row) {
            (Use::Store, sizes.get(row).map_or(Size::Same, Size::Grows))
        } else if store.of(row) {
            (Use::Store, size)
        } else if change.of(row) || touch.of(row) {
            (Use::Store, Size::Same)
        } else {
            continue;
        };
        let key_len = lengths.get(row).unwrap_or(0);
        events.push_back((times[row], Event { key: hashes[key], what, key_len, size }));
    }
    Ok((hits, misses))
}

/// A cache that is told of each use.
struct Replay {
    reuse: Reuse,
    /// The last known size of values of keys that matter.
    sizes: Map<i64>,
    kept: usize,
}

impl Replay {
    fn see(&mut self, event: Event) {
        if event.what == Use::Read {
            self.reuse.read();
        }
        if !self.reuse.wants(event.key) {
            return;
        }
        let size = self.sizes.entry(event.key).or_insert(0);
        match event.size {
            Size::Is(bytes) => *size = bytes,
            Size::Grows(bytes) => *size = size.saturating_add(bytes),
            Size::Same => {}
        }
        let bytes = event.key_len.saturating_add(*size).saturating_add(ITEM_HEADER);
        self.reuse.see(event.key, event.what, bytes);
        if self.sizes.len() > self.kept {
            let reuse = &self.reuse;
            self.sizes.retain(|key, _| reuse.wants(*key));
            self.kept = (2 * self.sizes.len()).max(SIZES_MAX);
        }
    }
}

fn sections(reuse: &Reuse, hits: i64, misses: i64) -> [Section; 2] {
    let curve = reuse.curve();
    let (bytes, keys) = reuse.working_set();
    // A quarter of a power of two is fine enough to read.
    let every = usize::try_from(PARTS / 4).unwrap_or(1);
    let fine = curve.iter().rev().step_by(every).collect::<Vec<_>>().into_iter().rev();
    let worth_it = fine.filter(|point| point.memory >= bytes / LEAST_PART);
    let rows = worth_it.map(|point| {
        vec![
            Value::Int(whole(point.memory)),
            Value::Float(point.memory / bytes.max(1.0)),
            Value::Float(point.hit_ratio),
            Value::Float(point.error),
        ]
    });
    let columns = vec![
        Column::new("bytes", "memory", Unit::Bytes),
        Column::new("of_working_set", "of working set", Unit::Ratio),
        Column::new("hit_ratio", "hit ratio", Unit::Ratio),
        Column::new("error", "± standard error", Unit::Ratio),
    ];
    let table = Table { columns, rows: rows.collect() };
    let curve_section = Section::bars(
        "memory.curve",
        "hit ratio of an LRU cache by its memory",
        table,
        "hit_ratio",
    )
    .or_else("no reads of keys that were there before")
    .note(
        "Each miss would have been filled at once; expiry, flush_all and slabs are left \
                 out, and what was in the cache before the recording is not known.",
    );
    let with = |part: f64| {
        let fits = curve.iter().rev().find(|point| point.memory <= bytes * part);
        fits.map(|point| point.hit_ratio)
    };
    let rows = vec![
        ("keys in use at a time, at most", Value::Int(whole(keys)), "count"),
        ("memory that they take", Value::Int(whole(bytes)), "bytes"),
        ("hit ratio that was recorded", ratio(hits, hits + misses).into(), "ratio"),
        ("with all that memory it would be", with(1.0).into(), "ratio"),
        ("with half of it", with(0.5).into(), "ratio"),
        ("with a quarter", with(0.25).into(), "ratio"),
        ("with a tenth", with(0.1).into(), "ratio"),
        ("reads of keys that were not there before", Value::Float(reuse.cold()), "ratio"),
    ];
    let mut section = figures("memory.figures", "memory", rows);
    if !reuse.is_exact() {
        section = section.note("From a sample of the keys (SHARDS), for there are many.");
    }
    [section, curve_section]
}

fn whole(number: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "of bytes and keys")]
    let whole = number.round() as i64;
    whole
}
