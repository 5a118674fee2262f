//! What is replayed: the requests of a capture, as far as it tells what they were.

use std::sync::Arc;

use mcrec_schema::codes::{Op, Protocol, Status};

use crate::flags::Flags;

/// What a connection does at one moment: everything that its server read at once.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The connection, by a number of the replay's.
    pub(crate) conn: u64,
    /// When it was recorded, µs since the epoch, UTC.
    pub(crate) ts: i64,
    /// When it is to be sent, ns since the run began.
    pub(crate) due: u64,
    /// What it is.
    pub(crate) kind: Kind,
    /// In the order of the connection; empty unless it is a pipeline.
    pub(crate) requests: Vec<Request>,
    /// The keys of all requests, one after the other.
    pub(crate) keys: Vec<Key>,
    /// The bytes of the keys, one after the other.
    pub(crate) bytes: Vec<u8>,
}

/// What happens on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It begins.
    Open,
    /// Requests are sent, in one write.
    Send,
    /// The client ends it.
    Close,
}

/// A request, of one key or several; one without a key has one that is empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) op: Op,
    pub(crate) protocol: Protocol,
    /// Asks for no reply, or for less of one.
    pub(crate) quiet: bool,
    /// exptime as the client wrote it; `None` where it sent none.
    pub(crate) ttl: Option<i64>,
    /// The CAS unique that it compared with, of the recorded server.
    pub(crate) cas_sent: Option<u64>,
    /// The CAS unique that it gives the item.
    pub(crate) cas_set: Option<u64>,
    /// The flags of a meta request that is sent as one, where they are known.
    pub(crate) flags: Option<Arc<Flags>>,
    /// It was a meta request, and has flags that no other protocol has words for.
    pub(crate) recorded_meta: bool,
    pub(crate) needs_meta: bool,
    /// Its time to live is not its own.
    pub(crate) ttl_given: bool,
    /// Of a binary `cas`: it adds to the value, at one end or the other.
    pub(crate) extends: bool,
    /// What it had on the wire, bytes.
    pub(crate) request_bytes: u64,
    /// What its reply had on the wire, bytes.
    pub(crate) response_bytes: Option<u64>,
    /// What the recorded server took, ns.
    pub(crate) latency_ns: Option<u64>,
    /// Number of its first key in the group.
    pub(crate) first_key: u32,
    /// How many keys it has, at least one.
    pub(crate) keys: u32,
}

/// A key of a request, and what was recorded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Where its bytes end; they begin where those of the one before do.
    pub(crate) end: u32,
    /// What became of it.
    pub(crate) status: Status,
    /// Bytes of the value that is sent, or was returned.
    pub(crate) size: Option<u64>,
    /// The client's opaque flags, sent or returned.
    pub(crate) client_flags: Option<u64>,
    /// The CAS unique that the reply told.
    pub(crate) cas: Option<u64>,
}

impl Group {
    /// One without requests.
    pub(crate) fn new(conn: u64, ts: i64, kind: Kind) -> Self {
        let (requests, keys, bytes) = (Vec::new(), Vec::new(), Vec::new());
        Self { conn, ts, due: 0, kind, requests, keys, bytes }
    }

    /// The keys of `request`, with what was recorded of each.
    pub(crate) fn keys_of(&self, request: &Request) -> &[Key] {
        let first = request.first_key as usize;
        &self.keys[first..first + request.keys as usize]
    }

    /// The bytes of the key with this number in the group.
    pub(crate) fn key(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.keys[before].end as usize);
        &self.bytes[start..self.keys[number].end as usize]
    }

    /// What was recorded of the first key of `request`.
    pub(crate) fn first(&self, request: &Request) -> &Key {
        &self.keys[request.first_key as usize]
    }

    /// The bytes of the first key of `request`.
    pub(crate) fn first_key(&self, request: &Request) -> &[u8] {
        self.key(request.first_key as usize)
    }

    /// Operations in it: keys, as a capture counts.
    pub(crate) fn operations(&self) -> u64 {
        self.keys.len() as u64
    }

    /// The requests that `copy` of it makes, on other keys: its number is added to each.
    pub(crate) fn copy_with_other_keys(&self, conn: u64, copy: u32) -> Self {
        let mut group =
            Self { conn, requests: self.requests.clone(), ..Self::new(0, 0, self.kind) };
        (group.ts, group.due) = (self.ts, self.due);
        for number in 0..self.keys.len() {
            let key = self.key(number);
            if !key.is_empty() {
                append_other_key(key, copy, &mut group.bytes);
            }
            let end = u32::try_from(group.bytes.len()).unwrap_or(u32::MAX);
            group.keys.push(Key { end, ..self.keys[number] });
        }
        group
    }
}

/// A key longer than this is none.
pub(crate) const KEY_MAX: usize = 250;

/// `key` with `~copy` after it; the end of one that would be too long becomes a hash.
fn append_other_key(key: &[u8], copy: u32, bytes: &mut Vec<u8>) {
    let suffix = format!("~{copy}");
    if key.len() + suffix.len() <= KEY_MAX {
        bytes.extend_from_slice(key);
    } else {
        let hash = format!("~{:016x}", mcrec_schema::sample::hash(key));
        bytes.extend_from_slice(&key[..KEY_MAX - suffix.len() - hash.len()]);
        bytes.extend_from_slice(hash.as_bytes());
    }
    bytes.extend_from_slice(suffix.as_bytes());
}

impl Request {
    /// Reads values.
    pub(crate) fn reads(&self) -> bool {
        Op::READS.contains(&self.op)
    }

    /// Sends a value.
    pub(crate) fn stores(&self) -> bool {
        Op::STORES.contains(&self.op)
    }

    /// Is done only if the item has a certain CAS unique.
    pub(crate) fn compares(&self) -> bool {
        self.op == Op::Cas || self.cas_sent.is_some()
    }

    /// Is of the binary protocol, which goes over connections of its own.
    pub(crate) fn is_binary(&self) -> bool {
        self.protocol == Protocol::Binary
    }
}

#[cfg(test)]
mod tests {
    use super::{KEY_MAX, append_other_key};

    #[test]
    fn copies_of_a_key_differ_and_fit() {
        let copy = |key: &[u8], number| {
            let mut bytes = Vec::new();
            append_other_key(key, number, &mut bytes);
            bytes
        };
        assert_eq!(copy(b"user:1", 3), b"user:1~3");
        let (one, other) = (vec![b'k'; KEY_MAX], [vec![b'k'; KEY_MAX - 1], vec![b'j']].concat());
        for key in [&one, &other] {
            assert_eq!(copy(key, 12).len(), KEY_MAX);
        }
        assert_ne!(copy(&one, 12), copy(&other, 12));
        assert_ne!(copy(&one, 1), copy(&one, 2));
    }
}
