//! One connection: what the server read and sent on it becomes operations.

use crate::{
    dialect::{Binding, Dialect},
    exchange::Exchange,
    operation::{Fault, Observer, Protocol, Reason},
    pending::Rooms,
    replies::Replies,
    requests::Requests,
    traffic::{BUFFER, Read, Segment},
};

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

/// The decoder of one connection.
#[derive(Debug)]
pub struct Connection {
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

impl Connection {
    /// A connection of a server of this `dialect`.
    pub fn new(dialect: Dialect, start: Start) -> Self {
        // Those that were there before have mostly done it.
        let authenticated = !dialect.authenticates || start != Start::Beginning;
        Self {
            in_step: !matches!(start, Start::Midst | Start::Lost),
            joining: start == Start::Midst,
            datagrams: start == Start::Datagrams,
            protocol: None,
            requests: Requests::default(),
            replies: Replies::default(),
            exchange: Exchange::new(dialect, authenticated),
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
            self.close(observer);
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
            let unasked = reason == Reason::Reply
                && (self.protocol.is_none() || self.requests.explains_stray_reply());
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
        self.exchange.queue.cut(self.requests.missing());
        self.replies.cut(&mut self.exchange);
        if self.requests.forgets_replies() {
            self.exchange.abandon(false, observer);
        } else if self.exchange.settle(observer).forgotten {
            // A client may hang up before it is answered. But what is no request is none for
            // that.
            observer.fault(Fault::Desynced(Reason::Unanswered));
        }
        self.requests = Requests::default();
        self.replies = Replies::default();
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

    /// Whether no request is open: all that came whole was given out.
    pub fn is_idle(&self) -> bool {
        self.exchange.queue.open().is_empty()
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
            let at_rest = self.replies.at_rest();
            self.replies.cut(&mut self.exchange);
            let sound = self.exchange.settle(observer).sound;
            if !(sound && at_rest) {
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
        // Else more of it may have come, unseen.
        if reason == Reason::Contradicted {
            self.exchange.queue.cut(self.requests.missing());
        }
        self.replies.cut(&mut self.exchange);
        let contradicted = !matches!(reason, Reason::Gap | Reason::TooMuch);
        self.exchange.abandon(contradicted, observer);
        self.requests = Requests::default();
        self.replies = Replies::default();
        self.in_step = self.datagrams;
    }

    /// The protocol of a connection that begins with `first`.
    fn negotiated(&self, first: u8) -> Protocol {
        let binary = match self.exchange.dialect.binding {
            Binding::Auto => {
                first == crate::binary::REQUEST && !self.exchange.dialect.authenticates
            }
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
        if let Err(reason) = self.requests.take(read, at, binary, &mut self.exchange, observer) {
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
