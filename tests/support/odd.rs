//! Requests that are valid or nearly so, at random, and what a client learns of them by
//! asking: each batch ends with a request that can be told by its reply.

use std::{
    io::{BufRead, BufReader, Read, Write},
    ops::Range,
    thread,
};

use super::{
    odd_packets::{self, Packet},
    random::Random,
    server::{Address, Stream},
};

/// What the client knows of one reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: &'static str,
    /// Values in it.
    pub hits: usize,
    pub bytes: usize,
    /// Of a packet.
    pub opaque: u32,
}

/// What was sent between two replies that are known, and what came of it.
#[derive(Debug)]
pub struct Batch {
    pub number: u64,
    /// The requests, each with its value, and what stands in for more of it.
    pub heads: Vec<Head>,
    /// Or packets.
    pub packets: Vec<Packet>,
    pub bytes: Vec<u8>,
    pub replies: Vec<Reply>,
    /// The server hung up before it came to the end.
    pub closed: bool,
}

/// A request that may be odd.
#[derive(Clone, Debug)]
pub struct Head {
    pub line: Vec<u8>,
    /// It asks for silence, rightly or not.
    pub quiet: bool,
    /// It is a store.
    pub store: bool,
    /// What comes after it, if that is not left to chance.
    pub value: Option<Vec<u8>>,
}

/// The key of the request that ends a batch.
pub fn end_key(number: u64) -> Vec<u8> {
    format!("end-{number}").into_bytes()
}

/// A number in one of many forms. `small` is what it may be at most, as a length; no form of
/// it is between that and what all releases refuse.
fn number(random: &mut Random, small: usize) -> Vec<u8> {
    let n = random.below(small + 1) as u64;
    let text = match random.below(60) {
        0 => format!("+{n}"),
        1 => format!("-{n}"),
        2 => format!("{n:011}"),
        3 => format!("{n:012}"),
        4 => format!("{n:022}"),
        5 => format!("{n:030}"),
        6 => format!("{}", (1_u64 << 32) + n),
        7 => format!("{}", (3_u64 << 32) + n),
        8 => format!("{}", (1_u64 << 31) - 1),
        9 => format!("{}", 1_u64 << 31),
        10 => format!("-{}", 1_u64 << 31),
        11 => format!("-{}", (1_u64 << 31) + 1),
        12 => format!("{}", u32::MAX),
        13 => format!("{}", i64::MAX),
        14 => format!("{}", i64::MIN),
        15 => format!("{}", 1_u64 << 63),
        16 => format!("{}", u64::MAX),
        17 => "18446744073709551616".to_owned(),
        18 => "-18446744073709551615".to_owned(),
        19 => "-9223372036854775809".to_owned(),
        20 => "-".to_owned(),
        21 => "+".to_owned(),
        22 => String::new(),
        23 => format!("0x{n}"),
        24 => format!("{n}x"),
        25 => "x".to_owned(),
        26 => format!("{n}.0"),
        27 => format!("\t{n}"),
        28 => format!("{n}\t"),
        29 => format!("{n}\u{b}y"),
        30 => format!("--{n}"),
        31 => "noreply".to_owned(),
        32 => format!("\r{n}"),
        33 => format!("{n}\r"),
        34 => format!("-0{n}"),
        35 => format!("{n}e1"),
        _ => n.to_string(),
    };
    text.into_bytes()
}

fn key(random: &mut Random) -> Vec<u8> {
    match random.below(40) {
        0 => vec![b'k'; 250],
        1 => vec![b'k'; 251],
        2 => b"noreply".to_vec(),
        3 => b"\xff\x01\x7f".to_vec(),
        4 => b"b\tc".to_vec(),
        other => format!("k{}", other % 7).into_bytes(),
    }
}

fn pick<'a>(random: &mut Random, words: &[&'a [u8]]) -> &'a [u8] {
    words[random.below(words.len())]
}

/// Values that are no longer than this, and lengths that are said to be no longer.
const SMALL: usize = 9;
/// Empty lines after a value, each of which is answered: so many bytes more can be taken for
/// it, and their number tells how many were.
const MARGIN: usize = 14;

/// Bytes that are a value or lines, each of which has one reply.
fn value(random: &mut Random) -> Vec<u8> {
    let lines: [&[u8]; 8] =
        [b"hello", b"mn", b"get none", b"x y z", b"version", b"\x80\n", b"", b"mg none"];
    let mut value = pick(random, &lines).to_vec();
    if random.chance(40) {
        value = vec![b'v'; random.below(SMALL)];
    }
    value.extend_from_slice(if random.chance(90) { b"\r\n" } else { b"\n" });
    value
}

