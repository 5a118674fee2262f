//! Some operations on their way from the reader to the model.

use std::{collections::HashMap, ops::Range};

use anyhow::Result;
use mcrec_schema::{
    codes::{Op, Status},
    columns,
};

use crate::{
    by::UNKNOWN,
    filter::address,
    item::{Effect, Effects},
    scan::Rows,
};

/// The columns that a batch is made of.
pub(super) const COLUMNS: [&str; 7] = [
    columns::TS,
    columns::OP,
    columns::KEY,
    columns::STATUS,
    columns::VALUE_SIZE,
    columns::LATENCY_NS,
    columns::CLIENT,
];

/// Some operations next to each other, with the strings that they have.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) keys: Vec<Box<str>>,
    /// Addresses, without ports.
    pub(super) clients: Vec<Box<str>>,
    pub(super) operations: Vec<Operation>,
    /// Rows that were read for it, wanted or not.
    pub(super) rows: u64,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// µs since the epoch, UTC.
    pub(super) ts: i64,
    /// Number of its command.
    pub(super) command: u8,
    /// Number of its key in the batch, if it has one.
    pub(super) key: Option<u32>,
    /// Number of its client in the batch.
    pub(super) client: u32,
    /// Whether it hit, if it could have.
    pub(super) hit: Option<bool>,
    /// Bytes of value that were sent or returned.
    pub(super) size: Option<i64>,
    /// What it did to the item under its key.
    pub(super) effect: Effect,
    pub(super) latency: Option<i64>,
    /// How many operations it stands for.
    pub(super) weight: i64,
}

impl Operation {
    /// Whether it flushes the cache, at once or later.
    pub(super) fn flushes(&self) -> bool {
        command(self.command.into()) == Op::FlushAll.as_str()
    }
}

/// The word of a command.
pub(super) fn command(number: u16) -> &'static str {
    Op::ALL.get(usize::from(number)).map_or(UNKNOWN, |op| op.as_str())
}

/// Gives each string that is asked for a number.
#[derive(Default)]
struct Names<Id> {
    numbers: HashMap<Id, u32>,
    names: Vec<Box<str>>,
}

impl<Id: Eq + std::hash::Hash> Names<Id> {
    fn number(&mut self, id: Id, name: impl FnOnce() -> Box<str>) -> u32 {
        *self.numbers.entry(id).or_insert_with(|| {
            self.names.push(name());
            u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

impl Batch {
    /// Those of the rows that are wanted.
    ///
    /// # Errors
    ///
    /// When a column is not what it should be.
    pub(super) fn of(rows: &Rows) -> Result<Self> {
        let (times, sizes) = (rows.times()?, rows.ints(columns::VALUE_SIZE)?);
        let (latencies, ops) = (rows.latencies()?, rows.strings(columns::OP)?);
        let (keys, status) = (rows.strings(columns::KEY)?, rows.strings(columns::STATUS)?);
        let (clients, effects) = (rows.strings(columns::CLIENT)?, Effects::of(rows)?);
        let commands: Vec<u8> = ops.values.iter().map(number_of).collect();
        let (hit, miss) = (status.find(Status::Hit.as_str()), status.find(Status::Miss.as_str()));
        let (mut key_names, mut client_names) = (Names::default(), Names::default());
        let mut operations = Vec::with_capacity(rows.len());
        let ids = keys.ids().zip(clients.ids()).zip(ops.ids().zip(status.ids()));
        for (row, ((key, client), (op, status))) in ids.enumerate() {
            if !rows.is_wanted(row) {
                continue;
            }
            let client_name = || client.map_or(UNKNOWN, |id| address(clients.values.value(id)));
            operations.push(Operation {
                ts: times[row],
                command: op.map_or(u8::MAX, |op| commands[op]),
                key: key.map(|id| key_names.number(id, || keys.values.value(id).into())),
                client: client_names.number(client, || client_name().into()),
                hit: status.and_then(|status| match Some(status) {
                    status if status == hit => Some(true),
                    status if status == miss => Some(false),
                    _ => None,
                }),
                size: sizes.get(row),
                effect: effects.of_row(row),
                latency: latencies.get(row),
                weight: rows.weight(row),
            });
        }
        Ok(Self {
            keys: key_names.names,
            clients: client_names.names,
            operations,
            rows: rows.len() as u64,
        })
    }

    /// Some of its operations, with the strings that they have and no others.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let (mut keys, mut clients) = (Names::default(), Names::default());
        let operations = self.operations[range].iter().map(|operation| Operation {
            key: operation.key.map(|key| keys.number(key, || self.keys[key as usize].clone())),
            client: clients
                .number(operation.client, || self.clients[operation.client as usize].clone()),
            ..*operation
        });
        let operations: Vec<Operation> = operations.collect();
        let rows = operations.len() as u64;
        Self { keys: keys.names, clients: clients.names, operations, rows }
    }
}

fn number_of(op: Option<&str>) -> u8 {
    let number = Op::ALL.iter().position(|other| Some(other.as_str()) == op);
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX)
}
