//! What mcrec records of clients that people use equals what each of them says that it did,
//! and a replay of it does the same again.

mod support;
#[path = "support/replay.rs"]
mod tool;

#[path = "clients/rust.rs"]
mod rust;
#[path = "clients/tools.rs"]
mod tools;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mcrec_schema::footer::Losses;
use serde_json::{Value, json};
use support::{
    capture::{self, Row},
    recorder::Recorder,
    rows::is_event,
    server::{Address, Server},
    wire::Wire,
};
use tool::{replay, same, to};

const SOURCE: [&str; 2] = ["--source", "syscalls"];
const RELEASES: [&str; 2] = ["debian-1.6.18", "plain-1.6.45"];

/// By name; the second of those that speak two protocols says which.
const PYTHON: [&str; 7] = [
    "pymemcache",
    "python-binary-memcached",
    "pylibmc",
    "pylibmc-binary",
    "emcache",
    "meta-memcache",
    "aiomcache",
];
const NODE: [&str; 3] = ["memjs", "memcached", "memcache-client"];
/// Those that have no way to a Unix socket.
const TCP_ONLY: [&str; 4] = ["aiomcache", "memjs", "memcached", "memcache-client"];

/// What a client says that it did: an object for each operation on a key, with those
/// columns of its row that the client knows.
#[derive(Clone, Default)]
struct Log {
    protocol: String,
    strand: Option<String>,
    lines: Vec<Value>,
}

impl Log {
    fn write(&mut self, op: &str, key: Option<&[u8]>, status: Option<&str>, more: Value) {
        let mut line = json!({ "op": op, "key": key.map(hex), "protocol": self.protocol });
        let more = more.as_object().unwrap().clone();
        let line_of = line.as_object_mut().unwrap();
        line_of.extend(more);
        line_of.extend(status.map(|status| ("status".to_owned(), status.into())));
        line_of.extend(self.strand.clone().map(|strand| ("strand".to_owned(), strand.into())));
        self.lines.push(line);
    }

