//! The programs that come with libmemcached, and what each says by how it ends.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::{Value, json};

use super::{Address, Log, Server};

/// What `memcexist` has its add expire by: a date of 1970, so that nothing is left.
const LONG_AGO: i64 = 60 * 60 * 24 * 31;

struct Tools<'a> {
    server: &'a Server,
    address: String,
    protocol: &'a str,
    log: Log,
}

/// Has each of them do its work, with one connection for each.
///
/// # Panics
///
/// When one is not there, or ends as it should not.
pub(super) fn run(server: &Server, protocol: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, size: usize| {
        let path = folder.path().join(name);
        fs::write(&path, vec![b'x'; size]).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (plain, large, empty) = (file("plain", 5), file("large", 100_000), file("empty", 0));
    let address = match server.endpoint() {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => path.display().to_string(),
    };
    let log = Log { protocol: protocol.to_owned(), ..Log::default() };
    let mut tools = Tools { server, address, protocol, log };
    tools.ping();
    tools.copy(&["-F", "7", "-e", "300"], "set", &[(&plain, 5), (&large, 100_000), (&empty, 0)]);
    tools.copy(&["-A"], "add", &[(&plain, 5)]);
    tools.copy(&["-R"], "replace", &[(&plain, 5)]);
    for key in ["plain", "large", "empty", "absent"] {
        tools.cat(key);
        tools.exists(key);
        tools.touch(key);
        tools.remove(key);
        tools.remove(key);
    }
    tools.copy(&["-R"], "replace", &[(&plain, 5)]);
    tools.copy(&["-A"], "add", &[(&plain, 5)]);
    tools.statistics();
    tools.flush();
    tools.cat("plain");
    tools.log.lines
}

impl Tools<'_> {
    fn is_binary(&self) -> bool {
        self.protocol == "binary"
    }

    fn ran(&self, tool: &str, words: &[&str]) -> Output {
        let mut command = Command::new(tool);
        command.arg(format!("--servers={}", self.address));
        // Which memcping does not know.
        command.args(self.is_binary().then_some("--binary").filter(|_| tool != "memcping"));
        let output = command.args(words).output();
        output.unwrap_or_else(|error| panic!("{tool}: {error}: run `make packages`"))
    }

    /// Whether it found what it looked for.
    fn succeeds(&self, tool: &str, words: &[&str]) -> bool {
        match self.ran(tool, words).status.code() {
            Some(0) => true,
            Some(1) => false,
            other => panic!("{tool}: {other:?}"),
        }
    }

    fn write(&mut self, op: &str, key: Option<&str>, status: &str, more: Value) {
        self.log.write(op, key.map(str::as_bytes), Some(status), more);
    }

    /// The end of a connection, which each of them announces, and does not wait for.
    fn quit(&mut self) {
        self.server.settle(0);
        self.log.write("quit", None, None, json!({}));
    }

    fn ping(&mut self) {
        assert!(self.succeeds("memcping", &[]));
        let more = json!({ "protocol": "text" });
        self.server.settle(0);
        self.log.write("version", None, Some("ok"), more.clone());
        self.log.write("quit", None, None, more);
    }

    fn copy(&mut self, options: &[&str], op: &str, files: &[(&str, usize)]) {
        let names = files.iter().map(|(path, _)| *path);
        let words: Vec<&str> = options.iter().copied().chain(names).collect();
        let copied = self.succeeds("memccp", &words);
        let refused = match (self.is_binary(), op) {
            (false, _) => "not_stored",
            (true, "add") => "exists",
            (true, _) => "not_found",
        };
        let flags = i64::from(options.contains(&"-F")) * 7;
        let ttl = i64::from(options.contains(&"-e")) * 300;
        for (path, size) in files {
            let key = path.rsplit('/').next();
            let more = json!({ "value_size": size, "client_flags": flags, "ttl": ttl });
            self.write(op, key, if copied { "stored" } else { refused }, more);
        }
        self.quit();
    }

    fn cat(&mut self, key: &str) {
        let output = self.ran("memccat", &[key]);
        let hit = output.status.success();
        // A value is printed with the end of a line.
        let size = hit.then(|| output.stdout.len() - 1);
        self.write(
            "get",
            Some(key),
            if hit { "hit" } else { "miss" },
            json!({ "value_size": size }),
        );
        self.quit();
    }

    fn exists(&mut self, key: &str) {
        let there = self.succeeds("memcexist", &[key]);
        let refused = if self.is_binary() { "exists" } else { "not_stored" };
        let more = json!({ "value_size": 0, "ttl": LONG_AGO });
        self.write("add", Some(key), if there { refused } else { "stored" }, more);
        self.quit();
    }

    fn touch(&mut self, key: &str) {
        let touched = self.succeeds("memctouch", &["-e", "100", key]);
        let status = if touched { "touched" } else { "not_found" };
        self.write("touch", Some(key), status, json!({ "ttl": 100 }));
        self.quit();
    }

    fn remove(&mut self, key: &str) {
        let removed = self.succeeds("memcrm", &[key]);
        self.write("delete", Some(key), if removed { "deleted" } else { "not_found" }, json!({}));
        self.quit();
    }

    fn statistics(&mut self) {
        assert!(self.succeeds("memcstat", &[]));
        // It asks for the server's version first.
        self.write("version", None, "ok", json!({}));
        self.write("stats", None, "ok", json!({}));
        self.quit();
    }

    fn flush(&mut self) {
        assert!(self.succeeds("memcflush", &[]));
        self.write("flush_all", None, "ok", json!({}));
        self.quit();
    }
}
