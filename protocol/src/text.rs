//! Request lines of the classic text protocol.

use crate::{
    connection::Dialect,
    operation::{Command, Outcome, Protocol},
    pending::{KEY_MAX, Queue, Request},
    reply::Kinds,
    token::{Tokens, find, find_gap, number, tokens, value_length},
};

/// What follows a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another request.
    Request,
    /// So many bytes of a value first.
    Body(u64),
    /// So many bytes of credentials first, which the server reads as it does lines.
    Credentials(u64),
    /// Nothing: the server closes the connection.
    Nothing,
}

/// The verbs by which a request is known to begin, to get into step.
const VERBS: [&[u8]; 27] = [
    b"get",
    b"gets",
    b"gat",
    b"gats",
    b"set",
    b"add",
    b"replace",
    b"append",
    b"prepend",
    b"cas",
    b"incr",
    b"decr",
    b"delete",
    b"touch",
    b"mg",
    b"ms",
    b"md",
    b"ma",
    b"me",
    b"mn",
    b"stats",
    b"version",
    b"flush_all",
    b"verbosity",
    b"quit",
    b"watch",
    b"lru_crawler",
];

/// Whether `data` begins with a request line of a known verb, or is the beginning
/// of one.
pub(crate) fn begins(data: &[u8]) -> bool {
    match data.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n')) {
        Some(end) => VERBS.contains(&&data[..end]),
        None => !data.is_empty() && VERBS.iter().any(|verb| verb.starts_with(data)),
    }
}

/// Takes the commonest request, a get of one key, off `data` if that begins with it, written
/// as clients do. It is the same in all releases, and seen to be it by one look at its key.
pub(crate) fn plain_get(data: &mut &[u8], queue: &mut Queue) -> Option<Next> {
    let text = data.strip_prefix(b"get ")?;
    let (key, rest) = text.split_at(find_gap(text)?);
    let rest = rest.strip_prefix(b"\r\n").filter(|_| !key.is_empty())?;
    let wire = (data.len() - rest.len()) as u64;
    *data = rest;
    queue.push(fetching(Command::Get), std::iter::once((key, wire)), None);
    Some(Next::Request)
}

/// Reads the request `line` (without its end), of `wire` bytes with it.
pub(crate) fn request(line: &[u8], wire: u64, dialect: Dialect, queue: &mut Queue) -> Next {
    // Until 1.6.39 lines were C strings, and blanks before them were skipped.
    let line = match dialect.before_1_6_40.then(|| find(0, line)).flatten() {
        Some(end) => &line[..end],
        None => line,
    };
    let mut words = tokens(line);
    let verb = match words.next() {
        Some(verb) if dialect.before_1_6_40 || line.first() != Some(&b' ') => verb,
        _ => b"",
    };
    if let [b'm', letter] = verb {
        return crate::meta::request(*letter, line, wire, dialect, queue);
    }
    let line = Line { whole: line, words, wire };
    match verb {
        b"get" => fetch(Command::Get, line, queue),
        b"gets" => fetch(Command::Gets, line, queue),
        b"gat" => fetch(Command::Gat, line, queue),
        b"gats" => fetch(Command::Gats, line, queue),
        b"bget" if dialect.before_1_6_40 => fetch(Command::Get, line, queue),
        b"set" => store(Command::Set, line, dialect, queue),
        b"add" => store(Command::Add, line, dialect, queue),
        b"replace" => store(Command::Replace, line, dialect, queue),
        b"append" => store(Command::Append, line, dialect, queue),
        b"prepend" => store(Command::Prepend, line, dialect, queue),
        b"cas" => store(Command::Cas, line, dialect, queue),
        b"incr" => on_key(Command::Incr, Kinds::NUMBER.or(Kinds::NOT_FOUND), line, queue),
        b"decr" => on_key(Command::Decr, Kinds::NUMBER.or(Kinds::NOT_FOUND), line, queue),
        b"touch" => on_key(Command::Touch, Kinds::TOUCHED.or(Kinds::NOT_FOUND), line, queue),
        b"delete" => on_key(Command::Delete, Kinds::DELETED.or(Kinds::NOT_FOUND), line, queue),
        _ => without_key(verb, line, queue),
    }
}

