//! A thread that sends what is due and reads what comes back, over many connections.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, TryRecvError},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::read,
};

use crate::{
    connection::{Connection, Desk, State},
    request::{Group, Kind},
    schedule::Clock,
    tally::{Tally, Unsent},
};

/// Operations that wait to be sent, at most, before no more are taken on.
const WAITING_MAX: u64 = 1 << 16;
/// Groups that are looked ahead at, beside those in the channel.
const AHEAD: usize = 1 << 13;
/// How often connections are looked at that may be overdue, ns.
const TICK: u64 = 50_000_000;
/// The inbox among the connections.
const INBOX: u64 = u64::MAX;
/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// What ends all threads.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// The user wants no more.
    pub(crate) interrupted: Arc<AtomicBool>,
    /// The target is gone.
    pub(crate) gone: AtomicBool,
}

impl Ending {
    pub(crate) fn is_near(&self) -> bool {
        self.interrupted.load(Relaxed) || self.gone.load(Relaxed)
    }
}

/// Where groups come from.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) groups: Receiver<Vec<Group>>,
    /// Readable when there are some, or will be no more.
    pub(crate) ready: Arc<OwnedFd>,
}

/// A connection, and what the kernel was asked about it.
#[derive(Debug)]
struct Entry {
    connection: Connection,
    asked_to_write: bool,
}

/// The thread.
pub(crate) struct Worker<'a> {
    clock: Clock,
    epoll: OwnedFd,
    inbox: Option<Receiver<Vec<Group>>>,
    ready: Arc<OwnedFd>,
    /// In the order in which it is due.
    ahead: VecDeque<Group>,
    connections: HashMap<u64, Entry>,
    /// Connections whose beginning is among what is ahead.
    expected: HashSet<u64>,
    desk: Desk,
    /// How long the target may be silent, ns.
    patience: u64,
    ending: &'a Ending,
    /// Nothing more comes.
    is_ending: bool,
    waiting: u64,
    next_tick: u64,
    buffer: Vec<u8>,
}

