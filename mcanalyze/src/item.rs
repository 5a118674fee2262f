//! What operations tell of the item under their key: what is there, and not what was sent.
//! Pure, but for the rows.
//!
//! A hit and a store that was not refused say how large the value is; `append` and
//! `prepend` make it larger by what they send; `incr` and `decr` may make it longer, by how
//! much they do not say; after a delete, a miss or a `flush_all` there is nothing. Of what
//! was not answered (`noreply`, or a source that does not see it), a `set` is taken for
//! stored, as it nearly always is; of other stores it is not known what they left.

use std::ops::Range;

use anyhow::Result;
use mcrec_schema::{
    codes::{Op, Status},
    columns,
};

use crate::{
    capture::Capture,
    scan::{Each, Ints, Rows, Strings},
};

/// What an operation, or several one after another, did to the size of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It says nothing.
    Nothing,
    /// The item was there, and is larger by so many bytes.
    Kept(i64),
    /// The value has so many bytes.
    Is(i64),
    /// There is no item any more, or nobody knows how large it is.
    Lost,
}

impl Effect {
    /// What both did together.
    pub(crate) fn then(self, later: Self) -> Self {
        match (self, later) {
            (before, Self::Nothing) => before,
            (Self::Nothing, later) => later,
            (Self::Kept(one), Self::Kept(other)) => Self::Kept(one.saturating_add(other)),
            (Self::Is(bytes), Self::Kept(more)) => Self::Is(bytes.saturating_add(more)),
            (Self::Lost, Self::Kept(_)) => Self::Lost,
            (_, Self::Is(_) | Self::Lost) => later,
        }
    }

