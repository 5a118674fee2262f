//! A connection to the target: what waits to be sent, and what waits for its reply.

mod answers;

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use mcrec_schema::codes::{Op, Status};
use rustix::{
    io::{Errno, read, write},
    net::{Shutdown, shutdown, sockopt},
};

use crate::{
    request::{Group, Kind, Request},
    tally::{Live, Tally, Unanswered, Unsent},
    target::Target,
    uniques::Uniques,
    value::Values,
    wire::{self, Answer, Writing},
};

/// Bytes that are held unsent for a connection, beside one request.
const UNSENT_MAX: usize = 256 << 10;
/// What is not used is given back beyond this.
const KEPT: usize = 64 << 10;

/// What all connections of a thread share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) target: Target,
    pub(crate) tally: Tally,
    pub(crate) live: Arc<Live>,
    pub(crate) values: Arc<Values>,
    pub(crate) uniques: Arc<Uniques>,
    /// As fast as possible: so many requests are open on a connection. `None` where a
    /// schedule says when to send.
    pub(crate) depth: Option<u32>,
    /// Wall clock at the beginning of the run, µs since the epoch.
    pub(crate) began_us: i64,
    /// The last error of connecting.
    pub(crate) last_error: Option<Errno>,
}

impl Desk {
    /// By how much what was recorded at `ts` is later at `now`, s.
    fn later_s(&self, ts: i64, now: u64) -> i64 {
        let wall = self.began_us.saturating_add(i64::try_from(now / 1000).unwrap_or(i64::MAX));
        wall.saturating_sub(ts) / 1_000_000
    }
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is no socket: none yet, or the target closed it.
    Closed,
    /// It is being connected.
    Connecting,
    /// It is there.
    Open,
    /// Its end was sent; what is still to come is read.
    Ending,
    /// It is over: it was ended.
    Over,
    /// The target did not answer: nothing more is sent.
    GivenUp,
}

/// A group and when it was sent, ns since the run began.
#[derive(Debug)]
struct Held {
    group: Group,
    sent_at: u64,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    state: State,
    socket: Option<OwnedFd>,
    binary: bool,
    /// From the first that is not answered.
    groups: VecDeque<Held>,
    /// The next request to be sent: number of its group and in that.
    next: (usize, usize),
    /// The first that is not answered: number in the first group, and of its key.
    first: (usize, usize),
    /// Requests that were sent and must be answered.
    open: u32,
    /// Opaque numbers: of the next request, and of the first that is not answered.
    next_opaque: u32,
    first_opaque: u32,
    /// What is to be written, and how much of it was.
    unsent: Vec<u8>,
    written: usize,
    /// The beginning of a reply.
    partial: Vec<u8>,
    /// Bytes of a value that are still to come, and what it completes.
    body: u64,
    completes: Option<(Status, Option<u64>)>,
    /// When the target last did something that was waited for, ns since the run began.
    heard: u64,
    /// Operations that wait to be sent.
    waiting: u64,
    /// The target was asked to hang up.
    quits: bool,
    /// Sockets it has had.
    sockets: u64,
}

