//! What a row says, beside what the client knows of the same operation.

use std::collections::HashMap;

use super::{capture::Row, wire::Done};

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
