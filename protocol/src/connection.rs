//! One connection: what the server read and sent on it becomes operations.

use crate::{
    operation::{Command, Fault, Observer, Outcome, Protocol, Reason},
    pending::{Queue, Rooms},
    quiet::Held,
    replies::Replies,
    requests::Requests,
};

/// What is known of the server and changes how requests are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// The server is 1.6.39 or older: its parser was replaced in 1.6.40.
    pub before_1_6_40: bool,
    /// The server was started with `-Y`: a connection begins by authenticating.
    pub authenticates: bool,
    /// The protocols it listens for (`-B`).
    pub binding: Binding,
}

/// Which protocol a connection may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// Its first byte tells.
    #[default]
    Auto,
    /// Text and meta only.
    Text,
    /// Binary only.
    Binary,
}

/// From where on a connection is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From its first byte.
    Beginning,
    /// From somewhere in its midst.
    Midst,
    /// Its beginning is missing, and counted as lost already.
    Lost,
    /// It is a UDP socket: each read is a whole request, each send a datagram.
    Datagrams,
}

/// What one read of the server's returned.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// Bytes that the server asked for.
    pub asked: u64,
    /// Bytes that it got.
    pub length: u64,
    /// The first of them; the others were not copied.
    pub data: &'a [u8],
}

impl Read<'_> {
    /// Whether the server asked for as much as it does when nothing is left over from before:
    /// what it got begins with a request. (One that wants just as much of a value looks the
    /// same.)
    #[inline]
    pub fn begins_request(&self) -> bool {
        self.asked == BUFFER
    }
}

/// One element of what the server handed to the kernel to send.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Its bytes.
    pub length: u64,
    /// The first of them.
    pub head: &'a [u8],
    /// The last of them, after a hole.
    pub tail: &'a [u8],
}

/// Everything that the two directions of a connection share.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) queue: Queue,
    pub(crate) held: Held,
    /// The server has accepted the connection's credentials, or asks for none; it
    /// is taken to accept them until its reply is seen.
    pub(crate) authenticated: bool,
    /// A `watch` was granted, or TLS began: from here on nothing is a request or a
    /// reply.
    pub(crate) over: bool,
}

impl Exchange {
    /// Completes every open request: at this point no more replies can come. An
    /// open request that must be answered was not seen to be. Returns whether
    /// all is as it should be.
    pub(crate) fn settle(&mut self, observer: &mut impl Observer) -> bool {
        let open = self.queue.open().len();
        self.held.settle(open, &mut self.queue, observer)
    }

    /// Completes every open request, though replies may have been missed.
    pub(crate) fn abandon(&mut self, contradicted: bool, observer: &mut impl Observer) {
        self.held.abandon(contradicted, &mut self.queue, observer);
    }

    /// Completes those first requests that surely have no reply.
    pub(crate) fn advance(&mut self, observer: &mut impl Observer) {
        while self.held.is_empty()
            && let Some(request) = self.queue.front()
            && request.whole
            && request.accepts == crate::reply::Kinds::NONE
        {
            let outcome = request.silence.unwrap_or(Outcome::Unknown);
            self.queue.finish(outcome, None, observer);
        }
    }
}

/// The decoder of one connection.
#[derive(Debug)]
pub struct Connection {
    dialect: Dialect,
    /// What came before is known; else nothing is until the next chance.
    in_step: bool,
    /// It was there before, and nothing was read of it since: if a request is under way, that
    /// is not counted yet.
    joining: bool,
    datagrams: bool,
    /// Known from the first byte on.
    protocol: Option<Protocol>,
    requests: Requests,
    replies: Replies,
    exchange: Exchange,
    last_read: LastRead,
}

/// The read before. Into the buffer of a long line the server reads again and
/// again, doubling it, before it looks at what it has.
#[derive(Clone, Copy, Debug, Default)]
struct LastRead {
    /// Size of the buffer, if it is one for a long line.
    buffer: u64,
    asked: u64,
    got: u64,
}

impl LastRead {
    /// A read that asks for so many bytes goes on where this one filled the buffer.
    fn goes_on(&self, asked: u64) -> bool {
        self.buffer > BUFFER && self.got == self.asked && asked == self.buffer
    }
}

/// What a command read asks for when nothing is left over from the one before
/// (`READ_BUFFER_SIZE`).
const BUFFER: u64 = 16384;

impl Connection {
    /// A connection of a server of this `dialect`.
    pub fn new(dialect: Dialect, start: Start) -> Self {
        let exchange = Exchange {
            // Those that were there before have mostly done it.
            authenticated: !dialect.authenticates || start != Start::Beginning,
            ..Exchange::default()
        };
        Self {
            dialect,
            in_step: !matches!(start, Start::Midst | Start::Lost),
            joining: start == Start::Midst,
            datagrams: start == Start::Datagrams,
            protocol: None,
            requests: Requests::default(),
            replies: Replies::default(),
            exchange,
            last_read: LastRead::default(),
        }
    }

