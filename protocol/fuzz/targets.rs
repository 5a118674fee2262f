//! What is fuzzed: by cargo-fuzz without end, and by an ordinary test for a while.
#![allow(dead_code, unreachable_pub, reason = "each target uses some of it")]

use mcrec_protocol::{
    Binding, Connection, Dialect, Fault, Observer, Operation, Read, Segment, Start,
};

/// Checks that what is told hangs together.
#[derive(Default)]
struct Check {
    next_index: u32,
}

impl Observer for Check {
    fn operation(&mut self, operation: &Operation<'_>) {
        let index = operation.key_index;
        assert!(index == 0 || index == self.next_index, "key {index} after {}", self.next_index);
        self.next_index = index + 1;
        if let Some(key) = operation.key {
            assert!(key.len() <= 250);
            assert_eq!(operation.key_length, Some(key.len() as u64));
        }
    }

    fn fault(&mut self, _: Fault) {}
}

/// A connection, and how much of memory it may take.
struct Watched {
    connection: Connection,
    check: Check,
    at: u64,
    given: usize,
}

impl Watched {
    fn new(dialect: Dialect, start: Start) -> Self {
        let connection = Connection::new(dialect, start);
        Self { connection, check: Check::default(), at: 0, given: 0 }
    }

    fn read(&mut self, asked: u64, length: u64, data: &[u8]) {
        self.at += 1;
        self.given += data.len();
        self.connection.received(Read { asked, length, data }, self.at, &mut self.check);
        self.measure();
    }

    fn send(&mut self, segments: &[Segment<'_>], accepted: u64) {
        self.at += 1;
        self.given += segments.iter().map(|one| one.head.len() + one.tail.len()).sum::<usize>();
        self.connection.sent(segments.iter().copied(), accepted, self.at, &mut self.check);
        self.measure();
    }

    /// An empty line takes one byte and is a request all the same.
    fn measure(&self) {
        let held = self.connection.held();
        assert!(held <= (64 << 10) + 512 * self.given, "{held} after {} bytes", self.given);
    }

    fn end(mut self) {
        self.connection.close(&mut self.check);
    }
}

/// Takes numbers and bytes off the input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    fn short(&mut self) -> u64 {
        u64::from(self.byte()) << 8 | u64::from(self.byte())
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

fn dialect(byte: u8) -> Dialect {
    Dialect {
        release: (byte & 1 != 0).then_some([1, 6, u32::from(byte >> 4) * 3]),
        authenticates: byte & 2 != 0,
        binding: match byte >> 2 & 3 {
            0 | 3 => Binding::Auto,
            1 => Binding::Text,
            _ => Binding::Binary,
        },
        proxies: byte & 64 != 0,
    }
}

/// A dialect, and records: 0 to 2 for a read that asks for a whole buffer, for one
/// less an unfinished line, and for what it gets; 3 for a send; with length and bytes.
fn conversation(data: &[u8], binding: Binding) {
    let mut input = Input(data);
    let dialect = Dialect { binding, ..dialect(input.byte()) };
    let mut watched = Watched::new(dialect, Start::Beginning);
    let mut line = 0;
    while !input.0.is_empty() {
        let kind = input.byte();
        let length = input.short();
        let bytes = input.bytes(usize::try_from(length).unwrap_or_default());
        let length = bytes.len() as u64;
        let asked = match kind & 3 {
            0 => 16384,
            1 => 16384u64.saturating_sub(line),
            2 => length,
            _ => {
                watched.send(&[Segment { length, head: bytes, tail: &[] }], length);
                continue;
            }
        };
        line = match bytes.iter().rev().position(|&byte| byte == b'\n') {
            Some(after) => after as u64,
            None => line + length,
        };
        watched.read(asked, length, bytes);
    }
    watched.end();
}

/// Conversations of the text protocols.
pub fn text(data: &[u8]) {
    conversation(data, Binding::Text);
}

/// Conversations of the binary protocol.
pub fn binary(data: &[u8]) {
    conversation(data, Binding::Binary);
}

/// Any reads and sends, with holes, on any connection.
pub fn segments(data: &[u8]) {
    let mut input = Input(data);
    let first = input.byte();
    let start = match first >> 4 & 3 {
        0 | 3 => Start::Beginning,
        1 => Start::Midst,
        _ => Start::Datagrams,
    };
    let mut watched = Watched::new(dialect(first), start);
    while !input.0.is_empty() {
        match input.byte() {
            kind @ 0..=127 => read(kind, &mut input, &mut watched),
            kind @ 128..=250 => send(kind, &mut input, &mut watched),
            251 | 252 => watched.connection.gap(&mut watched.check),
            253 => {
                watched.connection.give_up(&mut watched.check);
                assert!(watched.connection.held() <= 256 << 10);
            }
            _ => {
                watched.end();
                watched = Watched::new(dialect(input.byte()), start);
                // What is kept for reuse counts from here on.
                watched.given = 0;
            }
        }
    }
    watched.end();
}

fn read(kind: u8, input: &mut Input<'_>, watched: &mut Watched) {
    let number = input.short();
    let hole = if kind & 4 != 0 { input.short() } else { 0 };
    let asked = input.short();
    let bytes = input.bytes(usize::try_from(number & 0x3ff).unwrap_or_default());
    let length = bytes.len() as u64 + hole;
    let asked = match kind & 3 {
        0 => 16384,
        1 => asked,
        2 => length,
        // As far as a size can go.
        _ => u64::MAX - asked,
    };
    watched.read(asked, length, bytes);
}

fn send(kind: u8, input: &mut Input<'_>, watched: &mut Watched) {
    let mut segments = Vec::new();
    for _ in 0..=kind & 3 {
        let (head, tail, hole) = (input.short() & 0x1ff, input.byte(), input.short());
        let head = input.bytes(usize::try_from(head).unwrap_or_default());
        let tail = input.bytes(usize::from(tail & 0x1f));
        // Some heads and tails claim more than there is, as no recorder should.
        let whole = (head.len() + tail.len()) as u64;
        let length = if kind & 4 != 0 { whole + hole } else { whole };
        let length = if kind & 32 != 0 { hole } else { length };
        segments.push(Segment { length, head, tail });
    }
    let total: u64 = segments.iter().map(|segment| segment.length).sum();
    let accepted = if kind & 8 != 0 { input.short().min(total) } else { total };
    watched.send(&segments, accepted);
}
