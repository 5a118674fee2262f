//! Requests of every protocol, for a [`Wire`] to send.

use super::{
    random::Random,
    wire::{Answer, Expected, Wire},
};

/// The keys that all clients share.
pub struct Keys {
    /// As the text protocol allows them.
    text: Vec<Vec<u8>>,
    /// Any bytes, for the binary protocol.
    wild: Vec<Vec<u8>>,
    /// Any bytes, for base64: short enough to be a key when encoded.
    encoded: Vec<Vec<u8>>,
    /// Their values are numbers.
    counters: Vec<Vec<u8>>,
}

impl Keys {
    pub fn new(random: &mut Random) -> Self {
        let in_text = |byte: u8| !matches!(byte, 0 | b' ' | b'\n' | b'\r');
        Self {
            text: (0..120).map(|_| random.key(in_text)).collect(),
            wild: (0..40).map(|_| random.key(|_| true)).collect(),
            encoded: (0..40)
                .map(|_| {
                    let mut key = random.key(|_| true);
                    key.truncate(180);
                    key
                })
                .collect(),
            counters: (0..8).map(|at| format!("counter-{at}").into_bytes()).collect(),
        }
    }
}

fn one_of<'a>(random: &mut Random, keys: &'a [Vec<u8>]) -> &'a [u8] {
    &keys[random.below(keys.len())]
}

/// A value that looks like requests and replies to whoever loses count.
fn value(random: &mut Random) -> Vec<u8> {
    const CONFUSING: &[u8] =
        b"\r\nEND\r\nVALUE x 0 5\r\nget y\r\nmn\r\n\x80\x0a\0\0\x81\x0a\0\0HD\r\n";
    let length = if random.chance(85) { random.below(600) } else { random.value().len() };
    CONFUSING.iter().copied().cycle().take(length).collect()
}

fn ttl(random: &mut Random) -> i64 {
    // The last is long over.
    [0, 0, 100, 100, 2_000_000, 2_592_001][random.below(6)]
}

fn expected(op: &'static str, protocol: &'static str, key: &[u8], answer: Answer) -> Expected {
    let quiet =
        matches!(answer, Answer::Never(_) | Answer::Meta(_, Some(_)) | Answer::Packet(_, Some(_)));
    Expected { op, protocol, keys: vec![key.to_vec()], size: None, ttl: None, quiet, answer }
}

/// The text and meta protocols.
impl Wire {
    /// A command with one line for an answer.
    pub fn line_command(&mut self, op: &'static str, command: &str) {
        let bytes = [command.as_bytes(), b"\r\n"].concat();
        self.push(&bytes, expected(op, "text", b"", Answer::Line));
    }

    /// `get`, `gets`, or with a time to live `gat`, `gats`.
    pub fn get(&mut self, op: &'static str, ttl: Option<i64>, keys: &[&[u8]]) {
        let ttl_text = ttl.map_or_else(String::new, |ttl| format!(" {ttl}"));
        let line = [op.as_bytes(), ttl_text.as_bytes(), b" ", &keys.join(&b' '), b"\r\n"].concat();
        let keys = keys.iter().map(|key| key.to_vec()).collect();
        self.push(&line, Expected { keys, ttl, ..expected(op, "text", b"", Answer::Values) });
    }

    /// A store; `unique` is for `cas`.
    pub fn store(
        &mut self,
        op: &'static str,
        key: &[u8],
        ttl: i64,
        value: &[u8],
        unique: Option<u64>,
        noreply: bool,
    ) {
        let unique = unique.map_or_else(String::new, |unique| format!(" {unique}"));
        let quiet = if noreply { " noreply" } else { "" };
        let rest = format!(" 7 {ttl} {}{unique}{quiet}\r\n", value.len());
        let bytes = [op.as_bytes(), b" ", key, rest.as_bytes(), value, b"\r\n"].concat();
        let answer = if noreply { Answer::Never("no_reply") } else { Answer::Line };
        let (size, ttl) = (Some(value.len()), Some(ttl));
        self.push(&bytes, Expected { size, ttl, ..expected(op, "text", key, answer) });
    }

