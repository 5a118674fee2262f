//! What is this capture, and what can be trusted in it?

use anyhow::Result;
use mcrec_schema::{
    codes::{Op, Status},
    columns,
    footer::{Footer, Incomplete, Losses},
};

use super::{kbps, per_second, ratio};
use crate::{
    capture::Capture,
    scan::{Rows, scan},
};

/// The capture at a glance.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// What each file says of itself.
    pub(crate) footers: Vec<Footer>,
    /// Start of the recording, µs since the epoch, UTC.
    pub(crate) start: i64,
    /// End of the recording, µs since the epoch, UTC.
    pub(crate) end: i64,
    /// How long was recorded, seconds.
    pub(crate) seconds: f64,
    pub(crate) operations: i64,
    /// Operations a second.
    pub(crate) rate: Option<f64>,
    pub(crate) hits: i64,
    pub(crate) misses: i64,
    pub(crate) hit_ratio: Option<f64>,
    pub(crate) distinct_keys: i64,
    /// Bytes of value that hits returned.
    pub(crate) bytes_returned: i64,
    /// Bytes of value that stores sent.
    pub(crate) bytes_stored: i64,
    /// Kilobits of value a second, both ways.
    pub(crate) bandwidth_kbps: Option<f64>,
    /// Operations that were seen.
    pub(crate) seen: u64,
    /// Operations that were lost, by reason.
    pub(crate) losses: Losses,
    /// What is there but incomplete.
    pub(crate) incomplete: Incomplete,
    /// Requests of commands that the source cannot see.
    pub(crate) requests_without_operation: u64,
    /// Files whose recording did not end, or has not yet.
    pub(crate) unended: usize,
}

impl Summary {
    /// Whether there is something that a reader of any answer must know.
    pub(crate) fn is_complete(&self) -> bool {
        self.losses.total() == 0 && self.incomplete.total() == 0 && self.unended == 0
    }
}

/// Summarises the capture, of which `distinct_keys` were counted.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) fn summary(capture: &Capture, distinct_keys: i64) -> Result<Summary> {
    const COLUMNS: [&str; 2] = [columns::STATUS, columns::VALUE_SIZE];
    let threads = scan(capture, &COLUMNS, Totals::default, Totals::add)?;
    let totals = threads.into_iter().fold(Totals::default(), Totals::plus);
    let Totals { operations, hits, misses, bytes, stored } = totals;
    let seconds = capture.seconds();
    let footers = &capture.footers;
    Ok(Summary {
        start: footers.iter().map(|footer| footer.capture.start_us).min().unwrap_or(0),
        end: footers.iter().map(|footer| footer.capture.end_us).max().unwrap_or(0),
        seconds,
        operations,
        rate: per_second(operations, seconds),
        hits,
        misses,
        hit_ratio: ratio(hits, hits + misses),
        distinct_keys,
        bytes_returned: bytes - stored,
        bytes_stored: stored,
        bandwidth_kbps: kbps(bytes, seconds),
        seen: footers.iter().map(|footer| footer.loss.seen).fold(0, u64::saturating_add),
        losses: footers.iter().fold(Losses::default(), |sum, footer| sum + footer.loss.losses),
        incomplete: footers
            .iter()
            .fold(Incomplete::default(), |sum, footer| sum + footer.loss.incomplete),
        requests_without_operation: footers
            .iter()
            .map(|footer| footer.source.requests_without_operation)
            .fold(0, u64::saturating_add),
        unended: footers.iter().filter(|footer| footer.capture.ended.is_none()).count(),
        footers: footers.clone(),
    })
}

/// Sums over all operations.
#[derive(Clone, Copy, Default)]
struct Totals {
    operations: i64,
    hits: i64,
    misses: i64,
    /// Bytes of value, returned and stored.
    bytes: i64,
    /// Those that stores sent.
    stored: i64,
}

impl Totals {
    fn add(&mut self, rows: &Rows) -> Result<()> {
        const STORES: [Op; 6] = [Op::Set, Op::Add, Op::Replace, Op::Append, Op::Prepend, Op::Cas];
        let (ops, status) = (rows.strings(columns::OP)?, rows.strings(columns::STATUS)?);
        let sizes = rows.ints(columns::VALUE_SIZE)?;
        let is_store = |op: Option<&str>| STORES.iter().any(|store| op == Some(store.as_str()));
        let is_store: Vec<bool> = ops.values.iter().map(is_store).collect();
        let (hit, miss) = (status.find(Status::Hit.as_str()), status.find(Status::Miss.as_str()));
        for (row, (op, status)) in ops.ids().zip(status.ids()).enumerate() {
            if !rows.is_operation(row) {
                continue;
            }
            self.operations += 1;
            self.hits += i64::from(status.is_some() && status == hit);
            self.misses += i64::from(status.is_some() && status == miss);
            let size = sizes.get(row).unwrap_or(0);
            self.bytes = self.bytes.saturating_add(size);
            if op.is_some_and(|op| is_store[op]) {
                self.stored = self.stored.saturating_add(size);
            }
        }
        Ok(())
    }

    fn plus(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
            bytes: self.bytes.saturating_add(other.bytes),
            stored: self.stored.saturating_add(other.stored),
        }
    }
}
