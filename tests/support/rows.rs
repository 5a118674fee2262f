//! What a row says, beside what the client knows of the same operation.

use std::{collections::HashMap, path::Path};

use mcrec_schema::footer::Losses;

use super::{
    capture::{self, Row},
    wire::{Done, Log},
};

/// The rows of each connection, in order.
pub fn by_connection(rows: &[Row]) -> HashMap<i64, Vec<&Row>> {
    let mut connections: HashMap<i64, Vec<&Row>> = HashMap::new();
    for row in rows {
        connections.entry(row.conn_id).or_default().push(row);
    }
    connections
}

pub fn is_event(row: &Row) -> bool {
    matches!(row.op.as_str(), "connect" | "disconnect")
}

/// What a client knows of an operation, as far as a capture says it too.
#[derive(Debug, PartialEq)]
pub struct Shown<'a> {
    pub op: &'a str,
    pub protocol: &'a str,
    pub key: String,
    pub key_len: i64,
    pub status: &'a str,
    pub value_size: Option<i64>,
    pub ttl: Option<i64>,
    pub quiet: bool,
    pub has_latency: bool,
}

pub fn of_row(row: &Row) -> Shown<'_> {
    Shown {
        op: &row.op,
        protocol: row.protocol.as_deref().unwrap_or_default(),
        key: row.key.escape_ascii().to_string(),
        key_len: row.key_len,
        status: &row.status,
        value_size: row.value_size,
        ttl: row.ttl,
        quiet: row.quiet,
        has_latency: row.latency.is_some(),
    }
}

pub fn of_done(done: &Done) -> Shown<'_> {
    Shown {
        op: done.op,
        protocol: done.protocol,
        key: done.key.escape_ascii().to_string(),
        key_len: i64::try_from(done.key_len).unwrap(),
        status: done.status,
        value_size: done.value_size.map(|size| i64::try_from(size).unwrap()),
        ttl: done.ttl,
        quiet: done.quiet,
        has_latency: done.answered,
    }
}

/// The rows of a connection equal its log, from the operation `first` on.
pub fn assert_connection(rows: &[&Row], log: &Log, first: usize) {
    let done = &log.done[first..];
    for (at, (row, done)) in rows.iter().zip(done).enumerate() {
        assert_eq!(of_row(row), of_done(done), "operation {at} of {}", log.client);
        assert_eq!(row.client.as_deref(), Some(log.client.as_str()));
        assert_eq!(row.thread_id, rows[0].thread_id);
        if let Some(latency) = row.latency {
            assert!(latency > 0, "{row:?}");
            let bound = log.bound(done.batch).map_or(u128::MAX, |bound| bound.as_nanos());
            assert!(u128::from(latency.unsigned_abs()) <= bound, "{row:?} took {bound} ns");
        }
    }
    assert_eq!(rows.len(), done.len(), "operations of a connection");
    assert!(rows.is_sorted_by_key(|row| row.ts), "time goes forward");
    // Keys of one request stand together, and nothing else is with them.
    let ends = |same: bool, row: &Row| same == (row.key_index > 0);
    for (pair, done) in rows.windows(2).zip(done.windows(2)) {
        let same = done[0].request == done[1].request;
        assert_eq!(same, pair[0].request_id == pair[1].request_id);
        assert!(ends(same, pair[1]), "{:?}", pair[1]);
    }
}

/// All rows and the footer are as `logs` say: nothing missing, nothing invented.
/// Each connection's first operation is on a key of its own.
pub fn assert_recorded(path: &Path, logs: &[Log]) {
    let rows = capture::all_rows(path);
    let connections = by_connection(&rows);
    assert_eq!(connections.len(), logs.len(), "connections");
    let mut firsts = HashMap::new();
    for rows in connections.values() {
        assert_eq!((rows[0].op.as_str(), rows[0].status.as_str()), ("connect", "ok"));
        firsts.insert(rows[1].key.as_slice(), rows);
    }
    for log in logs {
        let mut rows = firsts[log.done[0].key.as_slice()].as_slice();
        for event in rows.iter().filter(|row| is_event(row)) {
            assert_eq!(event.client.as_deref(), Some(log.client.as_str()));
            assert!(event.key_len == 0 && event.latency.is_none());
        }
        if log.closed {
            assert_eq!(rows.last().unwrap().op, "disconnect");
            rows = &rows[..rows.len() - 1];
        }
        assert_connection(&rows[1..], log, 0);
        let size = |bytes: Option<i64>| usize::try_from(bytes.unwrap()).unwrap();
        let requests = rows[1..].chunk_by(|one, other| one.request_id == other.request_id);
        for (request, bytes) in requests.zip(&log.bytes) {
            let sent: usize = request.iter().map(|row| size(row.request_bytes)).sum();
            let received: usize = request.iter().map(|row| size(row.response_bytes)).sum();
            assert_eq!((sent, received), *bytes, "{:?}", request[0]);
        }
    }
    let loss = capture::footer(path).unwrap().loss;
    assert_eq!(loss.losses, Losses::default());
    assert_eq!((loss.seen, loss.written), (rows.len() as u64, rows.len() as u64));
}
