//! What did a worker receive just before and after an operation?

use std::{cmp::Reverse, collections::HashMap};

use anyhow::Result;

use super::operation::{Fields, Operation};
use crate::{
    capture::Capture,
    scan::{Rows, scan},
    table::{Column, Section, Table, Unit, Value},
};

/// What is known of the surroundings of an operation: those before, the nearest first, and
/// those after.
#[derive(Clone, Debug, Default)]
struct Around {
    before: Vec<Operation>,
    after: Vec<Operation>,
}

/// For each of some operations the `count` that its worker received before and after it,
/// whatever is asked for, connections that came and went among them.
///
/// # Errors
///
/// When the capture cannot be read.
pub(super) fn neighbours(capture: &Capture, of: &[Operation], count: usize) -> Result<Section> {
    let begin = || vec![Around::default(); of.len()];
    let threads =
        scan(capture, &Fields::COLUMNS, begin, |around, rows| add(rows, of, count, around))?;
    let mut all = begin();
    for of_thread in threads {
        for (sum, other) in all.iter_mut().zip(of_thread) {
            sum.before.extend(other.before);
            sum.after.extend(other.after);
            sum.keep(count);
        }
    }
    let rows = of.iter().zip(all).enumerate().flat_map(|(number, (operation, around))| {
        let before = (1..).zip(around.before).map(|(place, other)| (format!("-{place}"), other));
        let after = (1..).zip(around.after).map(|(place, other)| (format!("+{place}"), other));
        let mut all: Vec<(String, Operation)> = before.collect();
        all.reverse();
        all.push(("0".to_owned(), operation.clone()));
        all.extend(after);
        all.into_iter().map(move |(place, other)| {
            let of = Value::Text((number + 1).to_string());
            [of, place.into()].into_iter().chain(other.values()).collect()
        })
    });
    let of = Column::new("of", "of", Unit::Word);
    let place = Column::new("place", "place", Unit::Word);
    let columns = [of, place].into_iter().chain(Operation::COLUMNS).collect();
    let table = Table { columns, rows: rows.collect() };
    let title = "around each of them: what its worker received before and after";
    Ok(Section::lines("neighbours", title, table).or_else("no operations whose latency is known"))
}

fn add(rows: &Rows, of: &[Operation], count: usize, around: &mut [Around]) -> Result<()> {
    let fields = Fields::of(rows)?;
    let place = |row: usize| (fields.times[row], fields.number(row));
    let mut by_thread: HashMap<i32, Vec<usize>> =
        of.iter().map(|operation| (operation.thread, Vec::new())).collect();
    for (row, thread) in fields.threads.iter().enumerate() {
        if let Some(rows) = by_thread.get_mut(thread) {
            rows.push(row);
        }
    }
    for rows in by_thread.values_mut() {
        rows.sort_by_key(|row| place(*row));
    }
    for (operation, around) in of.iter().zip(around) {
        let rows = &by_thread[&operation.thread];
        let here = (operation.time, operation.row.0);
        let before = rows.partition_point(|row| place(*row) < here);
        let after = rows.partition_point(|row| place(*row) <= here);
        // Of these rows no more than `count` can be among the nearest of all.
        for &row in rows[..before].iter().rev().take(count) {
            around.before.push(fields.operation(row));
        }
        for &row in rows[after..].iter().take(count) {
            around.after.push(fields.operation(row));
        }
        around.keep(count);
    }
    Ok(())
}

impl Around {
    /// Keeps the nearest.
    fn keep(&mut self, count: usize) {
        let place = |operation: &Operation| (operation.time, operation.row.0);
        self.before.sort_by_key(|operation| Reverse(place(operation)));
        self.after.sort_by_key(place);
        self.before.truncate(count);
        self.after.truncate(count);
    }
}
