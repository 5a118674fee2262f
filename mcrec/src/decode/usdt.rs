//! Operations from the records of the probes.
//!
//! memcached serves the requests of a connection strictly one after the other,
//! and a connection never changes its worker, so the records of a connection
//! come in order: the operations of a request (one, or one a key), each with the time
//! at which it started, and then either an end or, when replies are batched, the next
//! request's first operation, which tells when this one ended. Requests that show no
//! operation leave no record. A connection is a descriptor and a generation:
//! descriptors are reused at once. Other connections may come between at any point (a
//! set whose value has not arrived yet lets the worker serve another), so nothing is
//! paired by thread or by time.
//!
//! Each connection's records are numbered. A gap in the numbers is a lost
//! record: whatever was open then keeps its operations and loses its latency.

use std::{mem::size_of, ops::Range};

use mcrec_schema::codes::{Op, Status};

use super::{Malformed, Operation, Tally};
use crate::{
    probe::record::{mcrec_command, mcrec_head, mcrec_kind, mcrec_operation},
    target::DESCRIPTORS_MAX,
};

/// The bytes of an operation's record before its key.
const FIXED: usize = std::mem::offset_of!(mcrec_operation, key);
/// A request with more keys than this is let go in parts, those but the last
/// without a latency, so that one endless multi-get cannot take all memory.
const KEYS_HELD: usize = 1 << 16;

/// Room for so many operations stays with a connection between its requests.
const OPERATIONS_KEPT: usize = 128;

/// Pairs the records of one recording.
#[derive(Debug, Default)]
pub(crate) struct UsdtDecoder {
    /// By file descriptor.
    connections: Vec<Option<Box<Connection>>>,
    last_conn_id: u64,
    last_request_id: u64,
    tally: Tally,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    generation: u32,
    next_sequence: u32,
    request: Request,
}

/// The request that a connection is being served. There is one for the life of
/// the connection, so that a request costs no allocation.
#[derive(Debug, Default)]
struct Request {
    open: bool,
    /// When it started; `None` if its start was not seen.
    start: Option<u64>,
    operations: Vec<Held>,
    /// The operations' keys, one after the other.
    keys: Vec<u8>,
    /// Keys that were already let go, or left out.
    keys_before: u32,
    id: Option<u64>,
}

/// What the record of an operation says beside its head.
#[derive(Debug)]
struct Fields<'a> {
    cas: u64,
    /// When its request started, if that was seen.
    started: Option<u64>,
    /// When the request before ended, if this is the first to tell.
    ended: Option<u64>,
    left_out: u32,
    key: &'a [u8],
}

/// An operation that waits for the end of its request.
#[derive(Debug)]
struct Held {
    head: mcrec_head,
    cas: u64,
    /// Operations outside of the sample between the one before and this one.
    left_out: u32,
    key: Range<usize>,
}