impl<'a> Worker<'a> {
    /// # Errors
    ///
    /// When the system has no more descriptors.
    pub(crate) fn new(
        clock: Clock,
        inbox: Inbox,
        desk: Desk,
        patience: Duration,
        ending: &'a Ending,
    ) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("cannot create an epoll")?;
        let (flags, data) = (epoll::EventFlags::IN, epoll::EventData::new_u64(INBOX));
        epoll::add(&epoll, &*inbox.ready, data, flags).context("cannot wait for requests")?;
        Ok(Self {
            clock,
            epoll,
            inbox: Some(inbox.groups),
            ready: inbox.ready,
            ahead: VecDeque::new(),
            connections: HashMap::new(),
            expected: HashSet::new(),
            desk,
            patience: u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX),
            ending,
            is_ending: false,
            waiting: 0,
            next_tick: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// Works until all is sent and answered, or given up.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to tell of sockets.
    pub(crate) fn run(mut self) -> Result<(Tally, Option<String>)> {
        // Or else the kernel wakes it 50 µs late.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        // And what reads ahead goes first. Only root may do this; it does without.
        let _ = rustix::process::nice(-10);
        let mut events = Vec::with_capacity(512);
        loop {
            self.take_in()?;
            self.send_due()?;
            self.end_if_done()?;
            if self.is_ending && self.connections.is_empty() {
                let error = self.desk.last_error.map(|error| error.to_string());
                return Ok((self.desk.tally, error));
            }
            self.wait(&mut events)?;
            for event in events.drain(..) {
                self.event(event)?;
            }
            let now = self.clock.now();
            if now >= self.next_tick {
                self.next_tick = now + TICK;
                self.tick(now)?;
            }
        }
    }

    /// Takes groups from the inbox, and opens connections that were there before.
    fn take_in(&mut self) -> Result<()> {
        while self.ahead.len() < AHEAD {
            let Some(inbox) = &self.inbox else { return Ok(()) };
            let groups = match inbox.try_recv() {
                Ok(groups) => groups,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => {
                    self.inbox = None;
                    return Ok(());
                }
            };
            let now = self.clock.now();
            for group in groups {
                match group.kind {
                    Kind::Open => {
                        self.expected.insert(group.conn);
                    }
                    Kind::Send if !self.expected.contains(&group.conn) => {
                        self.with(group.conn, true, |it, desk| {
                            it.connect(now, desk);
                        })?;
                    }
                    Kind::Send | Kind::Close => {}
                }
                self.ahead.push_back(group);
            }
        }
        Ok(())
    }

    /// Sends what is due.
    fn send_due(&mut self) -> Result<()> {
        let full_speed = self.desk.depth.is_some();
        while let Some(group) = self.ahead.front() {
            let now = self.clock.now();
            if self.waiting > WAITING_MAX || (!full_speed && group.due > now) {
                return Ok(());
            }
            let Some(group) = self.ahead.pop_front() else { return Ok(()) };
            self.send(group, now)?;
        }
        Ok(())
    }

    fn send(&mut self, group: Group, now: u64) -> Result<()> {
        let (conn, kind) = (group.conn, group.kind);
        match kind {
            Kind::Open => {
                self.expected.remove(&conn);
                self.with(conn, true, |it, desk| {
                    it.connect(now, desk);
                })
            }
            Kind::Close => self.with(conn, false, |it, desk| {
                it.add(group);
                it.pump(now, desk);
                if it.state() == State::Closed {
                    it.end(now);
                }
            }),
            Kind::Send => self.with(conn, true, |it, desk| {
                it.add(group);
                match it.state() {
                    State::Closed => {
                        it.connect(now, desk);
                    }
                    State::GivenUp | State::Over => it.discard(Unsent::GivenUp, desk),
                    State::Ending => it.discard(Unsent::Ended, desk),
                    State::Connecting | State::Open => {}
                }
                it.pump(now, desk);
            }),
        }
    }

    /// Does something with a connection, which is made if `make` says so, and sees to what
    /// it needs then.
    fn with(
        &mut self,
        conn: u64,
        make: bool,
        work: impl FnOnce(&mut Connection, &mut Desk),
    ) -> Result<()> {
        let now = self.clock.now();
        let entry = match self.connections.get_mut(&conn) {
            Some(entry) => entry,
            None if make => self.connections.entry(conn).or_insert_with(|| Entry {
                connection: Connection::new(now),
                asked_to_write: false,
            }),
            None => return Ok(()),
        };
        let connection = &mut entry.connection;
        let (before, failed) = (connection.waiting(), self.desk.failures());
        let had = connection.socket_id();
        work(connection, &mut self.desk);
        if connection.state() == State::Closed && connection.waiting() > 0 {
            connection.connect(now, &mut self.desk);
            connection.pump(now, &mut self.desk);
        }
        if (self.is_ending && connection.is_idle()) || connection.is_to_end() {
            connection.end(now);
        }
        self.waiting = (self.waiting + connection.waiting()).saturating_sub(before);
        let write = connection.wants_to_write();
        if let Some(socket) = connection.socket() {
            let flags = if write { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let (flags, data) = (flags | epoll::EventFlags::IN, epoll::EventData::new_u64(conn));
            if had != connection.socket_id() {
                epoll::add(&self.epoll, socket, data, flags).context("cannot wait for a socket")?;
            } else if write != entry.asked_to_write {
                epoll::modify(&self.epoll, socket, data, flags)
                    .context("cannot wait for a socket")?;
            }
            entry.asked_to_write = write;
        }
        let is_over = match connection.state() {
            State::Over => true,
            State::Closed | State::GivenUp => self.is_ending,
            State::Connecting | State::Open | State::Ending => false,
        };
        if is_over {
            self.connections.remove(&conn);
        }
        if self.desk.failures() > failed {
            self.see_whether_it_is_gone();
        }
        Ok(())
    }

    /// Ends the run where the target refuses or ignores all connections.
    fn see_whether_it_is_gone(&mut self) {
        let more = !self.ahead.is_empty() || self.inbox.is_some() || self.waiting > 0;
        if more && self.desk.live.open.load(Relaxed) == 0 {
            self.ending.gone.store(true, Relaxed);
        }
    }

    fn end_if_done(&mut self) -> Result<()> {
        if self.ending.is_near() && !self.is_ending {
            for group in self.ahead.drain(..) {
                self.desk.tally.unsent_from(Unsent::Ended, &group, 0);
            }
            self.inbox = None;
            for entry in self.connections.values_mut() {
                entry.connection.discard(Unsent::Ended, &mut self.desk);
            }
            self.waiting = 0;
        }
        if self.is_ending || self.inbox.is_some() || !self.ahead.is_empty() {
            return Ok(());
        }
        self.is_ending = true;
        let all: Vec<u64> = self.connections.keys().copied().collect();
        for conn in all {
            // What each needs at the end is seen to.
            self.with(conn, false, |_, _| {})?;
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) -> Result<()> {
        let now = self.clock.now();
        let mut until = self.next_tick;
        if self.waiting <= WAITING_MAX
            && let Some(group) = self.ahead.front()
        {
            until = until.min(if self.desk.depth.is_some() { 0 } else { group.due });
        }
        let left = Duration::from_nanos(until.saturating_sub(now));
        let timeout = Timespec::try_from(left).unwrap_or_default();
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for sockets"),
        }
    }

    fn event(&mut self, event: epoll::Event) -> Result<()> {
        let conn = event.data.u64();
        if conn == INBOX {
            // So that it tells the next time, too.
            let _ = read(&*self.ready, &mut [0; 8]);
            return Ok(());
        }
        let now = self.clock.now();
        let mut buffer = std::mem::take(&mut self.buffer);
        let flags = event.flags;
        let done = self.with(conn, false, |it, desk| {
            if flags.contains(epoll::EventFlags::OUT) {
                it.writable(now, desk);
            }
            if flags
                .intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
            {
                it.readable(now, &mut buffer, desk);
            }
        });
        self.buffer = buffer;
        done
    }

    /// Gives up connections that the target has forgotten.
    fn tick(&mut self, now: u64) -> Result<()> {
        let patience = self.patience;
        let overdue = self.connections.iter().filter(|(_, it)| {
            it.connection.is_overdue(now, patience) || (self.is_ending && it.connection.is_idle())
        });
        let overdue: Vec<u64> = overdue.map(|(conn, _)| *conn).collect();
        for conn in overdue {
            self.with(conn, false, |it, desk| {
                if it.is_overdue(now, patience) {
                    it.give_up(desk);
                }
            })?;
        }
        Ok(())
    }
}

impl Desk {
    /// How often the target refused a connection, or forgot one.
    fn failures(&self) -> u64 {
        let connections = self.tally.connections;
        connections.refused + connections.given_up
    }
}
