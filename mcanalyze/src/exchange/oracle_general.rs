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
    requests::{self, Passed},
    sink::Spool,
};
use crate::capture::Capture;

/// The number of the first request.
const FIRST: u64 = 1;
/// Where an object has no size that is known.
const SIZE_UNKNOWN: u32 = 1;
const NONE: i64 = -1;

const RECORD: usize = 24;
/// Records that are looked at together.
const BLOCK: u64 = 1 << 14;

/// Operations that are requests for an object: those that read or store it.
const OPS: [Op; 10] = {
    let [get, gets, gat, gats] = Op::READS;
    let [set, add, replace, append, prepend, cas] = Op::STORES;
    [get, gets, gat, gats, set, add, replace, append, prepend, cas]
};

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

/// Writes the operations that are asked for to `spool`.
///
/// # Errors
///
/// When they cannot be read or written.
pub(super) fn write(capture: &Capture, spool: &Spool) -> Result<Passed> {
    let passed = pass_forwards(capture, spool)?;
    pass_backwards(spool.file(), passed.requests).with_context(|| spool.cannot_write())?;
    Ok(passed)
}

/// Writes records with the size of the key, and in the place of the next request the
/// size of the value: the last that was sent or returned until then.
fn pass_forwards(capture: &Capture, spool: &Spool) -> Result<Passed> {
    let mut out = BufWriter::with_capacity(1 << 17, spool.file());
    let mut sizes: HashMap<u64, u32> = HashMap::new();
    let of_key = |text: &str| {
        let bytes = key::unescape(text).unwrap_or_else(|| text.as_bytes().to_vec());
        (sample::hash(&bytes), i64::try_from(bytes.len()).unwrap_or(i64::MAX))
    };
    let passed = requests::each(capture, &OPS, of_key, |request, &(object, length)| {
        // What is appended is not all of the value.
        let is_part = matches!(request.op, Op::Append | Op::Prepend);
        let value = match request.value_size.filter(|_| !is_part) {
            Some(size) => {
                sizes.insert(object, clamped(size));
                Some(clamped(size))
            }
            None => sizes.get(&object).copied(),
        };
        let record = Record {
            seconds: clamped(request.seconds),
            object,
            size: clamped(request.key_len.unwrap_or(length)),
            next: value.map_or(NONE, i64::from),
        };
        out.write_all(&record.to_bytes()).with_context(|| spool.cannot_write())
    })?;
    out.flush().with_context(|| spool.cannot_write())?;
    Ok(passed)
}

/// A request for an object that was met on the way back.
struct Next {
    number: u64,
    /// The size of its value, if that is known at all.
    value: Option<u32>,
}

/// Gives each of the records its size and its next request.
fn pass_backwards(file: &File, records: u64) -> Result<()> {
    let mut next: HashMap<u64, Next> = HashMap::new();
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
            let after = next.get(&record.object);
            // What was not known before may be known after.
            let value = u32::try_from(record.next).ok().or(after.and_then(|next| next.value));
            record.size = record.size.saturating_add(value.unwrap_or(SIZE_UNKNOWN)).max(1);
            record.next = after.map_or(NONE, |next| next.number.cast_signed());
            next.insert(record.object, Next { number, value });
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
