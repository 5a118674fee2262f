//! Request lines of the classic text protocol.

use crate::{
    number::{Form, strict_unsigned, unsigned, value_length},
    operation::{Command, Outcome, Protocol},
    pending::{KEY_MAX, Queue, Request},
    release::{Indented, Rules},
    reply::Kinds,
    token::{Tokens, find, find_gap, tokens},
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
    /// Nothing: the server closes the connection once its replies are sent.
    Nothing,
    /// Nothing: it closes the connection, and forgets replies that were not sent yet.
    HangUp,
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

/// Verbs of administration that are told of as other commands.
const ADMINISTRATION: [&[u8]; 9] = [
    b"verbosity",
    b"lru_crawler",
    b"lru",
    b"slabs",
    b"cache_memlimit",
    b"shutdown",
    b"extstore",
    b"refresh_certs",
    b"debugtime",
];

/// Reads the request `line` (without its end), of `wire` bytes with it.
pub(crate) fn request(line: &[u8], wire: u64, rules: &Rules, queue: &mut Queue) -> Next {
    let line = match rules.c_strings.then(|| find(0, line)).flatten() {
        Some(end) => &line[..end],
        None => line,
    };
    let mut words = tokens(line);
    let verb = words.next().unwrap_or_default();
    let verb = match rules.indented {
        _ if line.first() != Some(&b' ') => verb,
        Indented::Taken => verb,
        Indented::Administration if ADMINISTRATION.contains(&verb) || verb == b"flush_all" => verb,
        Indented::Administration | Indented::Refused => b"",
    };
    if let [b'm', letter @ (b'g' | b's' | b'd' | b'a' | b'n' | b'e')] = verb {
        return crate::meta::request(*letter, line, wire, rules, queue);
    }
    let line = Line { whole: line, words, wire };
    match verb {
        b"get" => fetch(Command::Get, line, rules, queue),
        b"gets" => fetch(Command::Gets, line, rules, queue),
        b"gat" => fetch(Command::Gat, line, rules, queue),
        b"gats" => fetch(Command::Gats, line, rules, queue),
        b"bget" if rules.bget => fetch(Command::Get, line, rules, queue),
        b"set" => store(Command::Set, line, rules, queue),
        b"add" => store(Command::Add, line, rules, queue),
        b"replace" => store(Command::Replace, line, rules, queue),
        b"append" => store(Command::Append, line, rules, queue),
        b"prepend" => store(Command::Prepend, line, rules, queue),
        b"cas" => store(Command::Cas, line, rules, queue),
        b"incr" => on_key(Command::Incr, Kinds::NUMBER.or(Kinds::NOT_FOUND), line, rules, queue),
        b"decr" => on_key(Command::Decr, Kinds::NUMBER.or(Kinds::NOT_FOUND), line, rules, queue),
        b"touch" => on_key(Command::Touch, Kinds::TOUCHED.or(Kinds::NOT_FOUND), line, rules, queue),
        b"delete" => {
            on_key(Command::Delete, Kinds::DELETED.or(Kinds::NOT_FOUND), line, rules, queue)
        }
        _ => without_key(verb, line, rules, queue),
    }
}

/// A line after its verb.
struct Line<'a> {
    whole: &'a [u8],
    words: Tokens<'a>,
    /// Bytes of it and its end.
    wire: u64,
}

impl<'a> Line<'a> {
    /// Its last word says so, of `count` with the verb.
    fn is_noreply(&self, count: usize) -> bool {
        /// Those after so many are not looked at.
        const WORDS_MAX: usize = 23;
        match count {
            0..=WORDS_MAX => self.last() == b"noreply",
            _ => tokens(self.whole).nth(WORDS_MAX - 1) == Some(b"noreply"),
        }
    }

    fn last(&self) -> &'a [u8] {
        let mut line = self.whole;
        while let [before @ .., b' '] = line {
            line = before;
        }
        line.rsplit(|&byte| byte == b' ').next().unwrap_or_default()
    }
}

fn text(command: Command, kinds: Kinds) -> Request {
    Request::new(Protocol::Text, command, kinds.or(Kinds::ERRORS))
}

fn fetching(command: Command) -> Request {
    text(command, Kinds::VALUE.or(Kinds::END))
}

