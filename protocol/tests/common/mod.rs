//! A small memcached that only reads and sends: given what it would answer, it
//! makes the reads and sends that memcached makes, however the network splits them.
#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

pub mod buffers;
pub mod hand;
pub mod script;

use buffers::{Copier, Copying, Joining, join};
use mcrec_protocol::{Connection, Dialect, Fault, Observer, Operation, Read, Segment, Start};

/// One element of what is sent.
#[derive(Clone, Debug)]
pub struct Vector {
    pub bytes: Vec<u8>,
    /// A value: not all of it is copied.
    pub value: bool,
}

/// One request, and what becomes of it.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Its line, or its header, extras and key.
    pub request: Vec<u8>,
    pub body: Vec<u8>,
    /// The body is waited for in the buffer of commands, like credentials.
    pub buffered: bool,
    pub reply: Vec<Vector>,
    /// The operations, as `show` writes them.
    pub expected: Vec<String>,
}

/// How the network and the kernel split.
#[derive(Clone, Debug)]
pub struct Splits {
    /// Sizes of what comes, again and again.
    pub reads: Vec<usize>,
    /// Sizes of what is accepted.
    pub sends: Vec<usize>,
    /// Bytes that are copied of the beginning of a value that is read.
    pub copied: usize,
    /// What is copied of what is sent.
    pub copying: Copying,
    /// What is sent from one buffer.
    pub joining: Joining,
    /// Requests after which replies go out all the same.
    pub burst: usize,
}

impl Splits {
    pub fn none() -> Self {
        Self {
            reads: vec![1 << 30],
            sends: vec![1 << 30],
            copied: 0,
            copying: Copying::Ends(0, 0),
            joining: Joining::Apart,
            burst: 20,
        }
    }
}

/// What the recorder sees.
#[derive(Clone, Debug)]
pub enum Event {
    Read { asked: usize, length: usize, data: Vec<u8> },
    Send { segments: Vec<(usize, Vec<u8>, Vec<u8>)>, accepted: usize },
}

struct Server<'a> {
    splits: &'a Splits,
    /// Sent by the client, not read yet.
    network: &'a [u8],
    events: Vec<Event>,
    buffer: Vec<u8>,
    size: usize,
    /// A reply of each request.
    pending: Vec<Vec<Vector>>,
    copier: Copier,
    turn: usize,
}

impl Server<'_> {
    fn read(&mut self, asked: usize, copied: bool) -> Vec<u8> {
        assert!(asked > 0 && !self.network.is_empty(), "the script ends in mid-request");
        let chunk = self.splits.reads[self.turn % self.splits.reads.len()].max(1);
        self.turn += 1;
        let (now, later) = self.network.split_at(asked.min(chunk).min(self.network.len()));
        self.network = later;
        let data = if copied { now } else { &now[..now.len().min(self.splits.copied)] };
        self.events.push(Event::Read { asked, length: now.len(), data: data.to_vec() });
        now.to_vec()
    }

    fn flush(&mut self) {
        let mut pending = join(std::mem::take(&mut self.pending), &self.splits.joining);
        while !pending.is_empty() {
            let total: usize = pending.iter().map(|buffer| buffer.bytes.len()).sum();
            let room = self.splits.sends[self.turn % self.splits.sends.len()].max(1);
            self.turn += 1;
            let mut accepted = room.min(total);
            let segments = self.copier.copy(&pending, accepted, self.splits);
            self.events.push(Event::Send { segments, accepted });
            while accepted > 0 {
                let first = &mut pending[0];
                let taken = accepted.min(first.bytes.len());
                first.advance(taken);
                accepted -= taken;
                if first.bytes.is_empty() {
                    pending.remove(0);
                }
            }
        }
    }

    /// Until the buffer has so many bytes.
    fn fill(&mut self, wanted: usize, long_line: bool) {
        while self.buffer.len() < wanted {
            self.flush();
            if self.buffer.is_empty() {
                self.size = 16384;
            }
            if long_line && self.size == 16384 && self.buffer.len() > 2048 {
                self.size = 32768;
            }
            if self.buffer.len() == self.size {
                self.size *= 2;
            }
            let more = self.read(self.size - self.buffer.len(), true);
            self.buffer.extend(more);
        }
    }

    fn serve(&mut self, step: &Step) {
        let whole = if step.buffered { step.body.len() } else { 0 } + step.request.len();
        self.fill(whole, step.request.starts_with(b"get"));
        self.buffer.drain(..whole);
        let mut left = if step.buffered { 0 } else { step.body.len() };
        let here = left.min(self.buffer.len());
        self.buffer.drain(..here);
        left -= here;
        while left > 0 {
            left -= self.read(left, false).len();
        }
        self.pending.push(step.reply.clone());
    }
}

