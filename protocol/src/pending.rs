//! Requests that wait for their replies, in the order of the connection.

use std::ops::Range;

use crate::{
    flags::{self, Letters},
    operation::{Command, Observer, Operation, Outcome, Protocol},
    reply::{Kinds, Reply},
};

/// A request that was read and not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) protocol: Protocol,
    pub(crate) command: Command,
    pub(crate) quiet: bool,
    /// What it means if there is no reply; `None` if there always is one.
    pub(crate) silence: Option<Outcome>,
    /// The kinds of replies it can have.
    pub(crate) accepts: Kinds,
    /// Its reply is a list that ends with a line of its own.
    pub(crate) lists: bool,
    /// Meta: the reply names the key.
    pub(crate) returns_key: bool,
    /// Binary only.
    pub(crate) opcode: u8,
    pub(crate) opaque: u32,
    pub(crate) ttl: Option<i64>,
    /// What it compares the item's CAS unique with, and what it asks that to become.
    pub(crate) cas_sent: Option<u64>,
    pub(crate) cas_set: Option<u64>,
    pub(crate) received_at: u64,
    /// All of it was read.
    pub(crate) whole: bool,
    /// When it had a reply that shows that it was another request.
    answered_in_doubt: Option<u64>,
    /// Meta: the opaque token, among the queue's bytes.
    token: Option<Range<usize>>,
    /// Meta: the flags, among the queue's bytes.
    flags: Option<Range<usize>>,
    /// Meta: the flags of its reply.
    returned: Option<Letters>,
    /// Its keys, among the queue's entries; one without a key for a request without.
    entries: Range<usize>,
}

impl Request {
    pub(crate) fn new(protocol: Protocol, command: Command, accepts: Kinds) -> Self {
        Self {
            protocol,
            command,
            quiet: false,
            silence: None,
            accepts,
            lists: false,
            returns_key: false,
            opcode: 0,
            opaque: 0,
            ttl: None,
            cas_sent: None,
            cas_set: None,
            received_at: 0,
            whole: true,
            answered_in_doubt: None,
            token: None,
            flags: None,
            returned: None,
            entries: 0..0,
        }
    }

    /// It was a line of no known verb, which is what most values look like to whoever takes
    /// them for requests, and memcached answers each with an error.
    pub(crate) fn may_be_none(&self) -> bool {
        self.protocol != Protocol::Binary
            && self.command == Command::Other
            && self.silence.is_none()
    }

    /// A proxy answers with an error though no reply was asked for.
    pub(crate) fn expect_errors(&mut self) {
        if self.silence == Some(Outcome::NoReply) && self.accepts == Kinds::NONE {
            self.accepts = Kinds::ERRORS;
        }
    }

    /// It asks for a value to be stored.
    pub(crate) fn stores(&self) -> bool {
        use Command as C;
        matches!(self.command, C::Set | C::Add | C::Replace | C::Append | C::Prepend | C::Cas)
    }
}

/// One key of a request and what became of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Among the queue's bytes.
    key: Option<Range<usize>>,
    pub(crate) key_length: Option<u64>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) value_size: Option<u64>,
    pub(crate) client_flags: Option<u64>,
    pub(crate) cas: Option<u64>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

/// The requests of one connection that are open. They lie in three lists that
/// are emptied together when the last one is answered, so that an operation
/// costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    requests: Vec<Request>,
    /// The first that is not answered.
    front: usize,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// How often a reply was compared with a request.
    #[cfg(test)]
    pub(crate) comparisons: std::cell::Cell<usize>,
}

/// Memory for requests that connections share, because few have open ones at a time.
#[derive(Debug, Default)]
pub struct Rooms(Vec<Queue>);

impl Rooms {
    const MOST: usize = 256;
}

/// Lists that have grown beyond these are given back when they are empty.
pub(crate) const KEPT: (usize, usize) = (256, 16 << 10);
/// A key longer than this is none (`KEY_MAX_LENGTH`).
pub(crate) const KEY_MAX: usize = 250;

