//! Replies: what a line or a binary header of the server's says.

use std::ops::Range;

use crate::{
    flags::Letters,
    operation::{Command, Outcome},
    status::BinaryStatus,
    token::{Tokens, digits, number, tokens},
};

/// A set of kinds of replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u32);

impl Kinds {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const VALUE: Self = Self(1);
    pub(crate) const END: Self = Self(1 << 1);
    pub(crate) const STORED: Self = Self(1 << 2);
    pub(crate) const NOT_STORED: Self = Self(1 << 3);
    pub(crate) const EXISTS: Self = Self(1 << 4);
    pub(crate) const NOT_FOUND: Self = Self(1 << 5);
    pub(crate) const DELETED: Self = Self(1 << 6);
    pub(crate) const TOUCHED: Self = Self(1 << 7);
    pub(crate) const NUMBER: Self = Self(1 << 8);
    pub(crate) const OK: Self = Self(1 << 9);
    pub(crate) const VERSION: Self = Self(1 << 10);
    pub(crate) const HD: Self = Self(1 << 11);
    pub(crate) const VA: Self = Self(1 << 12);
    pub(crate) const EN: Self = Self(1 << 13);
    pub(crate) const NF: Self = Self(1 << 14);
    pub(crate) const NS: Self = Self(1 << 15);
    pub(crate) const EX: Self = Self(1 << 16);
    pub(crate) const MN: Self = Self(1 << 17);
    pub(crate) const ME: Self = Self(1 << 18);
    pub(crate) const ERROR: Self = Self(1 << 19);
    pub(crate) const CLIENT_ERROR: Self = Self(1 << 20);
    pub(crate) const SERVER_ERROR: Self = Self(1 << 21);
    /// A line of no other kind: of a list, or an answer to administration.
    pub(crate) const LINE: Self = Self(1 << 22);
    /// A packet of the binary protocol.
    pub(crate) const PACKET: Self = Self(1 << 23);
    /// A line of statistics, which answers nothing else.
    pub(crate) const STAT: Self = Self(1 << 24);

    pub(crate) const ERRORS: Self =
        Self(Self::ERROR.0 | Self::CLIENT_ERROR.0 | Self::SERVER_ERROR.0);
    /// Those that carry the meta flags of their request.
    const WITH_FLAGS: Self =
        Self(Self::HD.0 | Self::VA.0 | Self::EN.0 | Self::NF.0 | Self::NS.0 | Self::EX.0);
    /// What administration is answered with, in releases to come too.
    pub(crate) const ADMINISTRATION: Self = Self(Self::LINE.0 | Self::OK.0);

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A reply, or the head of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// Exactly one kind.
    pub(crate) kind: Kinds,
    /// Bytes of the value that follows, without CRLF.
    pub(crate) body: Option<u64>,
    /// Bytes of the value: of the body, or as the reply says.
    pub(crate) value_size: Option<u64>,
    pub(crate) client_flags: Option<u64>,
    pub(crate) cas: Option<u64>,
    /// The letters of a meta reply's flags.
    pub(crate) returned: Letters,
    /// A meta reply's opaque token, in the bytes that were parsed.
    pub(crate) token: Option<Range<usize>>,
    /// The key it names.
    pub(crate) key: Option<Range<usize>>,
    /// That key is base64.
    pub(crate) key_base64: bool,
    /// Binary only.
    pub(crate) opcode: u8,
    pub(crate) opaque: u32,
    pub(crate) status: u16,
    /// Bytes on the wire.
    pub(crate) bytes: u64,
    /// Time tag of the send that carried its last byte.
    pub(crate) answered_at: u64,
}

/// Reads a line of the text and meta protocols, without its end.
pub(crate) fn line(line: &[u8]) -> Reply {
    let mut words = tokens(line);
    let first = match line {
        // Mostly it is one of these and nothing else.
        b"END" | b"STORED" => line,
        _ => words.next().unwrap_or_default(),
    };
    let kind = match first {
        b"VALUE" => return value(line, words),
        b"HD" | b"EN" | b"NF" | b"NS" | b"EX" => return meta(first, None, line, words),
        b"VA" => {
            let body = words.number();
            return meta(first, body, line, words);
        }
        b"END" => Kinds::END,
        b"STORED" => Kinds::STORED,
        b"NOT_STORED" => Kinds::NOT_STORED,
        b"EXISTS" => Kinds::EXISTS,
        b"NOT_FOUND" => Kinds::NOT_FOUND,
        b"DELETED" => Kinds::DELETED,
        b"TOUCHED" => Kinds::TOUCHED,
        b"OK" | b"RESET" => Kinds::OK,
        b"VERSION" => Kinds::VERSION,
        b"MN" => Kinds::MN,
        b"ME" => Kinds::ME,
        b"ERROR" => Kinds::ERROR,
        b"CLIENT_ERROR" => Kinds::CLIENT_ERROR,
        b"SERVER_ERROR" => Kinds::SERVER_ERROR,
        b"STAT" => Kinds::STAT,
        digits if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => Kinds::NUMBER,
        _ => Kinds::LINE,
    };
    Reply { kind, ..Reply::default() }
}

/// What a `VALUE` line says after the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) client_flags: u64,
    pub(crate) size: u64,
    pub(crate) cas: Option<u64>,
}