    /// `delete`, `incr`, `decr`, `touch`.
    pub fn on_key(&mut self, op: &'static str, key: &[u8], argument: Option<i64>, noreply: bool) {
        let mut rest = argument.map_or_else(String::new, |argument| format!(" {argument}"));
        rest += if noreply { " noreply\r\n" } else { "\r\n" };
        let bytes = [op.as_bytes(), b" ", key, rest.as_bytes()].concat();
        let answer = if noreply { Answer::Never("no_reply") } else { Answer::Line };
        let ttl = argument.filter(|_| op == "touch");
        self.push(&bytes, Expected { ttl, ..expected(op, "text", key, answer) });
    }

    /// The end of a pipeline with quiet requests.
    pub fn mn(&mut self) {
        self.push(b"mn\r\n", expected("noop", "meta", b"", Answer::Meta(None, None)));
    }

    /// The first request of a connection: on a key that no other one uses.
    pub fn begin(&mut self, name: &str, binary: bool) {
        if binary {
            self.packet("set", 0x01, &[0; 8], name.as_bytes(), b"", 0, None);
        } else {
            self.store("set", name.as_bytes(), 0, b"", None, false);
        }
        self.run_whole();
    }

    /// A pipeline of up to `most` requests of text and meta.
    pub fn text_batch(&mut self, random: &mut Random, keys: &Keys, most: usize) {
        if random.chance(2) {
            // By itself: memcached forgets replies that it did not send before.
            let keys: &[&[u8]] = &[&[b'k'; 251]];
            self.get("get", None, keys);
            self.mn();
            self.run(random);
        }
        for _ in 0..=random.below(most) {
            if random.chance(50) {
                self.text_request(random, keys);
            } else {
                self.meta_request(random, keys);
            }
        }
        if random.chance(20) || self.pending().iter().any(|request| request.quiet) {
            self.mn();
        }
        self.run(random);
    }

    fn text_request(&mut self, random: &mut Random, keys: &Keys) {
        let key = one_of(random, &keys.text);
        let counter = one_of(random, &keys.counters);
        let noreply = random.chance(15);
        match random.below(24) {
            0 | 1 => self.get("get", None, &[key]),
            2 => self.get("gets", None, &[key]),
            3..=5 => {
                let (op, most) =
                    [("get", 100), ("gets", 100), ("gat", 8), ("gats", 8)][random.below(4)];
                // Of a key that was asked for twice one cannot tell which was a miss.
                let first = random.below(keys.text.len());
                let count = 1 + random.below(most);
                let some: Vec<&[u8]> =
                    keys.text.iter().cycle().skip(first).take(count).map(Vec::as_slice).collect();
                let ttl = (most == 8).then(|| ttl(random));
                self.get(op, ttl, &some);
            }
            6 if random.chance(4) => self.store("set", key, 0, &vec![b'v'; 2_500_000], None, false),
            6 | 7 => self.store("set", key, ttl(random), &value(random), None, noreply),
            8 => self.store("add", key, ttl(random), &value(random), None, noreply),
            9 => self.store("replace", key, ttl(random), &value(random), None, noreply),
            10 => self.store("append", key, 0, b"\r\nmore", None, noreply),
            11 => self.store("prepend", key, 0, b"less\r\n", None, noreply),
            12 | 13 => {
                let unique = self.uniques.get(key).copied().unwrap_or(1);
                self.store("cas", key, ttl(random), &value(random), Some(unique), noreply);
                self.get("gets", None, &[key]);
            }
            14 => self.store("set", counter, 0, b"41", None, noreply),
            15 => self.on_key("incr", counter, Some(1), noreply),
            16 => self.on_key("decr", counter, Some(100), noreply),
            17 => self.on_key("incr", key, Some(1), noreply),
            18 => self.on_key("touch", key, Some(ttl(random)), noreply),
            19 => self.on_key("delete", key, None, noreply),
            20 => self.line_command("version", "version"),
            21 => self.line_command("other", "verbosity 1"),
            22 if random.chance(20) => {
                let flush = expected("flush_all", "text", b"", Answer::Line);
                self.push(b"flush_all\r\n", flush);
            }
            22 => self.push(b"stats\r\n", expected("stats", "text", b"", Answer::List)),
            _ => self.line_command("other", "nonsense with words"),
        }
    }

