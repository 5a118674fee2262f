//! The binary protocol (memcached's doc/protocol-binary.txt).

use mcrec_schema::codes::Op;

use super::Writing;
use crate::request::{Group, Key, Request};

const REQUEST: u8 = 0x80;
/// A counter that is not there is not made.
const NOT_MADE: u32 = u32::MAX;

pub(super) fn write(group: &Group, request: &Request, with: &Writing<'_>, out: &mut Vec<u8>) {
    let key = match request.op {
        Op::Noop | Op::Version | Op::Stats | Op::Quit | Op::FlushAll => &[][..],
        _ => group.first_key(request),
    };
    let mut extras = [0; 20];
    let recorded = group.first(request);
    let extras = extras_of(request, recorded, with, &mut extras);
    let size = if request.stores() { recorded.size.unwrap_or(0) } else { 0 };
    let cas = if request.compares() { with.cas } else { 0 };
    let body = extras.len() as u64 + key.len() as u64 + size;
    let (key_length, extras_length) =
        (u16::try_from(key.len()).unwrap_or(0), u8::try_from(extras.len()).unwrap_or(0));
    out.extend_from_slice(&[REQUEST, opcode(request)]);
    out.extend_from_slice(&key_length.to_be_bytes());
    out.extend_from_slice(&[extras_length, 0, 0, 0]);
    out.extend_from_slice(&u32::try_from(body).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&with.opaque.to_be_bytes());
    out.extend_from_slice(&cas.to_be_bytes());
    out.extend_from_slice(extras);
    out.extend_from_slice(key);
    if request.stores() {
        with.values.append(key, size, out);
    }
}

fn opcode(request: &Request) -> u8 {
    let (loud, quiet) = match request.op {
        // Where they are put, their number does not show.
        Op::Cas if request.extends => (0x0e, 0x19),
        Op::Set | Op::Cas => (0x01, 0x11),
        Op::Add => (0x02, 0x12),
        Op::Replace => (0x03, 0x13),
        Op::Delete => (0x04, 0x14),
        Op::Incr => (0x05, 0x15),
        Op::Decr => (0x06, 0x16),
        Op::Quit => (0x07, 0x17),
        Op::FlushAll => (0x08, 0x18),
        Op::Append => (0x0e, 0x19),
        Op::Prepend => (0x0f, 0x1a),
        Op::Gat | Op::Gats => (0x1d, 0x1e),
        Op::Noop => (0x0a, 0x0a),
        Op::Version => (0x0b, 0x0b),
        Op::Stats => (0x10, 0x10),
        Op::Touch => (0x1c, 0x1c),
        _ => (0x00, 0x09),
    };
    if request.quiet { quiet } else { loud }
}

fn extras_of<'a>(
    request: &Request,
    recorded: &Key,
    with: &Writing<'_>,
    room: &'a mut [u8; 20],
) -> &'a [u8] {
    let ttl = request.ttl.map(|ttl| low(with.ttl(ttl)));
    match request.op {
        Op::Append | Op::Prepend => &[],
        Op::Cas if request.extends => &[],
        _ if request.stores() => {
            let flags = low(recorded.client_flags.unwrap_or(0).cast_signed());
            room[..4].copy_from_slice(&flags.to_be_bytes());
            room[4..8].copy_from_slice(&ttl.unwrap_or(0).to_be_bytes());
            &room[..8]
        }
        Op::Incr | Op::Decr => {
            room[..8].copy_from_slice(&1_u64.to_be_bytes());
            // With all bits set it is no time, but a wish.
            let made = request.ttl.map(low).filter(|&ttl| ttl == NOT_MADE).or(ttl);
            room[16..].copy_from_slice(&made.unwrap_or(NOT_MADE).to_be_bytes());
            &room[..]
        }
        Op::Gat | Op::Gats | Op::Touch => {
            room[..4].copy_from_slice(&ttl.unwrap_or(0).to_be_bytes());
            &room[..4]
        }
        Op::FlushAll if ttl.is_some() => {
            room[..4].copy_from_slice(&ttl.unwrap_or(0).to_be_bytes());
            &room[..4]
        }
        _ => &[],
    }
}

/// The lower 32 bits.
fn low(number: i64) -> u32 {
    let bytes = number.to_le_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