    /// The size of the value, if it is known.
    pub(crate) fn size(self) -> Option<i64> {
        match self {
            Self::Is(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Of an operation that had this outcome, and sent or was sent so many bytes.
    fn of(op: Op, status: Status, size: Option<i64>) -> Self {
        let is = size.map_or(Self::Lost, Self::Is);
        match (op, status) {
            (Op::Get | Op::Gets | Op::Gat | Op::Gats, Status::Hit) => {
                size.map_or(Self::Kept(0), Self::Is)
            }
            // Of traces, which have the size of what was there, and not whether it was.
            (Op::Get | Op::Gets | Op::Gat | Op::Gats, Status::Unknown) => {
                size.map_or(Self::Nothing, Self::Is)
            }
            (Op::Set, Status::Stored | Status::NoReply | Status::Unknown)
            | (Op::Add | Op::Replace | Op::Cas, Status::Stored) => is,
            (Op::Append | Op::Prepend, Status::Stored) => size.map_or(Self::Lost, Self::Kept),
            (Op::Add, Status::NotStored | Status::Exists)
            | (Op::Cas | Op::Delete, Status::Exists)
            | (Op::Touch, Status::Touched) => Self::Kept(0),
            // It was malformed, and did nothing.
            (_, Status::Error | Status::ClientError) => Self::Nothing,
            // What could not be done may have been done in part: a `set` that is too large
            // removes what was there.
            (
                Op::Set
                | Op::Add
                | Op::Replace
                | Op::Cas
                | Op::Append
                | Op::Prepend
                | Op::Incr
                | Op::Decr
                | Op::Delete,
                _,
            )
            | (_, Status::Miss | Status::NotFound) => Self::Lost,
            _ => Self::Nothing,
        }
    }
}

/// The effect of each of some rows.
pub(crate) struct Effects<'a> {
    ops: (Vec<Option<Op>>, &'a [i32]),
    statuses: (Vec<Option<Status>>, &'a [i32]),
    sizes: Ints<'a>,
}

impl<'a> Effects<'a> {
    /// What it takes to read, beside the command.
    pub(crate) const COLUMNS: [&'static str; 2] = [columns::STATUS, columns::VALUE_SIZE];

    /// # Errors
    ///
    /// When a column is not what it should be.
    pub(crate) fn of(rows: &'a Rows) -> Result<Self> {
        let (ops, statuses) = (rows.strings(columns::OP)?, rows.strings(columns::STATUS)?);
        let sizes = rows.ints(columns::VALUE_SIZE)?;
        Ok(Self { ops: words(&ops, Op::named), statuses: words(&statuses, Status::named), sizes })
    }

    /// Of a row.
    pub(crate) fn of_row(&self, row: usize) -> Effect {
        let Some((op, status)) = self.words(row) else { return Effect::Nothing };
        Effect::of(op, status, self.sizes.get(row))
    }

    /// Of a row whose operation was done, whatever is said of that.
    pub(crate) fn if_done(&self, row: usize) -> Effect {
        let Some((op, _)) = self.words(row) else { return Effect::Nothing };
        match op {
            op if Op::STORES.contains(&op) => Effect::of(op, Status::Stored, self.sizes.get(row)),
            Op::Touch => Effect::of(op, Status::Touched, None),
            op => Effect::of(op, Status::Ok, self.sizes.get(row)),
        }
    }

    /// The command of a row, if it is a known word.
    pub(crate) fn op(&self, row: usize) -> Option<Op> {
        word(&self.ops, row)
    }

    /// The command of a row and what became of it, if both are known words.
    pub(crate) fn words(&self, row: usize) -> Option<(Op, Status)> {
        self.op(row).zip(word(&self.statuses, row))
    }
}

/// What each string of a column means, and the number of the string of each row.
fn words<'a, W>(
    column: &Strings<'a>,
    known: impl Fn(&str) -> Option<W>,
) -> (Vec<Option<W>>, &'a [i32]) {
    let words = column.values.iter().map(|word| word.and_then(&known)).collect();
    (words, column.array.keys().values())
}

fn word<W: Copy>((words, ids): &(Vec<Option<W>>, &[i32]), row: usize) -> Option<W> {
    words.get(usize::try_from(ids[row]).ok()?).copied().flatten()
}

/// What was sent to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Nothing: the row is no store.
    Nothing,
    /// What was refused.
    Refused,
    /// A part of a value, which was added to it, or may have been.
    Part,
    /// A value, which was stored, or may have been.
    Value,
}

/// Which of some rows stored something. What was not answered is taken for stored.
pub(crate) struct Stores<'a> {
    store: Each<'a>,
    part: Each<'a>,
    kept: Each<'a>,
}

impl<'a> Stores<'a> {
    /// # Errors
    ///
    /// When a column is not what it should be.
    pub(crate) fn of(rows: &'a Rows) -> Result<Self> {
        let (ops, statuses) = (rows.strings(columns::OP)?, rows.strings(columns::STATUS)?);
        let kept = [Status::Stored, Status::NoReply, Status::Unknown];
        Ok(Self {
            store: ops.each(|op| Op::is_in(&Op::STORES, op)),
            part: ops.each(|op| Op::is_in(&[Op::Append, Op::Prepend], op)),
            kept: statuses.each(|word| kept.iter().any(|status| status.as_str() == word)),
        })
    }

    /// What a row is.
    pub(crate) fn of_row(&self, row: usize) -> Sent {
        match (self.store.of(row), self.kept.of(row), self.part.of(row)) {
            (false, ..) => Sent::Nothing,
            (true, false, _) => Sent::Refused,
            (true, true, true) => Sent::Part,
            (true, true, false) => Sent::Value,
        }
    }
}

/// The rows that flush the whole cache, at once or later: the last of each file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flushes(Vec<Option<u64>>);

impl Flushes {
    /// Takes in rows of the capture: those within the time that is asked for, whatever else
    /// is, for they concern all keys.
    ///
    /// # Errors
    ///
    /// When a column is not what it should be.
    pub(crate) fn see(&mut self, capture: &Capture, rows: &Rows) -> Result<()> {
        let ops = rows.strings(columns::OP)?;
        if ops.find(Op::FlushAll.as_str()).is_none() {
            return Ok(());
        }
        let (flush, times) = (flushes(&ops), rows.times()?);
        let within = |row: usize| capture.filter.is_within(times[row]);
        let Some(last) = (0..rows.len()).rev().find(|row| flush.of(*row) && within(*row)) else {
            return Ok(());
        };
        let ranges = files(capture);
        let file = ranges.iter().position(|range| range.contains(&rows.first)).unwrap_or(0);
        self.0.resize(ranges.len(), None);
        self.0[file] = self.0[file].max(Some(rows.first + last as u64));
        Ok(())
    }

    /// Takes in what another thread saw.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), None);
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
    }

    /// For each file of the capture its rows, and the last that flushed its server's cache.
    pub(crate) fn last(&self, capture: &Capture) -> Vec<(Range<u64>, u64)> {
        let id = |file: usize| &capture.footers[file].capture.id;
        let of_server = |file: usize| {
            let flushes = self.0.iter().enumerate().filter(|(other, _)| id(*other) == id(file));
            flushes.filter_map(|(_, row)| *row).max()
        };
        let ranges = files(capture).into_iter().enumerate();
        ranges.filter_map(|(file, range)| Some((range, of_server(file)?))).collect()
    }
}

/// Which rows flush the cache. Whether they are refused, nobody says who can send them.
pub(crate) fn flushes<'a>(ops: &Strings<'a>) -> Each<'a> {
    ops.each(|op| op == Op::FlushAll.as_str())
}

