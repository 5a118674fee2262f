//! Request lines of the meta protocol, and its keys.

use base64::{
    Engine, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};

use crate::{
    number::{Form, Signed, unsigned, value_length},
    operation::{Command, Outcome, Protocol},
    pending::{KEY_MAX, Queue, Request},
    release::{MsetLength, Rules},
    reply::Kinds,
    text::Next,
    token::tokens,
};

/// Bits of a last byte that are of no use need not be 0.
const LAX: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

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
    cas_set: Option<u64>,
    mode: u8,
    opaque: Option<&'a [u8]>,
}

fn flags<'a>(words: impl Iterator<Item = &'a [u8]>, form: Form) -> Flags<'a> {
    let mut flags = Flags::default();
    for word in words {
        let argument = &word[1..];
        match word[0] {
            b'b' => flags.base64 = true,
            b'q' => flags.quiet = true,
            b'k' => flags.key = true,
            b'T' => flags.ttl = Signed::read(form, argument).written,
            b'N' => flags.vivify_ttl = Signed::read(form, argument).written,
            b'F' => flags.client_flags = unsigned(argument),
            b'C' => flags.cas = unsigned(argument),
            b'E' => flags.cas_set = unsigned(argument),
            b'M' => flags.mode = argument.first().copied().unwrap_or_default(),
            b'O' => flags.opaque = Some(word),
            _ => {}
        }
    }
    flags
}

/// The bytes of a key that was written in base64, as memcached reads it: what is none of it
/// is passed over, and so is what follows the padding.
pub(crate) fn decode_key<'a>(text: &[u8], room: &'a mut [u8; KEY_MAX]) -> Option<&'a [u8]> {
    let length = match STANDARD.decode_slice(text, &mut room[..]) {
        Ok(length) => length,
        Err(_) => decode_lax(text, room)?,
    };
    (length > 0).then(|| &room[..length])
}

#[cold]
fn decode_lax(text: &[u8], room: &mut [u8; KEY_MAX]) -> Option<usize> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let mut clean: Vec<u8> = text.iter().copied().filter(is_base64).collect();
    if !clean.len().is_multiple_of(4) {
        return None;
    }
    if let Some(pad) = clean.iter().position(|&byte| byte == b'=') {
        clean.truncate((pad / 4 + 1) * 4);
    }
    LAX.decode_slice(&clean, room).ok()
}

/// Reads the request `line`, which begins with `m` and `letter`.
pub(crate) fn request(
    letter: u8,
    line: &[u8],
    wire: u64,
    rules: &Rules,
    queue: &mut Queue,
) -> Next {
    let has_length = letter == b's' && rules.mset_length == MsetLength::Word;
    let before_flags = if has_length { 3 } else { 2 };
    let flags = flags(tokens(line).skip(before_flags), rules.argument);
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
        _ => (Command::Debug, Kinds::ME.or(Kinds::EN), Outcome::Ok),
    };
    let mut request = Request::new(Protocol::Meta, command, kinds.or(Kinds::ERRORS));
    let plain = matches!(letter, b'n' | b'e');
    if flags.quiet && !plain {
        request.quiet = true;
        request.silence = Some(silence);
        // What is kept quiet does not come; else a reply could be mistaken.
        request.accepts = match letter {
            b'g' => Kinds::HD.or(Kinds::VA),
            b's' => Kinds::NS.or(absent),
            b'd' => absent,
            _ if rules.tells_of_made_counter && flags.vivify_ttl.is_some() => kinds,
            _ => Kinds::NS.or(absent),
        }
        .or(Kinds::ERRORS);
    }
    request.returns_key = flags.key && !plain;
    request.ttl = match letter {
        // The seconds of N are among the flags, too.
        b'a' => flags.ttl.or(flags.vivify_ttl),
        _ => flags.ttl,
    };
    if matches!(letter, b's' | b'd' | b'a') {
        (request.cas_sent, request.cas_set) = (flags.cas, flags.cas_set);
    }
    let token = flags.opaque.filter(|_| !plain);
    let body = if letter == b's' { body(line, rules) } else { None };
    request.whole = body.is_none();
    let size = wire + body.unwrap_or(0);

    let named = tokens(line).nth(1).filter(|_| !matches!(letter, b'n'));
    let mut room = [0; KEY_MAX];
    let key = named.map(|named| {
        let decoded = if flags.base64 { decode_key(named, &mut room) } else { None };
        (decoded.unwrap_or(named), size)
    });
    queue.push(request, key.into_iter(), token);
    if matches!(letter, b'g' | b's' | b'd' | b'a') {
        queue.keep_flags(tokens(line).skip(before_flags));
    }
    if let Some(entry) = queue.last_entry_mut() {
        entry.request_bytes = size;
        entry.value_size = body.map(|body| body - 2);
        entry.client_flags = flags.client_flags;
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
fn body(line: &[u8], rules: &Rules) -> Option<u64> {
    let mut words = tokens(line).skip(1);
    let key_fits = words.next().is_some_and(|key| key.len() <= KEY_MAX);
    let looked_at = key_fits && tokens(line).count() <= WORDS_MAX;
    if !looked_at && !rules.swallows {
        return None;
    }
    let length = match rules.mset_length {
        MsetLength::Flag => flagged_length(words, rules.length),
        MsetLength::Word => {
            let length = Signed::read(rules.length, words.next()?);
            /// Flags after so many are not looked at.
            const LOOKED_AT: usize = 20;
            let is_flag = |word: &[u8]| matches!(word[0], b'A'..=b'z' | b'0'..=b'9');
            let refused = rules.strict_flags && !words.take(LOOKED_AT).all(is_flag);
            value_length(length).filter(|_| !refused)
        }
    };
    length.map(|length| length + 2)
}

/// The length that the flag `S` says, if it comes before one that is wrong.
fn flagged_length<'a>(words: impl Iterator<Item = &'a [u8]>, form: Form) -> Option<u64> {
    const KNOWN: &[u8] = b"NTRlOkstcfvhuqFSCMJDI";
    let mut length = None;
    let mut seen = Vec::new();
    for word in words {
        let flag = word[0];
        if seen.contains(&flag) || !KNOWN.contains(&flag) {
            break;
        }
        seen.push(flag);
        if flag == b'S' {
            length = value_length(Signed::read(form, &word[1..]));
        }
    }
    length
}
