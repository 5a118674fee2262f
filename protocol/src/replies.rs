//! The direction from server to client: bytes into replies, and those to their
//! requests.

use crate::{
    binary::{self, Header},
    contradiction::{self, Contradiction},
    exchange::Exchange,
    list::{Start, in_lines, in_packets, push_last},
    operation::{Command, Observer, Outcome, Reason},
    pending::Queue,
    repeated::unsure_of_repeated_keys,
    reply::{self, Kinds, Reply, Value},
    token::line_feed,
};

/// A line of a reply longer than this is none. A multi-get's lines are below 400
/// bytes; the longest are those of `me` and of errors.
const LINE_MAX: usize = 4096;

/// Bytes of `END` and its line's end.
const END: u64 = 5;

/// How far the sending is.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    state: State,
    /// The beginning of a line or packet whose end was not sent yet.
    carry: Vec<u8>,
    /// Bytes of the reply at hand so far.
    bytes: u64,
    /// The next key of a multi-get that a value can be of.
    next_key: usize,
    /// A key of it, and it is not known which, had an error instead.
    key_failed: bool,
}

#[derive(Debug, Default)]
enum State {
    /// A reply begins, or goes on in the carry.
    #[default]
    Head,
    /// So many bytes of a value are to come.
    Value(u64, Then),
    /// Lines, up to one that ends the list; the beginning of the current one.
    Lines(Start),
    /// Packets of a list, not all of which were copied; the last bytes that were.
    Packets([u8; binary::HEADER]),
}

/// What comes after a value.
#[derive(Debug)]
enum Then {
    /// It was that of a key of the first open request.
    Key(usize),
    /// The reply to the first open request is complete.
    Finish(Reply),
    /// A reply is complete, and whose it is is not known yet.
    Hold(Reply),
    /// More packets of the same list.
    More,
}

impl Replies {
    /// No reply is half sent.
    pub(crate) fn at_rest(&self) -> bool {
        self.carry.is_empty() && matches!(self.state, State::Head)
    }

    /// What was sent of a reply that does not come to its end is what its request had for one.
    pub(crate) fn cut(&mut self, exchange: &mut Exchange) {
        let bytes = std::mem::take(&mut self.bytes) + self.carry.len() as u64;
        let Some(front) = exchange.queue.front() else { return };
        let sure = front.silence.is_none() && exchange.held.is_empty();
        match std::mem::take(&mut self.state) {
            State::Value(_, Then::Hold(_)) => exchange.held.cut_last(bytes),
            State::Value(_, Then::Key(index)) => {
                exchange.queue.entries_mut(0)[index].response_bytes += bytes;
            }
            // What it says was sent, and only its value is cut.
            State::Value(_, Then::Finish(reply)) => {
                exchange.queue.apply(0, &Reply { bytes, ..reply });
            }
            _ if sure => {
                if let Some(last) = exchange.queue.entries_mut(0).last_mut() {
                    last.response_bytes += bytes;
                }
            }
            // Whose it is is not known.
            _ => {}
        }
        self.carry.clear();
    }

    /// Bytes of memory.
    pub(crate) fn held_bytes(&self) -> usize {
        self.carry.capacity()
    }

