//! The bytes of a request in each protocol.

mod binary;
mod meta;
mod text;

use mcrec_schema::codes::{Op, Protocol};

use crate::{
    request::{Group, KEY_MAX, Request},
    value::Values,
};

/// What a request is written with that the capture does not know.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    /// Values for stores.
    pub(crate) values: &'a Values,
    /// Tells the request's reply from others, where the protocol has room for it.
    pub(crate) opaque: u32,
    /// The CAS unique that a request with that condition compares with.
    pub(crate) cas: u64,
    /// By how much absolute times to live are later now, s.
    pub(crate) later_s: i64,
}

/// What answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing, ever.
    Nothing,
    /// A line of the text protocol.
    Line,
    /// Values, up to `END`.
    Values,
    /// Lines, up to `END`.
    List,
    /// A line of the meta protocol, with the opaque token if it is quiet.
    Meta,
    /// A packet with its opaque number.
    Packet,
    /// Packets with it, up to an empty one.
    Packets,
}

/// Times to live above this are points in time (`REALTIME_MAXDELTA`), s.
const RELATIVE_MAX: i64 = 60 * 60 * 24 * 30;

impl Writing<'_> {
    /// The time to live that means now what `ttl` meant when it was recorded. Servers keep its
    /// low 32 bits, so of a larger one those say whether it is a point in time.
    fn ttl(&self, ttl: i64) -> i64 {
        let kept = i32::from_le_bytes(ttl.to_le_bytes()[..4].try_into().expect("four bytes"));
        if i64::from(kept) > RELATIVE_MAX { ttl.saturating_add(self.later_s) } else { ttl }
    }
}

/// Appends `request` of `group` to `out`.
pub(crate) fn write(group: &Group, request: &Request, with: &Writing<'_>, out: &mut Vec<u8>) {
    match request.protocol {
        Protocol::Text => text::write(group, request, with, out),
        Protocol::Meta => meta::write(group, request, with, out),
        Protocol::Binary => binary::write(group, request, with, out),
    }
}

/// What will answer `request`.
pub(crate) fn answer(request: &Request) -> Answer {
    match (request.protocol, request.op) {
        (Protocol::Binary, Op::Stats) => Answer::Packets,
        (Protocol::Binary, _) => Answer::Packet,
        (_, Op::Quit) => Answer::Nothing,
        (_, Op::Stats) => Answer::List,
        (_, Op::Version) => Answer::Line,
        (_, Op::FlushAll) if request.quiet => Answer::Nothing,
        (_, Op::FlushAll) => Answer::Line,
        (Protocol::Meta, _) | (_, Op::Debug) => Answer::Meta,
        (_, _) if request.reads() => Answer::Values,
        (_, _) if request.quiet => Answer::Nothing,
        _ => Answer::Line,
    }
}

/// Whether `protocol` has a condition on the CAS unique for `op`.
pub(crate) fn can_compare(protocol: Protocol, op: Op) -> bool {
    let changes = matches!(op, Op::Delete | Op::Incr | Op::Decr);
    op == Op::Cas || (changes && protocol != Protocol::Text)
}

/// Whether the time to live of an `op` matters. That of an append is not looked at, and
/// has no place in the binary protocol.
pub(crate) fn needs_ttl(op: Op) -> bool {
    matches!(op, Op::Set | Op::Add | Op::Replace | Op::Cas | Op::Gat | Op::Gats | Op::Touch)
}

/// Whether `protocol` can say `op` on `key`; `None` of a key where there is none.
pub(crate) fn can_say(protocol: Protocol, op: Op, key: Option<&[u8]>) -> bool {
    let sayable = match op {
        Op::Auth | Op::Watch | Op::Other | Op::Connect | Op::Disconnect => false,
        Op::Debug => protocol != Protocol::Binary && key.is_some(),
        Op::FlushAll | Op::Stats | Op::Version | Op::Noop | Op::Quit => true,
        _ => key.is_some(),
    };
    sayable && key.is_none_or(|key| !key.is_empty() && fits(protocol, op, key))
}

fn fits(protocol: Protocol, op: Op, key: &[u8]) -> bool {
    match protocol {
        Protocol::Binary => key.len() <= KEY_MAX,
        Protocol::Meta if op != Op::Debug => meta::fits(key),
        _ => key.len() <= KEY_MAX && is_word(key),
    }
}

/// Whether a line can hold `key` as a word.
fn is_word(key: &[u8]) -> bool {
    !key.iter().any(|byte| matches!(byte, 0 | b' ' | b'\r' | b'\n'))
}

/// Appends `number` in decimal.
fn decimal(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10).to_le_bytes()[0];
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `number` in decimal, with its sign.
fn signed(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    decimal(number.unsigned_abs(), out);
}

#[cfg(test)]
mod tests;
