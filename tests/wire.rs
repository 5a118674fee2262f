//! What mcrec records of any memcached, by what it reads and sends, equals what
//! its clients did.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use rustix::process::Signal;
use support::{
    capture::{self, Row},
    commands::Keys,
    random::Random,
    recorder::Recorder,
    rows::{Shown, assert_connection, assert_recorded, by_connection, is_event, of_done, of_row},
    server::{Address, STATIC, Server, WITHOUT_PROBES, program},
    until,
    wire::{Answer, Done, Expected, Log, Wire},
};

const SOURCE: [&str; 2] = ["--source", "syscalls"];

/// Every release, and every way to see system calls, by TCP and by a Unix socket.
fn servers(arguments: &'static [&str]) -> impl Iterator<Item = Server> {
    let releases = WITHOUT_PROBES.into_iter().chain([STATIC]);
    releases.flat_map(|release| [false, true].map(|unix| (release, unix))).map(|(release, unix)| {
        eprintln!("memcached {release}{}", if unix { ", Unix socket" } else { "" });
        if unix {
            Server::start_unix(release, arguments)
        } else {
            Server::start(release, arguments)
        }
    })
}

/// Sends pipelines of the connection's protocol.
fn work(wire: &mut Wire, binary: bool, random: &mut Random, keys: &Keys, batches: usize) {
    for _ in 0..batches {
        if binary {
            wire.binary_batch(random, keys, 30);
        } else {
            wire.text_batch(random, keys, 30);
        }
    }
}

/// A client that opens one connection after the other.
fn client(address: &Address, number: u64, keys: &Keys) -> Vec<Log> {
    let mut random = Random(number);
    let mut logs = Vec::new();
    for connection in 0..4 {
        let binary = random.chance(40);
        let mut wire = Wire::connect(address);
        wire.begin(&format!("client-{number}-{connection}"), binary);
        work(&mut wire, binary, &mut random, keys, 12);
        if random.chance(50) {
            wire.quit(binary, &mut random);
            assert!(wire.is_closed_by_server());
        }
        logs.push(wire.close());
    }
    logs
}

/// Clients at work, recorded with these `arguments`: all rows are as their logs say. Returns
/// what the recording was attached to.
fn record_clients(server: &Server, arguments: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, arguments);
    let (address, keys) = (server.endpoint(), Keys::new(&mut Random(5)));
    let logs: Vec<Log> = thread::scope(|scope| {
        let (address, keys) = (&address, &keys);
        let clients: Vec<_> =
            (0..8).map(|number| scope.spawn(move || client(address, number, keys))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    assert_recorded(&path, &logs);
    let count: usize = logs.iter().map(|log| log.done.len()).sum();
    assert!(count > 8000, "the log is not of nothing: {count}");
    let attached = capture::footer(&path).unwrap().source.attached;
    attached.into_iter().map(|attached| attached.probe).collect()
}

#[test]
fn pipelines_of_every_protocol_equal_the_clients_log() {
    for server in servers(&["-t", "3"]) {
        record_clients(&server, &SOURCE);
    }
}

/// Perf's tracepoints are found by what tracefs says of them.
fn mount_tracefs() {
    if Path::new("/sys/kernel/tracing/events").exists() {
        return;
    }
    let mount = ["-t", "tracefs", "tracefs", "/sys/kernel/tracing"];
    let status = Command::new("mount").args(mount).status().unwrap();
    assert!(status.success(), "cannot mount tracefs");
}

#[test]
fn what_kernels_that_lack_something_are_given_records_the_same() {
    mount_tracefs();
    let server = Server::start("plain-1.6.38", &["-t", "3"]);
    for (lacking, first) in [
        (&["atomics"][..], "raw_tp:sock_recv_length"),
        (&["raw-tracepoints"], "tp:sock_recv_length"),
        (&["sockets"], "raw_tp:sys_exit"),
        (&["sockets", "raw-tracepoints", "atomics"], "tp:sys_exit"),
    ] {
        eprintln!("without {lacking:?}");
        let without = lacking.iter().flat_map(|feature| ["--without", feature]);
        let arguments: Vec<&str> = SOURCE.into_iter().chain(without).collect();
        let attached = record_clients(&server, &arguments);
        assert_eq!(attached[0], first);
    }
}

/// What that takes came with Linux 6.6.
fn can_see_sockets() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(6))
}

