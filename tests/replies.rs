//! Replies and requests however they are cut, broken off or passed on: what mcrec records of
//! them is what the clients saw, and what the server counted.

mod support;

use std::{
    io::{Read, Write},
    path::Path,
};

use support::{
    capture::{self, Row},
    random::Random,
    recorder::Recorder,
    rows::{assert_recorded, is_event},
    server::{Server, Stream, WITHOUT_PROBES},
    until,
    wire::{Answer, Expected, Wire},
};

const SOURCE: [&str; 2] = ["--source", "syscalls"];

/// Looks like the line of a value from many of its bytes on.
fn looks_like_lines(length: usize) -> Vec<u8> {
    b"VA 1\r\n".iter().copied().cycle().take(length).collect()
}

/// Ends a recording that lost nothing, and returns its rows but those of connections' events.
fn ended(mut recorder: Recorder, path: &Path) -> Vec<Row> {
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    assert!(said.contains("lost       nothing"), "{said}");
    let mut rows = capture::all_rows(path);
    rows.retain(|row| !is_event(row));
    rows
}

/// A meta get of the value, by one line.
fn meta_get(wire: &mut Wire, key: &[u8], quiet: bool) {
    let flags: &[u8] = if quiet { b" v k q\r\n" } else { b" v k\r\n" };
    let silence = quiet.then_some("miss");
    wire.push(
        &[b"mg ", key, flags].concat(),
        Expected {
            op: "get",
            protocol: "meta",
            keys: vec![key.to_vec()],
            size: None,
            ttl: None,
            quiet,
            answer: Answer::Meta(Some([b"k", key].concat()), silence),
        },
    );
}

#[test]
fn what_a_proxy_answers_is_followed() {
    let server = Server::start("plain-1.6.38", &[]);
    let proxy = Server::start_proxy(&server);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let recorder = Recorder::start(proxy.pid(), &path, &SOURCE);
    let mut random = Random(21);
    let long = vec![b'k'; 200];
    let keys: [&[u8]; 6] = [b"K", b"Z", b"none", b"medium", b"large", &long];
    let mut logs = Vec::new();
    for number in 0..4 {
        let mut wire = Wire::connect(&proxy.endpoint());
        wire.begin(&format!("of-proxy-{number}"), false);
        for (key, size) in keys.iter().zip([3, 1, 0, 500, 3000, 2000]) {
            if size > 0 {
                wire.store("set", key, 0, &looks_like_lines(size), None, key.len() == 1);
            }
        }
        wire.run_whole();
        for _ in 0..60 {
            for _ in 0..1 + random.below(12) {
                let from = random.below(keys.len());
                let count = 1 + random.below(keys.len() - from);
                match random.below(4) {
                    0 => wire.get("get", None, &keys[from..=from]),
                    1 => wire.get("gets", None, &keys[from..from + count]),
                    2 => meta_get(&mut wire, keys[from], false),
                    _ => wire.get("get", None, &keys[from..from + count]),
                }
            }
            wire.run(&mut random);
        }
        logs.push(wire.close());
    }
    proxy.settle(0);
    let rows = ended(recorder, &path);
    assert_recorded(&path, &logs);
    let hits = rows.iter().filter(|row| row.status == "hit").count();
    assert!(hits > 1000, "{hits} hits");
}

#[test]
fn errors_of_a_proxy_are_those_of_the_requests_that_had_them() {
    let server = Server::start("plain-1.6.38", &[]);
    let proxy = Server::start_proxy(&server);
    // From now on there is nobody to pass requests on to.
    drop(server);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let mut recorder = Recorder::start(proxy.pid(), &path, &SOURCE);
    let mut stream = proxy.endpoint().connect().unwrap();
    let error = "SERVER_ERROR backend failure\r\n";
    for (request, reply) in [
        ("set s 0 0 1 noreply\r\nx\r\nmn\r\n", format!("{error}MN\r\n")),
        ("set s 0 0 1 noreply\r\nx\r\nget a\r\n", format!("{error}{error}")),
    ] {
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = vec![0; reply.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), reply);
    }
    drop(stream);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    let rows = capture::rows(&path);
    let told: Vec<_> = rows.iter().map(|row| (&*row.op, &*row.status, row.quiet)).collect();
    let failed = ("set", "server_error", true);
    let (noop, get) = (("noop", "ok", false), ("get", "server_error", false));
    assert_eq!(told, [failed, noop, failed, get]);
}

