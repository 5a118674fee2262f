//! The crate `memcache`, over both protocols that it has.

use std::{collections::HashMap, thread};

use memcache::{Client, CommandError, MemcacheError};
use serde_json::{Value, json};

use super::{Address, Log};

/// The status of a packet that the crate has no name for.
const NOT_STORED: u16 = 5;

struct Memcache {
    client: Client,
    log: Log,
}

/// Has it do what it can, on one connection; then threads that share two.
///
/// # Panics
///
/// When it fails.
pub(super) fn run(address: &Address, protocol: &str) -> Vec<Value> {
    let option = if protocol == "text" { "?protocol=ascii" } else { "" };
    let url = match address {
        Address::Tcp(address) => format!("memcache://{address}{option}"),
        Address::Unix(path) => format!("memcache://{}{option}", path.display()),
    };
    let connect = |connections| {
        let builder = Client::builder().with_max_pool_size(connections);
        // Otherwise it opens as many as it may at once, also such as it never uses.
        builder.with_min_idle_conns(1).add_server(url.clone()).unwrap().build().unwrap()
    };
    let log = Log { protocol: protocol.to_owned(), ..Log::default() };
    let mut one = Memcache { client: connect(1), log: log.clone() };
    // Each of the two takes one for each of the two time limits that it may set.
    for _ in 0..4 {
        one.log.unordered("version");
    }
    one.sequence();
    let mut lines = one.log.lines;
    drop(one.client);
    let shared = connect(2);
    let workers: Vec<_> = (1..=3)
        .map(|number| {
            let log = Log { strand: Some(number.to_string()), ..log.clone() };
            let mut worker = Memcache { client: shared.clone(), log };
            thread::spawn(move || {
                worker.strand(number);
                worker.log.lines
            })
        })
        .collect();
    for worker in workers {
        lines.extend(worker.join().unwrap());
    }
    lines
}

impl Memcache {
    fn is_text(&self) -> bool {
        self.log.protocol == "text"
    }

    /// Each operation takes a connection from the pool, which looks whether it is alive.
    fn write(&mut self, op: &str, key: &str, status: Option<&str>, more: Value) {
        self.log.unordered("version");
        self.log.write(op, Some(key.as_bytes()), status, more);
    }

    fn store(&mut self, op: &str, key: &str, size: usize, ttl: u32) {
        let value = vec![b'v'; size];
        let (client, value) = (&self.client, value.as_slice());
        let stored = match op {
            "set" => client.set(key, value, ttl),
            "add" => client.add(key, value, ttl),
            "replace" => client.replace(key, value, ttl),
            "append" => client.append(key, value),
            _ => client.prepend(key, value),
        };
        let status = match stored {
            // Over text, and for a prepend, that is so too where nothing was stored.
            Ok(()) if op == "set" || (!self.is_text() && op != "prepend") => Some("stored"),
            Ok(()) => None,
            Err(MemcacheError::CommandError(CommandError::KeyExists)) => Some("exists"),
            Err(MemcacheError::CommandError(CommandError::KeyNotFound)) => Some("not_found"),
            Err(MemcacheError::CommandError(CommandError::Unknown(NOT_STORED))) => {
                Some("not_stored")
            }
            Err(error) => panic!("{op} of {key}: {error}"),
        };
        let adds_to = matches!(op, "append" | "prepend");
        let ttl = (!adds_to || self.is_text()).then_some(if adds_to { 0 } else { ttl });
        self.write(op, key, status, json!({ "value_size": size, "ttl": ttl, "quiet": false }));
    }

    fn get(&mut self, key: &str) {
        let value: Option<Vec<u8>> = self.client.get(key).unwrap();
        let status = if value.is_some() { "hit" } else { "miss" };
        self.write(
            "get",
            key,
            Some(status),
            json!({ "value_size": value.map(|value| value.len()) }),
        );
    }