impl Connection {
    pub(crate) fn new(now: u64) -> Self {
        Self {
            state: State::Closed,
            socket: None,
            binary: false,
            groups: VecDeque::new(),
            next: (0, 0),
            first: (0, 0),
            open: 0,
            next_opaque: 1,
            first_opaque: 1,
            unsent: Vec::new(),
            written: 0,
            partial: Vec::new(),
            body: 0,
            completes: None,
            heard: now,
            waiting: 0,
            quits: false,
            sockets: 0,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Which socket it has: each connecting makes another.
    pub(crate) fn socket_id(&self) -> u64 {
        self.sockets
    }

    /// Operations that wait to be sent.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// It waits for the target to take bytes, or to connect.
    pub(crate) fn wants_to_write(&self) -> bool {
        self.state == State::Connecting || (self.socket.is_some() && !self.is_flushed())
    }

    fn is_flushed(&self) -> bool {
        self.written == self.unsent.len()
    }

    /// All that it was given is sent and, where it must be, answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.open == 0 && self.is_flushed() && self.next.0 >= self.groups.len()
    }

    /// Whether the target was silent from `now - patience` on although something is due
    /// from it.
    pub(crate) fn is_overdue(&self, now: u64, patience: u64) -> bool {
        let waits = match self.state {
            State::Connecting | State::Ending => true,
            State::Open => self.open > 0 || !self.is_flushed(),
            State::Closed | State::Over | State::GivenUp => false,
        };
        waits && now.saturating_sub(self.heard) > patience
    }

    /// Adds what is to be sent. `pump` sends it.
    pub(crate) fn add(&mut self, group: Group) {
        self.waiting += group.operations();
        self.groups.push_back(Held { group, sent_at: 0 });
    }

    /// Begins to connect, where there is no connection. Returns whether there is a new
    /// socket.
    pub(crate) fn connect(&mut self, now: u64, desk: &mut Desk) -> bool {
        if self.state != State::Closed {
            return false;
        }
        (self.heard, self.quits) = (now, false);
        match desk.target.connect() {
            Ok((socket, connected)) => {
                self.socket = Some(socket);
                self.sockets += 1;
                self.state = State::Connecting;
                if connected {
                    self.connected(now, desk);
                }
                true
            }
            Err(error) => {
                self.refused(error, desk);
                false
            }
        }
    }

    fn connected(&mut self, now: u64, desk: &mut Desk) {
        self.state = State::Open;
        self.heard = now;
        desk.tally.connections.opened += 1;
        desk.live.open.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// The target refused. What waits cannot be sent.
    fn refused(&mut self, error: Errno, desk: &mut Desk) {
        desk.last_error = Some(error);
        desk.tally.connections.refused += 1;
        self.socket = None;
        self.state = State::Closed;
        self.discard(Unsent::Refused, desk);
    }

    /// The socket can be written to.
    pub(crate) fn writable(&mut self, now: u64, desk: &mut Desk) {
        if self.state == State::Connecting {
            let Some(socket) = &self.socket else { return };
            match sockopt::socket_error(socket) {
                Ok(Ok(())) => self.connected(now, desk),
                Ok(Err(error)) | Err(error) => return self.refused(error, desk),
            }
        }
        self.pump(now, desk);
    }

    /// Sends what may be sent.
    pub(crate) fn pump(&mut self, now: u64, desk: &mut Desk) {
        if !matches!(self.state, State::Open) {
            return;
        }
        loop {
            let added = self.write_requests(now, desk);
            if !self.flush(now, desk) {
                return;
            }
            self.answer_silent(desk);
            if !added {
                break;
            }
        }
        if self.is_to_end() {
            self.end(now);
        }
    }

    /// Puts requests among the bytes to send: those of one group, or at full speed as many
    /// as may be open. Returns whether there were any.
    fn write_requests(&mut self, now: u64, desk: &mut Desk) -> bool {
        let mut added = false;
        while let Some(held) = self.groups.get_mut(self.next.0) {
            let (group, at) = (&held.group, self.next.1);
            if group.kind == Kind::Close {
                break;
            }
            let Some(request) = group.requests.get(at) else {
                self.next = (self.next.0 + 1, 0);
                self.drop_done_groups();
                if desk.depth.is_none() && added {
                    break;
                }
                continue;
            };
            // What a request is to compare with, a reply before it may still tell: no client
            // could know it earlier.
            let must_wait = request.compares()
                && self.open > 0
                && (desk.depth.is_some() || at == 0)
                && unique_of(group, request, desk).is_none();
            let too_deep = desk.depth.is_some_and(|depth| {
                self.open >= depth && (at == 0 || self.open >= depth.saturating_mul(2))
            });
            if must_wait || too_deep || self.unsent.len() - self.written > UNSENT_MAX {
                break;
            }
            if at == 0 {
                held.sent_at = now;
            }
            let held = &self.groups[self.next.0];
            let (group, request) = (&held.group, &held.group.requests[at]);
            let cas = cas_of(group, request, desk);
            let writing = Writing {
                values: &desk.values,
                opaque: self.next_opaque,
                cas,
                later_s: desk.later_s(group.ts, now),
            };
            self.binary = request.is_binary();
            self.quits |= request.op == Op::Quit;
            wire::write(group, request, &writing, &mut self.unsent);
            let late = desk.depth.is_none().then(|| now.saturating_sub(group.due));
            desk.tally.sent(request, late);
            let keys = u64::from(request.keys);
            desk.live.sent.fetch_add(keys, std::sync::atomic::Ordering::Relaxed);
            if let Some(late) = late {
                desk.live.behind.store(late, std::sync::atomic::Ordering::Relaxed);
            }
            self.waiting = self.waiting.saturating_sub(keys);
            if must_answer(request) {
                if self.open == 0 {
                    self.heard = now;
                }
                self.open += 1;
            }
            self.next_opaque = self.next_opaque.wrapping_add(1);
            self.next.1 += 1;
            added = true;
        }
        added
    }

    /// Writes what the target takes. Returns whether the connection is still there.
    fn flush(&mut self, now: u64, desk: &mut Desk) -> bool {
        let Some(socket) = &self.socket else { return false };
        while self.written < self.unsent.len() {
            match write(socket, &self.unsent[self.written..]) {
                Ok(bytes) => {
                    self.written += bytes;
                    desk.tally.bytes_sent += bytes as u64;
                    self.heard = if self.open == 0 { now } else { self.heard };
                }
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(error) => {
                    desk.last_error = Some(error);
                    self.lost(Unanswered::Closed, desk);
                    return false;
                }
            }
        }
        self.unsent.clear();
        self.unsent.shrink_to(KEPT);
        self.written = 0;
        true
    }

    /// To end it is the next thing to do.
    pub(crate) fn is_to_end(&self) -> bool {
        let next = self.groups.get(self.next.0);
        self.is_flushed() && next.is_some_and(|it| it.group.kind == Kind::Close)
    }

    /// Tells the target that nothing more comes; what it still has to say is read.
    pub(crate) fn end(&mut self, now: u64) {
        match (&self.socket, self.state) {
            (Some(socket), State::Open) => {
                self.state = State::Ending;
                self.heard = now;
                // Where that fails, reading will, too.
                let _ = shutdown(socket, Shutdown::Write);
            }
            (None, State::Closed) => self.state = State::Over,
            _ => {}
        }
    }

    /// Reads what the target sent, by way of `buffer`.
    pub(crate) fn readable(&mut self, now: u64, buffer: &mut [u8], desk: &mut Desk) {
        if self.state == State::Connecting {
            return self.writable(now, desk);
        }
        loop {
            let Some(socket) = &self.socket else { return };
            match read(socket, &mut *buffer) {
                Ok(0) => return self.ended(desk),
                Ok(bytes) => {
                    self.heard = now;
                    desk.tally.bytes_received += bytes as u64;
                    if !self.take(&buffer[..bytes], now, desk) {
                        return self.lost(Unanswered::Nonsense, desk);
                    }
                    if bytes < buffer.len() {
                        break;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => {
                    desk.last_error = Some(error);
                    return self.lost(Unanswered::Closed, desk);
                }
            }
        }
        self.pump(now, desk);
    }

    /// The target closed the connection.
    fn ended(&mut self, desk: &mut Desk) {
        if self.state == State::Ending {
            self.settle(desk);
            self.close_socket(desk);
            self.drop_sent(Unanswered::Closed, desk);
            self.state = State::Over;
            return self.discard(Unsent::Ended, desk);
        }
        // It does so after `quit`, and then all before was answered.
        let answered = self.settle(desk);
        if !(answered && self.quits) {
            desk.tally.connections.closed += 1;
        }
        self.close_socket(desk);
        self.drop_sent(Unanswered::Closed, desk);
        self.state = State::Closed;
    }

    /// The connection is of no use any more. What waits may go over another.
    fn lost(&mut self, why: Unanswered, desk: &mut Desk) {
        desk.tally.connections.closed += u64::from(self.state != State::Ending);
        self.close_socket(desk);
        self.drop_sent(why, desk);
        self.state = if self.state == State::Ending { State::Over } else { State::Closed };
    }

    /// The target did not answer for too long.
    pub(crate) fn give_up(&mut self, desk: &mut Desk) {
        desk.tally.connections.given_up += 1;
        self.close_socket(desk);
        self.drop_sent(Unanswered::TimedOut, desk);
        self.discard(Unsent::GivenUp, desk);
        self.state = State::GivenUp;
    }

    fn close_socket(&mut self, desk: &Desk) {
        if self.socket.take().is_some() && self.state != State::Connecting {
            desk.live.open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.unsent = Vec::new();
        self.partial = Vec::new();
        (self.written, self.body, self.completes) = (0, 0, None);
    }

    /// Counts what was sent and not answered, and forgets it.
    fn drop_sent(&mut self, why: Unanswered, desk: &mut Desk) {
        while self.first_is_sent() {
            let keys = self.first_request().map_or(0, |it| u64::from(it.keys));
            let left = keys.saturating_sub(self.first.1 as u64);
            desk.tally.unanswered(why, left);
            self.pop_first();
        }
        self.open = 0;
    }

    /// Counts what was not sent, and forgets it.
    pub(crate) fn discard(&mut self, why: Unsent, desk: &mut Desk) {
        let (group, request) = self.next;
        for (at, held) in self.groups.iter().enumerate().skip(group) {
            desk.tally.unsent_from(why, &held.group, if at == group { request } else { 0 });
        }
        if let Some(held) = self.groups.get_mut(group) {
            held.group.requests.truncate(request);
        }
        self.groups.truncate(group + usize::from(request > 0));
        self.waiting = 0;
    }

    /// Whether the first request that is not answered was sent.
    fn first_is_sent(&self) -> bool {
        self.next.0 > 0 || self.first.0 < self.next.1
    }

    fn first_request(&self) -> Option<&Request> {
        self.groups.front()?.group.requests.get(self.first.0)
    }

    /// Goes on to the next request after the first that is not answered.
    fn pop_first(&mut self) {
        self.first = (self.first.0 + 1, 0);
        self.first_opaque = self.first_opaque.wrapping_add(1);
        self.drop_done_groups();
    }

    fn drop_done_groups(&mut self) {
        while self.next.0 > 0
            && self.groups.front().is_some_and(|it| self.first.0 >= it.group.requests.len())
        {
            self.groups.pop_front();
            self.next.0 -= 1;
            self.first = (0, 0);
        }
    }
}

/// Whether the target has to answer, whatever happens.
fn must_answer(request: &Request) -> bool {
    wire::answer(request) != Answer::Nothing && !request.quiet
}

/// What the target returned where the recorded server did what `request` compares with.
fn unique_of(group: &Group, request: &Request, desk: &Desk) -> Option<u64> {
    desk.uniques.now(group.first_key(request), request.cas_sent?)
}

/// A unique that no item comes to have by itself.
const OF_NO_ITEM: u64 = u64::MAX - 1;

/// The unique that `request` is to be sent with, if it compares with one.
fn cas_of(group: &Group, request: &Request, desk: &mut Desk) -> u64 {
    if !request.compares() {
        return 0;
    }
    if let Some(now) = unique_of(group, request, desk) {
        return now;
    }
    let status = group.first(request).status;
    // What did not match then must not match now: small numbers do, by chance.
    if status == Status::Exists {
        return OF_NO_ITEM;
    }
    desk.uniques.last(group.first_key(request)).unwrap_or_else(|| {
        let matched = matches!(status, Status::Stored | Status::Deleted | Status::Ok);
        desk.tally.cas_unknown += u64::from(matched);
        request.cas_sent.filter(|&sent| sent != 0).unwrap_or(OF_NO_ITEM)
    })
}