impl Queue {
    /// Adds a request, its keys with the bytes each has on the wire (none for a
    /// request without a key, then `bytes` are all), and its opaque token.
    pub(crate) fn push<'a>(
        &mut self,
        mut request: Request,
        keys: impl Iterator<Item = (&'a [u8], u64)>,
        token: Option<&[u8]>,
    ) -> &mut Request {
        let first = self.entries.len();
        for (key, request_bytes) in keys {
            let range = (key.len() <= KEY_MAX).then(|| {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(key);
                start..self.bytes.len()
            });
            let key_length = Some(key.len() as u64);
            self.entries.push(Entry { key: range, key_length, request_bytes, ..Entry::default() });
        }
        if self.entries.len() == first {
            self.entries.push(Entry::default());
        }
        request.entries = first..self.entries.len();
        request.token = token.map(|token| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(token);
            start..self.bytes.len()
        });
        self.requests.push(request);
        self.requests.last_mut().expect("was just pushed")
    }

    /// Keeps the flags of the meta request that was pushed last.
    pub(crate) fn keep_flags<'a>(&mut self, words: impl Iterator<Item = &'a [u8]>) {
        let start = self.bytes.len();
        flags::append(words, &mut self.bytes);
        if let Some(request) = self.requests.last_mut() {
            request.flags = Some(start..self.bytes.len());
        }
    }

    /// The open requests.
    #[inline]
    pub(crate) fn open(&self) -> &[Request] {
        &self.requests[self.front..]
    }

    /// The same, to be changed.
    pub(crate) fn open_mut(&mut self) -> &mut [Request] {
        &mut self.requests[self.front..]
    }

    /// The first open request.
    #[inline]
    pub(crate) fn front(&self) -> Option<&Request> {
        self.requests.get(self.front)
    }

    /// The request that was read last, if it is open.
    #[inline]
    pub(crate) fn last_mut(&mut self) -> Option<&mut Request> {
        if self.front == self.requests.len() { None } else { self.requests.last_mut() }
    }

    /// The entries of the open request `at`, counted from the front.
    #[inline]
    pub(crate) fn entries_mut(&mut self, at: usize) -> &mut [Entry] {
        let range = self.requests[self.front + at].entries.clone();
        &mut self.entries[range]
    }

    /// The first entry of the request that was read last.
    pub(crate) fn last_entry_mut(&mut self) -> Option<&mut Entry> {
        self.entries.last_mut()
    }

    #[inline]
    pub(crate) fn entries(&self, at: usize) -> &[Entry] {
        &self.entries[self.requests[self.front + at].entries.clone()]
    }

    #[inline]
    pub(crate) fn key(&self, entry: &Entry) -> Option<&[u8]> {
        entry.key.clone().map(|range| &self.bytes[range])
    }

    /// The first open request is for values, and surely answered.
    #[inline]
    pub(crate) fn awaits_values(&self) -> bool {
        self.front()
            .is_some_and(|request| request.silence.is_none() && request.accepts.meet(Kinds::VALUE))
    }

    /// The entry `at` of the first open request, and its key.
    #[inline]
    pub(crate) fn next_key(&mut self, at: usize) -> Option<(&[u8], &mut Entry)> {
        let range = self.requests.get(self.front)?.entries.clone();
        let entry = self.entries[range].get_mut(at)?;
        Some((&self.bytes[entry.key.clone()?], entry))
    }

    /// The next entry of the first open request, of those from `first` on, whose key is
    /// `named`.
    #[inline]
    pub(crate) fn find(&mut self, first: usize, named: &[u8]) -> Option<(usize, &mut Entry)> {
        let entries = &mut self.entries[self.requests.get(self.front)?.entries.clone()];
        let bytes = &self.bytes;
        let is_named = |entry: &Entry| entry.key.clone().is_some_and(|key| &bytes[key] == named);
        let entries = entries.get_mut(first..)?;
        let found = entries.iter().position(is_named)?;
        Some((first + found, &mut entries[found]))
    }

    /// Whether `reply`, whose names lie in `bytes`, can be that of `request`.
    #[inline]
    pub(crate) fn accepts(&self, request: &Request, reply: &Reply, bytes: &[u8]) -> bool {
        #[cfg(test)]
        self.comparisons.set(self.comparisons.get() + 1);
        let names = reply.kind == Kinds::PACKET || reply.has_flags();
        request.accepts.meet(reply.kind) && (!names || self.names(request, reply, bytes))
    }

    /// Whether what `reply` names, where it does, is what `request` gave.
    fn names(&self, request: &Request, reply: &Reply, bytes: &[u8]) -> bool {
        if reply.kind == Kinds::PACKET
            && (request.opcode != reply.opcode || request.opaque != reply.opaque)
        {
            return false;
        }
        // A value that is gone from external storage is missed without any flags.
        let bare = reply.kind == Kinds::EN && reply.token.is_none() && reply.key.is_none();
        if reply.has_flags() && !bare {
            let asked = request.token.clone().map(|range| &self.bytes[range]);
            if asked != reply.token.clone().map(|range| &bytes[range]) {
                return false;
            }
            if request.returns_key != reply.key.is_some() {
                return false;
            }
        }
        match &reply.key {
            Some(range) => self.is_key(request, &bytes[range.clone()], reply.key_base64),
            _ => true,
        }
    }

    /// Whether `named` is a key of `request`.
    pub(crate) fn asks_for(&self, request: &Request, named: &[u8]) -> bool {
        let mut entries = self.entries[request.entries.clone()].iter();
        entries.any(|entry| self.key(entry) == Some(named))
    }

    fn is_key(&self, request: &Request, named: &[u8], base64: bool) -> bool {
        let entry = &self.entries[request.entries.start];
        let Some(key) = self.key(entry) else { return true };
        if base64 {
            let mut decoded = [0; KEY_MAX];
            return crate::meta::decode_key(named, &mut decoded).is_some_and(|named| named == key);
        }
        named == key
    }

    /// Of the value of the request that was read last, so many bytes never came.
    pub(crate) fn cut(&mut self, missing: u64) {
        let Some(request) = self.last_mut().filter(|request| !request.whole) else { return };
        let end = if request.protocol == Protocol::Binary { 0 } else { 2 };
        if let Some(entry) = self.last_entry_mut() {
            entry.request_bytes = entry.request_bytes.saturating_sub(missing);
            let of_value = missing.saturating_sub(end);
            entry.value_size = entry.value_size.map(|size| size.saturating_sub(of_value));
        }
    }

    /// The first open request has `reply`, though it was another request than it was taken for.
    pub(crate) fn answer_in_doubt(&mut self, reply: &Reply, at: u64) {
        self.apply(0, reply);
        if let Some(request) = self.requests.get_mut(self.front) {
            request.answered_in_doubt = Some(at);
        }
    }

    /// Forgets all open requests but the first: they were none.
    pub(crate) fn forget_others(&mut self) {
        self.requests.truncate(self.front + 1);
    }

    /// Forgets the first open request, which was none.
    pub(crate) fn forget(&mut self) {
        self.front += 1;
        if self.front >= self.requests.len() {
            self.clear();
        }
    }

    /// Completes the first open request with `outcome` where its entries have none. One that
    /// never arrived whole is no operation that happened: nothing is known of it.
    pub(crate) fn finish(
        &mut self,
        outcome: Outcome,
        answered_at: Option<u64>,
        observer: &mut impl Observer,
    ) {
        let Some(request) = self.requests.get(self.front) else { return };
        let flags = request.flags.clone().and_then(|at| str::from_utf8(&self.bytes[at]).ok());
        for (index, entry) in self.entries[request.entries.clone()].iter().enumerate() {
            observer.operation(&Operation {
                protocol: request.protocol,
                command: request.command,
                key: self.key(entry),
                key_length: entry.key_length,
                key_index: u32::try_from(index).unwrap_or(u32::MAX),
                outcome: if request.whole || request.answered_in_doubt.is_some() {
                    entry.outcome.unwrap_or(outcome)
                } else {
                    Outcome::Unknown
                },
                value_size: entry.value_size,
                ttl: request.ttl,
                client_flags: entry.client_flags,
                cas: entry.cas,
                cas_sent: request.cas_sent,
                cas_set: request.cas_set,
                meta_flags: flags,
                meta_returned: request.returned,
                request_bytes: entry.request_bytes,
                response_bytes: entry.response_bytes,
                quiet: request.quiet,
                received_at: request.received_at,
                answered_at: answered_at.or(request.answered_in_doubt),
            });
        }
        self.forget();
    }

    /// Writes what `reply` says into the request `at` from the front.
    pub(crate) fn apply(&mut self, at: usize, reply: &Reply) {
        let request = &mut self.requests[self.front + at];
        request.returned = reply.has_flags().then_some(reply.returned);
        let (command, entries) = (request.command, request.entries.clone());
        let outcome = reply.outcome(command);
        let counts = matches!(command, Command::Incr | Command::Decr);
        let last = entries.end - 1;
        for entry in &mut self.entries[entries] {
            entry.outcome = Some(outcome);
            if outcome == Outcome::Hit && !counts {
                entry.value_size = reply.value_size;
            }
            entry.client_flags = entry.client_flags.or(reply.client_flags);
            entry.cas = reply.cas;
        }
        self.entries[last].response_bytes += reply.bytes;
    }

    /// Takes the memory of another queue, if it has none.
    #[inline]
    pub(crate) fn take_room(&mut self, rooms: &mut Rooms) {
        if self.entries.capacity() == 0
            && let Some(room) = rooms.0.pop()
        {
            *self = room;
        }
    }

    /// Leaves its memory to other queues, if it is empty.
    #[inline]
    pub(crate) fn leave_room(&mut self, rooms: &mut Rooms) {
        if self.requests.is_empty() && self.entries.capacity() > 0 {
            let room = std::mem::take(self);
            if rooms.0.len() < Rooms::MOST {
                rooms.0.push(room);
            }
        }
    }

    fn clear(&mut self) {
        self.requests.clear();
        self.entries.clear();
        self.bytes.clear();
        self.front = 0;
        // What a large multi-get took is given back: there may be many connections.
        self.requests.shrink_to(KEPT.0);
        self.entries.shrink_to(KEPT.0);
        self.bytes.shrink_to(KEPT.1);
    }

    /// Bytes of memory that the open requests take.
    pub(crate) fn held(&self) -> usize {
        self.requests.capacity() * size_of::<Request>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.bytes.capacity()
    }
}