/// A line after its verb.
struct Line<'a> {
    whole: &'a [u8],
    words: Tokens<'a>,
    /// Bytes of it and its end.
    wire: u64,
}

impl Line<'_> {
    /// Its last word says so.
    fn is_noreply(&self) -> bool {
        let mut line = self.whole;
        while let [before @ .., b' '] = line {
            line = before;
        }
        let before = line.strip_suffix(b"noreply");
        before.is_some_and(|before| matches!(before, [] | [.., b' ']))
    }
}

fn text(command: Command, kinds: Kinds) -> Request {
    Request::new(Protocol::Text, command, kinds.or(Kinds::ERRORS))
}

fn fetching(command: Command) -> Request {
    text(command, Kinds::VALUE.or(Kinds::END))
}

/// `get <key>*`, `gat <exptime> <key>*`.
fn fetch(command: Command, line: Line<'_>, queue: &mut Queue) -> Next {
    let Line { words: mut keys, wire, .. } = line;
    let mut request = fetching(command);
    if matches!(command, Command::Gat | Command::Gats) {
        request.ttl = keys.number();
    }
    let mut after = keys.clone();
    if let (Some(key), None) = (after.next(), after.next()) {
        queue.push(request, std::iter::once((key, wire)), None);
        return Next::Request;
    }
    // Each key has its blank; the rest of the line goes to the first.
    let size = |key: &[u8]| key.len() as u64 + 1;
    let total: u64 = keys.clone().map(size).sum();
    let mut rest = wire.saturating_sub(total);
    let with_bytes = keys.map(|key| (key, size(key) + std::mem::take(&mut rest)));
    queue.push(request, with_bytes, None);
    if total == 0 {
        only_entry(queue, wire);
    }
    Next::Request
}

fn only_entry(queue: &mut Queue, wire: u64) {
    if let Some(entry) = queue.last_entry_mut() {
        entry.request_bytes = wire;
    }
}

/// `noreply`: surely silent when the line is well-formed; else an error may come.
fn silence(request: &mut Request, quiet: bool, well_formed: bool) {
    if quiet {
        request.quiet = true;
        request.silence = Some(Outcome::NoReply);
        request.accepts = if well_formed { Kinds::NONE } else { Kinds::ERRORS };
    }
}

/// `set <key> <flags> <exptime> <bytes> [<cas>] [noreply]`, and the value.
fn store(command: Command, mut line: Line<'_>, dialect: Dialect, queue: &mut Queue) -> Next {
    let quiet = line.is_noreply();
    let Line { words, wire, .. } = &mut line;
    let key = words.next();
    let flags: Option<u64> = words.number();
    let ttl: Option<i32> = words.number();
    let length = words.number().and_then(value_length);
    let with_cas = command == Command::Cas;
    let cas: Option<u64> = if with_cas { words.number() } else { None };
    let more = words.count();
    let numbers = flags.is_some() && ttl.is_some() && length.is_some() && cas.is_some() == with_cas;
    // Client flags had 32 bits.
    let numbers = numbers
        && !(dialect.before_1_6_40 && flags.is_some_and(|flags| flags > u64::from(u32::MAX)));
    let fits = key.is_some_and(|key| key.len() <= KEY_MAX);
    // Until 1.6.39 a line that is wrong in any way has no value after it; since
    // then, one that states its length does, and too short a line states none.
    let body = match length {
        Some(_) if dialect.before_1_6_40 && !(numbers && fits && more <= 1) => None,
        length => length.map(|length| length + 2),
    };
    let kinds = Kinds::STORED.or(Kinds::NOT_STORED).or(Kinds::EXISTS).or(Kinds::NOT_FOUND);
    let mut request = text(command, kinds);
    silence(&mut request, quiet, numbers && more <= 1);
    request.ttl = ttl.map(i64::from);
    request.whole = body.is_none();
    let size = *wire + body.unwrap_or(0);
    queue.push(request, key.map(|key| (key, size)).into_iter(), None);
    if let Some(entry) = queue.last_entry_mut() {
        entry.request_bytes = size;
        entry.value_size = body.and(length);
        entry.client_flags = flags;
        entry.cas = cas;
    }
    body.map_or(Next::Request, Next::Body)
}