    fn get_many(&mut self, keys: &[&str]) {
        let found: HashMap<String, Vec<u8>> = self.client.gets(keys).unwrap();
        self.log.unordered("version");
        for (index, key) in keys.iter().enumerate() {
            let value = found.get(*key);
            let status = if value.is_some() { "hit" } else { "miss" };
            let (text, size) = (self.is_text(), value.map(Vec::len));
            let more = json!({ "value_size": size, "quiet": !text });
            let op = if text { "gets" } else { "get" };
            self.log.write(op, Some(key.as_bytes()), Some(status), more);
            let index = if text { index } else { 0 };
            self.log.lines.last_mut().unwrap()["key_index"] = index.into();
        }
        if !self.is_text() {
            self.log.unordered("noop");
        }
    }

    fn cas(&mut self, key: &str) {
        let found: Option<(Vec<u8>, u32, Option<u64>)> = self.client.get(key).unwrap();
        let (value, flags, unique) = found.unwrap();
        let more = json!({ "value_size": value.len(), "client_flags": flags, "cas": unique });
        let op = if self.is_text() { "gets" } else { "get" };
        self.write(op, key, Some("hit"), more);
        for _ in 0..2 {
            let stored = self.client.cas(key, "compared", 0, unique.unwrap()).unwrap();
            let status = if stored { "stored" } else { "exists" };
            self.write("cas", key, Some(status), json!({ "value_size": "compared".len() }));
        }
    }

    fn delete(&mut self, key: &str) {
        let status = if self.client.delete(key).unwrap() { "deleted" } else { "not_found" };
        self.write("delete", key, Some(status), json!({}));
    }

    fn touch(&mut self, key: &str, ttl: u32) {
        let status = if self.client.touch(key, ttl).unwrap() { "touched" } else { "not_found" };
        self.write("touch", key, Some(status), json!({ "ttl": ttl }));
    }

    fn count(&mut self, op: &str, key: &str, by: u64) {
        let counted = match op {
            "incr" => self.client.increment(key, by),
            _ => self.client.decrement(key, by),
        };
        let status = match counted {
            Ok(_) => "ok",
            Err(MemcacheError::CommandError(CommandError::KeyNotFound)) => "not_found",
            Err(error) => panic!("{op} of {key}: {error}"),
        };
        self.write(op, key, Some(status), json!({}));
    }

    fn sequence(&mut self) {
        for (number, size) in [0, 1, 20, 4096, 102_400, (1 << 20) - 100].into_iter().enumerate() {
            let key = format!("main:{size}");
            self.store("set", &key, size, if number % 2 == 0 { 0 } else { 300 });
            self.get(&key);
        }
        self.store("add", "main:there", 5, 0);
        self.store("add", "main:there", 6, 0);
        self.store("replace", "main:there", 7, 500);
        self.store("replace", "main:absent", 8, 0);
        self.store("append", "main:there", 9, 0);
        self.store("prepend", "main:there", 10, 0);
        self.get("main:there");
        self.store("append", "main:absent", 11, 0);
        self.store("prepend", "main:absent", 12, 0);
        self.cas("main:there");
        self.client.set("main:counter", 10, 0).unwrap();
        self.write("set", "main:counter", Some("stored"), json!({ "value_size": 2 }));
        for key in ["main:counter", "main:no-counter"] {
            self.count("incr", key, 1 << 40);
            self.count("decr", key, 1);
        }
        for key in ["main:20", "main:absent", "main:schlüssel:🔑"] {
            self.touch(key, 100);
            self.delete(key);
            self.get(key);
        }
        let keys: Vec<String> = (0..120).map(|number| format!("main:many:{number}")).collect();
        for key in keys.iter().step_by(3) {
            self.store("set", key, key.len(), 0);
        }
        self.get_many(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        self.get_many(&["main:absent"]);
        self.client.version().unwrap();
        self.log.unordered("version");
        self.log.unordered("version");
        self.client.flush().unwrap();
        self.log.unordered("version");
        self.log.unordered("flush_all");
        self.get("main:4096");
    }

    /// One of several that share connections.
    fn strand(&mut self, number: usize) {
        for turn in 0..30 {
            let key = format!("strand-{number}:{turn}");
            self.store("set", &key, turn * number, 0);
            self.get(&key);
            self.get(&format!("{key}:absent"));
            self.delete(&key);
            self.delete(&key);
            self.get(&key);
        }
    }
}
