//! The direction from client to server: bytes into requests.

use crate::{
    binary::{self, Header},
    exchange::Exchange,
    operation::{Observer, Outcome, Protocol, Reason},
    pending::Queue,
    release::Rules,
    reply::Kinds,
    text::{self, Next},
    token::line_feed,
    traffic::Read,
};

/// A line longer than this is not followed: memcached itself keeps only those of
/// multi-gets beyond 2 KiB, and this one would have tens of thousands of keys.
const LINE_MAX: usize = 1 << 20;
/// Room for so much of an unfinished line stays with a connection.
const CARRY_KEPT: usize = 4096;

/// How far the reading is.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    state: State,
    /// The beginning of a line or packet whose end was not read yet.
    carry: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// A request begins, or goes on in the carry.
    #[default]
    Request,
    /// So many bytes of a value are to come.
    Value(u64),
    /// Credentials are.
    Credentials(Credentials),
    /// The server reads nothing more.
    Over,
    /// Nor does it send what it did not yet.
    HungUp,
}

/// What is known of credentials before the server says what it makes of them. No byte of them
/// is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Credentials {
    /// Bytes to come.
    left: u64,
    /// There is a blank in them, as there must be.
    parted: bool,
    /// They end with CRLF so far, as they must.
    ended: bool,
}

impl Credentials {
    fn new(length: u64) -> Self {
        Self { left: length, parted: false, ended: true }
    }

    /// Takes what there is of them.
    fn take(mut self, data: &mut &[u8], hole: &mut u64) -> Self {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
        let seen = &data[..here];
        self.parted |= seen.contains(&b' ');
        for (left, &byte) in (1..=self.left).rev().zip(seen).skip(here.saturating_sub(2)) {
            self.ended &= match left {
                1 => byte == b'\n',
                2 => byte == b'\r',
                _ => true,
            };
        }
        let left = pass(self.left, data, hole);
        // What was not copied is taken to be right.
        self.parted |= self.left - left > here as u64;
        Self { left, ..self }
    }

    /// The server may accept them.
    fn may_be_right(self) -> bool {
        self.parted && self.ended
    }
}

impl Requests {
    /// The server reads a value straight into its place.
    pub(crate) fn in_value(&self) -> bool {
        matches!(self.state, State::Value(_))
    }