/// `delete <key>`, `touch <key> <exptime>`, `incr <key> <delta>`.
fn on_key(command: Command, kinds: Kinds, line: Line<'_>, queue: &mut Queue) -> Next {
    let quiet = line.is_noreply();
    let Line { mut words, wire, .. } = line;
    let key = words.next();
    let argument = words.next();
    let more = words.count();
    let well_formed = match command {
        Command::Delete => match more {
            0 => argument.is_some(),
            more => more == 1 && argument == Some(b"0"),
        },
        _ => more == 1,
    };
    let mut request = text(command, kinds);
    silence(&mut request, quiet, well_formed);
    if command == Command::Touch {
        request.ttl = argument.and_then(number);
    }
    queue.push(request, key.map(|key| (key, wire)).into_iter(), None);
    only_entry(queue, wire);
    Next::Request
}

fn without_key(verb: &[u8], line: Line<'_>, queue: &mut Queue) -> Next {
    let (command, kinds) = match verb {
        b"flush_all" => (Command::FlushAll, Kinds::OK),
        b"version" => (Command::Version, Kinds::VERSION),
        b"stats" => (Command::Stats, Kinds::STAT.or(Kinds::LINE).or(Kinds::OK)),
        b"watch" => (Command::Watch, Kinds::OK),
        b"quit" => (Command::Quit, Kinds::ERRORS),
        _ => (Command::Other, Kinds::ADMINISTRATION),
    };
    let mut request = text(command, kinds);
    let quiet = line.is_noreply();
    let argument = line.words.clone().next();
    let listing = argument.is_some_and(|word| matches!(word, b"metadump" | b"mgdump"));
    request.lists = command == Command::Stats || (verb == b"lru_crawler" && listing);
    if request.lists {
        request.accepts = request.accepts.or(Kinds::END).or(Kinds::EN);
    }
    let mut next = Next::Request;
    match verb {
        b"quit" | b"shutdown" => {
            request.silence = Some(Outcome::NoReply);
            next = if verb == b"quit" { Next::Nothing } else { Next::Request };
        }
        b"flush_all" | b"verbosity" => silence(&mut request, quiet, true),
        // Some answer all the same.
        _ if command == Command::Other && quiet => {
            request.quiet = true;
            request.silence = Some(Outcome::NoReply);
        }
        _ => {}
    }
    if command == Command::FlushAll {
        request.ttl = argument.and_then(number);
    }
    // A web browser, or worse: the server hangs up without a word.
    let last = line.whole.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    if command == Command::Other && last.starts_with(b"HTTP/") && tokens(line.whole).count() > 1 {
        request.silence = Some(Outcome::Error);
        next = Next::Nothing;
    }
    queue.push(request, std::iter::empty(), None);
    only_entry(queue, line.wire);
    next
}

/// Credentials longer than this are refused unread (`MAX_AUTH_REQ_LEN`); until
/// 1.6.39 they were read.
const CREDENTIALS_MAX: u32 = 16384;

/// With `-Y`, the first request must be `set <any> <any> <any> <bytes>` with
/// credentials for a value. Of it nothing is kept but that it was there.
pub(crate) fn authentication(line: &[u8], wire: u64, dialect: Dialect, queue: &mut Queue) -> Next {
    let mut words = tokens(line);
    let is_set = words.next() == Some(b"set");
    let length = words
        .nth(3)
        .and_then(number::<u32>)
        .filter(|&length| dialect.before_1_6_40 || length <= CREDENTIALS_MAX)
        .map(|length| u64::from(length) + 2);
    match length {
        Some(length) if is_set => {
            let mut request = text(Command::Auth, Kinds::STORED);
            request.whole = false;
            queue.push(request, std::iter::empty(), None);
            only_entry(queue, wire + length);
            Next::Credentials(length)
        }
        _ => {
            // Refused, whatever it is, and no value is read after it.
            request(line, wire, dialect, queue);
            if let Some(refused) = queue.last_mut() {
                refused.whole = true;
                refused.silence = None;
                refused.accepts = Kinds::ERRORS;
                refused.lists = false;
            }
            Next::Request
        }
    }
}
