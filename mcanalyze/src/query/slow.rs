//! Which operations took longest, and what did their worker do meanwhile?

use std::{cmp::Reverse, collections::BinaryHeap};

use anyhow::Result;
use mcrec_schema::columns;

use crate::{
    capture::Capture,
    grouping::connections,
    scan::{Rows, Strings, scan},
    table::{Column, Section, Table, Unit, Value},
};

/// An operation. Ordered by its latency, and of equal ones the earlier row is more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Operation {
    latency: i64,
    row: Reverse<u64>,
    time: i64,
    op: String,
    key: Option<String>,
    status: String,
    size: Option<i64>,
    client: Option<String>,
    conn_id: i64,
    thread: i32,
}

/// The `top` slowest operations.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn slow(capture: &Capture, top: usize) -> Result<Section> {
    let slowest = slowest(capture, top)?;
    let meanwhile = meanwhile(capture, &slowest)?;
    let rows = slowest.into_iter().zip(meanwhile).map(|(operation, busy)| {
        vec![
            Value::Int(operation.time),
            Value::Int(operation.latency),
            operation.op.into(),
            operation.key.map_or(Value::Null, Value::Text),
            operation.status.into(),
            operation.size.into(),
            operation.client.map_or(Value::Null, Value::Text),
            operation.conn_id.to_string().into(),
            operation.thread.to_string().into(),
            Value::Int(busy),
        ]
    });
    let table = Table { columns: COLUMNS.to_vec(), rows: rows.collect() };
    Ok(Section::lines("slow", "", table).or_else("no latency is known").note(
        "meanwhile: other requests that the same worker thread received in that time. Many: it \
         was busy; few: it waited, for a client or the system.",
    ))
}

const COLUMNS: [Column; 10] = [
    Column::new("time", "time", Unit::Time),
    Column::new("latency_ns", "latency", Unit::Nanoseconds),
    Column::new("op", "command", Unit::Word),
    Column::new("key", "key", Unit::Key),
    Column::new("status", "status", Unit::Word),
    Column::new("value_size", "size", Unit::Bytes),
    Column::new("client", "client", Unit::Key).if_room(),
    Column::new("conn_id", "conn", Unit::Word).if_room(),
    Column::new("thread_id", "thread", Unit::Word).if_room(),
    Column::new("meanwhile", "meanwhile", Unit::Count),
];

fn slowest(capture: &Capture, top: usize) -> Result<Vec<Operation>> {
    const WANTED: [&str; 8] = [
        columns::TS,
        columns::KEY,
        columns::STATUS,
        columns::VALUE_SIZE,
        columns::LATENCY_NS,
        columns::CLIENT,
        columns::CONN_ID,
        columns::THREAD_ID,
    ];
    let moved = connections(capture)?;
    let threads = scan(capture, &WANTED, BinaryHeap::new, |slowest, rows| {
        add(rows, moved.moved_by(rows.file), top, slowest)
    })?;
    let all = threads.into_iter().flatten().map(|Reverse(operation)| operation);
    let mut all: Vec<Operation> = all.collect();
    all.sort_by(|one, other| other.cmp(one));
    all.truncate(top);
    Ok(all)
}

fn add(
    rows: &Rows,
    moved_by: i64,
    top: usize,
    slowest: &mut BinaryHeap<Reverse<Operation>>,
) -> Result<()> {
    let (latencies, times) = (rows.latencies()?, rows.times()?);
    let (sizes, conn_ids) = (rows.ints(columns::VALUE_SIZE)?, rows.ints(columns::CONN_ID)?);
    let threads = rows.short_ints(columns::THREAD_ID)?;
    let [ops, keys, statuses, clients] =
        [columns::OP, columns::KEY, columns::STATUS, columns::CLIENT]
            .map(|name| rows.strings(name));
    let (ops, keys, statuses, clients) = (ops?, keys?, statuses?, clients?);
    let text = |strings: &Strings<'_>, row| strings.get(row).map(str::to_owned);
    for row in (0..rows.len()).filter(|row| rows.is_wanted(*row)) {
        let Some(latency) = latencies.get(row) else { continue };
        let number = Reverse(rows.first + row as u64);
        let least = slowest.peek().filter(|_| slowest.len() >= top);
        if least.is_some_and(|Reverse(least)| (latency, number) < (least.latency, least.row)) {
            continue;
        }
        slowest.push(Reverse(Operation {
            latency,
            row: number,
            time: times[row],
            op: text(&ops, row).unwrap_or_default(),
            key: text(&keys, row),
            status: text(&statuses, row).unwrap_or_default(),
            size: sizes.get(row),
            client: text(&clients, row),
            conn_id: conn_ids.get(row).unwrap_or(0).saturating_add(moved_by),
            thread: threads[row],
        }));
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
        let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
            return Ok(());
        };
        for (operation, count) in operations.iter().zip(counts) {
            let from = operation.time;
            let to = from.saturating_add(operation.latency / 1_000);
            if to < *first || from > *last {
                continue;
            }
            let others = (0..rows.len()).filter(|&row| {
                (from..=to).contains(&times[row])
                    && threads[row] == operation.thread
                    && rows.first + row as u64 != operation.row.0
            });
            *count += i64::try_from(others.count()).unwrap_or(i64::MAX);
        }
        Ok(())
    })?;
    let sum = |mut sum: Vec<i64>, counts: Vec<i64>| {
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        sum
    };
    Ok(threads.into_iter().fold(begin(), sum))
}
