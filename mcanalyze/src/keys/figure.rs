//! The one figure of each key that decides which are the top keys.

use anyhow::Result;
use mcrec_schema::{
    codes::{Op, Status},
    columns,
};

use crate::{
    item::{Effects, Told},
    scan::{Each, Rows, Strings},
};

/// A figure that is made of the rows of a key, in any order.
pub(super) trait Figure: Copy + Default + Send + Sync {
    /// The columns it is made of.
    const COLUMNS: &[&str];

    /// Adds rows to the figures of their keys, by the numbers of those.
    fn add(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<Self>]) -> Result<()>;

    /// Takes in other rows of the same key.
    fn merge(&mut self, other: Self);

    /// What keys are sorted by; `None` where it is not known.
    fn value(self) -> Option<i64>;
}

/// The figure of a key, and whether it has any rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen<F> {
    pub(super) seen: bool,
    pub(super) figure: F,
}

/// Lets `each` see the row, and what has been seen of its key, of each operation on one.
fn each<F>(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<F>], each: impl Fn(usize, &mut F)) {
    for (row, key) in keys.ids().enumerate() {
        if let Some(key) = key
            && rows.is_wanted(row)
        {
            to[key].seen = true;
            each(row, &mut to[key].figure);
        }
    }
}

/// None: to count the keys.
impl Figure for () {
    const COLUMNS: &[&str] = &[];

    fn add(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<Self>]) -> Result<()> {
        each(rows, keys, to, |_, ()| {});
        Ok(())
    }

    fn merge(&mut self, (): Self) {}

    fn value(self) -> Option<i64> {
        None
    }
}

/// How many keys a key of a sample stands for: as many as where most were recorded.
#[derive(Clone, Copy)]
pub(super) struct Weight(pub(super) i64);

impl Default for Weight {
    fn default() -> Self {
        Self(i64::MAX)
    }
}

impl Figure for Weight {
    const COLUMNS: &[&str] = &[];

    fn add(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<Self>]) -> Result<()> {
        each(rows, keys, to, |row, weight| weight.0 = weight.0.min(rows.weight(row)));
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.0 = self.0.min(other.0);
    }

    fn value(self) -> Option<i64> {
        Some(self.0)
    }
}

/// Number of operations.
#[derive(Clone, Copy, Default)]
pub(super) struct Calls(i64);

impl Figure for Calls {
    const COLUMNS: &[&str] = &[];

    fn add(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<Self>]) -> Result<()> {
        each(rows, keys, to, |row, calls| calls.0 += rows.weight_in_group(row));
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.0 += other.0;
    }

    fn value(self) -> Option<i64> {
        Some(self.0)
    }
}

/// Number of misses.
#[derive(Clone, Copy, Default)]
pub(super) struct Misses(i64);

impl Figure for Misses {
    const COLUMNS: &[&str] = &[columns::STATUS];

    fn add(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<Self>]) -> Result<()> {
        let status = rows.strings(columns::STATUS)?;
        let miss = status.number(Status::Miss.as_str());
        let status = status.array.keys().values();
        each(rows, keys, to, |row, misses| {
            misses.0 += i64::from(Some(status[row]) == miss) * rows.weight_in_group(row);
        });
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.0 += other.0;
    }

    fn value(self) -> Option<i64> {
        Some(self.0)
    }
}

/// Number of operations that write.
#[derive(Clone, Copy, Default)]
pub(super) struct Writes(i64);

impl Figure for Writes {
    const COLUMNS: &[&str] = &[];

    fn add(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<Self>]) -> Result<()> {
        let is_write = writes(rows)?;
        each(rows, keys, to, |row, writes| {
            writes.0 += i64::from(is_write.of(row)) * rows.weight_in_group(row);
        });
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.0 += other.0;
    }

    fn value(self) -> Option<i64> {
        Some(self.0)
    }
}

/// Which of `rows` write: stores, and what else changes a key.
pub(super) fn writes(rows: &Rows) -> Result<Each<'_>> {
    let writes = |op: &str| Op::is_in(&Op::STORES, op) || Op::is_in(&Op::CHANGES, op);
    Ok(rows.strings(columns::OP)?.each(writes))
}

/// Bytes of value, stored and returned.
#[derive(Clone, Copy, Default)]
pub(super) struct Bytes(i64);

impl Figure for Bytes {
    const COLUMNS: &[&str] = &[columns::VALUE_SIZE];

    fn add(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<Self>]) -> Result<()> {
        let sizes = rows.ints(columns::VALUE_SIZE)?;
        each(rows, keys, to, |row, bytes| {
            let of_row = sizes.get(row).unwrap_or(0).saturating_mul(rows.weight_in_group(row));
            bytes.0 = bytes.0.saturating_add(of_row);
        });
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    fn value(self) -> Option<i64> {
        Some(self.0)
    }
}

/// Bytes of the value that is there: of a key that grew since it was said, it takes
/// [another look](super::size). Of a group of keys, those of the last value that was seen.
#[derive(Clone, Copy, Default)]
pub(super) struct Size(pub(super) Told);

impl Figure for Size {
    const COLUMNS: &[&str] = &Effects::COLUMNS;

    fn add(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<Self>]) -> Result<()> {
        let (effects, by_key) = (Effects::of(rows)?, rows.are_by_key());
        each(rows, keys, to, |row, size| {
            let effect = effects.of_row(row);
            if by_key || effect.size().is_some() {
                size.0.see(rows.first + row as u64, effect);
            }
        });
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    fn value(self) -> Option<i64> {
        self.0.size()
    }
}

/// When last seen, µs since the epoch.
#[derive(Clone, Copy)]
pub(super) struct Last(i64);

impl Default for Last {
    fn default() -> Self {
        Self(i64::MIN)
    }
}

impl Figure for Last {
    const COLUMNS: &[&str] = &[columns::TS];

    fn add(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<Self>]) -> Result<()> {
        let times = rows.times()?;
        each(rows, keys, to, |row, last| last.0 = last.0.max(times[row]));
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.0 = self.0.max(other.0);
    }

    fn value(self) -> Option<i64> {
        Some(self.0)
    }
}

/// The 99th percentile of the latency. With less than 100 latencies that is the
/// largest; with more it takes [another look](super::slow).
#[derive(Clone, Copy)]
pub(super) struct Slow {
    /// Number of operations whose latency is known.
    pub(super) timed: u64,
    /// The largest, then the percentile.
    pub(super) latency: i64,
}

impl Default for Slow {
    fn default() -> Self {
        Self { timed: 0, latency: i64::MIN }
    }
}

impl Figure for Slow {
    const COLUMNS: &[&str] = &[columns::LATENCY_NS];

    fn add(rows: &Rows, keys: &Strings<'_>, to: &mut [Seen<Self>]) -> Result<()> {
        let latencies = rows.latencies()?;
        each(rows, keys, to, |row, slow| {
            if let Some(latency) = latencies.get(row) {
                slow.merge(Self { timed: 1, latency });
            }
        });
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.timed += other.timed;
        self.latency = self.latency.max(other.latency);
    }

    fn value(self) -> Option<i64> {
        (self.timed > 0).then_some(self.latency)
    }
}
