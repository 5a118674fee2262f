//! What is this capture, and what can be trusted in it?

use anyhow::Result;
use mcrec_schema::{
    codes::{Op, Status},
    columns,
    footer::{Footer, Incomplete, Losses},
};
use polars::prelude::{Expr, col, lit};

use super::{count_of, int, kbps, per_second, ratio, rows};
use crate::capture::{Capture, collect};

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
    let stores = [Op::Set, Op::Add, Op::Replace, Op::Append, Op::Prepend, Op::Cas];
    let is_store = stores
        .into_iter()
        .map(|op| col(columns::OP).eq(lit(op.as_str())))
        .fold(lit(false), Expr::or);
    let totals = collect(capture.operations().select([
        rows().alias("operations"),
        count_of(Status::Hit).alias("hits"),
        count_of(Status::Miss).alias("misses"),
        col(columns::VALUE_SIZE).sum().alias("bytes"),
        col(columns::VALUE_SIZE).filter(is_store).sum().alias("stored"),
    ]))?;
    let total = |name: &str| Ok::<_, anyhow::Error>(int(&totals, name)?.unwrap_or(0));
    let (operations, hits, misses) = (total("operations")?, total("hits")?, total("misses")?);
    let (bytes, stored) = (total("bytes")?, total("stored")?);
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
        bytes_returned: bytes.saturating_sub(stored),
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
