//! The operations of a capture as requests of a trace.

use std::collections::BTreeMap;

use anyhow::Result;
use mcrec_schema::{codes::Op, columns};

use crate::{
    capture::Capture,
    item::{Effect, Effects},
    scan::{OfDictionary, Reader, groups},
};

/// An operation on a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Since the origin.
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

/// When the recording began, or what is asked for of it: µs since the epoch.
pub(super) fn start(capture: &Capture) -> i64 {
    capture.extent().unwrap_or_default().0
}

/// Who sees what.
pub(super) trait Visitor<T> {
    /// A request that is asked for.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    fn request(&mut self, request: &Request, key: &T) -> Result<()>;

    /// What any operation did to an item, whether it is asked for or not, before it is a
    /// request.
    fn learn(&mut self, _effect: Effect, _key: &T) {}
}

/// Lets `visitor` see the operations that are asked for and are of `ops`, in order, with
/// what `of_key` makes of the key. Their seconds count from `origin`, µs since the epoch.
///
/// # Errors
///
/// When they cannot be read, or that of `visitor`.
pub(super) fn each<T>(
    capture: &Capture,
    ops: &[Op],
    origin: i64,
    of_key: impl Fn(&str) -> T,
    visitor: &mut impl Visitor<T>,
) -> Result<Passed> {
    use columns::{CONN_ID, KEY, KEY_LEN, STATUS, TS, TTL, VALUE_SIZE};
    let columns = [TS, KEY, KEY_LEN, STATUS, VALUE_SIZE, TTL, CONN_ID];
    let mut reader = Reader::new(capture, None, &columns);
    let mut made = OfDictionary::default();
    let (mut passed, mut latest) = (Passed::default(), 0);
    for place in groups(capture) {
        reader.read(place, |rows| {
            let keys = rows.strings(KEY)?;
            if !made.is_of(&keys) {
                made.begin(&keys, keys.values.iter().map(|key| of_key(key.unwrap_or_default())));
            }
            let times = rows.times()?;
            let (key_lens, value_sizes) = (rows.ints(KEY_LEN)?, rows.ints(VALUE_SIZE)?);
            let (ttls, conn_ids) = (rows.ints(TTL)?, rows.ints(CONN_ID)?);
            let effects = Effects::of(rows)?;
            for (row, key) in keys.ids().enumerate() {
                if let Some(key) = key {
                    visitor.learn(effects.of_row(row), &made.made[key]);
                }
                if !rows.is_wanted(row) {
                    continue;
                }
                let (op, Some(key)) = (effects.op(row), key) else {
                    *passed.left_out.entry("without a key").or_default() += 1;
                    continue;
                };
                let Some(op) = op.filter(|op| ops.contains(op)) else {
                    let name = op.map_or("of no known kind", Op::as_str);
                    *passed.left_out.entry(name).or_default() += 1;
                    continue;
                };
                let seconds = times[row].saturating_sub(origin).max(0) / 1_000_000;
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
                visitor.request(&request, &made.made[key])?;
            }
            Ok(true)
        })?;
    }
    Ok(passed)
}