impl Value {
    /// Reads it from what follows the key, with the line's end, and returns what is left.
    /// `None` for a line that is not written as memcached does, or may not be.
    #[inline]
    pub(crate) fn read(text: &[u8]) -> Option<(Self, &[u8])> {
        let number = |text| {
            let digits_at = <[u8]>::strip_prefix(text, b" ")?;
            let (value, rest) = digits(digits_at);
            (rest.len() < digits_at.len()).then_some((value, rest))
        };
        let (client_flags, rest) = number(text)?;
        let (size, rest) = number(rest)?;
        let (cas, rest) = match number(rest) {
            Some((cas, rest)) => (Some(cas), rest),
            None => (None, rest),
        };
        Some((Self { client_flags, size, cas }, rest.strip_prefix(b"\r\n")?))
    }
}

/// `VALUE <key> <flags> <bytes> [<cas>]`. Keys may hold any byte but a blank.
fn value<'a>(line: &'a [u8], mut words: Tokens<'a>) -> Reply {
    let key = words.next();
    let client_flags = words.number();
    let body: Option<u64> = words.number();
    let cas = words.number();
    // Without its length it is no reply that can be followed.
    let kind = if body.is_some() { Kinds::VALUE } else { Kinds::LINE };
    let key = key.map(|key| range_in(line, key));
    Reply { kind, body, value_size: body, client_flags, cas, key, ..Reply::default() }
}

fn meta<'a>(
    first: &[u8],
    body: Option<u64>,
    line: &'a [u8],
    flags: impl Iterator<Item = &'a [u8]>,
) -> Reply {
    let kind = match first {
        b"HD" => Kinds::HD,
        b"EN" => Kinds::EN,
        b"NF" => Kinds::NF,
        b"NS" => Kinds::NS,
        b"EX" => Kinds::EX,
        _ if body.is_some() => Kinds::VA,
        _ => Kinds::LINE,
    };
    let mut reply = Reply { kind, body, value_size: body, ..Reply::default() };
    for flag in flags {
        let argument = &flag[1..];
        reply.returned.add(flag[0]);
        match flag[0] {
            b'O' => reply.token = Some(range_in(line, flag)),
            b'k' => reply.key = Some(range_in(line, argument)),
            b'b' => reply.key_base64 = true,
            b's' => reply.value_size = reply.value_size.or_else(|| number(argument)),
            b'f' => reply.client_flags = number(argument),
            b'c' => reply.cas = number(argument),
            _ => {}
        }
    }
    reply
}

/// Where `part` lies in `whole`, of which it is a slice.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

impl Reply {
    /// The reply carries the opaque token and the key where they were asked for.
    pub(crate) fn has_flags(&self) -> bool {
        self.kind.meet(Kinds::WITH_FLAGS)
    }

    /// Of a list, or of the values of several keys: more follows before its request
    /// is answered, so it cannot be held.
    pub(crate) fn is_part(&self) -> bool {
        match self.kind {
            Kinds::PACKET => self.opcode == crate::binary::STAT,
            kind => matches!(kind, Kinds::VALUE | Kinds::LINE | Kinds::STAT),
        }
    }

    /// What this says of a request of `command`.
    pub(crate) fn outcome(&self, command: Command) -> Outcome {
        use Command as C;
        let done = match command {
            C::Get | C::Gets | C::Gat | C::Gats => Outcome::Hit,
            C::Set | C::Add | C::Replace | C::Append | C::Prepend | C::Cas => Outcome::Stored,
            C::Delete => Outcome::Deleted,
            C::Touch => Outcome::Touched,
            _ => Outcome::Ok,
        };
        let absent = if done == Outcome::Hit { Outcome::Miss } else { Outcome::NotFound };
        match self.kind {
            Kinds::PACKET => match BinaryStatus::of(self.status) {
                BinaryStatus::Done | BinaryStatus::GoesOn => done,
                BinaryStatus::Absent => absent,
                BinaryStatus::Exists => Outcome::Exists,
                BinaryStatus::NotStored => Outcome::NotStored,
                BinaryStatus::UnknownCommand => Outcome::Error,
                BinaryStatus::ClientError => Outcome::ClientError,
                BinaryStatus::ServerError => Outcome::ServerError,
            },
            Kinds::NOT_STORED | Kinds::NS => Outcome::NotStored,
            Kinds::EXISTS | Kinds::EX => Outcome::Exists,
            Kinds::NOT_FOUND | Kinds::NF | Kinds::EN => absent,
            Kinds::ERROR => Outcome::Error,
            Kinds::CLIENT_ERROR => Outcome::ClientError,
            Kinds::SERVER_ERROR => Outcome::ServerError,
            Kinds::END if done == Outcome::Hit => Outcome::Miss,
            Kinds::LINE if command == C::Other => Outcome::Ok,
            _ => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kinds, line};

    #[test]
    fn lines_are_told_apart() {
        let text = b"VALUE a\xff\x01b 4294967295 7 18446744073709551615";
        let reply = line(text);
        assert_eq!(reply.kind, Kinds::VALUE);
        assert_eq!(&text[reply.key.unwrap()], b"a\xff\x01b");
        assert_eq!(
            (reply.body, reply.client_flags, reply.cas),
            (Some(7), Some(u32::MAX.into()), Some(u64::MAX))
        );
        let text = b"VA 5 kZm9v Oq1 b s5 c7 f3 W";
        let reply = line(text);
        assert_eq!((reply.kind, reply.body, reply.key_base64), (Kinds::VA, Some(5), true));
        assert_eq!(&text[reply.key.unwrap()], b"Zm9v");
        assert_eq!(&text[reply.token.unwrap()], b"Oq1");
        assert_eq!(line(b"VALUE a 0").kind, Kinds::LINE);
        assert_eq!(line(b"12345").kind, Kinds::NUMBER);
        assert_eq!(line(b"").kind, Kinds::LINE);
        assert_eq!(line(b"ERROR Too many open connections").kind, Kinds::ERROR);
    }
}