/// `get <key>*`, `gat <exptime> <key>*`.
fn fetch(command: Command, line: Line<'_>, rules: &Rules, queue: &mut Queue) -> Next {
    let Line { words: mut keys, wire, .. } = line;
    let mut request = fetching(command);
    if matches!(command, Command::Gat | Command::Gats) {
        request.ttl = keys.signed(rules.argument).and_then(|ttl| ttl.written);
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

/// `noreply`: surely silent, unless it is refused before that was looked at.
fn silence(request: &mut Request, quiet: bool, refused: bool) {
    request.quiet = quiet;
    if quiet && refused {
        request.accepts = Kinds::ERRORS;
    } else if quiet {
        request.silence = Some(Outcome::NoReply);
        request.accepts = Kinds::NONE;
    }
}

/// `set <key> <flags> <exptime> <bytes> [<cas>] [noreply]`, and the value.
fn store(command: Command, mut line: Line<'_>, rules: &Rules, queue: &mut Queue) -> Next {
    let Line { words, wire, .. } = &mut line;
    let (key, wire) = (words.next(), *wire);
    let flags = words.unsigned();
    let ttl = words.signed(Form::C);
    let stated = words.signed(rules.length);
    let with_cas = command == Command::Cas;
    let cas = if with_cas { words.unsigned() } else { None };
    let mut more = 0;
    words.for_each(|_| more += 1);
    let counted = stated.is_some() && cas.is_some() == with_cas && more <= 1;
    let quiet = line.is_noreply(5 + usize::from(with_cas) + more);
    let length = stated.and_then(value_length);
    let (flags, cas, ttl) = (flags.flatten(), cas.flatten(), ttl.and_then(|ttl| ttl.written));
    let right = flags.is_some() && ttl.is_some() && cas.is_some() == with_cas;
    let fits = key.is_some_and(|key| key.len() <= KEY_MAX);
    let follows = rules.swallows || (counted && right && fits);
    let body = length.filter(|_| follows).map(|length| length + 2);
    let kinds = Kinds::STORED.or(Kinds::NOT_STORED).or(Kinds::EXISTS).or(Kinds::NOT_FOUND);
    let mut request = text(command, kinds);
    silence(&mut request, quiet, if rules.counts_words { !counted } else { length.is_none() });
    request.ttl = ttl;
    request.cas_sent = cas;
    request.whole = body.is_none();
    let size = wire + body.unwrap_or(0);
    queue.push(request, key.map(|key| (key, size)).into_iter(), None);
    if let Some(entry) = queue.last_entry_mut() {
        entry.request_bytes = size;
        entry.value_size = body.and(length);
        entry.client_flags = flags;
    }
    body.map_or(Next::Request, Next::Body)
}

/// `delete <key>`, `touch <key> <exptime>`, `incr <key> <delta>`.
fn on_key(
    command: Command,
    kinds: Kinds,
    line: Line<'_>,
    rules: &Rules,
    queue: &mut Queue,
) -> Next {
    let count = line.words.clone().count();
    let quiet = line.is_noreply(1 + count);
    let Line { mut words, wire, .. } = line;
    let least = if command == Command::Delete { 1 } else { 2 };
    let key = words.next();
    // With a key alone it is that.
    let quiet = quiet && !(command == Command::Delete && rules.delete_takes_zero && count == 1);
    let mut request = text(command, kinds);
    silence(&mut request, quiet, count < least || (rules.counts_words && count > 3));
    if command == Command::Touch {
        request.ttl = words.signed(rules.argument).and_then(|ttl| ttl.written);
    }
    queue.push(request, key.map(|key| (key, wire)).into_iter(), None);
    only_entry(queue, wire);
    Next::Request
}

fn without_key(verb: &[u8], line: Line<'_>, rules: &Rules, queue: &mut Queue) -> Next {
    let (command, kinds) = match verb {
        b"flush_all" => (Command::FlushAll, Kinds::OK),
        b"version" => (Command::Version, Kinds::VERSION),
        b"stats" => (Command::Stats, Kinds::STAT.or(Kinds::LINE).or(Kinds::OK)),
        b"watch" => (Command::Watch, Kinds::OK),
        b"quit" => (Command::Quit, Kinds::ERRORS),
        _ => (Command::Other, Kinds::ADMINISTRATION),
    };
    let mut request = text(command, kinds);
    let count = line.words.clone().count();
    let quiet = line.is_noreply(1 + count);
    let argument = line.words.clone().next();
    let listing = argument.is_some_and(|word| matches!(word, b"metadump" | b"mgdump"));
    request.lists = command == Command::Stats || (verb == b"lru_crawler" && listing);
    if request.lists {
        request.accepts = request.accepts.or(Kinds::END).or(Kinds::EN);
    }
    let known = command != Command::Other || ADMINISTRATION.contains(&verb);
    let mut next = Next::Request;
    match verb {
        b"quit" | b"shutdown" => {
            request.silence = Some(Outcome::NoReply);
            next = if verb == b"quit" { Next::Nothing } else { Next::Request };
        }
        b"flush_all" | b"verbosity" => {
            let least = if verb == b"verbosity" { 1 } else { 0 };
            let counted = (least..=2).contains(&count);
            silence(&mut request, quiet, rules.counts_words && !counted);
        }
        _ if !known => silence(&mut request, quiet, !rules.unknown_is_quiet),
        // Some answer all the same.
        _ if command == Command::Other && quiet => {
            request.quiet = true;
            request.silence = Some(Outcome::NoReply);
        }
        _ => {}
    }
    if command == Command::FlushAll {
        request.ttl = line.words.clone().signed(rules.length).and_then(|ttl| ttl.written);
    }
    if !known && hangs_up(&line, rules) {
        request.silence = Some(Outcome::Error);
        request.accepts = Kinds::NONE;
        next = Next::HangUp;
    }
    queue.push(request, std::iter::empty(), None);
    only_entry(queue, line.wire);
    next
}

/// A web browser, or worse: the server hangs up without a word.
fn hangs_up(line: &Line<'_>, rules: &Rules) -> bool {
    let mut words = tokens(line.whole);
    let verb = words.next().unwrap_or_default();
    let counts = rules.http_alone || words.next().is_some();
    let never = match verb {
        [b'm', _] => !rules.never_http.is_empty(),
        [initial, ..] => rules.never_http.contains(initial),
        [] => false,
    };
    counts && !never && line.last().starts_with(b"HTTP/")
}

/// With `-Y`, the first request must be `set <any> <any> <any> <bytes>` with credentials for
/// a value. Of it nothing is kept but that it was there. `whole` is the line without its LF.
pub(crate) fn authentication(whole: &[u8], wire: u64, rules: &Rules, queue: &mut Queue) -> Next {
    let line = whole.strip_suffix(b"\r").unwrap_or(whole);
    let length = if rules.lax_credentials_line {
        let kept = whole.len().saturating_sub(1);
        let kept = whole[..kept].strip_suffix(b"\r").unwrap_or(&whole[..kept]);
        let word = tokens(kept).nth(4).filter(|_| kept.starts_with(b"set"));
        word.and_then(strict_unsigned)
    } else {
        let text = find(0, whole).map_or(whole, |end| &whole[..end]);
        let mut words = tokens(text);
        let is_set = words.next() == Some(b"set");
        // The low 32 bits.
        words.nth(3).filter(|_| is_set).and_then(unsigned).map(|length| length & 0xffff_ffff)
    };
    if whole.len() < rules.credentials_line_min {
        let mut request = text(Command::Other, Kinds::NONE);
        request.accepts = Kinds::NONE;
        request.silence = Some(Outcome::Error);
        queue.push(request, std::iter::empty(), None);
        only_entry(queue, wire);
        return Next::HangUp;
    }
    match length {
        Some(length) if length <= rules.credentials_max => {
            let length = length + 2;
            let mut request = text(Command::Auth, Kinds::STORED);
            request.whole = false;
            queue.push(request, std::iter::empty(), None);
            only_entry(queue, wire + length);
            Next::Credentials(length)
        }
        _ => {
            // Refused, whatever it is, and no value is read after it.
            request(line, wire, rules, queue);
            if let Some(refused) = queue.last_mut() {
                refused.whole = true;
                refused.lists = false;
            }
            if let Some(entry) = queue.last_entry_mut()
                && entry.value_size.take().is_some()
            {
                entry.request_bytes = wire;
            }
            Next::Request
        }
    }
}