#[test]
fn the_calls_on_sockets_are_seen_there_where_that_is_possible() {
    const SOCKETS: [&str; 4] =
        ["raw_tp:sock_recv_length", "raw_tp:sock_send_length", "uretprobe:accept", "uprobe:close"];
    let sockets = if can_see_sockets() { &SOCKETS[..] } else { &["raw_tp:sys_exit"] };
    for (release, expected) in [("debian-1.6.18", sockets), (STATIC, &["raw_tp:sys_exit"])] {
        let server = Server::start(release, &[]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        Recorder::start(server.pid(), &path, &SOURCE).interrupt();
        let attached = capture::footer(&path).unwrap().source.attached;
        let probes: Vec<&str> = attached.iter().map(|attached| &*attached.probe).collect();
        assert_eq!(probes, expected, "{release}");
    }
}

#[test]
fn two_hundred_connections_at_once() {
    for server in servers(&["-t", "4"]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let mut recorder = Recorder::start(server.pid(), &path, &SOURCE);
        let (address, keys) = (server.endpoint(), Keys::new(&mut Random(6)));
        let wires: Vec<Wire> = thread::scope(|scope| {
            let (address, keys) = (&address, &keys);
            let client = move |number: u64| {
                let mut random = Random(number);
                let mut wires: Vec<Wire> = (0..50)
                    .map(|at| {
                        let mut wire = Wire::connect(address);
                        wire.begin(&format!("one-of-{number}-{at}"), at % 3 == 0);
                        wire
                    })
                    .collect();
                for _ in 0..3 {
                    for (at, wire) in wires.iter_mut().enumerate() {
                        if at % 3 == 0 {
                            wire.binary_batch(&mut random, keys, 4);
                        } else {
                            wire.text_batch(&mut random, keys, 4);
                        }
                    }
                }
                wires
            };
            let clients: Vec<_> =
                (0..4).map(|number| scope.spawn(move || client(number))).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        // Half of them are still open when the recording ends.
        let (mut open, mut logs) = (Vec::new(), Vec::new());
        for (at, wire) in wires.into_iter().enumerate() {
            if at % 2 == 0 { open.push(wire) } else { logs.push(wire.close()) }
        }
        server.settle(open.len());
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        logs.extend(open.into_iter().map(|wire| wire.log));
        assert_recorded(&path, &logs);
    }
}

#[test]
fn requests_that_come_byte_by_byte() {
    for server in servers(&[]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let mut recorder = Recorder::start(server.pid(), &path, &SOURCE);
        let mut text = Wire::connect(&server.endpoint());
        text.store("set", b"text", 0, b"", None, false);
        text.run_by_byte();
        for round in 0..5 {
            text.store("set", b"key", 100, b"\r\nEND\r\n", None, round % 2 == 0);
            text.get("get", None, &[b"text", b"absent", b"key"]);
            text.get("gat", Some(20), &[b"key"]);
            text.on_key("delete", b"key", None, false);
            text.on_key("incr", b"text", Some(1), false);
            text.mn();
            text.run_by_byte();
        }
        let mut binary = Wire::connect(&server.endpoint());
        binary.packet("set", 0x01, &[0; 8], b"binary", b"", 0, None);
        binary.run_by_byte();
        for _ in 0..5 {
            binary.packet("set", 0x11, &[0; 8], b"key", b"\x80\x81", 0, Some("stored"));
            binary.packet("get", 0x0d, &[], b"key", b"", 0, Some("miss"));
            binary.packet("get", 0x09, &[], b"absent", b"", 0, Some("miss"));
            binary.packet("append", 0x0e, &[], b"key", b"more", 0, None);
            binary.packet("delete", 0x14, &[], b"key", b"", 0, Some("deleted"));
            binary.packet("noop", 0x0a, &[], b"", b"", 0, None);
            binary.run_by_byte();
        }
        let logs = [text.close(), binary.close()];
        server.settle(0);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        assert_recorded(&path, &logs);
    }
}

#[test]
fn after_a_length_that_is_refused_come_requests_though_the_read_is_long() {
    const GETS: usize = 300;
    for server in servers(&[]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let mut recorder = Recorder::start(server.pid(), &path, &SOURCE);
        let mut stream = server.endpoint().connect().unwrap();
        let lengths = [i32::MAX, i32::MAX - 1];
        for length in lengths {
            let refused = format!("set key 0 0 {length}\r\n").into_bytes();
            stream.write_all(&[refused, b"get none\r\n".repeat(GETS)].concat()).unwrap();
            let lines = BufReader::new(&mut stream).split(b'\n');
            let last = lines.take(1 + GETS).last().unwrap().unwrap();
            assert_eq!(last, b"END\r");
        }
        drop(stream);
        server.settle(0);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        let rows = capture::rows(&path);
        let of = |op: &str, status: &str| {
            rows.iter().filter(|row| row.op == op && row.status == status).count()
        };
        assert_eq!(of("set", "client_error"), lengths.len());
        assert_eq!(of("get", "miss"), lengths.len() * GETS);
    }
}

#[test]
fn connections_that_were_open_before() {
    for server in servers(&["-t", "2"]) {
        let (address, keys) = (server.endpoint(), Keys::new(&mut Random(7)));
        let mut random = Random(8);
        let mut idle: Vec<Wire> = (0..6)
            .map(|number| {
                let mut wire = Wire::connect(&address);
                wire.begin(&format!("before-{number}"), number % 2 == 0);
                wire
            })
            .collect();
        let skipped = idle[0].log.done.len();
        let mut half = Wire::connect(&address);
        half.begin("half-before", false);
        half.store("set", b"half", 0, &[b'x'; 100], None, false);
        half.send_first(30);
        let over = AtomicBool::new(false);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let (mut recorder, busy) = thread::scope(|scope| {
            let (address, keys, over) = (&address, &keys, &over);
            let busy: Vec<_> = (0..3)
                .map(|number| {
                    scope.spawn(move || {
                        let (mut random, binary) = (Random(number), number == 0);
                        let mut wire = Wire::connect(address);
                        while !over.load(Relaxed) {
                            work(&mut wire, binary, &mut random, keys, 1);
                        }
                        wire.begin(&format!("busy-{number}"), binary);
                        wire
                    })
                })
                .collect();
            let recorder = Recorder::start(server.pid(), &path, &SOURCE);
            for (number, wire) in idle.iter_mut().enumerate() {
                let binary = number % 2 == 0;
                wire.begin(&format!("idle-{number}"), binary);
                work(wire, binary, &mut random, keys, 5);
            }
            half.run(&mut random);
            half.begin("half-after", false);
            work(&mut half, false, &mut random, keys, 5);
            over.store(true, Relaxed);
            let busy: Vec<Wire> = busy.into_iter().map(|busy| busy.join().unwrap()).collect();
            (recorder, busy)
        });
        server.settle(idle.len() + busy.len() + 1);
        let (_, said) = recorder.interrupt();
        let losses = capture::footer(&path).unwrap().loss.losses;
        assert_eq!(losses.total(), losses.connection_unsynced, "{said}");

        let rows = capture::all_rows(&path);
        assert!(!rows.iter().any(is_event), "none of them began or ended");
        let connections = by_connection(&rows);
        assert!(connections.len() == idle.len() + busy.len() + 1);
        let of = |name: String| {
            let own = |rows: &&Vec<&Row>| rows.iter().any(|row| row.key == name.as_bytes());
            connections.values().find(own).unwrap_or_else(|| panic!("no {name}")).as_slice()
        };
        for (number, wire) in idle.iter().enumerate() {
            assert_connection(of(format!("idle-{number}")), &wire.log, skipped);
        }
        // The rest of what was half sent is not taken for anything.
        assert_connection(of("half-after".to_owned()), &half.log, 2);
        // Those that were busy are recorded from some request on, without a gap.
        for (number, wire) in busy.iter().enumerate() {
            let rows = of(format!("busy-{number}"));
            assert_connection(rows, &wire.log, wire.log.done.len() - rows.len());
        }
    }
}

/// The state of a process, as in /proc/PID/stat.
fn state(pid: u32) -> char {
    procfs::process::Process::new(pid.cast_signed()).unwrap().stat().unwrap().state
}

#[test]
fn what_a_full_ring_loses_is_counted_and_nothing_is_made_up() {
    for server in servers(&[]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let arguments = ["--buffer-size", "64KiB", "--commit-every", "1s"];
        let arguments = [&SOURCE[..], &arguments].concat();
        let mut recorder = Recorder::start(server.pid(), &path, &arguments);
        let pid = recorder.process.id();
        let (keys, mut random) = (Keys::new(&mut Random(9)), Random(10));
        let mut wires: Vec<Wire> = (0..4)
            .map(|number| {
                let mut wire = Wire::connect(&server.endpoint());
                wire.begin(&format!("wire-{number}"), number == 0);
                wire
            })
            .collect();
        let beginnings = 2 * wires.len() as u64;
        let mut round = |batches| {
            for (number, wire) in wires.iter_mut().enumerate() {
                work(wire, number == 0, &mut random, &keys, batches);
            }
        };
        until("the beginnings", || {
            (capture::footer(&path)?.loss.written >= beginnings).then_some(())
        });
        recorder.signal(Signal::STOP);
        until("mcrec to stop", || (state(pid) == 'T').then_some(()));
        round(30);
        recorder.signal(Signal::CONT);
        until("mcrec to see the loss", || {
            (capture::footer(&path)?.loss.losses.ring_full > 0).then_some(())
        });
        round(10);
        server.settle(wires.len());
        let (status, said) = recorder.interrupt();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("ring full"), "{said}");
        let rows = capture::all_rows(&path);
        let loss = capture::footer(&path).unwrap().loss;
        assert!(loss.losses.ring_full > 0);
        assert_eq!(loss.seen, loss.written + loss.losses.total(), "{loss:?}");
        assert_eq!(loss.written, rows.len() as u64);

        let connections = by_connection(&rows);
        assert_eq!(connections.len(), wires.len());
        let mut skipped = 0;
        for wire in &wires {
            let own = |rows: &&Vec<&Row>| rows[1].key == wire.log.done[0].key;
            let rows = connections.values().find(own).unwrap();
            let mut log = wire.log.done.iter();
            for row in &rows[1..] {
                let found = log.position(|done| is_of(row, done));
                skipped += found.unwrap_or_else(|| panic!("not sent, or not then: {row:?}"));
            }
        }
        assert!(skipped > 0);
    }
}

/// Whether `row` is of `done`: what it says of it is so, or it says nothing.
fn is_of(row: &Row, done: &Done) -> bool {
    let (row, done) = (of_row(row), of_done(done));
    (row.op, row.protocol, &row.key, row.ttl, row.quiet)
        == (done.op, done.protocol, &done.key, done.ttl, done.quiet)
        && (row.status == "unknown" || row.status == done.status)
        && (row.value_size.is_none() || row.value_size == done.value_size)
        && (done.has_latency || !row.has_latency)
}

/// No trace of `secret` in what the recorder wrote or said.
fn assert_kept_out(path: &Path, said: &str, secret: &str) {
    let rows = capture::all_rows(path);
    let all = format!("{rows:?}{:?}{said}", capture::footer(path));
    assert!(!all.contains(secret), "{all}");
    assert!(!rows.iter().any(|row| row.key.windows(6).any(|part| part == &secret.as_bytes()[..6])));
    let file = fs::read(path).unwrap();
    assert!(!file.windows(secret.len()).any(|part| part == secret.as_bytes()));
}

#[test]
fn credentials_of_the_text_protocol_are_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, "user:swordfish\n").unwrap();
    for release in WITHOUT_PROBES {
        let server = Server::start(release, &["-Y", users.to_str().unwrap()]);
        let path = folder.path().join(format!("{release}.parquet"));
        let mut recorder = Recorder::start(server.pid(), &path, &SOURCE);
        let mut random = Random(12);
        let auth = |wire: &mut Wire, credentials: &str| {
            let bytes = format!("set any 0 0 {}\r\n{credentials}\r\n", credentials.len());
            let keys = vec![Vec::new()];
            let (op, protocol, answer) = ("auth", "text", Answer::Line);
            let (size, ttl, quiet) = (None, None, false);
            wire.push(bytes.as_bytes(), Expected { op, protocol, keys, size, ttl, quiet, answer });
        };
        let mut logs = Vec::new();
        for by_byte in [false, true] {
            let mut wire = Wire::connect(&server.endpoint());
            for credentials in ["user swordfishes", "user swordfish"] {
                auth(&mut wire, credentials);
                if by_byte { wire.run_by_byte() } else { wire.run(&mut random) }
            }
            wire.store("set", b"after", 0, b"value", None, false);
            wire.get("get", None, &[b"after"]);
            wire.run(&mut random);
            logs.push(wire.close());
        }
        server.settle(0);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        assert_kept_out(&path, &said, "swordfish");
        let rows = capture::all_rows(&path);
        for (rows, log) in in_order_of_connecting(&rows).iter().zip(&logs) {
            assert_eq!(log.done[0].status, "client_error");
            // The reply to credentials says STORED, but nothing was.
            let mut expected: Vec<Shown<'_>> = log.done.iter().map(of_done).collect();
            assert_eq!(expected[1].status, "stored");
            expected[1].status = "ok";
            let recorded: Vec<Shown<'_>> = rows.iter().map(|row| of_row(row)).collect();
            assert_eq!(recorded, expected);
        }
    }
}