    /// What is done at some time, by some connection.
    fn unordered(&mut self, op: &str) {
        self.lines.push(json!({ "op": op, "unordered": true }));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What make puts into a folder of its own beside what cargo builds, or where `variable` says.
fn installed(variable: &str, path: &str, target: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = std::env::var_os(variable)
        .map_or_else(|| test.ancestors().nth(3).unwrap().join(path), PathBuf::from);
    assert!(found.exists(), "{} is not there: run `make {target}`", found.display());
    found
}

/// A script of tests/clients, to be run by what runs such scripts.
fn script(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients").join(name);
    let mut command = if name.ends_with(".py") {
        Command::new(installed("MCREC_PYTHON", "python/bin/python", "python"))
    } else {
        let node = installed("MCREC_NODE", "node", "node");
        let mut command = Command::new(node.join("node"));
        command.env("NODE_PATH", node.join("node_modules"));
        command
    };
    command.arg(path).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Has a client do its work, and returns its log.
fn work(client: &str, server: &Server, arguments: &[&str]) -> Vec<Value> {
    let address = server.endpoint();
    match client {
        "rust" => return rust::run(&address, "text"),
        "rust-binary" => return rust::run(&address, "binary"),
        "tools" => return tools::run(server, "text"),
        "tools-binary" => return tools::run(server, "binary"),
        _ => {}
    }
    let mut command = script(if NODE.contains(&client) { "sequence.js" } else { "sequence.py" });
    let address = match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => path.display().to_string(),
    };
    let output = command
        .args([client, &address])
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{client}: {}", output.status);
    let log = String::from_utf8(output.stdout).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Marks in a recording where one client ends and the next begins.
fn mark(server: &Server) {
    let mut wire = Wire::connect(&server.endpoint());
    wire.get("get", None, &[MARK]);
    wire.run_whole();
    wire.close();
    server.settle(0);
}

const MARK: &[u8] = b"between-clients";

/// Records these clients, one after the other.
fn record(server: &Server, path: &Path, clients: &[&str], arguments: &[&str]) -> Vec<Vec<Value>> {
    let mut recorder = Recorder::start(server.pid(), path, &SOURCE);
    let logs = clients.iter().map(|client| {
        mark(server);
        let log = work(client, server, arguments);
        server.settle(0);
        log
    });
    let logs = logs.collect();
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    let loss = capture::footer(path).unwrap().loss;
    assert_eq!(loss.losses, Losses::default());
    logs
}

/// The rows of each client, in the order of time.
fn by_client(rows: &[Row]) -> Vec<Vec<&Row>> {
    let mut rows: Vec<&Row> = rows.iter().filter(|row| !is_event(row)).collect();
    // Stable, so that what was pipelined keeps its order.
    rows.sort_by_key(|row| row.ts);
    assert_eq!(rows[0].key, MARK);
    let mut clients = Vec::new();
    for row in rows {
        if row.key == MARK {
            clients.push(Vec::new());
        } else {
            clients.last_mut().unwrap().push(row);
        }
    }
    clients
}

/// The strand that a row belongs to, if its key says so.
fn strand_of(row: &Row) -> Option<String> {
    let key = row.key.strip_prefix(b"strand-")?;
    let end = key.iter().position(|&byte| byte == b':')?;
    Some(String::from_utf8(key[..end].to_vec()).unwrap())
}

/// The columns of a row that a client may know.
fn columns(row: &Row) -> Value {
    json!({
        "op": row.op,
        "key": (row.key_len > 0).then(|| hex(&row.key)),
        "status": row.status,
        "value_size": row.value_size,
        "ttl": row.ttl,
        "client_flags": row.client_flags,
        "cas": row.cas,
        "quiet": row.quiet,
        "protocol": row.protocol,
        "key_index": row.key_index,
    })
}

/// All that is in the log is in the rows, in its order, and nothing else is.
fn assert_logged(client: &str, rows: &[&Row], log: &[Value]) {
    let is_unordered = |line: &&Value| line["unordered"] == true;
    let shared: HashSet<i64> =
        rows.iter().filter(|row| strand_of(row).is_some()).map(|row| row.conn_id).collect();
    let without_key = |line: &&Value| !is_unordered(line) && line["key"].is_null();
    let in_order = log.iter().any(|line| without_key(&line));
    let (mut strands, mut unordered) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
    for &row in rows {
        if row.key_len == 0 && (!in_order || shared.contains(&row.conn_id)) {
            *unordered.entry(row.op.as_str()).or_insert(0) += 1;
        } else {
            strands.entry(strand_of(row)).or_default().push(row);
        }
    }
    let mut expected_unordered = BTreeMap::new();
    for line in log.iter().filter(is_unordered) {
        *expected_unordered.entry(line["op"].as_str().unwrap()).or_insert(0) += 1;
    }
    assert_eq!(unordered, expected_unordered, "{client}: what has no order");

    let mut expected = BTreeMap::<_, Vec<_>>::new();
    for line in log.iter().filter(|line| !is_unordered(line)) {
        expected.entry(line["strand"].as_str().map(str::to_owned)).or_default().push(line);
    }
    assert_eq!(strands.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (strand, rows) in &strands {
        let lines = &expected[strand];
        for (at, (row, line)) in rows.iter().zip(lines).enumerate() {
            let columns = columns(row);
            for (name, value) in line.as_object().unwrap().iter().filter(|it| it.0 != "strand") {
                let known = columns.get(name).unwrap_or_else(|| panic!("no column {name}"));
                assert_eq!(known, value, "{client} {strand:?} {at}: {name} of {row:?}: {line}");
            }
        }
        assert_eq!(rows.len(), lines.len(), "{client} {strand:?}");
    }
}

fn assert_clients(server: &Server, clients: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let logs = record(server, &path, clients, &["--pool"]);
    let rows = capture::all_rows(&path);
    let recorded = by_client(&rows);
    assert_eq!(recorded.len(), clients.len());
    for ((client, rows), log) in clients.iter().zip(&recorded).zip(&logs) {
        assert!(log.len() > 40, "{client}: the log is not of nothing");
        assert_logged(client, rows, log);
    }
}

/// All that speak what this transport carries.
fn clients(unix: bool) -> Vec<&'static str> {
    let own = ["rust", "rust-binary", "tools", "tools-binary"];
    let all = PYTHON.into_iter().chain(NODE).chain(own);
    all.filter(|client| !unix || !TCP_ONLY.contains(client)).collect()
}

#[test]
fn rows_equal_what_clients_say_over_tcp() {
    for release in RELEASES {
        assert_clients(&Server::start(release, &["-t", "3"]), &clients(false));
    }
}

#[test]
fn rows_equal_what_clients_say_over_unix_sockets() {
    for release in RELEASES {
        assert_clients(&Server::start_unix(release, &["-t", "3"]), &clients(true));
    }
}

/// The operations of each connection, by where the connection first appears.
fn in_connections(rows: &[Row]) -> Vec<Vec<&Row>> {
    let mut numbers = HashMap::new();
    let mut connections: Vec<Vec<&Row>> = Vec::new();
    let mut rows: Vec<&Row> = rows.iter().filter(|row| !is_event(row)).collect();
    rows.sort_by_key(|row| row.ts);
    for row in rows {
        let number = *numbers.entry(row.conn_id).or_insert(connections.len());
        connections.resize_with(connections.len().max(number + 1), Vec::new);
        connections[number].push(row);
    }
    connections
}

/// One of each protocol: text, binary and meta.
#[test]
fn what_clients_did_is_done_again() {
    let replayed_clients = ["pymemcache", "python-binary-memcached", "meta-memcache"];
    for release in RELEASES {
        let folder = tempfile::tempdir().unwrap();
        let (first, again) = (folder.path().join("first"), folder.path().join("again"));
        let logs = record(&Server::start(release, &["-t", "2"]), &first, &replayed_clients, &[]);
        let server = Server::start(release, &["-t", "2"]);
        let mut recorder = Recorder::start(server.pid(), &again, &SOURCE);
        let replayed = replay(&first, &to(&server.endpoint()), &[]);
        server.settle(0);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        assert_eq!(replayed.status, Some(0), "{} {:#}", replayed.said, replayed.report);
        let (rows, rows_again) = (capture::all_rows(&first), capture::all_rows(&again));
        let (was, is) = (in_connections(&rows), in_connections(&rows_again));
        // Of each client, and of the mark before it.
        assert_eq!((was.len(), is.len()), (6, 6));
        for (was, is) in was.iter().zip(&is) {
            for (at, (was, is)) in was.iter().zip(is).enumerate() {
                // Whether a quiet meta request is answered is known by its token, so that one
                // without is given one.
                let mut is = same(is);
                let with_token = was.meta_flags.as_ref().map(|flags| format!("{flags} O"));
                if was.quiet && is.meta_flags == with_token.as_deref() {
                    let was = same(was);
                    (is.meta_flags, is.meta_returned) = (was.meta_flags, was.meta_returned);
                }
                assert_eq!(same(was), is, "operation {at}");
            }
            assert_eq!(was.len(), is.len());
        }
        // So what the clients said is true of the replay, too, but for uniques.
        let recorded = by_client(&rows_again);
        for ((client, rows), log) in replayed_clients.iter().zip(&recorded).zip(&logs) {
            let mut log = log.clone();
            for line in &mut log {
                line.as_object_mut().unwrap().remove("cas");
            }
            assert_logged(client, rows, &log);
        }
    }
}
