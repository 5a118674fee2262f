//! The operations of a capture as requests of a trace.

use std::collections::BTreeMap;

use anyhow::Result;
use mcrec_schema::{codes::Op, columns};

use crate::{
    capture::Capture,
    scan::{OfDictionary, Reader, Rows, groups},
};

/// An operation on a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Since the start of the recording, or of what is asked for.
    pub(super) seconds: i64,
    pub(super) op: Op,
    /// Of the original key, bytes.
    pub(super) key_len: Option<i64>,
    pub(super) value_size: Option<i64>,
    pub(super) ttl: Option<i64>,
    pub(super) conn_id: i64,
}

/// How many there were.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    pub(super) requests: u64,
    /// Operations that are none, by name, and how many.
    pub(super) left_out: BTreeMap<&'static str, u64>,
    /// Requests that come after one of a later second.
    pub(super) late: u64,
}

/// Lets `visit` see the operations that are asked for and are of `ops`, in order, with
/// what `of_key` makes of the key.
///
/// # Errors
///
/// When they cannot be read, or that of `visit`.
pub(super) fn each<T>(
    capture: &Capture,
    ops: &[Op],
    of_key: impl Fn(&str) -> T,
    mut visit: impl FnMut(&Request, &T) -> Result<()>,
) -> Result<Passed> {
    use columns::{CONN_ID, KEY, KEY_LEN, TS, TTL, VALUE_SIZE};
    let (start, _) = capture.extent().unwrap_or_default();
    let mut reader = Reader::new(capture, None, &[TS, KEY, KEY_LEN, VALUE_SIZE, TTL, CONN_ID]);
    let mut made = OfDictionary::default();
    let (mut passed, mut latest) = (Passed::default(), 0);
    for place in groups(capture) {
        reader.read(place, |rows| {
            let (words, keys) = (words(rows)?, rows.strings(KEY)?);
            if !made.is_of(&keys) {
                made.begin(&keys, keys.values.iter().map(|key| of_key(key.unwrap_or_default())));
            }
            let times = rows.times()?;
            let (key_lens, value_sizes) = (rows.ints(KEY_LEN)?, rows.ints(VALUE_SIZE)?);
            let (ttls, conn_ids) = (rows.ints(TTL)?, rows.ints(CONN_ID)?);
            for (row, key) in keys.ids().enumerate().filter(|(row, _)| rows.is_wanted(*row)) {
                let (op, Some(key)) = (words[row], key) else {
                    *passed.left_out.entry("without a key").or_default() += 1;
                    continue;
                };
                let Some(op) = op.filter(|op| ops.contains(op)) else {
                    let name = op.map_or("of no known kind", Op::as_str);
                    *passed.left_out.entry(name).or_default() += 1;
                    continue;
                };
                let seconds = times[row].saturating_sub(start).max(0) / 1_000_000;
                passed.late += u64::from(seconds < latest);
                latest = latest.max(seconds);
                passed.requests += 1;
                let request = Request {
                    seconds,
                    op,
                    key_len: key_lens.get(row),
                    value_size: value_sizes.get(row),
                    ttl: ttls.get(row),
                    conn_id: conn_ids.get(row).unwrap_or(1),
                };
                visit(&request, &made.made[key])?;
            }
            Ok(true)
        })?;
    }
    Ok(passed)
}

/// The command of each row, if it is one.
fn words(rows: &Rows) -> Result<Vec<Option<Op>>> {
    let ops = rows.strings(columns::OP)?;
    let known = |word: &str| Op::ALL.iter().copied().find(|op| op.as_str() == word);
    let of: Vec<Option<Op>> = ops.values.iter().map(|word| word.and_then(known)).collect();
    Ok(ops.ids().map(|id| id.and_then(|id| of[id])).collect())
}
