//! The meta protocol. The recorded flags are sent, in their order. Where a capture does not
//! tell them, those are that the other columns show, and an opaque token fills the line up
//! to its length.

use base64::{Engine, engine::general_purpose::STANDARD};
use mcrec_schema::codes::{Op, Status};

use super::{Writing, decimal, is_word, signed, text};
use crate::{
    flags::{Flag, Flags},
    request::{Group, KEY_MAX, Request},
};

/// The longest opaque token.
const OPAQUE_MAX: usize = 31;

/// Whether `key` fits, in base64 if need be.
pub(super) fn fits(key: &[u8]) -> bool {
    let length = if is_word(key) { key.len() } else { key.len().div_ceil(3) * 4 };
    length <= KEY_MAX
}

pub(super) fn write(group: &Group, request: &Request, with: &Writing<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let key = group.first_key(request);
    let size = group.first(request).size.unwrap_or(0);
    let verb = match request.op {
        Op::Noop => return out.extend_from_slice(b"mn\r\n"),
        Op::FlushAll | Op::Stats | Op::Version | Op::Quit | Op::Debug => {
            return text::write(group, request, with, out);
        }
        Op::Get | Op::Gets | Op::Gat | Op::Gats | Op::Touch => b"mg ",
        Op::Delete => b"md ",
        Op::Incr | Op::Decr => b"ma ",
        _ => b"ms ",
    };
    out.extend_from_slice(verb);
    let says_encoded = request.flags.as_ref().is_some_and(|flags| flags.has(b'b'));
    let encoded = says_encoded || !is_word(key);
    if encoded {
        out.extend_from_slice(STANDARD.encode(key).as_bytes());
    } else {
        out.extend_from_slice(key);
    }
    if request.stores() {
        out.push(b' ');
        decimal(size, out);
    }
    if encoded && !says_encoded {
        out.extend_from_slice(b" b");
    }
    let opaque_at = match &request.flags {
        Some(flags) => recorded(group, request, flags, with, out),
        None => {
            shown(group, request, with, out);
            Some(out.len())
        }
    };
    let value = if request.stores() { size.saturating_add(2) } else { 0 };
    let written = ((out.len() - start) as u64 + 2).saturating_add(value);
    if let Some(at) = opaque_at {
        let token = opaque(request, with.opaque, request.request_bytes.saturating_sub(written));
        out.splice(at..at, token);
    }
    out.extend_from_slice(b"\r\n");
    if request.stores() {
        with.values.append(key, size, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the flags as they were. Returns where an opaque token goes, if there is to be one.
fn recorded(
    group: &Group,
    request: &Request,
    flags: &Flags,
    with: &Writing<'_>,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let mut opaque_at = None;
    for flag in flags.iter() {
        match flag.letter {
            b'O' => opaque_at = Some(out.len()),
            b'q' if !request.quiet => {}
            _ => one(group, request, flag, with, out),
        }
    }
    // By it a quiet request's reply is known.
    opaque_at.or_else(|| request.quiet.then_some(out.len()))
}

/// Appends a flag with its argument; none whose argument is not known.
fn one(group: &Group, request: &Request, flag: &Flag, with: &Writing<'_>, out: &mut Vec<u8>) {
    let first = group.first(request);
    let number = match flag.letter {
        b'T' => request.ttl.map(|ttl| Number::Signed(with.ttl(ttl))),
        b'N' => flag.seconds.map(|ttl| Number::Signed(with.ttl(ttl))),
        b'R' => flag.seconds.map(Number::Signed),
        b'F' => first.client_flags.map(Number::Plain),
        b'C' => request.cas_sent.map(|_| Number::Plain(with.cas)),
        b'E' => request.cas_set.map(Number::Plain),
        b'S' => first.size.map(Number::Plain),
        // By how much, and from where on, no capture knows.
        b'D' => Some(Number::Plain(1)),
        b'J' => Some(Number::Plain(0)),
        _ => Some(Number::None),
    };
    let Some(number) = number else { return };
    out.extend_from_slice(&[b' ', flag.letter]);
    match number {
        Number::Signed(number) => signed(number, out),
        Number::Plain(number) => decimal(number, out),
        Number::None => out.extend(flag.mode),
    }
}

/// What follows a letter.
enum Number {
    Signed(i64),
    Plain(u64),
    None,
}

/// Appends the flags that the other columns show.
fn shown(group: &Group, request: &Request, with: &Writing<'_>, out: &mut Vec<u8>) {
    match request.op {
        Op::Get | Op::Gets | Op::Gat | Op::Gats => fetch(group, request, out),
        Op::Add => out.extend_from_slice(b" ME"),
        Op::Append => out.extend_from_slice(b" MA"),
        Op::Prepend => out.extend_from_slice(b" MP"),
        Op::Replace => out.extend_from_slice(b" MR"),
        Op::Decr => out.extend_from_slice(b" MD"),
        _ => {}
    }
    if request.compares() {
        out.extend_from_slice(b" C");
        decimal(with.cas, out);
    }
    if let Some(ttl) = request.ttl {
        let missed = group.first(request).status == Status::NotFound;
        // A counter that was there or made has N; without one, T finds nothing.
        let makes = matches!(request.op, Op::Incr | Op::Decr) && !missed;
        out.extend_from_slice(if makes { b" N" } else { b" T" });
        signed(with.ttl(ttl), out);
    }
    if let Some(flags) = group.first(request).client_flags.filter(|_| request.stores()) {
        out.extend_from_slice(b" F");
        decimal(flags, out);
    }
    if request.quiet {
        out.extend_from_slice(b" q");
    }
}

/// What a hit returned was asked for; a miss does not say what it would have been.
fn fetch(group: &Group, request: &Request, out: &mut Vec<u8>) {
    let recorded = group.first(request);
    match recorded.size {
        None if recorded.status == Status::Hit => {}
        // The size was told, and the value not sent.
        Some(size) if request.response_bytes.is_some_and(|bytes| bytes < size) => {
            out.extend_from_slice(b" s");
        }
        _ => out.extend_from_slice(b" v"),
    }
    if recorded.client_flags.is_some() {
        out.extend_from_slice(b" f");
    }
    if recorded.cas.is_some() {
        out.extend_from_slice(b" c");
    }
}

/// A token that fills `room`. A quiet request, and one that had a token, has to have one.
fn opaque(request: &Request, number: u32, room: u64) -> Vec<u8> {
    let room = usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(2).min(OPAQUE_MAX);
    let had = request.flags.as_ref().is_some_and(|flags| flags.has(b'O'));
    if room == 0 && !request.quiet && !had {
        return Vec::new();
    }
    let digits = number.to_string();
    let mut token = b" O".to_vec();
    if !request.quiet && room > 0 && digits.len() > room {
        token.extend_from_slice(&digits.as_bytes()[..room]);
        return token;
    }
    token.extend(std::iter::repeat_n(b'0', room.saturating_sub(digits.len())));
    token.extend_from_slice(digits.as_bytes());
    token
}