    fn meta_request(&mut self, random: &mut Random, keys: &Keys) {
        match random.below(12) {
            0..=4 => {
                let flags =
                    ["v", "s", "v f", "k v", "s c", "v c t", "", "v T100", "h l t s", "T30 v N30"];
                let flags = flags[random.below(flags.len())];
                // What a request makes for itself is not marked as binary: it
                // would be named as it is.
                let encoded = !flags.contains('N') && random.chance(30);
                let key = one_of(random, if encoded { &keys.encoded } else { &keys.text });
                let op = if flags.contains('T') { "gat" } else { "get" };
                self.meta(random, ("mg", op), key, encoded, flags, None, Some("miss"));
            }
            5..=8 => {
                let mode = random.below(7);
                // What is stored with more of it is not marked as binary either.
                let encoded = random.chance(30) && !(3..5).contains(&mode);
                let key = one_of(random, if encoded { &keys.encoded } else { &keys.text });
                let unique = self.uniques.get(key).copied().unwrap_or(1);
                let compare = format!("C{unique} F9");
                let modes = [
                    ("set", ""),
                    ("set", "MS T100"),
                    ("add", "ME"),
                    ("append", "MA"),
                    ("prepend", "MP F3"),
                    ("replace", "MR T0"),
                    ("cas", &compare),
                ];
                let (op, flags) = modes[mode];
                let value = value(random);
                self.meta(random, ("ms", op), key, encoded, flags, Some(&value), Some("stored"));
            }
            9 => {
                let encoded = random.chance(30);
                let key = one_of(random, if encoded { &keys.encoded } else { &keys.text });
                self.meta(random, ("md", "delete"), key, encoded, "", None, Some("deleted"));
            }
            10 => {
                let key = one_of(random, &keys.counters);
                let modes = [
                    ("incr", ""),
                    ("incr", "MI v"),
                    ("decr", "MD D5"),
                    ("decr", "M-"),
                    ("incr", "M+ N60 J7 v"),
                    ("incr", "N0"),
                ];
                let (op, flags) = modes[random.below(modes.len())];
                self.meta(random, ("ma", op), key, false, flags, None, Some("ok"));
            }
            _ if random.chance(50) => self.mn(),
            _ => {
                let key = one_of(random, &keys.text);
                let answer = Answer::Meta(None, None);
                self.push(&[b"me ", key, b"\r\n"].concat(), expected("debug", "meta", key, answer));
            }
        }
    }

    /// A meta request on `key` that is answered, and has no other request after it.
    pub fn meta_alone(&mut self, random: &mut Random, key: &[u8]) {
        self.opaque += 1;
        let token = format!("O{}", self.opaque);
        let fetches = ["v", "s v f", "k t", "", "v T100", "h l", "N30 v"];
        let (verb, op, size, flags): (_, _, _, &str) = match random.below(8) {
            0..=2 => {
                let flags = fetches[random.below(fetches.len())];
                ("mg", if flags.contains('T') { "gat" } else { "get" }, None, flags)
            }
            3 => ("ms", "set", Some(random.below(300)), "T90"),
            4 => ("ms", "add", Some(3), "ME F5"),
            5 => ("ms", "cas", Some(3), "C5"),
            6 => ("md", "delete", None, ""),
            _ => ("ma", "incr", None, "D7"),
        };
        let length = size.map_or_else(String::new, |size| format!(" {size}"));
        let space = if flags.is_empty() { "" } else { " " };
        let line = [verb.as_bytes(), b" ", key, length.as_bytes()].concat();
        let rest = format!("{space}{flags} {token}\r\n");
        let value = size.map_or_else(Vec::new, |size| [&vec![b'v'; size][..], b"\r\n"].concat());
        let word = |letter: char| {
            let word = flags.split(' ').find(|word| word.starts_with(letter))?;
            word[1..].parse().ok()
        };
        let answer = Answer::Meta(Some(token.into_bytes()), None);
        let meta = expected(op, "meta", key, answer);
        let bytes = [&line[..], rest.as_bytes(), &value].concat();
        self.push(&bytes, Expected { size, ttl: word('T'), ..meta });
    }