/// What a server reads before it sends is answered by the reply to the last of it, until it
/// has accepted credentials.
#[test]
fn what_comes_with_credentials_of_a_wrong_length_shares_their_reply() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, "user:swordfish\n").unwrap();
    let attempt = |length: usize| format!("set any 0 0 {length}\r\nuser swordfish\r\n");
    let (short, long, right) = (attempt(5), attempt(15), attempt(14));
    for release in WITHOUT_PROBES {
        let server = Server::start(release, &["-Y", users.to_str().unwrap()]);
        let path = folder.path().join(format!("{release}.parquet"));
        let mut recorder = Recorder::start(server.pid(), &path, &SOURCE);
        let mut expected = Vec::new();
        for (sent, rows) in [
            // Seven bytes are taken of it, and the rest for a line.
            (short.clone(), &[("auth", 22), ("other", 9)][..]),
            // It takes one byte of what follows.
            (format!("{long}{right}"), &[("auth", 33), ("other", 15), ("other", 16)]),
            (format!("{short}{right}"), &[("auth", 22), ("other", 9), ("auth", 32)]),
        ] {
            let mut stream = BufReader::new(server.endpoint().connect().unwrap());
            stream.get_mut().write_all(sent.as_bytes()).unwrap();
            let mut reply = String::new();
            stream.read_line(&mut reply).unwrap();
            let status = if reply == "STORED\r\n" { "ok" } else { "client_error" };
            let (last, others) = rows.split_last().unwrap();
            let refused = others.iter().map(|&(op, bytes)| (op, "client_error", bytes, 0));
            let mut of_connection: Vec<_> = refused.collect();
            of_connection.push((last.0, status, last.1, reply.len()));
            if status == "client_error" {
                stream.get_mut().write_all(right.as_bytes()).unwrap();
                stream.read_line(&mut reply).unwrap();
                assert!(reply.ends_with("STORED\r\n"), "{reply}");
                of_connection.push(("auth", "ok", right.len(), 8));
            }
            stream.get_mut().write_all(b"get any\r\n").unwrap();
            stream.read_line(&mut reply).unwrap();
            of_connection.push(("get", "miss", 9, 5));
            expected.push(of_connection);
        }
        server.settle(0);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        assert_kept_out(&path, &said, "swordfish");
        let rows = capture::all_rows(&path);
        let bytes = |bytes: Option<i64>| usize::try_from(bytes.unwrap()).unwrap();
        let shown: Vec<Vec<_>> = in_order_of_connecting(&rows)
            .iter()
            .map(|rows| {
                let shown = rows.iter().map(|row| {
                    let (sent, received) = (bytes(row.request_bytes), bytes(row.response_bytes));
                    (row.op.as_str(), row.status.as_str(), sent, received)
                });
                shown.collect()
            })
            .collect();
        assert_eq!(shown, expected, "{release}");
    }
}