    pub(crate) fn in_credentials(&self) -> bool {
        matches!(self.state, State::Credentials(_))
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over | State::HungUp)
    }

    /// Silence means nothing: the server hung up, and forgot replies that were not sent.
    pub(crate) fn forgets_replies(&self) -> bool {
        self.state == State::HungUp
    }

    /// Bytes of the value at hand that did not come.
    pub(crate) fn missing(&self) -> u64 {
        match self.state {
            State::Value(left) | State::Credentials(Credentials { left, .. }) => left,
            State::Request | State::Over | State::HungUp => 0,
        }
    }

    /// A read that asks for so many bytes is not one of the value at hand.
    pub(crate) fn value_ends_before(&self, asked: u64) -> bool {
        matches!(self.state, State::Value(left) if asked > left)
    }

    /// Bytes of a request that were read and wait for the rest of it.
    pub(crate) fn carried(&self) -> usize {
        self.carry.len()
    }

    /// Bytes of memory.
    pub(crate) fn held(&self) -> usize {
        self.carry.capacity()
    }

    /// A request may begin with `data`.
    pub(crate) fn can_begin(&self, data: &[u8], protocol: Option<Protocol>) -> bool {
        let packet = match Header::read(data) {
            Some(header) => header.begins(),
            None => binary::may_begin(data),
        };
        let (binary, text) = match protocol {
            Some(protocol) => (protocol == Protocol::Binary, protocol != Protocol::Binary),
            None => (true, true),
        };
        (binary && packet) || (text && text::begins(data))
    }

    /// A line without an end is answered with an error, and then closed.
    pub(crate) fn explains_stray_reply(&self) -> bool {
        self.carry.len() > 1024 || self.is_over()
    }

    /// Takes what a read returned.
    pub(crate) fn take(
        &mut self,
        read: Read<'_>,
        at: u64,
        binary: bool,
        exchange: &mut Exchange,
        observer: &mut impl Observer,
    ) -> Result<(), Reason> {
        let rules = exchange.rules;
        let mut data = read.data;
        let mut hole = read.length.saturating_sub(data.len() as u64);
        loop {
            match self.state {
                State::Over | State::HungUp => return Ok(()),
                State::Value(left) => {
                    let left = pass(left, &mut data, &mut hole);
                    if left > 0 {
                        self.state = State::Value(left);
                        return Ok(());
                    }
                    self.state = State::Request;
                    complete(at, exchange, observer);
                }
                State::Credentials(credentials) => {
                    let credentials = credentials.take(&mut data, &mut hole);
                    if credentials.left > 0 {
                        self.state = State::Credentials(credentials);
                        return Ok(());
                    }
                    exchange.authenticated = credentials.may_be_right();
                    refused(&mut exchange.queue, exchange.authenticated);
                    self.state = State::Request;
                    complete(at, exchange, observer);
                }
                State::Request if data.is_empty() && hole == 0 => return Ok(()),
                State::Request if data.is_empty() => return Err(Reason::Hole),
                State::Request => {
                    let next = if binary {
                        self.packet(&mut data, rules, exchange)
                    } else {
                        self.line(&mut data, rules, exchange)
                    };
                    let Some(next) = next else {
                        return match hole {
                            // Its end, if it came, was not copied.
                            1.. => Err(Reason::Hole),
                            0 if self.carry.len() > LINE_MAX => Err(Reason::TooMuch),
                            0 => Ok(()),
                        };
                    };
                    if let Some(request) = exchange.queue.last_mut() {
                        request.received_at = at;
                        if exchange.dialect.proxies {
                            request.expect_errors();
                        }
                    }
                    self.state = match next {
                        Next::Request => State::Request,
                        Next::Body(bytes) => State::Value(bytes),
                        Next::Credentials(bytes) => State::Credentials(Credentials::new(bytes)),
                        Next::Nothing => State::Over,
                        Next::HangUp => State::HungUp,
                    };
                    exchange.advance(observer);
                }
            }
        }
    }

    /// Reads a line, if there is a whole one.
    #[inline]
    fn line(&mut self, data: &mut &[u8], rules: &Rules, exchange: &mut Exchange) -> Option<Next> {
        if self.carry.is_empty()
            && exchange.authenticated
            && let Some(next) = text::plain_get(data, &mut exchange.queue)
        {
            return Some(next);
        }
        let Some(end) = line_feed(data) else {
            self.carry.extend_from_slice(data);
            *data = &[];
            return None;
        };
        let (line, rest) = data.split_at(end + 1);
        *data = rest;
        if self.carry.is_empty() {
            return Some(parse_line(line, rules, exchange));
        }
        self.carry.extend_from_slice(line);
        let next = parse_line(&self.carry, rules, exchange);
        self.clear();
        Some(next)
    }

    /// Reads a packet's header, extras and key, if they are whole.
    fn packet(&mut self, data: &mut &[u8], rules: &Rules, exchange: &mut Exchange) -> Option<Next> {
        if self.carry.is_empty()
            && let Some(header) = Header::read(data)
            && data.len() >= header.front()
        {
            let (packet, rest) = data.split_at(header.front());
            *data = rest;
            return Some(parse_packet(header, packet, rules, exchange));
        }
        // First the header is completed, then what it says.
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
                return None;
            }
        }
        let header = Header::read(&self.carry)?;
        let next = parse_packet(header, &self.carry, rules, exchange);
        self.clear();
        Some(next)
    }

    fn clear(&mut self) {
        self.carry.clear();
        self.carry.shrink_to(CARRY_KEPT);
    }
}

/// One more request was read whole by a server that waits for credentials. It has one reply
/// for all that it reads before it sends: the last one's. So the others have none, and were
/// refused; this is as well, unless it `may_be_right`.
fn refused(queue: &mut Queue, may_be_right: bool) {
    let Some((last, others)) = queue.open_mut().split_last_mut() else { return };
    for other in others {
        other.silence = Some(Outcome::ClientError);
        other.accepts = Kinds::NONE;
    }
    if !may_be_right {
        last.silence = None;
        last.accepts = Kinds::ERRORS;
    }
}

/// Passes over bytes of a value; returns how many are still to come.
fn pass(left: u64, data: &mut &[u8], hole: &mut u64) -> u64 {
    let here = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
    *data = &data[here..];
    let left = left - here as u64;
    let missing = left.min(*hole);
    *hole -= missing;
    left - missing
}

/// The value of the request that was read last has come.
fn complete(at: u64, exchange: &mut Exchange, observer: &mut impl Observer) {
    if let Some(request) = exchange.queue.last_mut() {
        request.whole = true;
        request.received_at = at;
    }
    exchange.advance(observer);
}

fn parse_line(line: &[u8], rules: &Rules, exchange: &mut Exchange) -> Next {
    let wire = line.len() as u64;
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if exchange.authenticated {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        text::request(line, wire, rules, &mut exchange.queue)
    } else {
        let next = text::authentication(line, wire, rules, &mut exchange.queue);
        if next == Next::Request {
            refused(&mut exchange.queue, false);
        }
        next
    }
}

fn parse_packet(header: Header, packet: &[u8], rules: &Rules, exchange: &mut Exchange) -> Next {
    if header.magic == binary::REQUEST {
        binary::request(header, packet, rules, &mut exchange.queue)
    } else {
        Next::HangUp
    }
}