    #[expect(clippy::too_many_arguments, reason = "a command has that many parts")]
    fn meta(
        &mut self,
        random: &mut Random,
        (verb, op): (&str, &'static str),
        key: &[u8],
        encoded: bool,
        flags: &str,
        value: Option<&[u8]>,
        silence: Option<&'static str>,
    ) {
        let named = if encoded { base64(key).into_bytes() } else { key.to_vec() };
        let quiet = random.chance(40);
        // A quiet one is known by its token, or by its key where no other has it.
        let fresh = self.pending().iter().all(|other| other.keys[0] != key);
        let by_key = quiet && fresh && random.chance(40);
        let mut line = [verb.as_bytes(), b" ", &named].concat();
        let mut add = |word: &str| line.extend([b" ", word.as_bytes()].concat());
        if let Some(value) = value {
            add(&value.len().to_string());
        }
        if !flags.is_empty() {
            add(flags);
        }
        if encoded {
            add("b");
        }
        let mut flag = None;
        if quiet {
            add("q");
        }
        if by_key {
            if !flags.contains('k') {
                add("k");
            }
            flag = Some([b"k", named.as_slice()].concat());
        } else if quiet || flags.contains('k') || random.chance(50) {
            self.opaque += 1;
            let token = format!("O{}", self.opaque);
            add(&token);
            flag = Some(token.into_bytes());
        }
        line.extend(b"\r\n");
        if let Some(value) = value {
            line.extend([value, b"\r\n"].concat());
        }
        let time = |letter: char| {
            let word = flags.split(' ').find(|word| word.starts_with(letter))?;
            word[1..].parse().ok()
        };
        let ttl = if verb == "ma" { time('N') } else { time('T') };
        let answer = Answer::Meta(flag, silence.filter(|_| quiet));
        let size = value.map(<[u8]>::len);
        self.push(&line, Expected { size, ttl, ..expected(op, "meta", key, answer) });
    }
}

/// The binary protocol.
impl Wire {
    /// Asks the server to hang up.
    pub fn quit(&mut self, binary: bool, random: &mut Random) {
        if binary {
            self.packet("quit", 0x07, &[], b"", b"", 0, None);
        } else {
            let answer = Answer::Never("no_reply");
            let quit = expected("quit", "text", b"", answer);
            self.push(b"quit\r\n", Expected { quiet: false, ..quit });
        }
        self.run(random);
    }

    /// A packet; with a status for silence it is quiet.
    #[expect(clippy::too_many_arguments, reason = "a packet has that many parts")]
    pub fn packet(
        &mut self,
        op: &'static str,
        opcode: u8,
        extras: &[u8],
        key: &[u8],
        value: &[u8],
        cas: u64,
        silence: Option<&'static str>,
    ) {
        self.opaque += 1;
        let long = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
        let key_length = u16::try_from(key.len()).unwrap().to_be_bytes();
        let extras_length = u8::try_from(extras.len()).unwrap();
        let body = long(extras.len() + key.len() + value.len());
        let head = [&[0x80, opcode], &key_length[..], &[extras_length, 0, 0, 0], &body].concat();
        let numbers = [&self.opaque.to_be_bytes()[..], &cas.to_be_bytes()].concat();
        let bytes = [&head, &numbers, extras, key, value].concat();
        let stores = matches!(op, "set" | "add" | "replace" | "append" | "prepend" | "cas");
        let ttl = extras.last_chunk().map(|ttl| i64::from(u32::from_be_bytes(*ttl)));
        let size = stores.then_some(value.len());
        // The key of an authentication is a mechanism.
        let key = if op == "auth" { b"" } else { key };
        let answer = match opcode {
            0x10 => Answer::Packets,
            0x17 => Answer::Never("no_reply"),
            _ => Answer::Packet(self.opaque, silence),
        };
        self.push(&bytes, Expected { size, ttl, ..expected(op, "binary", key, answer) });
    }