/// Replies that the client does not read until the server cannot send more, so that they go
/// out in parts, each of which begins somewhere in a value that looks like a line.
#[test]
fn replies_that_go_out_in_parts_are_followed() {
    for release in ["plain-1.6.38", "plain-1.6.45"] {
        let server = Server::start_unix(release, &[]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let recorder = Recorder::start(server.pid(), &path, &SOURCE);
        let mut random = Random(22);
        let mut wire = Wire::connect(&server.endpoint());
        wire.begin("in-parts", false);
        let keys: Vec<Vec<u8>> = (0..40).map(|at| format!("part-{at}").into_bytes()).collect();
        for (at, key) in keys.iter().enumerate() {
            wire.store("set", key, 0, &looks_like_lines(6 * (20 + at)), None, false);
        }
        wire.run_whole();
        let names: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        for _ in 0..8 {
            for _ in 0..300 {
                wire.get("get", None, &names[random.below(keys.len())..]);
            }
            wire.send_all();
            until("memcached to wait", || server.is_asleep().then_some(()));
            wire.run_whole();
        }
        let log = wire.close();
        server.settle(0);
        ended(recorder, &path);
        assert_recorded(&path, &[log]);
    }
}

/// A binary store: its header, extras and key, and so much of its value.
fn packet(opcode: u8, extras: usize, value: usize, sent: usize) -> Vec<u8> {
    let mut packet = vec![0x80, opcode, 0, 2, u8::try_from(extras).unwrap(), 0, 0, 0];
    packet.extend(u32::try_from(extras + 2 + value).unwrap().to_be_bytes());
    packet.resize(24 + extras, 0);
    packet.extend(b"bk");
    packet.resize(packet.len() + sent, b'v');
    packet
}

#[test]
fn stores_that_never_arrived_whole_are_not_stored() {
    for release in WITHOUT_PROBES {
        let server = Server::start(release, &[]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let recorder = Recorder::start(server.pid(), &path, &SOURCE);
        let requests = [
            b"ms k 10 q\r\nabc".to_vec(),
            b"ms k 10\r\nabc".to_vec(),
            b"set k 0 0 10 noreply\r\nabc".to_vec(),
            b"set k 0 0 10\r\nabc".to_vec(),
            packet(0x11, 8, 10, 3),
            packet(0x01, 8, 10, 3),
            packet(0x19, 0, 10, 3),
        ];
        for request in &requests {
            let mut stream = server.endpoint().connect().unwrap();
            stream.write_all(request).unwrap();
            let Stream::Tcp(tcp) = &stream else { unreachable!("it listens there") };
            server.reads(&tcp.local_addr().unwrap().to_string());
            drop(stream);
            server.settle(0);
        }
        let rows = ended(recorder, &path);
        assert_eq!(rows.len(), requests.len());
        for (row, request) in rows.iter().zip(&requests) {
            let told = (&*row.status, row.value_size, row.latency);
            assert_eq!(told, ("unknown", Some(3), None), "{row:?}");
            assert_eq!(row.request_bytes, Some(i64::try_from(request.len()).unwrap()));
        }
        let mut wire = Wire::connect(&server.endpoint());
        wire.get("get", None, &[b"k", b"bk"]);
        wire.run_whole();
        assert!(wire.log.done.iter().all(|done| done.status == "miss"), "nothing is stored");
    }
}

/// What memcached counted of the bytes that it sent, and of those that say so.
fn bytes_written(server: &Server) -> (i64, i64) {
    let mut stream = server.endpoint().connect().unwrap();
    stream.write_all(b"stats\r\nquit\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("STAT bytes_written ")).unwrap();
    (line.parse().unwrap(), i64::try_from(text.len()).unwrap())
}

#[test]
fn of_replies_that_are_cut_short_what_was_sent_counts() {
    for release in WITHOUT_PROBES {
        let server = Server::start(release, &[]);
        let mut wire = Wire::connect(&server.endpoint());
        wire.store("set", b"large", 0, &vec![b'v'; 1_900_000], None, false);
        wire.run_whole();
        wire.close();
        server.settle(0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("capture.parquet");
        let recorder = Recorder::start(server.pid(), &path, &SOURCE);
        let (before, told) = bytes_written(&server);
        server.settle(0);
        let mut stream = server.endpoint().connect().unwrap();
        stream.write_all(&b"get large\r\n".repeat(10)).unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        until("memcached to wait", || server.is_asleep().then_some(()));
        drop(stream);
        server.settle(0);
        let (after, _) = bytes_written(&server);
        server.settle(0);
        let mut rows = ended(recorder, &path);
        rows.retain(|row| row.op == "get");
        assert_eq!(rows.len(), 10);
        let sent: i64 = rows.iter().map(|row| row.response_bytes.unwrap()).sum();
        assert_eq!(sent, after - before - told, "{release}");
        assert!(sent > 1000 && sent < 10 * 1_900_000, "it was cut short: {sent}");
        let cut = rows.iter().find(|row| row.latency.is_none()).unwrap();
        assert_eq!((&*cut.status, cut.value_size), ("hit", Some(1_900_000)));
        assert!(cut.response_bytes.unwrap() > 0, "{cut:?}");
    }
}
