//! A connection that sends pipelines cut at any place and logs, from the replies
//! alone, what became of each request.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    mem,
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use super::{
    random::Random,
    server::{Address, Stream},
};

/// One operation on one key, as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    pub op: &'static str,
    pub protocol: &'static str,
    /// Empty for none.
    pub key: Vec<u8>,
    pub key_len: usize,
    pub status: &'static str,
    pub value_size: Option<usize>,
    pub ttl: Option<i64>,
    pub quiet: bool,
    /// The server sent something for it.
    pub answered: bool,
    /// Numbers of its request and of the pipeline that this was in.
    pub request: usize,
    pub batch: usize,
}

/// A request that was not answered yet.
pub struct Expected {
    pub op: &'static str,
    pub protocol: &'static str,
    /// One empty one for none.
    pub keys: Vec<Vec<u8>>,
    /// What a store sends.
    pub size: Option<usize>,
    pub ttl: Option<i64>,
    pub quiet: bool,
    pub answer: Answer,
}

/// The answer that a request can have.
pub enum Answer {
    /// None; the status of that.
    Never(&'static str),
    /// A line of the text protocol.
    Line,
    /// Values, up to `END`.
    Values,
    /// Lines, up to `END`.
    List,
    /// A line of the meta protocol, which carries this flag or says an error. With
    /// a status for silence there may be none.
    Meta(Option<Vec<u8>>, Option<&'static str>),
    /// A packet with this opaque number, or silence with that status.
    Packet(u32, Option<&'static str>),
    /// Packets, up to an empty one.
    Packets,
}

/// What a connection did.
#[derive(Debug, Default)]
pub struct Log {
    /// What captures call this client.
    pub client: String,
    pub done: Vec<Done>,
    /// When each pipeline was begun and answered.
    batches: Vec<(Instant, Instant)>,
    /// Bytes of each request and of its reply.
    pub bytes: Vec<(usize, usize)>,
    pub closed: bool,
}

impl Log {
    /// How long after the start of pipeline `batch` the server surely had sent all
    /// replies to it: it reads the next one only then.
    pub fn bound(&self, batch: usize) -> Option<Duration> {
        Some(self.batches.get(batch + 1)?.1 - self.batches[batch].0)
    }
}

/// A connection. Dropping it closes it.
pub struct Wire {
    stream: BufReader<Stream>,
    pub log: Log,
    /// CAS uniques that were seen, by key.
    pub uniques: HashMap<Vec<u8>, u64>,
    /// Gives each request that needs one a number.
    pub opaque: u32,
    /// Requests that were answered.
    requests: usize,
    /// Bytes taken of the reply at hand.
    received: usize,
    /// The pipeline that is being put together.
    bytes: Vec<u8>,
    expected: Vec<Expected>,
    /// When the first of it was sent, if some was.
    begun: Option<Instant>,
    /// A line or packet that was read and not taken yet.
    ahead: Option<Vec<u8>>,
}

impl Wire {
    pub fn connect(address: &Address) -> Self {
        let stream = address.connect().unwrap();
        Self {
            log: Log { client: stream.client(), ..Log::default() },
            stream: BufReader::new(stream),
            uniques: HashMap::new(),
            opaque: 0,
            requests: 0,
            received: 0,
            bytes: Vec::new(),
            expected: Vec::new(),
            begun: None,
            ahead: None,
        }
    }

    /// Closes it.
    pub fn close(self) -> Log {
        Log { closed: true, ..self.log }
    }

    /// Adds a request to the pipeline.
    pub fn push(&mut self, bytes: &[u8], expected: Expected) {
        self.bytes.extend_from_slice(bytes);
        self.log.bytes.push((bytes.len(), 0));
        self.expected.push(expected);
    }

    /// Requests in the pipeline.
    pub fn pending(&self) -> &[Expected] {
        &self.expected
    }

    /// Sends the pipeline in pieces and reads what comes back.
    pub fn run(&mut self, random: &mut Random) {
        let pieces = pieces(self.bytes.len(), random);
        self.run_in(pieces);
    }

    /// Sends the pipeline at once.
    pub fn run_whole(&mut self) {
        let whole = 0..self.bytes.len();
        self.run_in(std::iter::once(whole).collect());
    }

    /// Sends the pipeline byte by byte.
    pub fn run_by_byte(&mut self) {
        let pieces = (0..self.bytes.len()).map(|at| at..at + 1).collect();
        self.run_in(pieces);
    }

    fn run_in(&mut self, pieces: Vec<Range<usize>>) {
        let (bytes, expected) = (mem::take(&mut self.bytes), mem::take(&mut self.expected));
        let begun = self.begun.take().unwrap_or_else(Instant::now);
        let mut stream = self.stream.get_ref().try_clone();
        // Apart, because the server does not read on while its replies are not read.
        thread::scope(|scope| {
            scope.spawn(move || {
                for piece in pieces {
                    stream.write_all(&bytes[piece]).unwrap();
                }
            });
            for expected in expected {
                self.answer(&expected);
                self.log.bytes[self.requests].1 = mem::take(&mut self.received);
                self.requests += 1;
            }
        });
        assert_eq!(self.ahead, None, "a reply to nothing");
        self.log.batches.push((begun, Instant::now()));
    }

    /// Sends only the first `count` bytes of the pipeline; `run` sends the rest.
    pub fn send_first(&mut self, count: usize) {
        let rest = self.bytes.split_off(count);
        self.begun.get_or_insert_with(Instant::now);
        self.stream.get_mut().write_all(&self.bytes).unwrap();
        self.bytes = rest;
    }

    /// Sends the pipeline, and reads nothing; `run` reads.
    pub fn send_all(&mut self) {
        self.send_first(self.bytes.len());
    }

    /// Whether the server hung up, without another word.
    pub fn is_closed_by_server(&mut self) -> bool {
        self.stream.fill_buf().unwrap().is_empty()
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next line, without its end; it is still the next one.
    fn peek_line(&mut self) -> &[u8] {
        if self.ahead.is_none() {
            let mut line = Vec::new();
            self.stream.read_until(b'\n', &mut line).unwrap();
            assert!(line.ends_with(b"\r\n"), "memcached closed the connection");
            line.truncate(line.len() - 2);
            self.ahead = Some(line);
        }
        self.ahead.as_deref().unwrap()
    }

    fn line(&mut self) -> Vec<u8> {
        self.received += self.peek_line().len() + 2;
        self.ahead.take().unwrap()
    }

    /// The value after a line.
    fn body(&mut self, length: usize) {
        self.received += length + 2;
        self.exactly(length + 2);
    }

    fn peek_packet(&mut self) -> &[u8] {
        if self.ahead.is_none() {
            let mut packet = self.exactly(24);
            assert_eq!(packet[0], 0x81);
            let body = u32::from_be_bytes(packet[8..12].try_into().unwrap());
            packet.extend(self.exactly(body as usize));
            self.ahead = Some(packet);
        }
        self.ahead.as_deref().unwrap()
    }

    fn take_packet(&mut self) -> Vec<u8> {
        self.received += self.peek_packet().len();
        self.ahead.take().unwrap()
    }

    /// Logs what became of the next request.
    fn answer(&mut self, expected: &Expected) {
        match &expected.answer {
            Answer::Never(status) => self.log_all(expected, status, false),
            Answer::Line => {
                let line = self.line();
                self.log_all(expected, status_of_line(&line), true);
            }
            Answer::List => {
                while self.line() != b"END" {}
                self.log_all(expected, "ok", true);
            }
            Answer::Values => self.values(expected),
            Answer::Meta(flag, silence) => {
                if let Some(status) = silence
                    && !carries(self.peek_line(), flag.as_deref().unwrap())
                {
                    return self.log_all(expected, status, false);
                }
                self.meta_reply(expected);
            }
            Answer::Packet(opaque, silence) => {
                let answered = self.peek_packet()[12..16] == opaque.to_be_bytes();
                if let Some(status) = silence
                    && !answered
                {
                    return self.log_all(expected, status, false);
                }
                assert!(answered, "a reply to {} with another opaque", expected.op);
                self.packet_reply(expected);
            }
            Answer::Packets => {
                while self.take_packet().len() > 24 {}
                self.log_all(expected, "ok", true);
            }
        }
    }

    fn values(&mut self, expected: &Expected) {
        let mut keys = expected.keys.iter();
        loop {
            let line = self.line();
            if line == b"END" {
                break;
            }
            let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
            if words[0] != b"VALUE" {
                // Since 1.6.40 an empty line follows. So something else must, too.
                if self.peek_line().is_empty() {
                    self.line();
                }
                return self.log_all(expected, status_of_line(&line), true);
            }
            let size = number(words[3]);
            self.body(size);
            if let Some(unique) = words.get(4) {
                let unique = std::str::from_utf8(unique).unwrap().parse().unwrap();
                self.uniques.insert(words[1].to_vec(), unique);
            }
            // Values come in the order of the keys; those left out are misses.
            loop {
                let key = keys.next().expect("a key that was asked for");
                if key == words[1] {
                    self.log(expected, key, "hit", Some(size), true);
                    break;
                }
                self.log(expected, key, "miss", None, true);
            }
        }
        for key in keys {
            self.log(expected, key, "miss", None, true);
        }
    }

    fn meta_reply(&mut self, expected: &Expected) {
        let line = self.line();
        let mut words = line.split(|&byte| byte == b' ');
        let (fetches, stores) = (is_fetch(expected.op), expected.size.is_some());
        let code = words.next().unwrap();
        let mut size = None;
        let status = match code {
            b"HD" | b"VA" if fetches => "hit",
            b"HD" if stores => "stored",
            b"HD" if expected.op == "delete" => "deleted",
            b"HD" | b"VA" | b"MN" | b"ME" => "ok",
            b"EN" if fetches => "miss",
            b"EN" | b"NF" => "not_found",
            b"NS" => "not_stored",
            b"EX" => "exists",
            _ => status_of_line(&line),
        };
        if code == b"VA" {
            let length = number(words.next().unwrap());
            size = Some(length);
            self.body(length);
        }
        for word in words.filter(|_| status == "hit") {
            match word[0] {
                b's' => size = Some(number(&word[1..])),
                b'c' => {
                    let unique = std::str::from_utf8(&word[1..]).unwrap().parse().unwrap();
                    self.uniques.insert(expected.keys[0].clone(), unique);
                }
                _ => {}
            }
        }
        let size = expected.size.or(size.filter(|_| fetches));
        self.log(expected, &expected.keys[0], status, size, true);
    }

    fn packet_reply(&mut self, expected: &Expected) {
        let packet = self.take_packet();
        let key = &expected.keys[0];
        let status = match (u16::from_be_bytes([packet[6], packet[7]]), expected.op) {
            (0, "delete") => "deleted",
            (0, "touch") => "touched",
            (0, op) if is_fetch(op) => "hit",
            (0, _) if expected.size.is_some() => "stored",
            (0 | 0x21, _) => "ok",
            (1, op) if is_fetch(op) => "miss",
            (1, _) => "not_found",
            (2, _) => "exists",
            (3, _) => "server_error",
            (5, _) => "not_stored",
            (4 | 6 | 0x20, _) => "client_error",
            (0x81, _) => "error",
            (other, op) => panic!("status {other} for {op}"),
        };
        let hit = status == "hit";
        let names = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let size = hit.then(|| packet.len() - 24 - usize::from(packet[4]) - names);
        let unique = u64::from_be_bytes(packet[16..24].try_into().unwrap());
        if hit {
            self.uniques.insert(key.clone(), unique);
        }
        self.log(expected, key, status, expected.size.or(size), true);
    }

    fn log_all(&mut self, expected: &Expected, status: &'static str, answered: bool) {
        for key in &expected.keys {
            self.log(expected, key, status, expected.size, answered);
        }
    }

    fn log(
        &mut self,
        expected: &Expected,
        key: &[u8],
        status: &'static str,
        value_size: Option<usize>,
        answered: bool,
    ) {
        self.log.done.push(Done {
            op: expected.op,
            protocol: expected.protocol,
            // Too long to be one.
            key: if key.len() > 250 { Vec::new() } else { key.to_vec() },
            key_len: key.len(),
            status,
            value_size,
            ttl: expected.ttl,
            quiet: expected.quiet,
            answered,
            request: self.requests,
            batch: self.log.batches.len(),
        });
    }
}

fn is_fetch(op: &str) -> bool {
    matches!(op, "get" | "gets" | "gat" | "gats")
}

/// Whether a meta reply is that to the request with this flag: either its opaque
/// token or, if it has none, its key.
fn carries(line: &[u8], flag: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ');
    let is_meta = words
        .next()
        .is_some_and(|code| [&b"HD"[..], b"VA", b"EN", b"NF", b"NS", b"EX"].contains(&code));
    let name = |word: &&[u8]| word.first() == Some(&flag[0]);
    let mut with_token = words.clone();
    is_meta
        && words.find(name) == Some(flag)
        && (flag[0] == b'O' || !with_token.any(|word| word.first() == Some(&b'O')))
}

fn number(digits: &[u8]) -> usize {
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

/// What a line of the text protocol says.
fn status_of_line(line: &[u8]) -> &'static str {
    match line.split(|&byte| byte == b' ').next().unwrap() {
        b"STORED" => "stored",
        b"NOT_STORED" => "not_stored",
        b"EXISTS" => "exists",
        b"NOT_FOUND" => "not_found",
        b"DELETED" => "deleted",
        b"TOUCHED" => "touched",
        b"OK" | b"RESET" | b"VERSION" => "ok",
        b"ERROR" => "error",
        b"CLIENT_ERROR" => "client_error",
        b"SERVER_ERROR" => "server_error",
        digits if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => "ok",
        _ => panic!("reply: {}", line.escape_ascii()),
    }
}

/// Cuts `length` bytes into pieces to be written one by one.
fn pieces(length: usize, random: &mut Random) -> Vec<Range<usize>> {
    let largest = match random.below(6) {
        0 if length < 1500 => 1,
        1 => 30,
        2 => 300,
        3 => 5000,
        _ => length,
    };
    // Not forever, for a large one.
    let largest = largest.max(length / 300).max(1);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < length {
        let end = length.min(at + 1 + random.below(largest));
        pieces.push(at..end);
        at = end;
    }
    pieces
}
