//! Replies of the target: what a line or a packet says, and what that means for the
//! request that it answers.

use mcrec_protocol::BinaryStatus;
use mcrec_schema::codes::{Op, Status};

use crate::request::Request;

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Parsed<'a> {
    /// Too little to tell.
    More,
    /// Nothing that memcached says.
    Nonsense,
    /// A reply, or the head of one.
    Head {
        /// Its bytes.
        length: usize,
        /// Bytes of value that follow, with their end.
        body: u64,
        /// What it says.
        reply: Reply<'a>,
    },
}

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reply<'a> {
    /// `VALUE`.
    Value { key: &'a [u8], cas: Option<u64> },
    /// `END`.
    End,
    /// A line that says what was done.
    Done(Status),
    /// A line that says what went wrong.
    Error(Status),
    /// A line of the meta protocol.
    Meta { code: [u8; 2], opaque: Option<u32>, cas: Option<u64> },
    /// A packet; `empty` ends a list.
    Packet { opaque: u32, status: u16, cas: Option<u64>, empty: bool },
    /// A line of statistics, or an answer of another release.
    Other,
}

/// No line but one of statistics is longer.
const LINE_MAX: usize = 8192;
const HEADER: usize = 24;

/// Reads what `data` begins with.
pub(crate) fn parse(data: &[u8], binary: bool) -> Parsed<'_> {
    if binary { packet(data) } else { line(data) }
}

fn packet(data: &[u8]) -> Parsed<'_> {
    let Some(head) = data.first_chunk::<HEADER>() else { return Parsed::More };
    if head[0] != 0x81 {
        return Parsed::Nonsense;
    }
    let long = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let cas = u64::from(long(16)) << 32 | u64::from(long(20));
    let body = long(8);
    let status = u16::from_be_bytes([head[6], head[7]]);
    let cas = (cas != 0 && status == 0).then_some(cas);
    let reply = Reply::Packet { opaque: long(12), status, cas, empty: body == 0 };
    Parsed::Head { length: HEADER, body: u64::from(body), reply }
}

fn line(data: &[u8]) -> Parsed<'_> {
    let Some(end) = data.iter().position(|&byte| byte == b'\n') else {
        return if data.len() > LINE_MAX { Parsed::Nonsense } else { Parsed::More };
    };
    let line = data[..end].strip_suffix(b"\r").unwrap_or(&data[..end]);
    let head = |body, reply| Parsed::Head { length: end + 1, body, reply };
    let mut words = line.split(|&byte| byte == b' ');
    let first = words.next().unwrap_or_default();
    let reply = match first {
        b"VALUE" => {
            let (key, size) = (words.next().unwrap_or_default(), words.nth(1).and_then(number));
            let Some(body) = size.and_then(with_end) else { return Parsed::Nonsense };
            return head(body, Reply::Value { key, cas: words.next().and_then(number) });
        }
        b"VA" => {
            let body = words.next().and_then(number).and_then(with_end);
            let Some(body) = body else { return Parsed::Nonsense };
            return head(body, meta(*b"VA", words));
        }
        b"HD" | b"EN" | b"NF" | b"NS" | b"EX" | b"MN" | b"ME" => meta([first[0], first[1]], words),
        b"END" => Reply::End,
        b"STORED" => Reply::Done(Status::Stored),
        b"NOT_STORED" => Reply::Done(Status::NotStored),
        b"EXISTS" => Reply::Done(Status::Exists),
        b"NOT_FOUND" => Reply::Done(Status::NotFound),
        b"DELETED" => Reply::Done(Status::Deleted),
        b"TOUCHED" => Reply::Done(Status::Touched),
        b"OK" | b"RESET" | b"VERSION" => Reply::Done(Status::Ok),
        b"ERROR" => Reply::Error(Status::Error),
        b"CLIENT_ERROR" => Reply::Error(Status::ClientError),
        b"SERVER_ERROR" => Reply::Error(Status::ServerError),
        digits if number(digits).is_some() => Reply::Done(Status::Ok),
        _ => Reply::Other,
    };
    head(0, reply)
}

fn meta<'a>(code: [u8; 2], flags: impl Iterator<Item = &'a [u8]>) -> Reply<'a> {
    let (mut opaque, mut cas) = (None, None);
    for flag in flags {
        match flag.split_first() {
            Some((b'O', token)) => opaque = number(token).and_then(|it| u32::try_from(it).ok()),
            Some((b'c', unique)) => cas = number(unique),
            _ => {}
        }
    }
    Reply::Meta { code, opaque, cas }
}