    /// The server read from the connection. `at` is the time tag of its return.
    pub fn received(&mut self, read: Read<'_>, at: u64, observer: &mut impl Observer) {
        if self.exchange.over {
            return;
        }
        if self.datagrams {
            return self.datagram(read, at, observer);
        }
        if self.protocol.is_none() && begins_tls(read) {
            self.exchange.over = true;
            return observer.fault(Fault::Encrypted);
        }
        if self.requests.is_over() {
            // The connection was not closed after all.
            self.exchange.settle(observer);
            self.requests = Requests::default();
            self.replies = Replies::default();
            self.in_step = false;
        }
        let goes_on = self.last_read.goes_on(read.asked);
        let reads_command = !self.requests.in_value() && !self.requests.in_credentials();
        let buffer = match (goes_on, reads_command) {
            (true, _) => read.asked.saturating_mul(2),
            (false, true) => read.asked.saturating_add(self.requests.carried() as u64),
            (false, false) => 0,
        };
        self.last_read = LastRead { buffer, asked: read.asked, got: read.length };
        if self.in_step && !goes_on && reads_command && !self.at_boundary(read, observer) {
            self.desync(Reason::Asked, observer);
        }
        if self.in_step && !goes_on && self.requests.value_ends_before(read.asked) {
            self.desync(Reason::Asked, observer);
        }
        let joins = std::mem::take(&mut self.joining);
        if !self.in_step && !self.get_into_step(read) {
            if read.length > 0 && (joins || read.begins_request()) {
                observer.fault(Fault::Unsynced);
            }
            return;
        }
        self.take(read, at, observer);
    }

    /// More of what the last read returned, where it was handed over in parts.
    pub fn received_more(&mut self, read: Read<'_>, at: u64, observer: &mut impl Observer) {
        self.last_read.got = self.last_read.got.saturating_add(read.length);
        if self.in_step && !self.exchange.over {
            self.parse(read, at, observer);
        }
    }

    /// The server sent `segments`, of which the kernel took `accepted` bytes. `at`
    /// is the time tag of the send's return.
    pub fn sent<'a>(
        &mut self,
        segments: impl Iterator<Item = Segment<'a>>,
        accepted: u64,
        at: u64,
        observer: &mut impl Observer,
    ) {
        if !self.in_step || self.exchange.over {
            return;
        }
        if let Err(reason) = self.replied(segments, accepted, at, observer) {
            // One that came too late for the limit on connections is told.
            let unasked = self.protocol.is_none() || self.requests.explains_stray_reply();
            if !unasked {
                self.desync(reason, observer);
            }
        }
    }

    /// Reads or sends of this connection are missing here.
    pub fn gap(&mut self, observer: &mut impl Observer) {
        self.joining = false;
        if self.in_step && !self.exchange.over {
            self.desync(Reason::Gap, observer);
        }
    }

    /// Whatever is held is more than is reasonable: it is let go.
    pub fn give_up(&mut self, observer: &mut impl Observer) {
        self.desync(Reason::TooMuch, observer);
    }

    /// The connection ends, or is no longer looked at. Gives out what is open.
    pub fn close(&mut self, observer: &mut impl Observer) {
        self.exchange.settle(observer);
    }

    /// Takes memory for open requests from what connections share, if it has none: to be
    /// called before [`Connection::received`], for the sake of speed.
    #[inline]
    pub fn take_room(&mut self, rooms: &mut Rooms) {
        self.exchange.queue.take_room(rooms);
    }

    /// Leaves it to others, if no request is open.
    #[inline]
    pub fn leave_room(&mut self, rooms: &mut Rooms) {
        self.exchange.queue.leave_room(rooms);
    }

    /// Bytes of memory that it holds.
    pub fn held(&self) -> usize {
        self.requests.held()
            + self.replies.held_bytes()
            + self.exchange.queue.held()
            + self.exchange.held.size()
    }

    /// Checks that the server asks for what it would if all before is as it was
    /// decoded: the free part of its buffer. Then all replies are out.
    fn at_boundary(&mut self, read: Read<'_>, observer: &mut impl Observer) -> bool {
        let buffer = read.asked.saturating_add(self.requests.carried() as u64);
        // For long multi-gets the buffer is doubled, again and again.
        let plausible = buffer == BUFFER || (buffer > BUFFER && buffer.is_power_of_two());
        if plausible {
            let sound = self.exchange.settle(observer) & self.replies.at_rest();
            if !sound {
                self.replies = Replies::default();
                observer.fault(Fault::Desynced(Reason::Unanswered));
            }
        }
        plausible
    }

    fn get_into_step(&mut self, read: Read<'_>) -> bool {
        if !read.begins_request() || !self.requests.can_begin(read.data, self.protocol) {
            return false;
        }
        self.in_step = true;
        true
    }

    fn desync(&mut self, reason: Reason, observer: &mut impl Observer) {
        observer.fault(Fault::Desynced(reason));
        let contradicted = !matches!(reason, Reason::Gap | Reason::TooMuch);
        self.exchange.abandon(contradicted, observer);
        self.requests = Requests::default();
        self.replies = Replies::default();
        self.in_step = self.datagrams;
    }

    /// The protocol of a connection that begins with `first`.
    fn negotiated(&self, first: u8) -> Protocol {
        let binary = match self.dialect.binding {
            Binding::Auto => first == crate::binary::REQUEST && !self.dialect.authenticates,
            Binding::Text => false,
            Binding::Binary => true,
        };
        if binary { Protocol::Binary } else { Protocol::Text }
    }

    fn take(&mut self, read: Read<'_>, at: u64, observer: &mut impl Observer) {
        let Some(&first) = read.data.first().filter(|_| self.protocol.is_none()) else {
            return self.parse(read, at, observer);
        };
        self.protocol = Some(self.negotiated(first));
        self.parse(read, at, observer);
    }

    fn parse(&mut self, read: Read<'_>, at: u64, observer: &mut impl Observer) {
        let binary = self.protocol == Some(Protocol::Binary);
        let dialect = self.dialect;
        if let Err(reason) =
            self.requests.take(read, at, binary, dialect, &mut self.exchange, observer)
        {
            self.desync(reason, observer);
        }
    }

    fn replied<'a>(
        &mut self,
        segments: impl Iterator<Item = Segment<'a>>,
        accepted: u64,
        at: u64,
        observer: &mut impl Observer,
    ) -> Result<(), Reason> {
        let binary = self.protocol == Some(Protocol::Binary);
        let (replies, exchange) = (&mut self.replies, &mut self.exchange);
        let mut left = accepted;
        // Each datagram begins with a frame header.
        let mut skip = if self.datagrams { 8 } else { 0 };
        for segment in segments {
            let (head, hole, tail) = if skip == 0 && segment.length <= left {
                left -= segment.length;
                segment.whole()
            } else {
                let length = segment.length.min(left);
                left -= length;
                let passed = length.min(skip);
                skip -= passed;
                segment.part(passed, length)
            };
            if !head.is_empty() {
                replies.bytes(head, binary, at, exchange, observer)?;
            }
            if hole > 0 {
                replies.hole(hole, at, exchange, observer)?;
            }
            if !tail.is_empty() {
                replies.bytes(tail, binary, at, exchange, observer)?;
            }
        }
        Ok(())
    }

    fn datagram(&mut self, read: Read<'_>, at: u64, observer: &mut impl Observer) {
        /// Request id, number of the datagram, how many there are, reserved.
        const FRAME: usize = 8;
        // All before is answered, and what was left of it is thrown away.
        self.exchange.settle(observer);
        self.requests = Requests::default();
        self.replies = Replies::default();
        let single = read.data.get(4..6) == Some(&[0, 1]);
        let Some((_, data)) = read.data.split_at_checked(FRAME).filter(|_| single) else { return };
        let Some(&first) = data.first() else { return };
        self.protocol = Some(self.negotiated(first));
        let length = read.length.saturating_sub(FRAME as u64);
        self.parse(Read { data, length, ..read }, at, observer);
    }
}

