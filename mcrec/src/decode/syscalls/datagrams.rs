//! The clients of UDP sockets, and the order of what they asked for.
//!
//! Workers share a socket, and whichever is free takes the next datagram: so the datagrams
//! of one client come by way of several descriptors, and each descriptor has those of all
//! clients. What is one connection here is the pair of addresses. Workers may also answer
//! in another order than they were asked in: then an operation waits for those before it.

use std::collections::{HashMap, VecDeque};

use super::super::Operation;

/// Clients that are remembered. One that sends again after as many others have, or half as
/// many at the least, is a new connection.
const PEERS_MAX: usize = 1 << 16;
/// Operations that wait to settle; as many more may wait for earlier ones, and for how long,
/// ns: beyond it those are not waited for.
const WAITING_MAX: usize = 4096;
const PATIENCE: u64 = 1_000_000_000;
/// For how long, ns, each waits: a worker that loses its CPU between taking the time of a
/// datagram and handing over its record is overtaken by the next one.
const SETTLING: u64 = 100_000_000;

/// Both ends: the socket, by its inode, and the client's address, as a record has it.
pub(super) type Pair = (u32, [u8; 20]);

/// What is known of all UDP sockets.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    /// The numbers of connections: of clients that sent lately, and before that. When there
    /// are many of the former, the latter are forgotten.
    lately: HashMap<Pair, u64>,
    before: HashMap<Pair, u64>,
    /// Datagrams that are not answered yet: at most one for each descriptor.
    open: Vec<Open>,
    /// By the time of their datagrams.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Open {
    slot: usize,
    connection: u64,
    ts: u64,
}

/// An operation that is complete.
#[derive(Debug)]
struct Waiting {
    /// Without what it borrows.
    operation: Operation<'static>,
    key: Option<Vec<u8>>,
    client: Option<String>,
    meta_flags: Option<String>,
}

/// What an operation borrows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Borrowed<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) client: Option<&'a str>,
    pub(super) meta_flags: Option<&'a str>,
}

impl Datagrams {
    /// The number of the connection between `pair`; `last` is that of the latest one of all.
    pub(super) fn connection(&mut self, pair: Pair, last: &mut u64) -> u64 {
        if let Some(&known) = self.lately.get(&pair) {
            return known;
        }
        let number = self.before.remove(&pair).unwrap_or_else(|| {
            *last += 1;
            *last
        });
        if self.lately.len() >= PEERS_MAX / 2 {
            self.before = std::mem::take(&mut self.lately);
        }
        self.lately.insert(pair, number);
        number
    }

    /// A datagram of `connection` came at `ts`, by the descriptor `slot`.
    pub(super) fn begin(&mut self, slot: usize, connection: u64, ts: u64) {
        self.end(slot);
        self.open.push(Open { slot, connection, ts });
    }

    /// What came by the descriptor `slot` is answered, or will not be.
    pub(super) fn end(&mut self, slot: usize) {
        self.open.retain(|open| open.slot != slot);
    }

    /// Takes an operation.
    pub(super) fn hold(&mut self, operation: Operation<'static>, borrowed: Borrowed<'_>) {
        let later = self.waiting.iter().rev().take_while(|w| w.operation.ts > operation.ts);
        let at = self.waiting.len() - later.count();
        let waiting = Waiting {
            operation,
            key: borrowed.key.map(<[u8]>::to_vec),
            client: borrowed.client.map(str::to_owned),
            meta_flags: borrowed.meta_flags.map(str::to_owned),
        };
        self.waiting.insert(at, waiting);
    }

    /// A descriptor whose datagram has others waiting for too long, at the time `now`.
    pub(super) fn overdue(&self, now: u64) -> Option<usize> {
        let too_many = self.waiting.len() > 2 * WAITING_MAX;
        let late =
            |waiting: &&Waiting| too_many || waiting.operation.ts.saturating_add(PATIENCE) < now;
        self.waiting
            .iter()
            .take_while(late)
            .find_map(|waiting| self.earlier(waiting))
            .map(|o| o.slot)
    }

    /// What is open of the same client from before.
    fn earlier(&self, waiting: &Waiting) -> Option<&Open> {
        let Operation { conn_id, ts, .. } = waiting.operation;
        self.open.iter().find(|open| open.connection == conn_id && open.ts < ts)
    }

    /// Gives out what need not wait at the time `now`, each with the number of its request
    /// after `last`.
    pub(super) fn release(
        &mut self,
        now: u64,
        last: &mut u64,
        out: &mut impl FnMut(&Operation<'_>),
    ) {
        let mut at = 0;
        while let Some(first) = self.waiting.get(at) {
            let settled = first.operation.ts.saturating_add(SETTLING) <= now;
            if !settled && self.waiting.len() <= WAITING_MAX {
                return;
            }
            if self.earlier(first).is_some() {
                at += 1;
                continue;
            }
            let Some(waiting) = self.waiting.remove(at) else { return };
            if waiting.operation.key_index == 0 {
                *last += 1;
            }
            out(&Operation {
                key: waiting.key.as_deref(),
                client: waiting.client.as_deref(),
                meta_flags: waiting.meta_flags.as_deref(),
                request_id: *last,
                ..waiting.operation
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Datagrams, PEERS_MAX};

    #[test]
    fn a_client_is_known_until_as_many_others_have_come() {
        let pair = |port: u32| {
            let mut address = [0; 20];
            address[..4].copy_from_slice(&port.to_ne_bytes());
            (1, address)
        };
        let (mut datagrams, mut last) = (Datagrams::default(), 0);
        for port in 0..3 * u32::try_from(PEERS_MAX).unwrap() {
            // One that comes again and again, among others that come once.
            assert_eq!(datagrams.connection(pair(0), &mut last), 1);
            datagrams.connection(pair(port), &mut last);
            assert!(datagrams.lately.len() + datagrams.before.len() <= PEERS_MAX);
        }
        assert_eq!(last, 3 * PEERS_MAX as u64);
        assert!(datagrams.connection(pair(1), &mut last) > 3 * PEERS_MAX as u64);
        assert_ne!(datagrams.connection((2, pair(0).1), &mut last), 1);
    }
}