/// Bytes of a value of `size` with its end; `None` for more than can be counted.
fn with_end(size: u64) -> Option<u64> {
    size.checked_add(2)
}

/// A decimal number and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// What became of a request that was done as it was meant.
fn done(op: Op) -> Status {
    match op {
        Op::Get | Op::Gets | Op::Gat | Op::Gats => Status::Hit,
        Op::Set | Op::Add | Op::Replace | Op::Append | Op::Prepend | Op::Cas => Status::Stored,
        Op::Delete => Status::Deleted,
        Op::Touch => Status::Touched,
        _ => Status::Ok,
    }
}

/// What became of one that found nothing.
fn absent(op: Op) -> Status {
    if Op::READS.contains(&op) { Status::Miss } else { Status::NotFound }
}

/// What `reply` says became of a request of `op`, if it can answer one.
pub(crate) fn outcome(op: Op, reply: &Reply<'_>) -> Option<Status> {
    Some(match *reply {
        Reply::Done(status) | Reply::Error(status) => status,
        Reply::Meta { code, .. } => match &code {
            b"HD" | b"VA" | b"MN" | b"ME" => done(op),
            b"EN" | b"NF" => absent(op),
            b"NS" => Status::NotStored,
            b"EX" => Status::Exists,
            _ => return None,
        },
        Reply::Packet { status, .. } => match BinaryStatus::of(status) {
            BinaryStatus::Done | BinaryStatus::GoesOn => done(op),
            BinaryStatus::Absent => absent(op),
            BinaryStatus::Exists => Status::Exists,
            BinaryStatus::NotStored => Status::NotStored,
            BinaryStatus::UnknownCommand => Status::Error,
            BinaryStatus::ClientError => Status::ClientError,
            BinaryStatus::ServerError => Status::ServerError,
        },
        Reply::Other if op == Op::Debug => Status::Ok,
        Reply::Value { .. } | Reply::End | Reply::Other => return None,
    })
}

/// What it means that a request was not answered and later ones were.
pub(crate) fn silence(request: &Request) -> Status {
    use mcrec_schema::codes::Protocol;
    match request.op {
        Op::Quit => Status::NoReply,
        _ if request.protocol == Protocol::Text => Status::NoReply,
        op if request.reads() => absent(op),
        op => done(op),
    }
}

#[cfg(test)]
mod tests {
    use super::{Parsed, Reply, parse};
    use mcrec_schema::codes::Status;

    fn head(text: &[u8]) -> (usize, u64, Reply<'_>) {
        match parse(text, false) {
            Parsed::Head { length, body, reply } => (length, body, reply),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_say_what_they_say() {
        let value = Reply::Value { key: b"a\xff", cas: Some(u64::MAX) };
        assert_eq!(head(b"VALUE a\xff 7 5 18446744073709551615\r\nhello"), (35, 7, value));
        let meta = Reply::Meta { code: *b"VA", opaque: Some(12), cas: Some(3) };
        assert_eq!(head(b"VA 2 O0012 c3\r\n"), (15, 4, meta));
        assert_eq!(head(b"12\r\n"), (4, 0, Reply::Done(Status::Ok)));
        assert_eq!(head(b"SERVER_ERROR out of memory\r\n").2, Reply::Error(Status::ServerError));
        assert_eq!(head(b"STAT pid 1\r\n").2, Reply::Other);
        assert_eq!(parse(b"STORED\r", false), Parsed::More);
        assert_eq!(parse(b"VALUE a 0 x\r\n", false), Parsed::Nonsense);
        assert_eq!(parse(&[b'x'; 10_000], false), Parsed::Nonsense);
        // More than can be counted with its end.
        for size in [u64::MAX, u64::MAX - 1] {
            assert_eq!(parse(format!("VALUE a 0 {size}\r\n").as_bytes(), false), Parsed::Nonsense);
            assert_eq!(parse(format!("VA {size} v\r\n").as_bytes(), false), Parsed::Nonsense);
        }
        assert_eq!(head(b"VA 18446744073709551613\r\n").1, u64::MAX);
        assert_eq!(parse(b"ERROR\r\nERROR\r\nERROR\r\nERROR\r\n", true), Parsed::Nonsense);
    }
}
