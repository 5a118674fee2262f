//! Operations from what the server read and sent.
//!
//! A connection is a descriptor and its socket's inode number: descriptors are
//! reused at once, inode numbers are not. What its bytes mean is the business of
//! `mcrec_protocol`; here they are brought to the right connection, and what comes
//! out gets its place in the capture. Each connection's records are numbered, so
//! that a lost one shows, and the connection waits for its next chance to get into
//! step.

mod datagrams;
mod words;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mcrec_protocol::{Connection, Dialect, Fault, Observer, Read, Reason, Rooms, Segment, Start};
use mcrec_schema::codes::{Op, Status};

use super::{Malformed, Operation, Tally, usdt::read_head};
use crate::{
    probe::record::{
        mcrec_address, mcrec_connect, mcrec_head, mcrec_kind, mcrec_read, mcrec_segment, mcrec_send,
    },
    target::DESCRIPTORS_MAX,
};
use datagrams::{Borrowed, Datagrams};
use words::{op, protocol, status};

/// Memory that the connections' unfinished requests may take together. Beyond it
/// those that hold more than their share are let go, and counted.
const HELD_MAX: usize = 40 << 20;
/// A share is half of that by as many as there are connections, and not less than this, which
/// most requests do not take.
const SHARE_LEAST: usize = 4 << 10;
/// Bytes of a read that one record holds, and records that a read is given.
const CHUNK: u32 = 16384;
const CHUNKS: u32 = 64;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Decodes the records of one recording.
#[derive(Debug)]
pub(crate) struct SyscallsDecoder {
    dialect: Dialect,
    /// By file descriptor.
    connections: Vec<Option<Box<Tracked>>>,
    /// Bytes that all of them hold.
    held: usize,
    /// For their requests.
    rooms: Rooms,
    numbers: Numbers,
    datagrams: Datagrams,
    tally: Tally,
}

/// Where the numbering of the capture is.
#[derive(Debug, Default)]
struct Numbers {
    connection: u64,
    request: u64,
}

#[derive(Debug)]
struct Tracked {
    who: Who,
    inode: u32,
    next_sequence: u32,
    connection: Connection,
    /// Bytes of the send at hand that no record has accounted for.
    sending: u64,
    /// Bytes that it held after its last record.
    held: usize,
}

/// What the operations of a connection have in common; of a UDP socket, those of a datagram.
#[derive(Debug)]
struct Who {
    id: u64,
    /// The worker that serves it.
    thread: u32,
    client: Option<String>,
    /// It is a UDP socket.
    datagrams: bool,
}