    /// A pipeline of up to `most` packets, ended by a noop.
    pub fn binary_batch(&mut self, random: &mut Random, keys: &Keys, most: usize) {
        for _ in 0..=random.below(most) {
            self.binary_request(random, keys);
        }
        self.packet("noop", 0x0a, &[], &[], &[], 0, None);
        self.run(random);
    }

    fn binary_request(&mut self, random: &mut Random, keys: &Keys) {
        let keys_here = if random.chance(50) { &keys.text } else { &keys.wild };
        let key = one_of(random, keys_here);
        let counter = one_of(random, &keys.counters);
        let quiet = random.chance(45);
        let unique = self.uniques.get(key).copied().unwrap_or(1);
        let seconds = u32::try_from(ttl(random)).unwrap().to_be_bytes();
        let store = [&[0, 0, 0, 5], &seconds[..]].concat();
        let count = |vivify: bool| {
            let expiry = if vivify { [0; 4] } else { [0xff; 4] };
            [&1_u64.to_be_bytes()[..], &9_u64.to_be_bytes(), &expiry].concat()
        };
        // The opcode and that of its quiet twin.
        let mut send = |op, opcodes: (u8, u8), extras: &[u8], key, value: &[u8], cas, silence| {
            let (opcode, silence) =
                if quiet { (opcodes.1, Some(silence)) } else { (opcodes.0, None) };
            self.packet(op, opcode, extras, key, value, cas, silence);
        };
        match random.below(22) {
            0..=2 => send("get", (0x00, 0x09), &[], key, b"", 0, "miss"),
            3 | 4 => send("get", (0x0c, 0x0d), &[], key, b"", 0, "miss"),
            5 => send("gat", (0x1d, 0x1e), &seconds, key, b"", 0, "miss"),
            6 => send("gat", (0x23, 0x24), &seconds, key, b"", 0, "miss"),
            7 => self.packet("touch", 0x1c, &seconds, key, b"", 0, None),
            8 | 9 => send("set", (0x01, 0x11), &store, key, &value(random), 0, "stored"),
            10 => send("add", (0x02, 0x12), &store, key, &value(random), 0, "stored"),
            11 => send("replace", (0x03, 0x13), &store, key, &value(random), 0, "stored"),
            12 => send("cas", (0x01, 0x11), &store, key, &value(random), unique, "stored"),
            13 => send("cas", (0x03, 0x13), &store, key, &value(random), unique, "stored"),
            14 => send("append", (0x0e, 0x19), &[], key, b"more", 0, "stored"),
            15 => send("prepend", (0x0f, 0x1a), &[], key, b"", 0, "stored"),
            16 => send("delete", (0x04, 0x14), &[], key, b"", 0, "deleted"),
            17 => {
                let key = if random.chance(70) { counter } else { key };
                send("incr", (0x05, 0x15), &count(random.chance(50)), key, b"", 0, "ok");
            }
            18 => send("decr", (0x06, 0x16), &count(false), counter, b"", 0, "ok"),
            19 => self.packet("version", 0x0b, &[], b"", b"", 0, None),
            20 if random.chance(10) => send("flush_all", (0x08, 0x18), &[], b"", b"", 0, "ok"),
            20 => self.packet("stats", 0x10, &[], b"", b"", 0, None),
            _ => self.packet("other", 0x77, &[], b"", b"", 0, None),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, &byte| bits << 8 | usize::from(byte));
        let bits = bits << (8 * (3 - three.len()));
        for digit in 0..4 {
            let sextet = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[sextet]) } else { '=' });
        }
    }
    text
}
