//! Rows become requests, and requests that the server read at once one group.

use std::collections::HashMap;

use mcrec_schema::{
    codes::{Op, Protocol, Status},
    key,
};

use super::{order::Order, rows::Row};
use crate::{
    request::{Group, Key, Kind, Request},
    tally::{Tally, Unsent},
    wire,
};

/// How connections and requests are made of recorded ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// The protocol of all requests, if not that which they had.
    pub(crate) protocol: Option<Protocol>,
    /// So many connections for each of the binary and the text protocols, if not as many
    /// as there were.
    pub(crate) connections: Option<u64>,
    /// The time to live of what has one that is not known, s; `None` to leave that out.
    pub(crate) unknown_ttl: Option<i64>,
}

/// A recorded connection.
#[derive(Debug)]
struct Recorded {
    /// That of the replay which plays it, but for the protocol.
    number: u64,
    /// Of its last row.
    ts: i64,
    /// The group that it is at, and the last request of that.
    group: Option<(u64, i64)>,
}

/// Makes groups of rows.
#[derive(Debug)]
pub(crate) struct Assembly {
    shape: Shape,
    connections: HashMap<(usize, i64), Recorded>,
    /// How many connections there were.
    count: u64,
    /// Time of the last row, µs since the epoch.
    last_ts: i64,
    bytes: Vec<u8>,
}

impl Assembly {
    pub(crate) fn new(shape: Shape) -> Self {
        let (connections, bytes) = (HashMap::new(), Vec::new());
        Self { shape, connections, count: 0, last_ts: i64::MIN, bytes }
    }

    /// Takes the next row of a recording.
    pub(super) fn take(
        &mut self,
        recording: usize,
        row: &Row<'_>,
        order: &mut Order,
        tally: &mut Tally,
    ) {
        self.last_ts = self.last_ts.max(row.ts);
        let shares = self.shape.connections.is_some();
        let count = &mut self.count;
        let connection = self.connections.entry((recording, row.conn_id)).or_insert_with(|| {
            *count += 1;
            let number = self.shape.connections.map_or(*count, |shared| *count % shared.max(1));
            Recorded { number, ts: row.ts, group: None }
        });
        // Of damaged captures alone.
        connection.ts = connection.ts.max(row.ts);
        let ts = connection.ts;
        match row.op {
            Op::Connect | Op::Disconnect if shares => {}
            Op::Connect => {
                order.add(Group::new(id(connection.number, false, false), ts, Kind::Open), 1);
            }
            Op::Disconnect => {
                order.add(Group::new(id(connection.number, false, false), ts, Kind::Close), 1);
                self.connections.remove(&(recording, row.conn_id));
            }
            Op::Quit if shares => tally.unsent(Unsent::SharedConnection, 1),
            _ => {
                if let Err(why) = self.add(recording, row, ts, order) {
                    tally.unsent(why, 1);
                }
            }
        }
    }

    /// Adds an operation to what its connection does at `ts`.
    fn add(
        &mut self,
        recording: usize,
        row: &Row<'_>,
        ts: i64,
        order: &mut Order,
    ) -> Result<(), Unsent> {
        let has_key = key_of(row, &mut self.bytes)?;
        let key = has_key.then_some(self.bytes.as_slice());
        let protocol = self.shape.protocol.or(row.protocol).unwrap_or(Protocol::Text);
        if !wire::can_say(protocol, row.op, key) {
            let as_recorded = wire::can_say(Protocol::Binary, row.op, key)
                || wire::can_say(Protocol::Text, row.op, key);
            return Err(if as_recorded { Unsent::NotSayable } else { Unsent::NotReplayable });
        }
        let as_sent = AsSent::of(row, protocol, self.shape.unknown_ttl)?;
        let Some(connection) = self.connections.get_mut(&(recording, row.conn_id)) else {
            return Ok(());
        };
        let shares = self.shape.connections.is_some();
        let conn = id(connection.number, shares, protocol == Protocol::Binary);
        let at = connection.group.and_then(|(number, last)| {
            let group = order.more(number)?;
            (group.ts == ts && group.conn == conn).then_some((group, last))
        });
        let several = protocol == Protocol::Text && Op::READS.contains(&row.op);
        match at {
            Some((group, last)) => {
                let more = several && last == row.request_id && row.request_id != 0;
                append(group, row, as_sent, key.unwrap_or_default(), more);
                connection.group = connection.group.map(|(number, _)| (number, row.request_id));
            }
            None => {
                let mut group = Group::new(conn, ts, Kind::Send);
                // Most have one request of one key.
                group.requests.reserve_exact(1);
                group.keys.reserve_exact(1);
                append(&mut group, row, as_sent, key.unwrap_or_default(), false);
                connection.group = Some((order.add(group, 1), row.request_id));
            }
        }
        Ok(())
    }

    /// The ends of the connections that are open where a trace ends. Nothing of them is
    /// known after this.
    pub(crate) fn ends(&mut self) -> Vec<Group> {
        let shares = self.shape.connections.is_some();
        let mut open: Vec<u64> = self.connections.drain().map(|(_, it)| it.number).collect();
        open.sort_unstable();
        let ts = self.last_ts;
        let end = |number| Group::new(id(number, false, false), ts, Kind::Close);
        open.into_iter().filter(|_| !shares).map(end).collect()
    }
}