/// The numbers of the rows of each file.
fn files(capture: &Capture) -> Vec<Range<u64>> {
    let mut first = 0;
    let ranges = capture.files.iter().map(|file| {
        let range = first..first + file.rows();
        first = range.end;
        range
    });
    ranges.collect()
}

/// What is known of the size of an item, from operations in any order, in 16 bytes.
///
/// The last that said all of it counts; of what came after that and made it larger is only
/// kept that there may be some, which takes [another look](Told::is_open).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The number of the row that said it, plus one; and whether the item grew.
    row: u64,
    /// The size, or [`Told::NONE`].
    bytes: i64,
}

impl Default for Told {
    fn default() -> Self {
        Self { row: 0, bytes: Self::NONE }
    }
}

impl Told {
    const NONE: i64 = -1;
    const GREW: u64 = 1 << 63;

    /// The operation in this row of the capture, later than what it was told itself.
    pub(crate) fn see(&mut self, row: u64, effect: Effect) {
        match effect {
            Effect::Is(bytes) => *self = Self { row: row + 1, bytes: bytes.max(0) },
            Effect::Lost => *self = Self { row: row + 1, bytes: Self::NONE },
            Effect::Kept(more) if more > 0 => self.row |= Self::GREW,
            Effect::Kept(_) | Effect::Nothing => {}
        }
    }

    /// Takes in other operations on the item.
    pub(crate) fn merge(&mut self, other: Self) {
        let grew = (self.row | other.row) & Self::GREW;
        let last = if other.said() > self.said() { other } else { *self };
        *self = Self { row: last.said() | grew, bytes: last.bytes };
    }

    fn said(self) -> u64 {
        self.row & !Self::GREW
    }

    /// If something may have come after the size, the number of the row that said that.
    pub(crate) fn is_open(self) -> Option<u64> {
        (self.row & Self::GREW != 0 && self.bytes != Self::NONE).then(|| self.said() - 1)
    }

    /// It grew by so much since the size was said.
    pub(crate) fn grow(&mut self, by: i64) {
        self.bytes = self.bytes.saturating_add(by);
    }

