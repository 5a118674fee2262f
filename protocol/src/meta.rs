//! Request lines of the meta protocol, and its keys.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    connection::Dialect,
    operation::{Command, Outcome, Protocol},
    pending::{KEY_MAX, Queue, Request},
    reply::Kinds,
    text::Next,
    token::{number, tokens, value_length},
};

/// More words than this and memcached refuses the line (`MFLAG_MAX_OPT_LENGTH`).
const WORDS_MAX: usize = 19;

/// The flags of a request that matter here.
#[derive(Default)]
struct Flags<'a> {
    base64: bool,
    quiet: bool,
    key: bool,
    ttl: Option<i64>,
    vivify_ttl: Option<i64>,
    client_flags: Option<u64>,
    cas: Option<u64>,
    mode: u8,
    opaque: Option<&'a [u8]>,
}

fn flags<'a>(words: impl Iterator<Item = &'a [u8]>) -> Flags<'a> {
    let mut flags = Flags::default();
    for word in words {
        let argument = &word[1..];
        match word[0] {
            b'b' => flags.base64 = true,
            b'q' => flags.quiet = true,
            b'k' => flags.key = true,
            b'T' => flags.ttl = number(argument),
            b'N' => flags.vivify_ttl = number(argument),
            b'F' => flags.client_flags = number(argument),
            b'C' => flags.cas = number(argument),
            b'M' => flags.mode = argument.first().copied().unwrap_or_default(),
            b'O' => flags.opaque = Some(word),
            _ => {}
        }
    }
    flags
}

/// The bytes of a key that was written in base64.
pub(crate) fn decode_key<'a>(text: &[u8], room: &'a mut [u8; KEY_MAX]) -> Option<&'a [u8]> {
    let length = STANDARD.decode_slice(text, room).ok()?;
    (length > 0).then(|| &room[..length])
}

/// Reads the request `line`, which begins with `m` and `letter`.
pub(crate) fn request(
    letter: u8,
    line: &[u8],
    wire: u64,
    dialect: Dialect,
    queue: &mut Queue,
) -> Next {
    let before_flags = if letter == b's' { 3 } else { 2 };
    let flags = flags(tokens(line).skip(before_flags));
    let absent = Kinds::NF.or(Kinds::EX);
    let (command, kinds, silence) = match letter {
        b'g' => {
            let command = if flags.ttl.is_some() { Command::Gat } else { Command::Get };
            (command, Kinds::HD.or(Kinds::VA).or(Kinds::EN), Outcome::Miss)
        }
        b's' => (store(&flags), Kinds::HD.or(Kinds::NS).or(absent), Outcome::Stored),
        b'd' => (Command::Delete, Kinds::HD.or(absent), Outcome::Deleted),
        b'a' => (counter(&flags), Kinds::HD.or(Kinds::VA).or(Kinds::NS).or(absent), Outcome::Ok),
        b'n' => (Command::Noop, Kinds::MN, Outcome::Ok),
        b'e' => (Command::Debug, Kinds::ME.or(Kinds::EN), Outcome::Ok),
        _ => (Command::Other, Kinds::NONE, Outcome::Error),
    };
    let mut request = Request::new(Protocol::Meta, command, kinds.or(Kinds::ERRORS));
    let plain = matches!(letter, b'n' | b'e') || command == Command::Other;
    if flags.quiet && !plain {
        request.quiet = true;
        request.silence = Some(silence);
        // What is kept quiet does not come; else a reply could be mistaken.
        request.accepts = match letter {
            b'g' => Kinds::HD.or(Kinds::VA),
            b's' => Kinds::NS.or(absent),
            b'd' => absent,
            // Until 1.6.39 a counter that was made for the request was told of.
            _ if dialect.before_1_6_40 && flags.vivify_ttl.is_some() => kinds,
            _ => Kinds::NS.or(absent),
        }
        .or(Kinds::ERRORS);
    }
    request.returns_key = flags.key && !plain;
    request.ttl = match letter {
        b'a' => flags.vivify_ttl.or(flags.ttl),
        _ => flags.ttl,
    };
    let token = flags.opaque.filter(|_| !plain);
    let body = if letter == b's' { body(line, dialect) } else { None };
    request.whole = body.is_none();
    let size = wire + body.unwrap_or(0);

    let named = tokens(line).nth(1).filter(|_| !matches!(letter, b'n'));
    let mut room = [0; KEY_MAX];
    let key = named.map(|named| {
        let decoded = if flags.base64 { decode_key(named, &mut room) } else { None };
        (decoded.unwrap_or(named), size)
    });
    queue.push(request, key.into_iter(), token);
    if let Some(entry) = queue.last_entry_mut() {
        entry.request_bytes = size;
        entry.value_size = body.map(|body| body - 2);
        entry.client_flags = flags.client_flags;
        entry.cas = flags.cas;
    }
    body.map_or(Next::Request, Next::Body)
}

fn store(flags: &Flags<'_>) -> Command {
    match flags.mode {
        _ if flags.cas.is_some() => Command::Cas,
        b'E' | b'e' => Command::Add,
        b'A' | b'a' => Command::Append,
        b'P' | b'p' => Command::Prepend,
        b'R' | b'r' => Command::Replace,
        _ => Command::Set,
    }
}

fn counter(flags: &Flags<'_>) -> Command {
    if matches!(flags.mode, b'D' | b'd' | b'-') { Command::Decr } else { Command::Incr }
}

/// Bytes that follow `ms`: those of the value that it announces, also when it is
/// refused, unless it was refused before its length was looked at.
fn body(line: &[u8], dialect: Dialect) -> Option<u64> {
    let length = tokens(line).nth(2).and_then(number).and_then(value_length)?;
    let key_fits = tokens(line).nth(1).is_some_and(|key| key.len() <= KEY_MAX);
    let looked_at = !dialect.before_1_6_40 || (key_fits && tokens(line).count() <= WORDS_MAX);
    looked_at.then_some(length + 2)
}