/// The number of a connection of the replay. One that several share is of the binary
/// protocol, or of the others.
fn id(number: u64, shared: bool, binary: bool) -> u64 {
    if shared { number * 2 + u64::from(binary) } else { number }
}

/// Puts the key of `row` into `bytes`. Returns whether it has one.
fn key_of(row: &Row<'_>, bytes: &mut Vec<u8>) -> Result<bool, Unsent> {
    let counts = matches!(row.op, Op::Incr | Op::Decr);
    match row.status {
        Status::Error => return Err(Unsent::Malformed),
        Status::ClientError if !counts => return Err(Unsent::Malformed),
        _ => {}
    }
    bytes.clear();
    match row.key {
        Some(text) if text.contains('\\') => {
            bytes.append(&mut key::unescape(text).ok_or(Unsent::KeyUnknown)?);
        }
        Some(text) => bytes.extend_from_slice(text.as_bytes()),
        None if row.key_len.is_some_and(|length| length > 0) => return Err(Unsent::KeyUnknown),
        None => return Ok(false),
    }
    Ok(true)
}

/// What a request is sent with in its protocol.
struct AsSent {
    protocol: Protocol,
    ttl: Option<i64>,
    cas_sent: Option<u64>,
}

/// The largest item that memcached can be told to store (`-I`), bytes.
const VALUE_MAX: u64 = 1 << 30;

impl AsSent {
    /// # Errors
    ///
    /// Why `row` cannot be sent.
    fn of(row: &Row<'_>, protocol: Protocol, unknown_ttl: Option<i64>) -> Result<Self, Unsent> {
        // Older recordings have in `cas` what a `cas` was sent with.
        let older = row.cas.filter(|_| row.op == Op::Cas);
        let cas_sent = row.cas_sent.or(older);
        if cas_sent.is_some() && !wire::can_compare(protocol, row.op) {
            return Err(Unsent::NotSayable);
        }
        if Op::STORES.contains(&row.op) {
            if row.value_size.is_some_and(|size| size > VALUE_MAX) {
                return Err(Unsent::TooLarge);
            }
            if !may_have_arrived(row) {
                return Err(Unsent::NotWhole);
            }
        }
        Ok(Self { protocol, ttl: ttl(row, protocol, unknown_ttl)?, cas_sent })
    }
}

/// The time to live that a request is sent with: never one that nobody gave it.
fn ttl(row: &Row<'_>, protocol: Protocol, unknown_ttl: Option<i64>) -> Result<Option<i64>, Unsent> {
    let extends = row.protocol == Some(Protocol::Binary) && row.client_flags.is_none();
    match row.ttl {
        None if !wire::needs_ttl(row.op) || (row.op == Op::Cas && extends) => Ok(None),
        // Without T there was none, which is 0 in other protocols.
        None if row.protocol == Some(Protocol::Meta) => {
            Ok((protocol != Protocol::Meta).then_some(0))
        }
        None => unknown_ttl.map(Some).ok_or(Unsent::TtlUnknown),
        ttl => Ok(ttl),
    }
}

/// Whether a store came to its end: of one that was answered, or is silent by nature, it is
/// taken for granted. Where neither is known, the server may have stored nothing.
fn may_have_arrived(row: &Row<'_>) -> bool {
    // Through the probes, sizes and replies are not known, and what fires is done.
    let decoded = row.request_bytes.is_some();
    !(decoded && row.status == Status::Unknown && row.latency_ns.is_none())
}

fn append(group: &mut Group, row: &Row<'_>, as_sent: AsSent, key: &[u8], more: bool) {
    let AsSent { protocol, ttl, cas_sent } = as_sent;
    group.bytes.extend_from_slice(key);
    let end = u32::try_from(group.bytes.len()).unwrap_or(u32::MAX);
    let first_key = u32::try_from(group.keys.len()).unwrap_or(u32::MAX);
    group.keys.push(Key {
        end,
        status: row.status,
        size: row.value_size,
        client_flags: row.client_flags,
        cas: row.cas,
    });
    if more && let Some(request) = group.requests.last_mut() {
        request.keys += 1;
        return;
    }
    group.requests.push(Request {
        op: row.op,
        protocol,
        quiet: row.quiet && may_be_quiet(protocol, row.op),
        ttl,
        cas_sent,
        cas_set: row.cas_set,
        flags: row.flags.filter(|_| protocol == Protocol::Meta).cloned(),
        recorded_meta: row.protocol == Some(Protocol::Meta),
        needs_meta: row.flags.is_some_and(|flags| flags.are_meta_alone()),
        ttl_given: row.ttl.is_none() && row.protocol != Some(Protocol::Meta) && ttl.is_some(),
        extends: row.protocol == Some(Protocol::Binary)
            && row.op == Op::Cas
            && row.client_flags.is_none(),
        // Of another protocol, a length says nothing.
        request_bytes: row.request_bytes.filter(|_| row.protocol == Some(protocol)).unwrap_or(0),
        response_bytes: row.response_bytes,
        latency_ns: row.latency_ns,
        first_key,
        keys: 1,
    });
}

/// Whether `protocol` has a quiet form of `op`.
fn may_be_quiet(protocol: Protocol, op: Op) -> bool {
    let without = match protocol {
        Protocol::Text => Op::READS.contains(&op) || op == Op::Debug,
        Protocol::Meta => op == Op::Debug,
        Protocol::Binary => op == Op::Touch,
    };
    !without && !matches!(op, Op::Noop | Op::Version | Op::Stats)
}
