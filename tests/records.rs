//! What mcrec records of a real memcached equals what its clients did.

mod support;

use std::{collections::HashMap, fs, net::SocketAddr, thread, time::Duration};

use support::{
    capture::{self, Row},
    client::{Client, Logged, Protocol},
    probes::{Shown, of_row, shown},
    random::Random,
    recorder::Recorder,
    server::{RELEASES, Server},
};

/// The rows of each connection, in order.
fn by_connection(rows: &[Row]) -> HashMap<i64, Vec<&Row>> {
    let mut connections: HashMap<i64, Vec<&Row>> = HashMap::new();
    for row in rows {
        connections.entry(row.conn_id).or_default().push(row);
    }
    connections
}

/// Finds the connection of each log by its first key, which is unique, and
/// compares row by row.
fn assert_equal(rows: &[Row], logs: &[Vec<Logged>], release: u32) {
    let connections = by_connection(rows);
    assert_eq!(connections.len(), logs.len(), "connections");
    let mut compared = 0;
    for log in logs {
        let (_, recorded) = connections
            .iter()
            .find(|(_, rows)| rows[0].key == log[0].key)
            .unwrap_or_else(|| panic!("no connection begins with {}", log[0].key.escape_ascii()));
        let expected: Vec<Shown> = log.iter().filter_map(|logged| shown(logged, release)).collect();
        for (at, (row, expected)) in recorded.iter().zip(&expected).enumerate() {
            assert_eq!(&of_row(row), expected, "operation {at} of a connection");
            assert_eq!(row.key_len, i64::try_from(row.key.len()).unwrap());
        }
        assert_eq!(recorded.len(), expected.len(), "operations of a connection");
        compared += expected.len();
    }
    assert_eq!(compared, rows.len(), "operations in all");
}

/// The first operation of a connection: on a key that no other one uses.
fn begin(address: SocketAddr, protocol: Protocol, name: &str) -> Client {
    let mut client = Client::connect(address, protocol);
    match protocol {
        Protocol::Text => client.store("set", name.as_bytes(), b"", ""),
        Protocol::Binary => client.binary("set", name.as_bytes(), b""),
    }
    client
}

fn text_step(client: &mut Client, random: &mut Random, keys: &[Vec<u8>]) {
    let key = &keys[random.below(keys.len())];
    let value = random.value();
    let small = vec![b'a'; random.below(300)];
    match random.below(16) {
        0..=2 => client.get("get", std::slice::from_ref(key)),
        3 => client.get("gets", std::slice::from_ref(key)),
        4 => client.get("gat", std::slice::from_ref(key)),
        5 | 6 => client.store("set", key, &value, ""),
        7 => client.store("add", key, &value, ""),
        8 => client.store("replace", key, &value, ""),
        9 => client.store("append", key, &small, ""),
        10 => client.store("prepend", key, &small, ""),
        11 => {
            client.store("set", key, &small, "");
            // The second of two with the same unique fails.
            let unique = client.cas_unique(key).unwrap_or(1);
            client.store("cas", key, &value, &format!(" {unique}"));
            client.store("cas", key, &small, &format!(" {unique}"));
        }
        12 => {
            client.store("set", key, b"41", "");
            client.on_key("incr", key, " 1");
            client.on_key("decr", key, " 100");
        }
        13 => client.on_key("touch", key, " 100"),
        _ => client.on_key("delete", key, ""),
    }
}

fn binary_step(client: &mut Client, random: &mut Random, keys: &[Vec<u8>]) {
    let key = &keys[random.below(keys.len())];
    let value = random.value();
    let small = vec![b'a'; random.below(300)];
    match random.below(14) {
        0..=2 => client.binary("get", key, &[]),
        3 => client.binary("gat", key, &[]),
        4 => client.binary("touch", key, &[]),
        5 | 6 => client.binary("set", key, &value),
        7 => client.binary("add", key, &value),
        8 => client.binary("replace", key, &value),
        9 => client.binary("append", key, &small),
        10 => client.binary("prepend", key, &small),
        11 => {
            client.binary("set", key, b"41");
            client.binary("incr", key, &[]);
            client.binary("decr", key, &[]);
        }
        _ => client.binary("delete", key, &[]),
    }
}

