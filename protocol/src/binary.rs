//! Packets of the binary protocol (memcached's doc/protocol-binary.txt).

use crate::{
    operation::{Command, Outcome, Protocol},
    pending::{KEY_MAX, Queue, Request},
    release::Rules,
    reply::{Kinds, Reply},
    text::Next,
};

/// Bytes of a header.
pub(crate) const HEADER: usize = 24;
pub(crate) const REQUEST: u8 = 0x80;
const REPLY: u8 = 0x81;
/// The highest that any release knows.
const OPCODE_MAX: u8 = 0x48;
pub(crate) const STAT: u8 = 0x10;

/// The parts of a header that requests and replies have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) magic: u8,
    pub(crate) opcode: u8,
    pub(crate) key: usize,
    pub(crate) extras: usize,
    pub(crate) data_type: u8,
    /// Of a reply.
    pub(crate) status: u16,
    pub(crate) body: u64,
    pub(crate) opaque: u32,
    pub(crate) cas: u64,
}

impl Header {
    /// Reads a header; `None` until it is there.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let data: &[u8; HEADER] = data.first_chunk()?;
        let short = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
        let long =
            |at: usize| u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
        Some(Self {
            magic: data[0],
            opcode: data[1],
            key: usize::from(short(2)),
            extras: usize::from(data[4]),
            data_type: data[5],
            status: short(6),
            body: u64::from(long(8)),
            opaque: long(12),
            cas: u64::from(long(16)) << 32 | u64::from(long(20)),
        })
    }

    /// Bytes of header, extras and key, which the server waits for together.
    pub(crate) fn front(&self) -> usize {
        HEADER + self.extras + self.key
    }

    fn value(&self) -> u64 {
        self.body.saturating_sub((self.extras + self.key) as u64)
    }

    /// Whether this can be the beginning of a request, to get into step.
    pub(crate) fn begins(&self) -> bool {
        self.magic == REQUEST
            && self.opcode <= OPCODE_MAX
            && self.data_type == 0
            && self.key <= KEY_MAX
            && self.extras <= 20
            && (self.key + self.extras) as u64 <= self.body
    }
}

/// Whether `data`, shorter than a header, can be the beginning of a request.
pub(crate) fn may_begin(data: &[u8]) -> bool {
    data.first() == Some(&REQUEST) && data.get(1).is_none_or(|&opcode| opcode <= OPCODE_MAX)
}

/// An opcode, without regard to quietness.
struct Opcode {
    command: Command,
    /// What silence means, for the quiet twin.
    quiet: Option<Outcome>,
    extras: &'static [usize],
    /// Has a key: always, never, or as it likes.
    key: Option<bool>,
    /// Has a value.
    value: bool,
}

fn opcode(number: u8) -> Option<Opcode> {
    let of =
        |command, quiet, extras, key, value| Some(Opcode { command, quiet, extras, key, value });
    let (yes, no) = (Some(true), Some(false));
    let stored = Some(Outcome::Stored);
    match number {
        0x00 | 0x0c => of(Command::Get, None, &[0], yes, false),
        0x09 | 0x0d => of(Command::Get, Some(Outcome::Miss), &[0], yes, false),
        0x01 => of(Command::Set, None, &[8], yes, true),
        0x02 => of(Command::Add, None, &[8], yes, true),
        0x03 => of(Command::Replace, None, &[8], yes, true),
        0x11 => of(Command::Set, stored, &[8], yes, true),
        0x12 => of(Command::Add, stored, &[8], yes, true),
        0x13 => of(Command::Replace, stored, &[8], yes, true),
        0x04 => of(Command::Delete, None, &[0], yes, false),
        0x14 => of(Command::Delete, Some(Outcome::Deleted), &[0], yes, false),
        0x05 => of(Command::Incr, None, &[20], yes, false),
        0x06 => of(Command::Decr, None, &[20], yes, false),
        0x15 => of(Command::Incr, Some(Outcome::Ok), &[20], yes, false),
        0x16 => of(Command::Decr, Some(Outcome::Ok), &[20], yes, false),
        0x07 => of(Command::Quit, None, &[0], no, false),
        0x17 => of(Command::Quit, Some(Outcome::NoReply), &[0], no, false),
        0x08 => of(Command::FlushAll, None, &[0, 4], no, false),
        0x18 => of(Command::FlushAll, Some(Outcome::Ok), &[0, 4], no, false),
        0x0a => of(Command::Noop, None, &[0], no, false),
        0x0b => of(Command::Version, None, &[0], no, false),
        0x0e => of(Command::Append, None, &[0], yes, true),
        0x0f => of(Command::Prepend, None, &[0], yes, true),
        0x19 => of(Command::Append, stored, &[0], yes, true),
        0x1a => of(Command::Prepend, stored, &[0], yes, true),
        STAT => of(Command::Stats, None, &[0], None, false),
        0x1c => of(Command::Touch, None, &[4], yes, false),
        0x1d | 0x23 => of(Command::Gat, None, &[4], yes, false),
        0x1e | 0x24 => of(Command::Gat, Some(Outcome::Miss), &[4], yes, false),
        0x20 => of(Command::Auth, None, &[0], no, false),
        0x21 | 0x22 => of(Command::Auth, None, &[0], yes, true),
        _ => None,
    }
}

