//! What is this capture, and what can be trusted in it?

use anyhow::Result;
use mcrec_capture::State;
use mcrec_schema::{
    codes::{Op, Status},
    columns,
    footer::{Footer, Incomplete, Losses},
};
use polars::prelude::{Expr, LazyFrame, col, lit};

use super::{count_of, int, kbps, per_second, ratio, rows};
use crate::{
    capture::{Capture, WEIGHT, collect},
    sampling::Sampling,
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
    /// If the capture is a sample: then hits, misses, keys and bytes are scaled, and so
    /// estimates; the number of operations is counted.
    pub(crate) sampling: Option<Sampling>,
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
    let sampling = &capture.sampling;
    let totals = match sampling {
        None => [
            rows().alias("operations"),
            rows().alias("rows"),
            count_of(Status::Hit).alias("hits"),
            count_of(Status::Miss).alias("misses"),
            col(columns::VALUE_SIZE).sum().alias("bytes"),
            col(columns::VALUE_SIZE).filter(is_store).sum().alias("stored"),
        ],
        Some(_) => scaled(is_store),
    };
    let totals = collect(capture.operations().select(totals))?;
    let total = |name: &str| Ok::<_, anyhow::Error>(int(&totals, name)?.unwrap_or(0));
    let operations = match sampling {
        // Counted, where that is known.
        Some(Sampling { sampled_out: Some(left_out), .. }) => {
            total("rows")? + left_out.cast_signed()
        }
        _ => total("operations")?,
    };
    let (hits, misses) = (total("hits")?, total("misses")?);
    let distinct_keys = match sampling {
        None => distinct_keys,
        Some(sampling) if sampling.changes() => {
            int(&collect(keys(capture.operations()))?, "keys")?.unwrap_or(0)
        }
        Some(sampling) => distinct_keys.saturating_mul(sampling.densest.into()),
    };
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
        unended: capture
            .files
            .iter()
            .filter(|file| file.state() != State::Whole || file.footer().capture.ended.is_none())
            .count(),
        sampling: sampling.clone(),
        footers: footers.clone(),
    })
}

/// The totals of a sample: what each row stands for.
fn scaled(is_store: Expr) -> [Expr; 6] {
    let with = |status: Status| col(WEIGHT).filter(col(columns::STATUS).eq(lit(status.as_str())));
    let bytes = || col(columns::VALUE_SIZE) * col(WEIGHT);
    [
        col(WEIGHT).sum().alias("operations"),
        rows().alias("rows"),
        with(Status::Hit).sum().alias("hits"),
        with(Status::Miss).sum().alias("misses"),
        bytes().sum().alias("bytes"),
        bytes().filter(is_store).sum().alias("stored"),
    ]
}

/// How many keys there are, by a sample: each stands for as many as at the densest
/// rate at which it was seen.
fn keys(operations: LazyFrame) -> LazyFrame {
    operations
        .filter(col(columns::KEY).is_not_null())
        .group_by([col(columns::KEY)])
        .agg([col(WEIGHT).min()])
        .select([col(WEIGHT).sum().alias("keys")])
}
