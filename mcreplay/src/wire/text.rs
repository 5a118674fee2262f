//! The classic text protocol.

use mcrec_schema::codes::Op;

use super::{Writing, decimal, signed};
use crate::request::{Group, Request};

pub(super) fn write(group: &Group, request: &Request, with: &Writing<'_>, out: &mut Vec<u8>) {
    let key = group.first_key(request);
    match request.op {
        Op::Get | Op::Gets | Op::Gat | Op::Gats => fetch(group, request, with, out),
        op if request.stores() => {
            let size = group.first(request).size.unwrap_or(0);
            out.extend_from_slice(op.as_str().as_bytes());
            word(key, out);
            number(group.first(request).client_flags.unwrap_or(0), out);
            out.push(b' ');
            signed(with.ttl(request.ttl.unwrap_or(0)), out);
            number(size, out);
            if op == Op::Cas {
                number(with.cas, out);
            }
            end(request, out);
            with.values.append(key, size, out);
            out.extend_from_slice(b"\r\n");
        }
        op @ (Op::Incr | Op::Decr) => {
            out.extend_from_slice(op.as_str().as_bytes());
            word(key, out);
            // By how much, no capture knows.
            number(1, out);
            end(request, out);
        }
        Op::Touch => {
            out.extend_from_slice(b"touch");
            word(key, out);
            out.push(b' ');
            signed(with.ttl(request.ttl.unwrap_or(0)), out);
            end(request, out);
        }
        Op::Delete => {
            out.extend_from_slice(b"delete");
            word(key, out);
            end(request, out);
        }
        Op::FlushAll => {
            out.extend_from_slice(b"flush_all");
            if let Some(ttl) = request.ttl {
                out.push(b' ');
                signed(with.ttl(ttl), out);
            }
            end(request, out);
        }
        Op::Debug => {
            out.extend_from_slice(b"me");
            word(key, out);
            out.extend_from_slice(b"\r\n");
        }
        Op::Stats => out.extend_from_slice(b"stats\r\n"),
        Op::Quit => out.extend_from_slice(b"quit\r\n"),
        // A noop is none of its commands; this does as little.
        _ => out.extend_from_slice(b"version\r\n"),
    }
}

fn fetch(group: &Group, request: &Request, with: &Writing<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(request.op.as_str().as_bytes());
    if matches!(request.op, Op::Gat | Op::Gats) {
        out.push(b' ');
        signed(with.ttl(request.ttl.unwrap_or(0)), out);
    }
    let first = request.first_key as usize;
    for key in first..first + request.keys as usize {
        word(group.key(key), out);
    }
    out.extend_from_slice(b"\r\n");
}

fn word(word: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(word);
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.push(b' ');
    decimal(number, out);
}

fn end(request: &Request, out: &mut Vec<u8>) {
    out.extend_from_slice(if request.quiet { b" noreply\r\n" } else { b"\r\n" });
}