/// A client that works through several connections and returns their logs.
fn work(
    address: SocketAddr,
    worker: u64,
    text_keys: &[Vec<u8>],
    all_keys: &[Vec<u8>],
) -> Vec<Vec<Logged>> {
    let mut random = Random(worker);
    let mut logs = Vec::new();
    for connection in 0..8 {
        let protocol = if random.chance(50) { Protocol::Text } else { Protocol::Binary };
        let mut client = begin(address, protocol, &format!("worker-{worker}-{connection}"));
        for _ in 0..80 {
            match protocol {
                Protocol::Text => text_step(&mut client, &mut random, text_keys),
                Protocol::Binary => binary_step(&mut client, &mut random, all_keys),
            }
        }
        logs.push(client.log);
    }
    logs
}

/// Bytes that the text protocol allows in a key.
fn in_text(byte: u8) -> bool {
    !matches!(byte, 0 | b' ' | b'\n' | b'\r')
}

#[test]
fn single_key_commands_of_text_and_binary_equal_the_clients_log() {
    let forms = [&[][..], &["--without", "atomics"]];
    for ((release, number), form) in
        RELEASES.into_iter().flat_map(|it| forms.map(|form| (it, form)))
    {
        let server = Server::start(release, &["-t", "3"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let arguments = [&["--source", "usdt", "--commit-every", "1s"], form].concat();
        let mut recorder = Recorder::start(server.pid(), &path, &arguments);

        let mut random = Random(7);
        let text_keys: Vec<_> = (0..60).map(|_| random.key(in_text)).collect();
        let wild: Vec<_> = (0..60).map(|_| random.key(|_| true)).collect();
        let all_keys = [text_keys.clone(), wild].concat();
        let logs: Vec<Vec<Logged>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..6)
                .map(|worker| {
                    scope.spawn({
                        let (text_keys, all_keys, address) =
                            (&text_keys, &all_keys, server.address);
                        move || work(address, worker, text_keys, all_keys)
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });

        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        let rows = capture::rows(&path);
        assert_equal(&rows, &logs, number);
        assert!(rows.len() > 3000, "the log is not of nothing: {}", rows.len());
        assert!(rows.iter().all(|row| row.latency.is_some()), "every request has a latency");
        for rows in by_connection(&rows).values() {
            assert!(rows.is_sorted_by_key(|row| row.ts), "time goes forward");
            assert!(rows.iter().all(|row| row.thread_id == rows[0].thread_id));
        }
        let footer = capture::footer(&path).unwrap();
        assert_eq!(footer.loss.seen, rows.len() as u64);
        assert_eq!(footer.loss.written, rows.len() as u64);
        assert_eq!(footer.capture.ended.as_deref(), Some("interrupted"));
        assert_eq!(footer.target.version.as_deref(), Some(release));
        // Each of the others: one that fires no command probe.
        let silent = logs.iter().flatten().filter(|logged| shown(logged, number).is_none()).count();
        assert_eq!(footer.source.requests_without_operation, silent as u64);
        let runs: u64 = footer.cost.programs.iter().map(|program| program.run_count).sum();
        assert!(runs > rows.len() as u64, "each operation was seen by a program");
    }
}

/// Rows of one connection by request, with the latency of each.
fn requests(rows: &[&Row]) -> Vec<(Vec<Shown>, i64)> {
    let mut requests: Vec<(i64, Vec<Shown>, i64)> = Vec::new();
    for row in rows {
        let latency = row.latency.unwrap();
        match requests.last_mut() {
            Some((id, keys, of_request)) if *id == row.request_id => {
                assert_eq!(row.key_index, i32::try_from(keys.len()).unwrap());
                assert_eq!(latency, *of_request, "one latency for a request");
                keys.push(of_row(row));
            }
            _ => {
                assert_eq!(row.key_index, 0);
                requests.push((row.request_id, vec![of_row(row)], latency));
            }
        }
    }
    requests.into_iter().map(|(_, keys, latency)| (keys, latency)).collect()
}

#[test]
fn multi_gets_and_pipelines_are_recorded_key_by_key_in_order() {
    for (release, number) in RELEASES {
        let server = Server::start(release, &["-t", "2"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let mut recorder = Recorder::start(server.pid(), &path, &["--source", "usdt"]);
        let mut random = Random(11);
        let keys: Vec<Vec<u8>> = (0..500).map(|_| random.key(in_text)).collect();
        let some = |random: &mut Random, count| -> Vec<Vec<u8>> {
            (0..count).map(|_| keys[random.below(keys.len())].clone()).collect()
        };

        let mut text = begin(server.address, Protocol::Text, "text");
        let mut binary = begin(server.address, Protocol::Binary, "binary");
        for round in 0..40 {
            for key in some(&mut random, 10) {
                text.store("set", &key, &random.value(), "");
            }
            // From one key to more than fit into one read of the server's.
            let size = 1 + random.below(if round % 10 == 0 { 400 } else { 30 });
            let wanted = some(&mut random, size);
            text.get("get", &wanted);
            binary.binary_quiet_gets(&wanted);

            // A pipeline: all requests in one write, then all replies.
            let (gets, stores) = (some(&mut random, 25), some(&mut random, 25));
            let mut pipeline = Vec::new();
            for (get, store) in gets.iter().zip(&stores) {
                pipeline.extend([b"get ", get.as_slice(), b" ", store, b"\r\n"].concat());
                pipeline.extend(Client::store_line("set", store, 3, ""));
                pipeline.extend(b"new\r\n");
            }
            text.send(&pipeline);
            for (get, store) in gets.iter().zip(&stores) {
                text.get_reply("get", &[get.clone(), store.clone()]);
                text.store_reply("set", store, 3);
            }
        }
        let stats = stats(server.address);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        let rows = capture::rows(&path);
        assert_equal(&rows, &[text.log.clone(), binary.log.clone()], number);

        // Request by request, which binds the keys of a multi-get together.
        let connections = by_connection(&rows);
        for log in [&text.log, &binary.log] {
            let rows = connections.values().find(|rows| rows[0].key == log[0].key).unwrap();
            let recorded: Vec<Vec<Shown>> =
                requests(rows).into_iter().map(|(keys, _)| keys).collect();
            let logged: Vec<Vec<Shown>> = log
                .chunk_by(|one, other| one.request == other.request)
                .map(|request| request.iter().filter_map(|logged| shown(logged, number)).collect())
                .collect();
            assert_eq!(recorded, logged);
        }

        // And in all, by memcached's own counts.
        let count = |status: &str| rows.iter().filter(|row| row.status == status).count();
        assert_eq!(stats["get_hits"], count("hit"));
        assert_eq!(stats["get_misses"], count("miss"));
        assert_eq!(stats["cmd_set"], count("stored"));
    }
}

/// memcached's counters.
fn stats(address: SocketAddr) -> HashMap<String, usize> {
    let mut client = Client::connect(address, Protocol::Text);
    let mut stats = HashMap::new();
    let mut line = client.other("stats");
    while line != b"END" {
        let text = String::from_utf8(line).unwrap();
        let mut words = text.split(' ').skip(1);
        if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) {
            stats.insert(name.to_owned(), value);
        }
        line = client.line();
    }
    stats
}

#[test]
fn each_request_of_a_pipeline_has_its_own_latency() {
    let pause = Duration::from_millis(300);
    for (release, _) in RELEASES {
        // One worker, so that the connections share a thread.
        let server = Server::start(release, &["-t", "1"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let mut recorder = Recorder::start(server.pid(), &path, &["--source", "usdt"]);
        let mut client = begin(server.address, Protocol::Text, "waits");
        let mut other = begin(server.address, Protocol::Text, "busy");
        // A set whose value comes late, between two gets.
        client.send(b"get before\r\nset late 0 0 5\r\n");
        thread::sleep(pause);
        for _ in 0..50 {
            other.get("get", &[b"elsewhere".to_vec()]);
        }
        client.send(b"hello\r\nget after\r\n");
        client.get_reply("get", &[b"before".to_vec()]);
        client.store_reply("set", b"late", 5);
        client.get_reply("get", &[b"after".to_vec()]);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");

        let pause = i64::try_from(pause.as_nanos()).unwrap();
        let rows = capture::rows(&path);
        let latency = |key: &str| {
            let row = rows.iter().find(|row| row.key == key.as_bytes()).unwrap();
            row.latency.unwrap()
        };
        assert!(latency("late") >= pause, "{}", latency("late"));
        for key in ["before", "after", "elsewhere"] {
            assert!(latency(key) < pause / 2, "{key}: {}", latency(key));
        }
    }
}

#[test]
fn connections_from_before_the_recording_are_recorded() {
    let server = Server::start("1.6.18", &[]);
    let mut client = begin(server.address, Protocol::Text, "before");
    // A command whose beginning was before, and whose end is recorded.
    client.send(b"set half 0 0 5\r\nhel");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &["--source", "usdt"]);
    client.send(b"lo\r\n");
    client.store_reply("set", b"half", 5);
    client.get("get", &[b"half".to_vec()]);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    let rows = capture::rows(&path);
    let seen: Vec<_> = rows.iter().map(|row| (row.op.as_str(), row.latency.is_some())).collect();
    assert_eq!(seen, [("set", false), ("get", true)], "its start was not seen, so no latency");
}

#[test]
fn of_the_meta_protocol_what_the_probes_show_is_recorded_and_the_rest_counted() {
    for (release, number) in RELEASES {
        let server = Server::start(release, &[]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let mut recorder = Recorder::start(server.pid(), &path, &["--source", "usdt"]);
        let mut client = Client::connect(server.address, Protocol::Text);
        assert_eq!(client.other("mg absent v"), b"EN");
        assert_eq!(client.other("ms plain 5\r\nhello"), b"HD");
        assert_eq!(client.other("ms AAEC/w== 2 b\r\nhi"), b"HD"); // the key is 00 01 02 ff
        assert_eq!(client.other("mg plain s"), b"HD s5"); // a hit fires nothing
        assert_eq!(client.other("ms plain 1 ME\r\nx"), b"NS");
        assert_eq!(client.other("ms number 1\r\n1"), b"HD");
        assert_eq!(client.other("ma number"), b"HD"); // incr, until 1.6.18
        assert_eq!(client.other("md plain"), b"HD");
        assert_eq!(client.other("md plain"), b"NF"); // fires nothing
        assert_eq!(client.other("mn"), b"MN"); // nor does this
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        let mut expected: Vec<(&str, &[u8], &str, Option<usize>)> = vec![
            ("get", b"absent", "miss", None),
            ("set", b"plain", "stored", Some(5)),
            ("set", b"\x00\x01\x02\xff", "stored", Some(2)),
            ("add", b"plain", "not_stored", None),
            ("set", b"number", "stored", Some(1)),
        ];
        if number < 19 {
            expected.push(("incr", b"number", "ok", None));
        }
        expected.push(("delete", b"plain", "deleted", None));
        let rows: Vec<Shown> = capture::rows(&path).iter().map(of_row).collect();
        let rows: Vec<_> =
            rows.iter().map(|row| (row.op, &row.key[..], row.status, row.value_size)).collect();
        assert_eq!(rows, expected);
        let unseen = 10 - expected.len() as u64;
        let footer = capture::footer(&path).unwrap();
        assert_eq!(footer.source.requests_without_operation, unseen);
        let blind = |what: &str| footer.source.cannot_see.iter().any(|b| b.what.contains(what));
        assert!(blind("hits of meta get"));
        assert_eq!(footer.source.cannot_see.iter().any(|b| b.what == "incr, decr"), number >= 19);
    }
}

#[test]
fn a_capture_is_plain_parquet_with_the_columns_of_the_format() {
    let server = Server::start("1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &["--source", "usdt"]);
    begin(server.address, Protocol::Text, "key");
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    let file = fs::File::open(&path).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let columns: Vec<String> = reader
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let null = if field.is_nullable() { "?" } else { "" };
            format!("{} {}{null}", field.name(), field.data_type())
        })
        .collect();
    // The table of the format, written down once more.
    let expected = [
        "ts Timestamp(µs, \"UTC\")",
        "op Utf8",
        "protocol Utf8?",
        "key Utf8?",
        "key_len Int64?",
        "status Utf8",
        "value_size Int64?",
        "latency_ns Int64?",
        "ttl Int64?",
        "client_flags Int64?",
        "cas Int64?",
        "request_bytes Int64?",
        "response_bytes Int64?",
        "quiet Boolean",
        "request_id Int64",
        "key_index Int32",
        "conn_id Int64",
        "client Utf8?",
        "thread_id Int32",
        "cas_sent Int64?",
        "cas_set Int64?",
        "meta_flags Utf8?",
        "meta_returned Utf8?",
    ];
    assert_eq!(columns, expected);
    let row = &capture::rows(&path)[0];
    assert!(row.cas.is_some_and(|cas| cas > 0), "the probe gives the CAS of what was stored");
    assert_eq!((row.request_id, row.conn_id), (1, 1));
}
