//! Which operations took longest, and what did their worker do meanwhile?

use std::{cmp::Reverse, collections::BinaryHeap};

use anyhow::Result;
use mcrec_schema::{codes::Op, columns};

use super::{
    neighbours::neighbours,
    operation::{Fields, Operation},
};
use crate::{
    capture::Capture,
    scan::{Rows, added, scan},
    table::{Column, Section, Table, Unit, Value},
};

/// The `top` slowest operations; and those around each, so many before and after it, where
/// any are wanted.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn slow(capture: &Capture, top: usize, around: usize) -> Result<Vec<Section>> {
    let slowest = slowest(capture, top)?;
    let meanwhile = meanwhile(capture, &slowest)?;
    let rows = slowest.iter().zip(meanwhile).map(|(operation, busy)| {
        let mut row = operation.values().to_vec();
        row.push(Value::Int(busy));
        row
    });
    let meanwhile = Column::new("meanwhile", "meanwhile", Unit::Count);
    let columns = Operation::COLUMNS.into_iter().chain([meanwhile]).collect();
    let table = Table { columns, rows: rows.collect() };
    let slow =
        Section::lines("slow", "", table).or_else("no operations whose latency is known").note(
            "meanwhile: other requests that the same worker thread received in that time. Many: it \
         was busy; few: it waited, for a client or the system.",
        );
    Ok(match around {
        0 => vec![slow],
        _ => vec![slow, neighbours(capture, &slowest, around)?],
    })
}

fn slowest(capture: &Capture, top: usize) -> Result<Vec<Operation>> {
    let threads =
        scan(capture, &Fields::COLUMNS, BinaryHeap::new, |slowest, rows| add(rows, top, slowest))?;
    let all = threads.into_iter().flatten().map(|Reverse(operation)| operation);
    let mut all: Vec<Operation> = all.collect();
    all.sort_by(|one, other| other.cmp(one));
    all.truncate(top);
    Ok(all)
}

fn add(rows: &Rows, top: usize, slowest: &mut BinaryHeap<Reverse<Operation>>) -> Result<()> {
    let fields = Fields::of(rows)?;
    for row in (0..rows.len()).filter(|row| rows.is_wanted(*row)) {
        let Some(latency) = fields.latencies.get(row) else { continue };
        let (latency, number) = (Some(latency), Reverse(rows.first + row as u64));
        let least = slowest.peek().filter(|_| slowest.len() >= top);
        if least.is_some_and(|Reverse(least)| (latency, number) < (least.latency, least.row)) {
            continue;
        }
        slowest.push(Reverse(fields.operation(row)));
        if slowest.len() > top {
            slowest.pop();
        }
    }
    Ok(())
}

/// For each operation, how many others its worker received from when it was there until it
/// was answered.
fn meanwhile(capture: &Capture, operations: &[Operation]) -> Result<Vec<i64>> {
    let wanted = [columns::TS, columns::THREAD_ID];
    let begin = || vec![0_i64; operations.len()];
    let threads = scan(capture, &wanted, begin, |counts, rows| {
        let (times, threads) = (rows.times()?, rows.short_ints(columns::THREAD_ID)?);
        let ops = rows.strings(columns::OP)?;
        let is_connection = ops.each(|op| Op::is_in(&Op::CONNECTIONS, op));
        let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
            return Ok(());
        };
        for (operation, count) in operations.iter().zip(counts) {
            let from = operation.time;
            let to = from.saturating_add(operation.latency.unwrap_or(0) / 1_000);
            if to < *first || from > *last {
                continue;
            }
            let others = (0..rows.len()).filter(|&row| {
                (from..=to).contains(&times[row])
                    && threads[row] == operation.thread
                    && rows.first + row as u64 != operation.row.0
                    && !is_connection.of(row)
            });
            *count += i64::try_from(others.count()).unwrap_or(i64::MAX);
        }
        Ok(())
    })?;
    Ok(added(threads))
}