    /// It is gone, if the cache was flushed since the size was said.
    pub(crate) fn flush(&mut self, last: &[(Range<u64>, u64)]) {
        let Some(row) = self.said().checked_sub(1) else { return };
        if last.iter().any(|(rows, flushed)| rows.contains(&row) && *flushed > row) {
            self.bytes = Self::NONE;
        }
    }

    /// The size, bytes.
    pub(crate) fn size(self) -> Option<i64> {
        (self.bytes != Self::NONE).then_some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use mcrec_schema::codes::{Op, Status};

    use super::{Effect, Told};

    const EFFECTS: [Effect; 6] = [
        Effect::Nothing,
        Effect::Kept(0),
        Effect::Kept(2),
        Effect::Is(0),
        Effect::Is(80),
        Effect::Lost,
    ];

    #[test]
    fn what_operations_did_does_not_depend_on_how_they_are_taken_together() {
        for one in EFFECTS {
            for two in EFFECTS {
                for three in EFFECTS {
                    let (left, right) = (one.then(two).then(three), one.then(two.then(three)));
                    assert_eq!(left, right, "{one:?} {two:?} {three:?}");
                }
            }
        }
    }

    #[test]
    fn rows_in_any_order_tell_the_size_that_they_tell_in_theirs() {
        // All sequences of five operations, cut into three parts that are taken together in
        // each order.
        for number in 0..6_usize.pow(5) {
            let effect =
                |row: usize| EFFECTS[number / 6_usize.pow(u32::try_from(row).unwrap()) % 6];
            let all: Vec<Effect> = (0..5).map(effect).collect();
            let expected = all.iter().fold(Effect::Nothing, |one, other| one.then(*other)).size();
            let parts = [0..2, 2..3, 3..5].map(|rows| {
                let mut told = Told::default();
                rows.for_each(|row| told.see(row as u64, all[row]));
                told
            });
            for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let mut told = Told::default();
                order.into_iter().for_each(|part| told.merge(parts[part]));
                if let Some(row) = told.is_open() {
                    let later = all.iter().skip(usize::try_from(row).unwrap() + 1);
                    let grown = later.map(|effect| match effect {
                        Effect::Kept(more) => *more,
                        _ => 0,
                    });
                    told.grow(grown.sum());
                }
                assert_eq!(told.size(), expected, "{all:?} {order:?}");
            }
        }
    }

    #[test]
    fn replies_say_what_is_there() {
        let of = |op, status, size| Effect::of(op, status, Some(size));
        let set = of(Op::Set, Status::Stored, 80);
        assert_eq!(set.then(of(Op::Append, Status::Stored, 2)).size(), Some(82));
        assert_eq!(set.then(of(Op::Add, Status::NotStored, 3)).size(), Some(80));
        assert_eq!(set.then(of(Op::Cas, Status::Exists, 3)).size(), Some(80));
        assert_eq!(set.then(of(Op::Set, Status::ServerError, 2_000_000)).size(), None);
        assert_eq!(set.then(of(Op::Set, Status::ClientError, 3)).size(), Some(80));
        assert_eq!(set.then(of(Op::Set, Status::NoReply, 3)).size(), Some(3));
        assert_eq!(set.then(of(Op::Add, Status::NoReply, 3)).size(), None);
        let without = |op, status| Effect::of(op, status, None);
        for (op, status) in [
            (Op::Incr, Status::Ok),
            (Op::Delete, Status::Deleted),
            (Op::Delete, Status::NoReply),
            (Op::Get, Status::Miss),
            (Op::Touch, Status::NotFound),
        ] {
            assert_eq!(set.then(without(op, status)).size(), None, "{op:?} {status:?}");
        }
        for (op, status) in [
            (Op::Touch, Status::Touched),
            (Op::Get, Status::Hit),
            (Op::Get, Status::Unknown),
            (Op::Incr, Status::ClientError),
            (Op::Stats, Status::Ok),
        ] {
            assert_eq!(set.then(without(op, status)).size(), Some(80), "{op:?} {status:?}");
        }
    }
}
