//! An operation by itself, where it is not one of many.

use std::cmp::Reverse;

use anyhow::Result;
use mcrec_schema::columns;

use crate::{
    scan::{Ints, Rows, Strings},
    table::{Column, Unit, Value},
};

/// An operation. Ordered by its latency, and of equal ones the earlier row is more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Operation {
    pub(super) latency: Option<i64>,
    /// Its number in the whole capture.
    pub(super) row: Reverse<u64>,
    /// µs since the epoch, UTC.
    pub(super) time: i64,
    pub(super) op: String,
    pub(super) key: Option<String>,
    pub(super) status: String,
    pub(super) size: Option<i64>,
    pub(super) client: Option<String>,
    pub(super) conn_id: i64,
    pub(super) thread: i32,
}

impl Operation {
    /// What [`Operation::values`] are.
    pub(super) const COLUMNS: [Column; 9] = [
        Column::new("time", "time", Unit::Time),
        Column::new("latency_ns", "latency", Unit::Nanoseconds),
        Column::new("op", "command", Unit::Word),
        Column::new("key", "key", Unit::Key),
        Column::new("status", "status", Unit::Word),
        Column::new("value_size", "size", Unit::Bytes),
        Column::new("client", "client", Unit::Key).if_room(),
        Column::new("conn_id", "conn", Unit::Word).if_room(),
        Column::new("thread_id", "thread", Unit::Word).if_room(),
    ];

    /// All of it, for a table.
    pub(super) fn values(&self) -> [Value; 9] {
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::Text);
        [
            Value::Int(self.time),
            self.latency.into(),
            self.op.clone().into(),
            text(&self.key),
            self.status.clone().into(),
            self.size.into(),
            text(&self.client),
            Value::Int(self.conn_id),
            Value::Int(self.thread.into()),
        ]
    }
}

/// The columns that operations are made of.
pub(super) struct Fields<'a> {
    first: u64,
    pub(super) times: &'a [i64],
    pub(super) threads: &'a [i32],
    pub(super) latencies: Ints<'a>,
    sizes: Ints<'a>,
    conn_ids: Ints<'a>,
    ops: Strings<'a>,
    keys: Strings<'a>,
    statuses: Strings<'a>,
    clients: Strings<'a>,
}

impl<'a> Fields<'a> {
    /// What it takes to read.
    pub(super) const COLUMNS: [&'static str; 8] = [
        columns::TS,
        columns::KEY,
        columns::STATUS,
        columns::VALUE_SIZE,
        columns::LATENCY_NS,
        columns::CLIENT,
        columns::CONN_ID,
        columns::THREAD_ID,
    ];

    pub(super) fn of(rows: &'a Rows) -> Result<Self> {
        Ok(Self {
            first: rows.first,
            times: rows.times()?,
            threads: rows.short_ints(columns::THREAD_ID)?,
            latencies: rows.latencies()?,
            sizes: rows.ints(columns::VALUE_SIZE)?,
            conn_ids: rows.ints(columns::CONN_ID)?,
            ops: rows.strings(columns::OP)?,
            keys: rows.strings(columns::KEY)?,
            statuses: rows.strings(columns::STATUS)?,
            clients: rows.strings(columns::CLIENT)?,
        })
    }

    /// The operation of a row.
    pub(super) fn operation(&self, row: usize) -> Operation {
        let text = |strings: &Strings<'_>| strings.get(row).map(str::to_owned);
        Operation {
            latency: self.latencies.get(row),
            row: Reverse(self.number(row)),
            time: self.times[row],
            op: text(&self.ops).unwrap_or_default(),
            key: text(&self.keys),
            status: text(&self.statuses).unwrap_or_default(),
            size: self.sizes.get(row),
            client: text(&self.clients),
            conn_id: self.conn_ids.get(row).unwrap_or(0),
            thread: self.threads[row],
        }
    }

    /// The number of a row in the whole capture.
    pub(super) fn number(&self, row: usize) -> u64 {
        self.first + row as u64
    }
}
