//! libCacheSim's oracleGeneral: requests that know when their object is asked for next.
//!
//! A record has 24 bytes, packed, little endian:
//!
//! ```text
//! u32 seconds │ u64 object │ u32 size, bytes │ i64 number of the next request for it
//! ```
//!
//! Requests are numbered from 1, as libCacheSim's own converter does it, and its
//! simulator, which compares that number with how many requests it has seen; the next
//! of the last request for an object is -1.
//!
//! A request is a read: its object is what is asked for, and a cache that does not have it
//! is given it. Stores say how large objects are, and are requests only where they are asked
//! for by name.
//!
//! The next request lies in the future, so there are two passes: one through the
//! capture, that writes what is known by then, and one backwards through what was
//! written, some records at a time. Each remembers some bytes for each key.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
};

use anyhow::{Context, Result};
use mcrec_schema::{codes::Op, key, sample};

use super::{
    requests::{self, Passed, Request, Visitor},
    sink::Spool,
};
use crate::{capture::Capture, item::Effect};

/// The number of the first request.
const FIRST: u64 = 1;
/// Where an object has no size that is known.
const SIZE_UNKNOWN: u32 = 1;
const NONE: i64 = -1;

const RECORD: usize = 24;
/// Records that are looked at together.
const BLOCK: u64 = 1 << 14;

/// A request, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    seconds: u32,
    object: u64,
    /// In the first pass, of the key alone.
    size: u32,
    /// In the first pass, the size of the value, if it is known by then.
    next: i64,
}

/// Writes the reads that are asked for to `spool`, and the stores where those are asked for
/// by name.
///
/// # Errors
///
/// When they cannot be read or written.
pub(super) fn write(capture: &Capture, spool: &Spool) -> Result<Passed> {
    let mut out = BufWriter::with_capacity(1 << 17, spool.file());
    let mut forwards =
        Forwards { out: &mut out, spool, sizes: HashMap::new(), later: HashMap::new() };
    let of_key = |text: &str| {
        let bytes = key::unescape(text).unwrap_or_else(|| text.as_bytes().to_vec());
        (sample::hash(&bytes), i64::try_from(bytes.len()).unwrap_or(i64::MAX))
    };
    let asked = |op: &Op| capture.filter.ops.iter().any(|asked| asked == op.as_str());
    let ops: Vec<Op> = Op::READS.into_iter().chain(Op::STORES.into_iter().filter(asked)).collect();
    let passed = requests::each(capture, &ops, requests::start(capture), of_key, &mut forwards)?;
    let later = forwards.later;
    out.flush().with_context(|| spool.cannot_write())?;
    drop(out);
    let backwards = pass_backwards(spool.file(), passed.requests, &later);
    backwards.with_context(|| spool.cannot_write())?;
    Ok(passed)
}

/// Writes records with the size of the key, and in the place of the next request the size
/// of the value: the last that is known to have been there until then, by any operation of
/// the capture.
struct Forwards<'a, W> {
    out: W,
    spool: &'a Spool,
    sizes: HashMap<u64, u32>,
    /// Objects that were asked for before their size was known, and the first that was.
    later: HashMap<u64, Option<u32>>,
}

/// The hash of a key, and its length in bytes.
type Object = (u64, i64);

impl<W: Write> Visitor<Object> for Forwards<'_, W> {
    fn request(&mut self, request: &Request, &(object, length): &Object) -> Result<()> {
        let value = self.sizes.get(&object).copied();
        if value.is_none() {
            self.later.entry(object).or_insert(None);
        }
        let record = Record {
            seconds: clamped(request.seconds),
            object,
            size: clamped(request.key_len.unwrap_or(length)),
            next: value.map_or(NONE, i64::from),
        };
        self.out.write_all(&record.to_bytes()).with_context(|| self.spool.cannot_write())
    }

    fn learn(&mut self, effect: Effect, &(object, _): &Object) {
        let size = match effect {
            Effect::Is(bytes) => clamped(bytes),
            Effect::Kept(more) if more > 0 => match self.sizes.get(&object) {
                Some(size) => size.saturating_add(clamped(more)),
                None => return,
            },
            // What is gone is of the size that it had.
            Effect::Kept(_) | Effect::Nothing | Effect::Lost => return,
        };
        self.sizes.insert(object, size);
        if let Some(later @ None) = self.later.get_mut(&object) {
            *later = Some(size);
        }
    }
}

/// Gives each of the records its size and its next request.
fn pass_backwards(file: &File, records: u64, later: &HashMap<u64, Option<u32>>) -> Result<()> {
    let mut next: HashMap<u64, u64> = HashMap::new();
    let mut block = vec![0; usize::try_from(BLOCK)? * RECORD];
    let mut end = records;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let bytes = &mut block[..usize::try_from(end - start)? * RECORD];
        let place = start * RECORD as u64;
        file.read_exact_at(bytes, place)?;
        let (all, _) = bytes.as_chunks_mut::<RECORD>();
        for (number, bytes) in (start + FIRST..end + FIRST).rev().zip(all.iter_mut().rev()) {
            let mut record = Record::of_bytes(bytes);
            // What was not known before may be known after.
            let after = || later.get(&record.object).copied().flatten();
            let value = u32::try_from(record.next).ok().or_else(after).unwrap_or(SIZE_UNKNOWN);
            record.size = record.size.saturating_add(value).max(1);
            let following = next.insert(record.object, number);
            record.next = following.map_or(NONE, u64::cast_signed);
            *bytes = record.to_bytes();
        }
        file.write_all_at(bytes, place)?;
        end = start;
    }
    Ok(())
}

impl Record {
    fn to_bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..4].copy_from_slice(&self.seconds.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.object.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.size.to_le_bytes());
        bytes[16..].copy_from_slice(&self.next.to_le_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8; RECORD]) -> Self {
        fn part<const N: usize>(bytes: &[u8; RECORD], from: usize) -> [u8; N] {
            *bytes[from..].first_chunk().expect("a record is longer")
        }
        Self {
            seconds: u32::from_le_bytes(part(bytes, 0)),
            object: u64::from_le_bytes(part(bytes, 4)),
            size: u32::from_le_bytes(part(bytes, 12)),
            next: i64::from_le_bytes(part(bytes, 16)),
        }
    }
}

fn clamped(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}
