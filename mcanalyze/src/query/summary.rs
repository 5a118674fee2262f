//! What is this capture?

use anyhow::Result;
use mcrec_schema::{
    codes::{Op, Status},
    columns,
};

use super::{
    course::Course,
    heading::{Heading, heading},
    kbps, per_second, ratio,
};
use crate::{
    capture::Capture,
    item::{Sent, Stores},
    keys::keys_by_weight,
    sampling::Sampling,
    scan::{Rows, scan},
};

/// The capture at a glance.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) heading: Heading,
    /// Operations that were asked for.
    pub(crate) operations: i64,
    /// Operations in all, as far as that is known.
    pub(crate) of_operations: i64,
    /// Operations a second.
    pub(crate) rate: Option<f64>,
    pub(crate) hits: i64,
    pub(crate) misses: i64,
    pub(crate) hit_ratio: Option<f64>,
    /// Where operations were lost, the least and the most that it can have been; `None`
    /// too where that is not known.
    pub(crate) hit_ratio_within: Option<[f64; 2]>,
    /// It is of what survived a loss of step, which is no fair sample.
    pub(crate) hit_ratio_biased: bool,
    pub(crate) distinct_keys: i64,
    /// Bytes of value that hits returned.
    pub(crate) bytes_returned: i64,
    /// Bytes of value that stores sent, but for those that were refused.
    pub(crate) bytes_stored: i64,
    /// Kilobits of value a second, both ways.
    pub(crate) bandwidth_kbps: Option<f64>,
    /// Operations over time, where people look.
    pub(crate) course: Option<Course>,
}

/// Sums over rows; in a sample each for as many operations as it stands for.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    /// Rows that were asked for, each for itself.
    rows: i64,
    /// Rows that are operations, each for itself.
    of_rows: i64,
    operations: i64,
    hits: i64,
    misses: i64,
    bytes: i64,
    stored: i64,
    returned: i64,
}

/// Summarises the capture, of which `distinct_keys` were counted.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) fn summary(capture: &Capture, distinct_keys: i64) -> Result<Summary> {
    let heading = heading(capture);
    let totals = totals(capture)?;
    let operations = totals.operations_of(capture);
    let distinct_keys = match heading.sampling.as_ref().filter(|_| heading.is_scaled) {
        None => distinct_keys,
        Some(sampling) if sampling.changes() => keys_by_weight(capture)?,
        Some(sampling) => distinct_keys.saturating_mul(sampling.densest.into()),
    };
    let seconds = heading.seconds;
    Ok(Summary {
        operations,
        of_operations: totals.all(capture),
        rate: per_second(operations, seconds),
        hits: totals.hits,
        misses: totals.misses,
        hit_ratio: ratio(totals.hits, totals.hits + totals.misses),
        hit_ratio_within: hit_ratio_within(&totals, &heading),
        hit_ratio_biased: heading.losses.are_of_a_loss_of_step(),
        distinct_keys,
        bytes_returned: totals.returned,
        bytes_stored: totals.stored,
        bandwidth_kbps: kbps(totals.bytes, seconds),
        course: None,
        heading,
    })
}

/// The hit ratio if all that was lost were misses, and if it were hits.
fn hit_ratio_within(totals: &Totals, heading: &Heading) -> Option<[f64; 2]> {
    let lost = i64::try_from(heading.lost_at_most()?).ok()?;
    if lost == 0 || heading.sampling.is_some() {
        return None;
    }
    let gets = totals.hits.saturating_add(totals.misses).saturating_add(lost);
    Some([ratio(totals.hits, gets)?, ratio(totals.hits.saturating_add(lost), gets)?])
}

/// How many operations were asked for.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn operations(capture: &Capture) -> Result<i64> {
    Ok(totals(capture)?.operations_of(capture))
}

impl Totals {
    /// Operations that were recorded, and those that were left out of a sample.
    fn all(&self, capture: &Capture) -> i64 {
        let left_out = capture.sampling.as_ref().and_then(|sampling| sampling.sampled_out);
        self.of_rows.saturating_add(left_out.unwrap_or(0).cast_signed())
    }

    /// All operations asked for: counted, where that is known.
    fn operations_of(&self, capture: &Capture) -> i64 {
        match &capture.sampling {
            Some(Sampling { sampled_out: Some(left_out), .. })
                if capture.filter.describe().is_none() =>
            {
                self.rows + left_out.cast_signed()
            }
            _ => self.operations,
        }
    }
}

fn totals(capture: &Capture) -> Result<Totals> {
    const COLUMNS: [&str; 2] = [columns::STATUS, columns::VALUE_SIZE];
    let threads = scan(capture, &COLUMNS, Totals::default, add)?;
    Ok(threads.into_iter().fold(Totals::default(), |sum, thread| Totals {
        rows: sum.rows + thread.rows,
        of_rows: sum.of_rows + thread.of_rows,
        operations: sum.operations.saturating_add(thread.operations),
        hits: sum.hits.saturating_add(thread.hits),
        misses: sum.misses.saturating_add(thread.misses),
        bytes: sum.bytes.saturating_add(thread.bytes),
        stored: sum.stored.saturating_add(thread.stored),
        returned: sum.returned.saturating_add(thread.returned),
    }))
}

fn add(totals: &mut Totals, rows: &Rows) -> Result<()> {
    let (ops, status) = (rows.strings(columns::OP)?, rows.strings(columns::STATUS)?);
    let sizes = rows.ints(columns::VALUE_SIZE)?;
    let (hit, miss) = (status.number(Status::Hit.as_str()), status.number(Status::Miss.as_str()));
    let stores = Stores::of(rows)?;
    let is_connection = ops.each(|op| Op::is_in(&Op::CONNECTIONS, op));
    let statuses = status.array.keys().values();
    for row in 0..rows.len() {
        totals.of_rows += i64::from(!is_connection.of(row));
        if !rows.is_wanted(row) {
            continue;
        }
        let weight = rows.weight(row);
        totals.rows += 1;
        totals.operations = totals.operations.saturating_add(weight);
        totals.hits += if Some(statuses[row]) == hit { weight } else { 0 };
        totals.misses += if Some(statuses[row]) == miss { weight } else { 0 };
        let bytes = sizes.get(row).unwrap_or(0).saturating_mul(weight);
        totals.bytes = totals.bytes.saturating_add(bytes);
        let to = match stores.of_row(row) {
            Sent::Nothing => &mut totals.returned,
            Sent::Refused => continue,
            Sent::Part | Sent::Value => &mut totals.stored,
        };
        *to = to.saturating_add(bytes);
    }
    Ok(())
}