impl UsdtDecoder {
    /// Takes the next record and gives `out` every operation that it completes.
    ///
    /// # Errors
    ///
    /// When `record` is not a record of `bpf/mcrec.h`.
    pub(crate) fn decode(
        &mut self,
        record: &[u8],
        out: &mut impl FnMut(&Operation<'_>),
    ) -> Result<(), Malformed> {
        let head = read_head(record)?;
        let slot = self.slot(head.connection)?;
        let mut connection = match self.connections[slot].take() {
            Some(connection) if connection.generation == head.generation => connection,
            before => {
                if let Some(mut before) = before {
                    self.close(&mut before, None, out);
                }
                self.new_connection(head.generation)
            }
        };
        if head.sequence != connection.next_sequence {
            self.close(&mut connection, None, out);
        }
        connection.next_sequence = head.sequence.wrapping_add(1);
        let result = self.apply(&mut connection, head, record, out);
        let ended = u32::from(head.kind) == mcrec_kind::MCREC_DISCONNECT.0;
        self.connections[slot] = (!ended).then_some(connection);
        result
    }

    /// Gives out what is still open: requests whose end was not seen.
    pub(crate) fn finish(&mut self, out: &mut impl FnMut(&Operation<'_>)) {
        for mut connection in std::mem::take(&mut self.connections).into_iter().flatten() {
            self.close(&mut connection, None, out);
        }
    }

    /// The counts so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    fn slot(&mut self, descriptor: u32) -> Result<usize, Malformed> {
        let slot = usize::try_from(descriptor).map_err(|_| Malformed)?;
        if descriptor >= DESCRIPTORS_MAX {
            return Err(Malformed);
        }
        if slot >= self.connections.len() {
            self.connections.resize_with(slot + 1, || None);
        }
        Ok(slot)
    }

    fn new_connection(&mut self, generation: u32) -> Box<Connection> {
        self.last_conn_id += 1;
        let id = self.last_conn_id;
        Box::new(Connection { id, generation, next_sequence: 0, request: Request::default() })
    }

    fn apply(
        &mut self,
        connection: &mut Connection,
        head: mcrec_head,
        record: &[u8],
        out: &mut impl FnMut(&Operation<'_>),
    ) -> Result<(), Malformed> {
        match mcrec_kind(u32::from(head.kind)) {
            mcrec_kind::MCREC_COMMAND => self.operation(connection, head, record, out)?,
            mcrec_kind::MCREC_END => self.close(connection, Some(head.ts), out),
            mcrec_kind::MCREC_CONNECT | mcrec_kind::MCREC_DISCONNECT => {
                self.close(connection, None, out);
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn operation(
        &mut self,
        connection: &mut Connection,
        head: mcrec_head,
        record: &[u8],
        out: &mut impl FnMut(&Operation<'_>),
    ) -> Result<(), Malformed> {
        let fields = read_operation(head, record)?;
        self.tally.counted_records += 1;
        let another = fields.started.is_none() || connection.request.start != fields.started;
        if fields.ended.is_some() || another {
            self.close(connection, fields.ended, out);
        }
        let request = &mut connection.request;
        if !request.open {
            request.begin(fields.started);
        }
        request.hold(head, &fields);
        if fields.started.is_none() {
            // A request of its own, of unknown latency.
            self.close(connection, None, out);
        } else if request.operations.len() >= KEYS_HELD {
            self.let_go(connection, None, out);
        }
        Ok(())
    }

    /// Ends the open request, if any, at `end`, if that is known.
    fn close(
        &mut self,
        connection: &mut Connection,
        end: Option<u64>,
        out: &mut impl FnMut(&Operation<'_>),
    ) {
        let request = &mut connection.request;
        if !std::mem::take(&mut request.open) {
            return;
        }
        let latency = end.zip(request.start).map(|(end, start)| end.saturating_sub(start));
        self.let_go(connection, latency, out);
    }

    fn let_go(
        &mut self,
        connection: &mut Connection,
        latency: Option<u64>,
        out: &mut impl FnMut(&Operation<'_>),
    ) {
        let request = &mut connection.request;
        let request_id = *request.id.get_or_insert_with(|| {
            self.last_request_id += 1;
            self.last_request_id
        });
        for held in request.operations.drain(..) {
            let op = op(held.head.command);
            let (status, value_size) = outcome(op, held.head.size);
            request.keys_before = request.keys_before.saturating_add(held.left_out);
            out(&Operation {
                ts: held.head.ts,
                op,
                protocol: None,
                status,
                key: (held.head.key_unreadable == 0).then(|| &request.keys[held.key]),
                key_len: Some(u64::from(held.head.key_length)),
                value_size: value_size.map(u64::from),
                latency,
                ttl: None,
                client_flags: None,
                cas: cas(status, held.cas),
                cas_sent: None,
                cas_set: None,
                meta_flags: None,
                meta_returned: None,
                request_bytes: None,
                response_bytes: None,
                quiet: false,
                request_id,
                key_index: request.keys_before,
                conn_id: connection.id,
                client: None,
                thread_id: held.head.thread,
            });
            request.keys_before += 1;
        }
        request.keys.clear();
        // What a large multi-get took is given back: there may be many connections.
        request.operations.shrink_to(OPERATIONS_KEPT);
        request.keys.shrink_to(OPERATIONS_KEPT * 32);
    }
}

impl Request {
    fn begin(&mut self, start: Option<u64>) {
        self.open = true;
        self.start = start;
        self.keys_before = 0;
        self.id = None;
    }

    fn hold(&mut self, head: mcrec_head, fields: &Fields<'_>) {
        let begin = self.keys.len();
        self.keys.extend_from_slice(fields.key);
        // Those between requests were requests of their own.
        let left_out = if fields.started.is_some() { fields.left_out } else { 0 };
        let key = begin..self.keys.len();
        self.operations.push(Held { head, cas: fields.cas, left_out, key });
    }
}

pub(super) fn read_head(record: &[u8]) -> Result<mcrec_head, Malformed> {
    if record.len() < size_of::<mcrec_head>() {
        return Err(Malformed);
    }
    // SAFETY: the bytes are there, the read is unaligned, and mcrec_head is
    // integers only, so that any bytes are one.
    Ok(unsafe { record.as_ptr().cast::<mcrec_head>().read_unaligned() })
}

fn read_operation(head: mcrec_head, record: &[u8]) -> Result<Fields<'_>, Malformed> {
    let key = record.get(FIXED..).ok_or(Malformed)?;
    let known = (mcrec_command::MCREC_GET.0..=mcrec_command::MCREC_DELETE.0)
        .contains(&u32::from(head.command));
    if !known || key.len() != usize::from(head.key_length) {
        return Err(Malformed);
    }
    let number = |at: usize| {
        let bytes = record[..FIXED].get(at..).and_then(<[u8]>::first_chunk);
        bytes.map(|bytes| u64::from_ne_bytes(*bytes)).ok_or(Malformed)
    };
    let time = |at| number(at).map(|time| (time != 0).then_some(time));
    let left_out = number(std::mem::offset_of!(mcrec_operation, left_out))?;
    Ok(Fields {
        cas: number(std::mem::offset_of!(mcrec_operation, cas))?,
        started: time(std::mem::offset_of!(mcrec_operation, started))?,
        ended: time(std::mem::offset_of!(mcrec_operation, ended))?,
        left_out: u32::try_from(left_out).map_err(|_| Malformed)?,
        key,
    })
}

fn op(command: u8) -> Op {
    match mcrec_command(u32::from(command)) {
        mcrec_command::MCREC_GET => Op::Get,
        mcrec_command::MCREC_SET => Op::Set,
        mcrec_command::MCREC_ADD => Op::Add,
        mcrec_command::MCREC_REPLACE => Op::Replace,
        mcrec_command::MCREC_APPEND => Op::Append,
        mcrec_command::MCREC_PREPEND => Op::Prepend,
        mcrec_command::MCREC_CAS => Op::Cas,
        mcrec_command::MCREC_TOUCH => Op::Touch,
        mcrec_command::MCREC_INCR => Op::Incr,
        mcrec_command::MCREC_DECR => Op::Decr,
        mcrec_command::MCREC_DELETE => Op::Delete,
        _ => Op::Other,
    }
}

/// Status and value size from the probe's `size`: the value's length plus the
/// two bytes of its CRLF (also in the binary protocol), or -1.
fn outcome(op: Op, size: i32) -> (Status, Option<u32>) {
    let value_size = u32::try_from(size).ok().and_then(|size| size.checked_sub(2));
    let found = size >= 0;
    match op {
        Op::Get if found => (Status::Hit, value_size),
        Op::Get => (Status::Miss, None),
        // The probe of touch is that of binary touch, which returns no value,
        // and of binary gat, which does: so whether one was sent is not known.
        Op::Touch if found => (Status::Touched, None),
        Op::Touch => (Status::NotFound, None),
        // Its probe gives the size whatever became of the store.
        Op::Cas => (Status::Unknown, value_size),
        // These fire on success only, and say nothing of a value.
        Op::Incr | Op::Decr => (Status::Ok, None),
        Op::Delete => (Status::Deleted, None),
        _ if found => (Status::Stored, value_size),
        _ => (Status::NotStored, None),
    }
}

/// The item's CAS where the probe surely gives that: releases differ in what
/// they give for a store that failed, and where there is none it is 0.
fn cas(status: Status, cas: u64) -> Option<u64> {
    let known = matches!(status, Status::Hit | Status::Stored | Status::Touched);
    (known && cas != 0).then_some(cas)
}

#[cfg(test)]
mod tests;