    /// Takes bytes that were sent.
    pub(crate) fn bytes(
        &mut self,
        mut data: &[u8],
        binary: bool,
        at: u64,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) -> Result<(), Reason> {
        while !data.is_empty() && !exchange.over {
            match &mut self.state {
                State::Value(left, _) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                    data = &data[taken..];
                    self.pass(taken as u64, at, exchange, observer);
                }
                State::Lines(start) => {
                    let end = line_feed(data);
                    let line = &data[..end.unwrap_or(data.len())];
                    start.push(line);
                    let taken = end.map_or(data.len(), |end| end + 1);
                    self.bytes += taken as u64;
                    data = &data[taken..];
                    if end.is_some() {
                        self.listed(at, exchange, observer);
                    }
                }
                State::Packets(last) => {
                    self.bytes += data.len() as u64;
                    push_last(last, data);
                    // It is sent from one piece of memory, at whose end the list ends.
                    if Header::read(last).is_some_and(|header| binary::ends_list(&header)) {
                        self.state = State::Head;
                        let reply = Reply { kind: Kinds::PACKET, ..Reply::default() };
                        self.finish(reply, at, exchange, observer);
                    }
                    return Ok(());
                }
                State::Head if binary => self.packet(&mut data, at, exchange, observer)?,
                State::Head => self.line(&mut data, at, exchange, observer)?,
            }
        }
        Ok(())
    }

    /// Passes over bytes that were sent and not copied: of them nothing is known but how many
    /// they are. So they may be of a value, of a list, or what surely comes next.
    pub(crate) fn hole(
        &mut self,
        length: u64,
        at: u64,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) -> Result<(), Reason> {
        let mut length = length;
        loop {
            let passed = match &self.state {
                State::Value(left, _) => {
                    let passed = length.min(*left);
                    self.pass(passed, at, exchange, observer);
                    passed
                }
                State::Head if length >= END && self.ends_surely(exchange) => {
                    self.bytes += END;
                    self.end_of_values(at, exchange, observer);
                    END
                }
                _ => return self.hole_in_list(length, exchange),
            };
            length -= passed;
            if length == 0 || exchange.over {
                return Ok(());
            }
        }
    }

    /// Nothing but `END` can come next: every key of the first open request had its value.
    fn ends_surely(&self, exchange: &Exchange) -> bool {
        let complete = || self.next_key == exchange.queue.entries(0).len();
        self.carry.is_empty()
            && exchange.held.is_empty()
            && exchange.queue.awaits_values()
            && complete()
    }

    fn hole_in_list(&mut self, length: u64, exchange: &Exchange) -> Result<(), Reason> {
        match &mut self.state {
            State::Lines(start) => {
                start.broken = true;
                self.bytes += length;
                Ok(())
            }
            State::Packets(_) => {
                self.bytes += length;
                Ok(())
            }
            State::Head if in_packets(exchange) => {
                self.bytes += length + self.carry.len() as u64;
                self.carry.clear();
                self.state = State::Packets([0; binary::HEADER]);
                Ok(())
            }
            State::Head if in_lines(exchange) => {
                let mut start = Start::default();
                start.push(&self.carry);
                start.broken = true;
                self.bytes += length + self.carry.len() as u64;
                self.carry.clear();
                self.state = State::Lines(start);
                Ok(())
            }
            _ if exchange.over => Ok(()),
            _ => Err(Reason::Hole),
        }
    }

    /// The first open request has this reply, of which `bytes` are the head, unless it shows
    /// that it was another request than it was taken for.
    fn doubt(
        &mut self,
        reply: &Reply,
        bytes: &[u8],
        at: u64,
        exchange: &mut Exchange,
    ) -> Result<(), Reason> {
        let queue = &exchange.queue;
        let Some(found) = contradiction::of_front(queue, reply, bytes, exchange.rules) else {
            return Ok(());
        };
        // What the reply says of it is true all the same.
        let reply = Reply { bytes: std::mem::take(&mut self.bytes), ..reply.clone() };
        exchange.queue.answer_in_doubt(&reply, at);
        if found == Contradiction::ValueTaken {
            exchange.queue.forget_others();
        }
        Err(Reason::Contradicted)
    }

    fn pass(&mut self, bytes: u64, at: u64, exchange: &mut Exchange, observer: &mut impl Observer) {
        self.bytes += bytes;
        let State::Value(left, then) = &mut self.state else { return };
        *left -= bytes;
        if *left > 0 {
            return;
        }
        if let Then::Key(index) = *then {
            self.state = State::Head;
            self.end_of_value(index, &mut exchange.queue);
        } else if let State::Value(_, then) = std::mem::take(&mut self.state) {
            self.complete(then, at, exchange, observer);
        }
    }

    #[inline]
    fn end_of_value(&mut self, index: usize, queue: &mut Queue) {
        queue.entries_mut(0)[index].response_bytes = std::mem::take(&mut self.bytes);
    }

    /// All of a reply was sent, or of a value of several.
    fn complete(
        &mut self,
        then: Then,
        at: u64,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) {
        match then {
            Then::Key(index) => self.end_of_value(index, &mut exchange.queue),
            Then::Finish(reply) => self.finish(reply, at, exchange, observer),
            Then::Hold(mut reply) => {
                // What it names was already moved to where it is held.
                reply.bytes = std::mem::take(&mut self.bytes);
                reply.answered_at = at;
                exchange.held.complete_last(&reply);
            }
            Then::More => {}
        }
    }

    fn line(
        &mut self,
        data: &mut &[u8],
        at: u64,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) -> Result<(), Reason> {
        if self.expected(data, at, exchange, observer) {
            return Ok(());
        }
        let Some(end) = line_feed(data) else {
            self.carry.extend_from_slice(data);
            *data = &[];
            return if self.carry.len() > LINE_MAX { Err(Reason::Reply) } else { Ok(()) };
        };
        let (line, rest) = data.split_at(end + 1);
        *data = rest;
        // Since 1.6.40 the error that a get ends with has one end too many.
        if line.starts_with(b"CLIENT_ERROR ") && rest.starts_with(b"\r\n") {
            *data = &rest[2..];
            self.bytes += 2;
        }
        let mut carry = std::mem::take(&mut self.carry);
        let whole = if carry.is_empty() {
            line
        } else {
            carry.extend_from_slice(line);
            &carry
        };
        let result = self.whole_line(whole, at, exchange, observer);
        carry.clear();
        self.carry = carry;
        result
    }

    /// Takes what is expected of the reply to a get: the line of a value of the next key,
    /// or its end. It is known how those begin, so that nothing in them has to be sought.
    /// Any other line is left to be looked at.
    #[inline]
    fn expected(
        &mut self,
        data: &mut &[u8],
        at: u64,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) -> bool {
        let sure = exchange.held.is_empty() && exchange.queue.awaits_values();
        if !sure || !self.carry.is_empty() {
            return false;
        }
        if let Some(rest) = data.strip_prefix(b"END\r\n") {
            self.bytes += (data.len() - rest.len()) as u64;
            *data = rest;
            self.end_of_values(at, exchange, observer);
            return true;
        }
        let Some((key, entry)) = exchange.queue.next_key(self.next_key) else { return false };
        let after = data.strip_prefix(b"VALUE ").and_then(|rest| rest.strip_prefix(key));
        let Some((value, rest)) = after.and_then(Value::read) else { return false };
        entry.outcome = Some(Outcome::Hit);
        entry.value_size = Some(value.size);
        entry.client_flags = Some(value.client_flags);
        entry.cas = value.cas;
        self.bytes += (data.len() - rest.len()) as u64;
        *data = rest;
        self.state = State::Value(value.size + 2, Then::Key(self.next_key));
        self.next_key += 1;
        true
    }

    fn whole_line(
        &mut self,
        line: &[u8],
        at: u64,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) -> Result<(), Reason> {
        self.bytes += line.len() as u64;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            // The end too many, cut off from its line.
            self.bytes = 0;
            return Ok(());
        }
        let reply = reply::line(line);
        if !self.place(&reply, line, exchange, observer)? {
            self.follow(with_end(reply.body), Then::Hold(reply), at, exchange, observer);
            return Ok(());
        }
        self.doubt(&reply, line, at, exchange)?;
        let Some(front) = exchange.queue.front() else { return Err(Reason::Reply) };
        // Of stats it is all; a dump of keys, in later releases, begins with it.
        let begins_list = |command| match reply.kind {
            Kinds::STAT | Kinds::LINE | Kinds::END | Kinds::EN => true,
            kind => kind == Kinds::OK && command == Command::Other,
        };
        if front.lists && begins_list(front.command) {
            let mut start = Start::default();
            start.push(line);
            self.state = State::Lines(start);
            self.listed(at, exchange, observer);
            return Ok(());
        }
        if exchange.dialect.proxies && is_of_one_key(&reply, line, &exchange.queue) {
            self.key_failed = true;
            return Ok(());
        }
        match reply.kind {
            Kinds::VALUE => {
                let index = self.key_of(&reply, line, &mut exchange.queue).ok_or(Reason::Reply)?;
                self.follow(with_end(reply.body), Then::Key(index), at, exchange, observer);
            }
            Kinds::END => self.end_of_values(at, exchange, observer),
            _ => self.follow(with_end(reply.body), Then::Finish(reply), at, exchange, observer),
        }
        Ok(())
    }

    fn packet(
        &mut self,
        data: &mut &[u8],
        at: u64,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) -> Result<(), Reason> {
        loop {
            let wanted = Header::read(&self.carry).map_or(binary::HEADER, |header| header.front());
            let missing = wanted.saturating_sub(self.carry.len());
            if missing == 0 {
                break;
            }
            let taken = missing.min(data.len());
            self.carry.extend_from_slice(&data[..taken]);
            *data = &data[taken..];
            if taken < missing {
                return Ok(());
            }
        }
        let mut packet = std::mem::take(&mut self.carry);
        let result = self.whole_packet(&packet, at, exchange, observer);
        packet.clear();
        packet.shrink_to(LINE_MAX);
        self.carry = packet;
        result
    }

    fn whole_packet(
        &mut self,
        packet: &[u8],
        at: u64,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) -> Result<(), Reason> {
        let header = Header::read(packet).ok_or(Reason::Reply)?;
        let reply = binary::reply(header, packet).ok_or(Reason::Reply)?;
        self.bytes += packet.len() as u64;
        if !self.place(&reply, packet, exchange, observer)? {
            self.follow(reply.body, Then::Hold(reply), at, exchange, observer);
            return Ok(());
        }
        self.doubt(&reply, packet, at, exchange)?;
        let lists = exchange.queue.front().is_some_and(|front| front.lists);
        let then = if lists && binary::continues(&header) {
            Then::More
        } else {
            Then::Finish(reply.clone())
        };
        self.follow(reply.body, then, at, exchange, observer);
        Ok(())
    }

    /// A value of `body` bytes is to come, or none.
    fn follow(
        &mut self,
        body: Option<u64>,
        then: Then,
        at: u64,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) {
        match body {
            None | Some(0) => self.complete(then, at, exchange, observer),
            Some(left) => self.state = State::Value(left, then),
        }
    }

    /// Finds whose `reply` is: mostly the first open request's, for which it must be.
    #[inline]
    fn place(
        &mut self,
        reply: &Reply,
        bytes: &[u8],
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) -> Result<bool, Reason> {
        let first = exchange.queue.front().ok_or(Reason::Reply)?;
        if first.silence.is_some() || !exchange.held.is_empty() {
            return self.place_among_silent(reply, bytes, exchange, observer);
        }
        if exchange.queue.accepts(first, reply, bytes) { Ok(true) } else { Err(Reason::Reply) }
    }

    /// Finds whose `reply` is: the first open request's (true, after completing
    /// those before it), or one's that is not known yet (false, and then it is held).
    fn place_among_silent(
        &mut self,
        reply: &Reply,
        bytes: &[u8],
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) -> Result<bool, Reason> {
        let Exchange { queue, held, .. } = exchange;
        let sure = held.first_sure(queue.open());
        let earliest = held.earliest(reply, bytes, queue).ok_or(Reason::Reply)?;
        // The first that must be answered, unless one before it can have this.
        let is_sure = sure == Some(earliest) && !held.any_for(&queue.open()[earliest], queue);
        let whose = if is_sure {
            earliest
        } else if reply.is_part() {
            held.only_place(reply, bytes, queue).ok_or(Reason::Reply)?
        } else {
            held.hold(reply.clone(), bytes, earliest);
            return Ok(false);
        };
        held.settle(whose, queue, observer);
        self.next_key = 0;
        Ok(true)
    }

    /// The entry of the first open request that a `VALUE` line is of: values come
    /// in the order of the keys, and those between were missed.
    fn key_of(&mut self, reply: &Reply, line: &[u8], queue: &mut Queue) -> Option<usize> {
        let named = &line[reply.key.clone()?];
        let (found, entry) = queue.find(self.next_key, named)?;
        self.next_key = found + 1;
        entry.outcome = Some(Outcome::Hit);
        entry.value_size = reply.value_size;
        entry.client_flags = reply.client_flags;
        entry.cas = reply.cas;
        Some(found)
    }

    fn end_of_values(&mut self, at: u64, exchange: &mut Exchange, observer: &mut impl Observer) {
        self.next_key = 0;
        if exchange.queue.entries(0).len() > 1 {
            unsure_of_repeated_keys(&mut exchange.queue);
        }
        if let Some(last) = exchange.queue.entries_mut(0).last_mut() {
            last.response_bytes += std::mem::take(&mut self.bytes);
        }
        let failed = std::mem::take(&mut self.key_failed);
        let others = if failed { Outcome::Unknown } else { Outcome::Miss };
        exchange.queue.finish(others, Some(at), observer);
        exchange.advance(observer);
    }

    fn finish(
        &mut self,
        mut reply: Reply,
        at: u64,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) {
        reply.bytes = std::mem::take(&mut self.bytes);
        (self.next_key, self.key_failed) = (0, false);
        if let Some(front) = exchange.queue.front() {
            exchange.note(reply.outcome(front.command));
        }
        exchange.queue.apply(0, &reply);
        exchange.queue.finish(Outcome::Unknown, Some(at), observer);
        exchange.advance(observer);
    }

    /// A line of a list is over.
    fn listed(&mut self, at: u64, exchange: &mut Exchange, observer: &mut impl Observer) {
        let State::Lines(start) = &mut self.state else { return };
        let line = std::mem::take(start);
        if line.ends_list() {
            self.state = State::Head;
            let reply = Reply { kind: Kinds::OK, ..Reply::default() };
            self.finish(reply, at, exchange, observer);
        }
    }
}

/// Bytes of a value and its CRLF.
fn with_end(body: Option<u64>) -> Option<u64> {
    body.map(|body| body.saturating_add(2))
}

/// An error that a proxy has for one key of several, after which the others' values come.
fn is_of_one_key(reply: &Reply, line: &[u8], queue: &Queue) -> bool {
    /// With these memcached itself, which a proxy may be too, ends.
    const OF_ALL: [&[u8]; 2] =
        [b"CLIENT_ERROR bad command line format", b"SERVER_ERROR out of memory writing"];
    let several = queue.awaits_values() && queue.entries(0).len() > 1;
    several && Kinds::ERRORS.meet(reply.kind) && !OF_ALL.iter().any(|of| line.starts_with(of))
}