/// Joins words into a line, which may have blanks where none need be.
fn line(random: &mut Random, words: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    if random.chance(2) {
        line.push(b' ');
    }
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            line.extend_from_slice(if random.chance(4) { b"  " } else { b" " });
        }
        line.extend_from_slice(word);
    }
    match random.below(60) {
        0 => line.push(b' '),
        1 => line.extend_from_slice(b"\0 1"),
        _ => {}
    }
    line.extend_from_slice(if random.chance(92) { b"\r\n" } else { b"\n" });
    line
}

fn text_head(random: &mut Random) -> Head {
    let verbs: [&[u8]; 18] = [
        b"set",
        b"set",
        b"set",
        b"add",
        b"replace",
        b"append",
        b"prepend",
        b"cas",
        b"cas",
        b"incr",
        b"decr",
        b"touch",
        b"delete",
        b"get",
        b"gets",
        b"gat",
        b"gats",
        b"flush_all",
    ];
    let mut verb = pick(random, &verbs).to_vec();
    let store = matches!(&*verb, b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas");
    let mut words = match &*verb {
        _ if store => {
            let big = 1 << 20;
            let mut words =
                vec![key(random), number(random, big), number(random, big), number(random, SMALL)];
            if verb == b"cas" {
                words.push(number(random, 3));
            }
            words
        }
        b"incr" | b"decr" | b"touch" => vec![key(random), number(random, 100)],
        b"delete" => match random.below(4) {
            0 => vec![key(random), number(random, 1)],
            _ => vec![key(random)],
        },
        b"get" | b"gets" => (0..=random.below(3)).map(|_| key(random)).collect(),
        b"flush_all" => vec![number(random, 3)],
        _ => vec![number(random, 100), key(random), key(random)],
    };
    match random.below(40) {
        0 => verb.push(b'x'),
        1 => verb = b"bget".to_vec(),
        2 => verb.make_ascii_uppercase(),
        3 => drop(words.pop()),
        4 => drop(words.remove(0)),
        5 => words.push(number(random, SMALL)),
        6 => words.extend((0..random.below(30)).map(|at| at.to_string().into_bytes())),
        _ => {}
    }
    if random.chance(12) {
        words.push(b"noreply".to_vec());
    }
    if random.chance(2) {
        // In the place of one, so that no other becomes the length.
        let at = random.below(words.len().max(1));
        words.splice(at..words.len().min(at + 1), [b"noreply".to_vec()]);
    }
    words.insert(0, verb);
    let line = line(random, &words);
    // It could be the word of any command.
    let quiet = line.windows(7).any(|word| word == b"noreply");
    Head { line, quiet, store, value: None }
}

fn meta_head(random: &mut Random) -> Head {
    let verbs: [&[u8]; 9] = [b"ms", b"ms", b"ms", b"mg", b"md", b"ma", b"me", b"mn", b"mx"];
    let verb = pick(random, &verbs).to_vec();
    let encoded: [&[u8]; 6] = [b"Zm9v", b"Zm9vYg==", b"Zm9vYh==", b"Zm!9v", b"Zm9", b"===="];
    let mut words = vec![verb.clone(), key(random)];
    if verb == b"ms" {
        words.push(number(random, SMALL));
    }
    for _ in 0..random.below(5) {
        let numeric = pick(random, &[b"T", b"F", b"C", b"N", b"D", b"J", b"R", b"E"]).to_vec();
        let word = match random.below(14) {
            0 => b"q".to_vec(),
            1 => b"k".to_vec(),
            2 => [&b"O"[..], b"opaque"].concat(),
            3 => [&b"O"[..], &vec![b'o'; 29 + random.below(6)]].concat(),
            4 => {
                words[1] = pick(random, &encoded).to_vec();
                b"b".to_vec()
            }
            5 => pick(random, &[b"v", b"s", b"c", b"f", b"t", b"h", b"l", b"x", b"I"]).to_vec(),
            6 => pick(random, &[b"ME", b"MA", b"MS", b"MX", b"M", b"MEE", b"MD", b"MR"]).to_vec(),
            7 => pick(random, &[b"!", b"-1", b"\xff", b"7", b"{", b"z", b"+", b"@"]).to_vec(),
            _ => [numeric, number(random, 100)].concat(),
        };
        words.push(word);
    }
    match random.below(40) {
        0 => drop(words.remove(1)),
        1 => words.extend((0..random.below(24)).map(|_| b"v".to_vec())),
        2 => words.push(b"noreply".to_vec()),
        _ => {}
    }
    let line = line(random, &words);
    let quiet = words[1..].iter().any(|word| word.first() == Some(&b'q'))
        || words.iter().any(|word| word == b"noreply");
    Head { line, quiet, store: verb == b"ms", value: None }
}

/// A value that takes several reads, of which a few bytes more or less are told.
fn large_head(random: &mut Random) -> Head {
    let size = [2040, 16_360, 16_384, 60_000][random.below(4)] + random.below(24);
    let stated = size + random.below(MARGIN) - 4;
    let line = match random.below(3) {
        0 => format!("ms k{size} {stated} T30\r\n"),
        1 => format!("set k{} 0 0 {stated} noreply\r\n", random.below(7)),
        _ => format!("add k{} 0 0 {stated}\r\n", random.below(7)),
    };
    let value = [&vec![b'v'; size][..], b"\r\n"].concat();
    let quiet = line.contains("noreply");
    Head { line: line.into_bytes(), quiet, store: true, value: Some(value) }
}

/// What the server hangs up on, or nearly so.
fn last_head(random: &mut Random) -> Head {
    let lines: [&[u8]; 7] = [
        b"quit\r\n",
        b"quit now\r\n",
        b"GET / HTTP/1.1\r\n",
        b"abc x HTTP/1.1\r\n",
        b"HTTP/1.1\r\n",
        b"verbosity 0 HTTP/1.1\r\n",
        b"mx HTTP/1.1\r\n",
    ];
    let line = pick(random, &lines).to_vec();
    Head { line, quiet: false, store: false, value: None }
}

/// A connection that asks odd things.
pub struct Odd {
    stream: BufReader<Stream>,
    binary: bool,
    opaque: u32,
    /// All that was sent on it.
    pub batches: Vec<Batch>,
}

impl Odd {
    /// Connects; `number` begins those of its batches.
    pub fn connect(address: &Address, number: u64, binary: bool) -> Self {
        let stream = BufReader::new(address.connect().unwrap());
        let mut odd = Self { stream, binary, opaque: 0, batches: Vec::new() };
        odd.run(number, (Vec::new(), Vec::new()), Vec::new(), &mut Random(0));
        odd
    }

    /// Sends one batch; returns whether the connection still stands.
    pub fn batch(&mut self, number: u64, random: &mut Random) -> bool {
        if self.binary { self.packets(number, random) } else { self.text(number, random) }
    }

    fn packets(&mut self, number: u64, random: &mut Random) -> bool {
        let mut packets = Vec::new();
        for _ in 0..=random.below(5) {
            packets.extend(odd_packets::packets(random, &mut self.opaque));
        }
        let bytes = packets.iter().flat_map(|packet| packet.bytes.clone()).collect();
        self.run(number, (Vec::new(), packets), bytes, random)
    }

    fn text(&mut self, number: u64, random: &mut Random) -> bool {
        let (mut heads, mut bytes) = (Vec::new(), Vec::new());
        // What a quiet one says in the midst of others could be theirs.
        let count = if random.chance(70) { 1 } else { 1 + random.below(4) };
        while heads.len() < count {
            let head = match random.below(200) {
                0..=3 => large_head(random),
                4 => last_head(random),
                5..80 => meta_head(random),
                _ => text_head(random),
            };
            if is_answered_by_nothing(&head) || (count > 1 && !stands_among_others(&head)) {
                continue;
            }
            bytes.extend_from_slice(&head.line);
            if head.store {
                let value = head.value.clone().unwrap_or_else(|| value(random));
                bytes.extend_from_slice(&value);
                bytes.extend_from_slice(&[b'\n'; MARGIN]);
            }
            heads.push(head);
        }
        self.run(number, (heads, Vec::new()), bytes, random)
    }

    fn run(
        &mut self,
        number: u64,
        (heads, packets): (Vec<Head>, Vec<Packet>),
        bytes: Vec<u8>,
        random: &mut Random,
    ) -> bool {
        self.opaque += 1;
        let end = match self.binary {
            true => odd_packets::end(self.opaque, &end_key(number)),
            false => format!("md end-{number} O{number}\r\n").into_bytes(),
        };
        let sent = [&bytes[..], &end].concat();
        let pieces = pieces(sent.len(), random);
        let mut stream = self.stream.get_ref().try_clone();
        let replies = Vec::new();
        let mut batch = Batch { number, heads, packets, bytes, replies, closed: false };
        thread::scope(|scope| {
            scope.spawn(move || {
                for piece in pieces {
                    // The server may have hung up.
                    let _ = stream.write_all(&sent[piece]);
                }
            });
            let end = format!("NF O{number}");
            loop {
                let next = match self.binary {
                    true => self.packet(),
                    false => self.reply(end.as_bytes()),
                };
                match next {
                    Next::Reply(reply) => batch.replies.push(reply),
                    Next::More(bytes) => match batch.replies.last_mut() {
                        Some(last) => last.bytes += bytes,
                        None => panic!("an empty line by itself"),
                    },
                    Next::End => break,
                    Next::Closed => {
                        batch.closed = true;
                        break;
                    }
                }
            }
        });
        let stands = !batch.closed;
        self.batches.push(batch);
        stands
    }

    fn packet(&mut self) -> Next {
        let mut header = [0; 24];
        if self.stream.read_exact(&mut header).is_err() {
            return Next::Closed;
        }
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let (body, opaque) = (number(8) as usize, number(12));
        self.skip(body);
        if opaque == self.opaque {
            return Next::End;
        }
        let status = match u16::from_be_bytes([header[6], header[7]]) {
            0 => "done",
            1 => "absent",
            2 => "exists",
            5 => "not_stored",
            3 | 0x82 | 0x84..=0x86 => "server_error",
            0x81 => "error",
            _ => "client_error",
        };
        Next::Reply(Reply { status, hits: 0, bytes: 24 + body, opaque })
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        // One that was hung up on may be told so rudely.
        self.stream.read_until(b'\n', &mut line).ok()?;
        line.strip_suffix(b"\r\n").map(<[u8]>::to_vec)
    }

    fn skip(&mut self, count: usize) {
        self.stream.read_exact(&mut vec![0; count]).unwrap();
    }

    fn reply(&mut self, end: &[u8]) -> Next {
        let Some(line) = self.line() else { return Next::Closed };
        if line == end {
            return Next::End;
        }
        if line.is_empty() {
            return Next::More(2);
        }
        let mut reply = Reply { status: status(&line), hits: 0, bytes: line.len() + 2, opaque: 0 };
        let size = |line: &[u8], word: usize| {
            let word = line.split(|&byte| byte == b' ').nth(word).unwrap();
            std::str::from_utf8(word).unwrap().parse::<usize>().unwrap() + 2
        };
        if line.starts_with(b"VA ") {
            let size = size(&line, 1);
            self.skip(size);
            reply.bytes += size;
        }
        let mut next = line;
        while next.starts_with(b"VALUE ") {
            let size = size(&next, 3);
            self.skip(size);
            next = self.line().unwrap();
            reply.bytes += size + next.len() + 2;
            reply.hits += 1;
        }
        Next::Reply(reply)
    }
}

enum Next {
    Reply(Reply),
    /// So many bytes more of the last one.
    More(usize),
    End,
    Closed,
}

/// A refused `get` that ends with `noreply` is, since 1.6.40, by an empty line.
fn is_answered_by_nothing(head: &Head) -> bool {
    fetches(head) && head.quiet && head.line.len() > 250
}

/// Whether all that is known of it is known wherever it stands: `get` of too long a key makes
/// the server forget replies, and a quiet meta request may be silent or not.
fn stands_among_others(head: &Head) -> bool {
    let is_meta = head.line.trim_ascii_start().starts_with(b"m");
    let forgets = fetches(head) && head.line.len() > 250;
    let may_be_silent = is_meta && head.quiet;
    !forgets && !may_be_silent
}

fn fetches(head: &Head) -> bool {
    let line = head.line.trim_ascii_start();
    line.starts_with(b"g") || line.starts_with(b"bg")
}

fn status(line: &[u8]) -> &'static str {
    match line.split(|&byte| byte == b' ').next().unwrap() {
        b"STORED" => "stored",
        b"NOT_STORED" | b"NS" => "not_stored",
        b"EXISTS" | b"EX" => "exists",
        b"NOT_FOUND" => "not_found",
        b"DELETED" => "deleted",
        b"TOUCHED" => "touched",
        b"ERROR" => "error",
        b"CLIENT_ERROR" => "client_error",
        b"SERVER_ERROR" => "server_error",
        b"VALUE" | b"END" => "values",
        // These say what their request makes of them.
        b"HD" | b"VA" => "done",
        b"EN" | b"NF" => "absent",
        _ => "ok",
    }
}

/// Cuts `length` bytes into pieces to be written one by one.
fn pieces(length: usize, random: &mut Random) -> Vec<Range<usize>> {
    // Not forever, for a large one.
    let least = (length / 300).max(1);
    let largest = [length, length, 40, 7, 1][random.below(5)].max(least);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < length {
        let end = length.min(at + 1 + random.below(largest));
        pieces.push(at..end);
        at = end;
    }
    pieces
}