/// Reads a request: `packet` has its header, extras and key.
pub(crate) fn request(header: Header, packet: &[u8], rules: &Rules, queue: &mut Queue) -> Next {
    let known = opcode(header.opcode);
    let fits = (header.key + header.extras) as u64 <= header.body
        && header.key <= KEY_MAX
        && header.body <= rules.packet_body_max;
    let mut request = Request::new(Protocol::Binary, Command::Other, Kinds::PACKET);
    request.opcode = header.opcode;
    request.opaque = header.opaque;
    let Some(known) = known else {
        // Refused, and so many more bytes are swallowed: the whole body, though
        // extras and key were read already.
        queue.push(request, std::iter::empty(), None);
        set_bytes(queue, header.front() as u64 + header.body);
        return if !fits { Next::Nothing } else { body(header.body, queue) };
    };
    let extras = &packet[HEADER..HEADER + header.extras];
    let key = &packet[HEADER + header.extras..];
    // What is left of the body of these is taken for the next packet.
    let leaves_value = matches!(known.command, Command::Stats | Command::Touch | Command::Gat);
    let well_formed = fits
        && known.extras.contains(&header.extras)
        && known.key.is_none_or(|has| has == (header.key > 0))
        && (known.value || leaves_value || header.value() == 0);
    request.command = known.command;
    if known.value && header.cas != 0 && known.command != Command::Auth {
        request.command = Command::Cas;
    }
    if well_formed {
        request.quiet = known.quiet.is_some();
        request.silence = known.quiet;
        request.lists = known.command == Command::Stats;
        let ttl_at = if header.extras == 4 { 0 } else { header.extras.saturating_sub(4) };
        let compares =
            known.value || matches!(known.command, Command::Delete | Command::Incr | Command::Decr);
        request.cas_sent = (compares && header.cas != 0).then_some(header.cas);
        request.ttl = (header.extras >= 4).then(|| i64::from(long(extras, ttl_at)));
    }
    let stores = known.value && known.command != Command::Auth;
    // The key of an authentication is the mechanism, and of stats a topic.
    let has_key = header.key > 0 && !matches!(known.command, Command::Auth | Command::Stats);
    let value = if leaves_value { 0 } else { header.value() };
    let size = header.front() as u64 + value;
    queue.push(request, has_key.then_some((key, size)).into_iter(), None);
    if let Some(entry) = queue.last_entry_mut() {
        entry.request_bytes = size;
        if well_formed && stores {
            entry.value_size = Some(header.value());
            entry.client_flags = (header.extras == 8).then(|| u64::from(long(extras, 0)));
        }
    }
    match known.command {
        // Answered, and then closed.
        _ if !well_formed => Next::Nothing,
        Command::Quit => Next::Nothing,
        _ => body(value, queue),
    }
}

fn body(bytes: u64, queue: &mut Queue) -> Next {
    if bytes == 0 {
        return Next::Request;
    }
    if let Some(request) = queue.last_mut() {
        request.whole = false;
    }
    Next::Body(bytes)
}

fn set_bytes(queue: &mut Queue, bytes: u64) {
    if let Some(entry) = queue.last_entry_mut() {
        entry.request_bytes = bytes;
    }
}

fn long(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |part| u32::from_be_bytes([part[0], part[1], part[2], part[3]]))
}

/// Reads a reply: `packet` has its header, extras and key. `None` if it is none.
pub(crate) fn reply(header: Header, packet: &[u8]) -> Option<Reply> {
    if header.magic != REPLY || (header.key + header.extras) as u64 > header.body {
        return None;
    }
    let extras = &packet[HEADER..HEADER + header.extras];
    let key = HEADER + header.extras..header.front();
    Some(Reply {
        kind: Kinds::PACKET,
        body: Some(header.value()),
        value_size: Some(header.value()),
        client_flags: (header.extras == 4 && header.status == 0)
            .then(|| u64::from(long(extras, 0))),
        cas: (header.cas != 0 && header.status == 0).then_some(header.cas),
        key: (header.key > 0 && header.opcode != STAT).then_some(key),
        opcode: header.opcode,
        opaque: header.opaque,
        status: header.status,
        ..Reply::default()
    })
}

/// Whether this packet is the empty one that ends a list.
pub(crate) fn ends_list(header: &Header) -> bool {
    header.magic == REPLY
        && header.opcode == STAT
        && header.status == 0
        && header.key == 0
        && header.extras == 0
        && header.body == 0
}

/// Whether more packets of the same list follow this reply.
pub(crate) fn continues(header: &Header) -> bool {
    header.opcode == STAT && header.status == 0 && header.body > 0
}
