//! What the recorded server had before the recording began: keys whose first operation
//! shows that they were there.

use std::collections::HashSet;

use mcrec_schema::{
    codes::{Op, Protocol, Status},
    sample,
};

use crate::request::{Group, Key, Kind, Request};

/// Connections over which it is loaded, for each of the binary and the text protocols.
const CONNECTIONS: u64 = 8;
/// The size of a value that is not known: a counter that counts, and nothing else.
const SMALL: u64 = 1;

/// Finds what is to be loaded.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    /// Hashes of the keys that were seen: 8 bytes a key, and not the keys.
    seen: HashSet<u64>,
    /// Keys to load, and those of them whose size is not known.
    pub(crate) keys: u64,
    pub(crate) of_unknown_size: u64,
}

impl Warm {
    /// The stores of keys that `group` is the first to speak of, and that were there.
    pub(crate) fn stores(&mut self, group: &Group) -> Vec<Group> {
        let mut stores = Vec::new();
        for request in &group.requests {
            for (at, recorded) in group.keys_of(request).iter().enumerate() {
                let key = group.key(request.first_key as usize + at);
                let hash = sample::hash(key);
                if key.is_empty() || !self.seen.insert(hash) || !was_there(request, recorded) {
                    continue;
                }
                let size = recorded.size.filter(|_| recorded.status == Status::Hit);
                self.keys += 1;
                self.of_unknown_size += u64::from(size.is_none());
                stores.push(store(request, recorded, key, size.unwrap_or(SMALL), hash));
            }
        }
        stores
    }
}

/// Whether what became of it shows that the key was there.
fn was_there(request: &Request, recorded: &Key) -> bool {
    match recorded.status {
        Status::Hit | Status::Touched | Status::Deleted | Status::Exists => true,
        Status::NotStored => request.op == Op::Add,
        Status::Stored => {
            matches!(request.op, Op::Replace | Op::Append | Op::Prepend | Op::Cas)
        }
        // One with a time to live may have been made by the request.
        Status::Ok => matches!(request.op, Op::Incr | Op::Decr) && request.ttl.is_none(),
        _ => false,
    }
}

fn store(request: &Request, recorded: &Key, key: &[u8], size: u64, hash: u64) -> Group {
    let binary = request.protocol == Protocol::Binary;
    let mut group = Group::new(hash % CONNECTIONS * 2 + u64::from(binary), 0, Kind::Send);
    group.bytes = key.to_vec();
    let (end, status) = (u32::try_from(key.len()).unwrap_or(u32::MAX), Status::Stored);
    let client_flags = recorded.client_flags;
    group.keys = vec![Key { end, status, size: Some(size), client_flags, cas: None }];
    group.requests = vec![Request {
        op: Op::Set,
        protocol: request.protocol,
        quiet: false,
        // It is not known until when it was to be there; its end, if it had one, comes
        // with the capture's own operations.
        ttl: Some(0),
        cas_sent: None,
        cas_set: None,
        flags: None,
        recorded_meta: false,
        needs_meta: false,
        ttl_given: false,
        extends: false,
        request_bytes: 0,
        response_bytes: None,
        latency_ns: None,
        first_key: 0,
        keys: 1,
    }];
    group
}