impl SyscallsDecoder {
    /// For a server of this `dialect`.
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            connections: Vec::new(),
            held: 0,
            rooms: Rooms::default(),
            numbers: Numbers::default(),
            datagrams: Datagrams::default(),
            tally: Tally::default(),
        }
    }

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
        let kind = mcrec_kind(u32::from(head.kind));
        let slot = self.slot(head.connection)?;
        let before = self.connections[slot].take();
        let mut tracked = match before {
            Some(tracked)
                if tracked.inode == head.generation
                    && kind != mcrec_kind::MCREC_CONNECT
                    && (kind != mcrec_kind::MCREC_DATAGRAM || tracked.who.datagrams) =>
            {
                tracked
            }
            // The end of a connection whose descriptor was given to the next one already.
            Some(next) if kind == mcrec_kind::MCREC_DISCONNECT => {
                self.connections[slot] = Some(next);
                return Ok(());
            }
            before => {
                if let Some(before) = before {
                    // Another socket has its descriptor, so it was closed: who says so may be
                    // slower than the accept, and is not listened to any more.
                    let ended = (before.inode != head.generation).then_some(head.ts);
                    self.forget(before, slot, ended, out);
                }
                self.begin(head, record, out)?
            }
        };
        if head.sequence != tracked.next_sequence {
            self.emit(&tracked.who, out, |emit| {
                tracked.connection.gap(emit);
            });
        }
        tracked.next_sequence = head.sequence.wrapping_add(1);
        let result = match kind {
            mcrec_kind::MCREC_CONNECT => Ok(()),
            mcrec_kind::MCREC_READ => {
                tracked.connection.take_room(&mut self.rooms);
                self.read(&mut tracked, head, record, out)
            }
            mcrec_kind::MCREC_DATAGRAM => self.datagram(&mut tracked, slot, head, record, out),
            mcrec_kind::MCREC_SEND => self.send(&mut tracked, head, record, out),
            mcrec_kind::MCREC_DISCONNECT => {
                self.forget(tracked, slot, Some(head.ts), out);
                return Ok(());
            }
            _ => Err(Malformed),
        };
        tracked.connection.leave_room(&mut self.rooms);
        self.bound(&mut tracked, out);
        let answered = tracked.who.datagrams.then(|| tracked.connection.is_idle());
        self.connections[slot] = Some(tracked);
        if let Some(answered) = answered {
            if answered {
                self.datagrams.end(slot);
            }
            self.release(head.ts, out);
        }
        result
    }

    /// Fetches into the caches what decoding `record` will need: with many connections, it
    /// lies in none.
    #[inline]
    pub(crate) fn expect(&self, record: &[u8]) {
        let Ok(head) = read_head(record) else { return };
        let slot = usize::try_from(head.connection).ok().and_then(|at| self.connections.get(at));
        if let Some(Some(tracked)) = slot {
            prefetch(&**tracked);
        }
    }

    /// Gives out what is still open: requests whose replies were not seen.
    pub(crate) fn finish(&mut self, out: &mut impl FnMut(&Operation<'_>)) {
        let connections = std::mem::take(&mut self.connections).into_iter().enumerate();
        for (slot, tracked) in connections {
            let Some(mut tracked) = tracked else { continue };
            // A reply may yet come that nobody sees, so silence says nothing.
            self.emit(&tracked.who, out, |emit| {
                tracked.connection.gap(emit);
            });
            self.forget(tracked, slot, None, out);
        }
        self.release(u64::MAX, out);
    }

    /// Gives out what came by UDP and need not wait for what came before it, where all records
    /// up to `now` (`CLOCK_MONOTONIC`, ns) have come.
    pub(crate) fn release(&mut self, now: u64, out: &mut impl FnMut(&Operation<'_>)) {
        while let Some(slot) = self.datagrams.overdue(now) {
            if let Some(mut tracked) = self.connections.get_mut(slot).and_then(Option::take) {
                self.emit(&tracked.who, out, |emit| tracked.connection.close(emit));
                self.connections[slot] = Some(tracked);
            }
            self.datagrams.end(slot);
        }
        self.datagrams.release(now, &mut self.numbers.request, out);
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

    /// A connection that was not seen before: by its own record, or, where that
    /// was lost, by what it does.
    fn begin(
        &mut self,
        head: mcrec_head,
        record: &[u8],
        out: &mut impl FnMut(&Operation<'_>),
    ) -> Result<Box<Tracked>, Malformed> {
        let kind = mcrec_kind(u32::from(head.kind));
        let mut start = match kind {
            mcrec_kind::MCREC_DATAGRAM => Start::Datagrams,
            _ => Start::Lost,
        };
        let mut accepted = false;
        let mut client = None;
        if kind == mcrec_kind::MCREC_CONNECT {
            let connect: mcrec_connect = fixed(record)?;
            accepted = connect.accepted != 0;
            start = match (connect.stream != 0, accepted) {
                (false, _) => Start::Datagrams,
                (true, true) => Start::Beginning,
                (true, false) => Start::Midst,
            };
            // Of a UDP socket, each datagram has its own client.
            client = (start != Start::Datagrams).then(|| address(&connect.client));
        }
        let datagrams = start == Start::Datagrams;
        // There each client has its own number.
        self.numbers.connection += u64::from(!datagrams);
        let id = self.numbers.connection;
        let tracked = Box::new(Tracked {
            who: Who { id, thread: head.thread, client, datagrams },
            inode: head.generation,
            // A lost beginning is no gap: nothing is known before it anyway.
            next_sequence: head.sequence,
            connection: Connection::new(self.dialect, start),
            sending: 0,
            held: 0,
        });
        if accepted {
            self.event(Op::Connect, &tracked.who, head.ts, out);
        }
        Ok(tracked)
    }

    /// Gives out what is open on a connection that ended, at `ended` if it did.
    fn forget(
        &mut self,
        mut tracked: Box<Tracked>,
        slot: usize,
        ended: Option<u64>,
        out: &mut impl FnMut(&Operation<'_>),
    ) {
        self.held -= tracked.held;
        self.emit(&tracked.who, out, |emit| {
            tracked.connection.close(emit);
        });
        if tracked.who.datagrams {
            // A socket that ended is not the end of its clients.
            self.datagrams.end(slot);
        } else if let Some(ended) = ended {
            self.event(Op::Disconnect, &tracked.who, ended, out);
        }
    }

    /// The beginning or the end of a connection is a row too.
    fn event(&mut self, op: Op, who: &Who, ts: u64, out: &mut impl FnMut(&Operation<'_>)) {
        self.numbers.request += 1;
        out(&Operation {
            ts,
            op,
            protocol: None,
            status: Status::Ok,
            key: None,
            key_len: None,
            value_size: None,
            latency: None,
            ttl: None,
            client_flags: None,
            cas: None,
            cas_sent: None,
            cas_set: None,
            meta_flags: None,
            meta_returned: None,
            request_bytes: None,
            response_bytes: None,
            quiet: false,
            request_id: self.numbers.request,
            key_index: 0,
            conn_id: who.id,
            client: who.client.as_deref(),
            thread_id: who.thread,
        });
    }

    fn read(
        &mut self,
        tracked: &mut Tracked,
        head: mcrec_head,
        record: &[u8],
        out: &mut impl FnMut(&Operation<'_>),
    ) -> Result<(), Malformed> {
        let read: mcrec_read = fixed(record)?;
        let data = record.get(size_of::<mcrec_read>()..).ok_or(Malformed)?;
        tracked.who.thread = head.thread;
        let piece = piece(&read, data)?;
        // As the kernel does.
        self.tally.counted_records += u64::from(read.offset == 0 && piece.begins_request());
        self.emit(&tracked.who, out, |emit| {
            if read.offset == 0 {
                tracked.connection.received(piece, head.ts, emit);
            } else {
                tracked.connection.received_more(piece, head.ts, emit);
            }
        });
        Ok(())
    }

    fn datagram(
        &mut self,
        tracked: &mut Tracked,
        slot: usize,
        head: mcrec_head,
        record: &[u8],
        out: &mut impl FnMut(&Operation<'_>),
    ) -> Result<(), Malformed> {
        let read: mcrec_read = fixed(record)?;
        let rest = record.get(size_of::<mcrec_read>()..).ok_or(Malformed)?;
        let source: mcrec_address = fixed(rest)?;
        let (name, data) = rest.split_first_chunk().ok_or(Malformed)?;
        self.tally.counted_records += u64::from(read.offset == 0);
        let piece = piece(&read, data)?;
        tracked.who.thread = head.thread;
        if read.offset > 0 {
            self.emit(&tracked.who, out, |emit| {
                tracked.connection.received_more(piece, head.ts, emit);
            });
            return Ok(());
        }
        // What is still open is another client's.
        self.emit(&tracked.who, out, |emit| {
            tracked.connection.close(emit);
        });
        tracked.who.client = (source.family != 0).then(|| address(&source));
        let pair = (tracked.inode, *name);
        tracked.who.id = self.datagrams.connection(pair, &mut self.numbers.connection);
        self.datagrams.begin(slot, tracked.who.id, head.ts);
        self.emit(&tracked.who, out, |emit| {
            tracked.connection.received(piece, head.ts, emit);
        });
        Ok(())
    }

    fn send(
        &mut self,
        tracked: &mut Tracked,
        head: mcrec_head,
        record: &[u8],
        out: &mut impl FnMut(&Operation<'_>),
    ) -> Result<(), Malformed> {
        let send: mcrec_send = fixed(record)?;
        let mut rest = record.get(size_of::<mcrec_send>()..).ok_or(Malformed)?;
        if send.first == 0 {
            tracked.sending = u64::from(send.accepted);
        }
        let accepted = tracked.sending;
        let segments = std::iter::from_fn(|| {
            let (segment, after) = segment(rest)?;
            rest = after;
            tracked.sending = tracked.sending.saturating_sub(segment.length);
            Some(segment)
        });
        self.emit(&tracked.who, out, |emit| {
            tracked.connection.sent(segments, accepted, head.ts, emit);
        });
        Ok(())
    }

    /// Bytes that each connection may hold where all hold too much.
    fn share(&self) -> usize {
        (HELD_MAX / 2 / self.connections.len().max(1)).max(SHARE_LEAST)
    }

    /// Keeps what connections hold within bounds, whatever their clients send.
    fn bound(&mut self, tracked: &mut Tracked, out: &mut impl FnMut(&Operation<'_>)) {
        let others = self.held - tracked.held;
        tracked.held = tracked.connection.held();
        if others + tracked.held > HELD_MAX && tracked.held > self.share() {
            self.emit(&tracked.who, out, |emit| {
                tracked.connection.give_up(emit);
            });
            tracked.held = tracked.connection.held();
        }
        self.held = others + tracked.held;
    }

    fn emit<F: FnMut(&Operation<'_>)>(
        &mut self,
        who: &Who,
        out: &mut F,
        work: impl FnOnce(&mut Emit<'_, F>),
    ) {
        let later = who.datagrams.then_some(&mut self.datagrams);
        work(&mut Emit { out, later, numbers: &mut self.numbers, tally: &mut self.tally, who });
    }
}

/// Gives the operations of a connection their place in the capture.
struct Emit<'a, F> {
    out: &'a mut F,
    /// Where they go that may have to wait for others.
    later: Option<&'a mut Datagrams>,
    numbers: &'a mut Numbers,
    tally: &'a mut Tally,
    who: &'a Who,
}

impl<F: FnMut(&Operation<'_>)> Observer for Emit<'_, F> {
    #[inline]
    fn operation(&mut self, operation: &mcrec_protocol::Operation<'_>) {
        let borrowed = Borrowed {
            key: operation.key,
            client: self.who.client.as_deref(),
            meta_flags: operation.meta_flags,
        };
        if let Some(later) = &mut self.later {
            later.hold(row(operation, Borrowed::default(), self.who, 0), borrowed);
            return;
        }
        if operation.key_index == 0 {
            self.numbers.request += 1;
        }
        (self.out)(&row(operation, borrowed, self.who, self.numbers.request));
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Unsynced => self.tally.unsynced += 1,
            // What is missing was counted where it was lost.
            Fault::Desynced(Reason::Gap) => {}
            Fault::Desynced(_) => self.tally.decode_errors += 1,
            Fault::Encrypted => self.tally.encrypted += 1,
        }
    }
}

/// An operation of the protocol as one of the capture.
#[inline]
fn row<'a>(
    operation: &mcrec_protocol::Operation<'_>,
    borrowed: Borrowed<'a>,
    who: &Who,
    request_id: u64,
) -> Operation<'a> {
    let latency = operation.answered_at.map(|at| at.saturating_sub(operation.received_at));
    Operation {
        ts: operation.received_at,
        op: op(operation.command),
        protocol: Some(protocol(operation.protocol)),
        status: status(operation.outcome),
        key: borrowed.key,
        key_len: operation.key_length,
        value_size: operation.value_size,
        latency,
        ttl: operation.ttl,
        client_flags: operation.client_flags,
        cas: operation.cas,
        cas_sent: operation.cas_sent,
        cas_set: operation.cas_set,
        meta_flags: borrowed.meta_flags,
        meta_returned: operation.meta_returned,
        request_bytes: Some(operation.request_bytes),
        response_bytes: Some(operation.response_bytes),
        quiet: operation.quiet,
        request_id,
        key_index: operation.key_index,
        conn_id: who.id,
        client: borrowed.client,
        thread_id: who.thread,
    }
}

/// Begins to fetch all lines of a value into the caches, and does not wait.
#[inline]
fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of::<T>()).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: within the value; and it is only a hint.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>().add(line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// The part of a read that a record holds. The last part has what was not copied.
fn piece<'a>(read: &mcrec_read, data: &'a [u8]) -> Result<Read<'a>, Malformed> {
    if data.len() as u64 != u64::from(read.copied) {
        return Err(Malformed);
    }
    let rest = read.length.checked_sub(read.offset).ok_or(Malformed)?;
    let more_follow = read.copied == CHUNK && rest > CHUNK && read.offset < (CHUNKS - 1) * CHUNK;
    Ok(Read {
        asked: u64::from(read.asked.saturating_sub(read.offset)),
        length: u64::from(if more_follow { CHUNK } else { rest }),
        data,
    })
}

/// The next segment of a send, and what follows it.
fn segment(bytes: &[u8]) -> Option<(Segment<'_>, &[u8])> {
    let fixed: mcrec_segment = fixed(bytes).ok()?;
    let rest = &bytes[size_of::<mcrec_segment>()..];
    let (head, rest) = rest.split_at_checked(usize::from(fixed.head))?;
    let (tail, rest) = rest.split_at_checked(usize::from(fixed.tail))?;
    Some((Segment { length: u64::from(fixed.length), head, tail }, rest))
}

/// Types of `bpf/mcrec.h` that any bytes are a value of: integers only.
trait Plain: Copy {}
impl Plain for mcrec_address {}
impl Plain for mcrec_connect {}
impl Plain for mcrec_read {}
impl Plain for mcrec_send {}
impl Plain for mcrec_segment {}

/// The fixed part at the beginning of `bytes`.
fn fixed<T: Plain>(bytes: &[u8]) -> Result<T, Malformed> {
    if bytes.len() < size_of::<T>() {
        return Err(Malformed);
    }
    // SAFETY: the bytes are there, the read is unaligned, and any bytes are a T.
    Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

fn address(address: &mcrec_address) -> String {
    let [a, b, c, d, ..] = address.ip;
    let ip: IpAddr = match address.family {
        AF_INET => Ipv4Addr::new(a, b, c, d).into(),
        AF_INET6 => Ipv6Addr::from(address.ip).to_canonical(),
        _ => return "unix".to_owned(),
    };
    SocketAddr::new(ip, address.port).to_string()
}

#[cfg(test)]
mod tests;