/// A record of TLS, of a handshake or, on a connection that was there before, of what comes
/// after it: TLS libraries read its header of five bytes first.
fn begins_tls(read: Read<'_>) -> bool {
    read.asked == 5 && matches!(read.data, [0x14..=0x17, 0x03, ..])
}

impl<'a> Segment<'a> {
    /// What there is of it: first bytes, how many are missing after those, and last bytes.
    #[inline]
    fn whole(self) -> (&'a [u8], u64, &'a [u8]) {
        let copied = (self.head.len() + self.tail.len()) as u64;
        match self.length.checked_sub(copied) {
            Some(hole) => (self.head, hole, self.tail),
            // It claims to have more than there is.
            None => self.part(0, self.length),
        }
    }

    /// The same of its bytes from `begin` up to `end`.
    fn part(self, begin: u64, end: u64) -> (&'a [u8], u64, &'a [u8]) {
        let size = |bytes: &[u8]| bytes.len() as u64;
        let up_to = |bytes: &'a [u8], end: u64| {
            &bytes[..usize::try_from(end).map_or(bytes.len(), |end| end.min(bytes.len()))]
        };
        let head = up_to(self.head, end);
        let skipped = usize::try_from(begin).unwrap_or(usize::MAX).min(head.len());
        // Where the tail begins in the segment; it may be cut off by a partial send.
        let tail_at = self.length.saturating_sub(size(self.tail)).max(size(self.head));
        let tail = up_to(self.tail, end.saturating_sub(tail_at));
        let hole = end.min(tail_at).saturating_sub(size(head).max(begin));
        (&head[skipped..], hole, tail)
    }
}

impl Exchange {
    /// What a reply to the first open request changes for the connection.
    pub(crate) fn note(&mut self, outcome: Outcome) {
        let command = self.queue.front().map(|request| request.command);
        match (command, outcome) {
            (Some(Command::Auth), outcome) => self.authenticated = outcome == Outcome::Ok,
            (Some(Command::Watch), Outcome::Ok) => self.over = true,
            _ => {}
        }
    }
}