/// The operations of each connection, which came one after the other.
fn in_order_of_connecting(rows: &[Row]) -> Vec<Vec<&Row>> {
    let mut connections: Vec<_> = by_connection(rows).into_iter().collect();
    connections.sort_by_key(|(id, _)| *id);
    for (_, rows) in &mut connections {
        rows.retain(|row| !is_event(row));
    }
    connections.into_iter().map(|(_, rows)| rows).collect()
}

#[test]
fn credentials_of_the_binary_protocol_are_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    let host = Command::new("hostname").output().unwrap().stdout;
    let host = String::from_utf8(host).unwrap();
    // SASL takes the name to be one of this host's.
    fs::write(&users, format!("user@{}:swordfish\n", host.trim())).unwrap();
    fs::write(folder.path().join("memcached.conf"), "mech_list: plain\n").unwrap();
    let variables = [("SASL_CONF_PATH", folder.path()), ("MEMCACHED_SASL_PWDB", &users)];
    let server = Server::start_with(&program("full-1.6.38"), &["-S"], &variables);
    let path = folder.path().join("capture.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &SOURCE);
    let mut random = Random(13);
    let mut wire = Wire::connect(&server.endpoint());
    wire.packet("auth", 0x20, &[], b"", b"", 0, None);
    wire.packet("auth", 0x21, &[], b"PLAIN", b"\0user\0swordfishes", 0, None);
    wire.run(&mut random);
    wire.packet("auth", 0x21, &[], b"PLAIN", b"\0user\0swordfish", 0, None);
    wire.packet("auth", 0x22, &[], b"PLAIN", b"swordfish", 0, None);
    wire.run_by_byte();
    wire.packet("auth", 0x21, &[], b"PLAIN", b"\0user\0swordfish", 0, None);
    wire.packet("set", 0x01, &[0; 8], b"after", b"value", 0, None);
    wire.run(&mut random);
    assert_eq!(wire.log.done[2].status, "ok", "it was the right password");
    assert_eq!(wire.log.done[1].status, "client_error", "and that the wrong one");
    let log = wire.close();
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    assert_kept_out(&path, &said, "swordfish");
    let rows = capture::all_rows(&path);
    let rows = &in_order_of_connecting(&rows)[0];
    assert_connection(rows, &log, 0);
    assert!(rows[..5].iter().all(|row| row.op == "auth" && row.key.is_empty()));
}
