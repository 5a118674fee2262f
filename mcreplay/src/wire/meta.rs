//! The meta protocol. Of its flags a capture shows few: those that can be told are
//! sent, and where the request was longer, an opaque token fills it up to its length.

use base64::{Engine, engine::general_purpose::STANDARD};
use mcrec_schema::codes::{Op, Status};

use super::{Writing, decimal, is_word, signed, text};
use crate::request::{Group, KEY_MAX, Request};

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
    match request.op {
        Op::Noop => return out.extend_from_slice(b"mn\r\n"),
        Op::FlushAll | Op::Stats | Op::Version | Op::Quit | Op::Debug => {
            return text::write(group, request, with, out);
        }
        Op::Get | Op::Gets | Op::Gat | Op::Gats | Op::Touch => head(b"mg ", key, None, out),
        Op::Delete => head(b"md ", key, None, out),
        Op::Incr | Op::Decr => head(b"ma ", key, None, out),
        _ => head(b"ms ", key, Some(size), out),
    }
    match request.op {
        Op::Get | Op::Gets | Op::Gat | Op::Gats => fetch(group, request, out),
        Op::Add => out.extend_from_slice(b" ME"),
        Op::Append => out.extend_from_slice(b" MA"),
        Op::Prepend => out.extend_from_slice(b" MP"),
        Op::Replace => out.extend_from_slice(b" MR"),
        Op::Decr => out.extend_from_slice(b" MD"),
        Op::Cas => {
            out.extend_from_slice(b" C");
            decimal(with.cas, out);
        }
        _ => {}
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
    let value = if request.stores() { size + 2 } else { 0 };
    let written = (out.len() - start) as u64 + 2 + value;
    opaque(request, with.opaque, request.request_bytes.saturating_sub(written), out);
    out.extend_from_slice(b"\r\n");
    if request.stores() {
        with.values.append(key, size, out);
        out.extend_from_slice(b"\r\n");
    }
}

fn head(verb: &[u8], key: &[u8], size: Option<u64>, out: &mut Vec<u8>) {
    out.extend_from_slice(verb);
    let encoded = !is_word(key);
    if encoded {
        out.extend_from_slice(STANDARD.encode(key).as_bytes());
    } else {
        out.extend_from_slice(key);
    }
    if let Some(size) = size {
        out.push(b' ');
        decimal(size, out);
    }
    if encoded {
        out.extend_from_slice(b" b");
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

/// Fills `room`. A quiet request has to have a token, by which its reply is known.
fn opaque(request: &Request, number: u32, room: u64, out: &mut Vec<u8>) {
    let room = usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(2).min(OPAQUE_MAX);
    if room == 0 && !request.quiet {
        return;
    }
    let digits = number.to_string();
    out.extend_from_slice(b" O");
    if !request.quiet && digits.len() > room {
        out.extend_from_slice(&digits.as_bytes()[..room]);
        return;
    }
    out.extend(std::iter::repeat_n(b'0', room.saturating_sub(digits.len())));
    out.extend_from_slice(digits.as_bytes());
}