/// What a recorder sees of a server that serves `steps`.
pub fn serve(steps: &[Step], splits: &Splits) -> Vec<Event> {
    let sent: Vec<u8> =
        steps.iter().flat_map(|step| [&step.request[..], &step.body[..]].concat()).collect();
    let mut server = Server {
        splits,
        network: &sent,
        events: Vec::new(),
        buffer: Vec::new(),
        size: 16384,
        pending: Vec::new(),
        copier: Copier::default(),
        turn: 0,
    };
    for (number, step) in steps.iter().enumerate() {
        server.serve(step);
        if number % splits.burst.max(1) == splits.burst.max(1) - 1 {
            server.flush();
        }
    }
    server.flush();
    server.events
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub struct Log {
    pub operations: Vec<String>,
    pub faults: Vec<Fault>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Everything, to search.
    pub debug: String,
    next_index: u32,
}

impl Observer for Log {
    fn operation(&mut self, operation: &Operation<'_>) {
        assert!(operation.key_index == 0 || operation.key_index == self.next_index);
        self.next_index = operation.key_index + 1;
        self.operations.push(show(operation));
        self.request_bytes += operation.request_bytes;
        self.response_bytes += operation.response_bytes;
        assert!(operation.answered_at.is_none_or(|at| at > operation.received_at));
        self.debug += &format!("{operation:?}");
        self.debug += &String::from_utf8_lossy(operation.key.unwrap_or_default());
    }

    fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }
}

/// An operation as one short line: `-` for no key, `~` for no reply, `q` for quiet.
pub fn show(operation: &Operation<'_>) -> String {
    let key = match (operation.key, operation.key_length) {
        (Some(key), _) => String::from_utf8_lossy(key).into_owned(),
        (None, Some(length)) => format!("[{length}]"),
        (None, None) => "-".to_owned(),
    };
    let mut line = format!("{:?} {key} {:?}", operation.command, operation.outcome);
    let ttl = operation.ttl.map(|ttl| ttl.to_string());
    let parts = [
        ('v', operation.value_size.map(|size| size.to_string())),
        ('f', operation.client_flags.map(|flags| flags.to_string())),
        ('c', operation.cas.map(|cas| cas.to_string())),
        ('C', operation.cas_sent.map(|cas| cas.to_string())),
        ('E', operation.cas_set.map(|cas| cas.to_string())),
        ('t', ttl),
    ];
    for (name, part) in parts {
        if let Some(part) = part {
            line += &format!(" {name}{part}");
        }
    }
    if operation.quiet {
        line += " q";
    }
    if operation.answered_at.is_none() {
        line += " ~";
    }
    line
}

/// Gives `events`, the first of them of the time `start`, to `connection`.
pub fn feed(connection: &mut Connection, events: &[Event], start: u64, log: &mut impl Observer) {
    for (at, event) in (start..).zip(events) {
        match event {
            Event::Read { asked, length, data } => {
                let read = Read { asked: *asked as u64, length: *length as u64, data };
                connection.received(read, at, log);
            }
            Event::Send { segments, accepted } => {
                let segments = segments.iter().map(|(length, head, tail)| Segment {
                    length: *length as u64,
                    head,
                    tail,
                });
                connection.sent(segments, *accepted as u64, at, log);
            }
        }
    }
}

/// What a connection that is seen from its beginning tells of `steps`.
pub fn decode(dialect: Dialect, steps: &[Step], splits: &Splits) -> Log {
    let mut log = Log::default();
    let mut connection = Connection::new(dialect, Start::Beginning);
    feed(&mut connection, &serve(steps, splits), 0, &mut log);
    connection.close(&mut log);
    log
}

/// Serves `steps` without splits, and checks what is told of them.
#[track_caller]
pub fn check(dialect: Dialect, steps: &[Step]) {
    let log = decode(dialect, steps, &Splits::none());
    assert_eq!(log.operations, expected(steps));
    assert_eq!(log.faults, []);
}

pub fn expected(steps: &[Step]) -> Vec<String> {
    steps.iter().flat_map(|step| step.expected.clone()).collect()
}
