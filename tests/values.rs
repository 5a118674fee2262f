//! Values that the server returns are not even copied: they are on none of the records that
//! the BPF programs make.

mod support;

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::FileExt,
};

use rustix::process::Signal;
use support::{
    capture,
    client::{Client, Logged, Protocol},
    recorder::Recorder,
    server::Server,
    until,
};

/// What all values consist of, after something that looks like the header of another.
const MARK: &[u8] = b"pangolin.";
/// What all keys begin with.
const KEYS: &[u8] = b"aardvark:";

/// A key that is asked for until that shows.
const FIRST: &[u8] = b"first";

/// A value that, wherever it is cut, shows what it is.
fn value(size: usize) -> Vec<u8> {
    let begin = b"VALUE aardvark:1 0 3\r\n\x81\x00".iter();
    begin.chain(MARK.iter().cycle()).copied().take(size).collect()
}

fn key(size: usize) -> Vec<u8> {
    [KEYS, size.to_string().as_bytes()].concat()
}

/// In one buffer with their headers, in one of their own, and in several; and those of which
/// the kernel takes a part at a time.
const SIZES: [usize; 6] = [40, 400, 3_000, 200_000, 700_000, 1_500_000];

/// The ring of a recorder: of one that was stopped, with all records since.
fn ring(recorder: &Recorder) -> Vec<u8> {
    let process = recorder.process.id();
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut bytes = Vec::new();
    for line in maps.lines().filter(|line| line.contains("bpf-map") || line.contains("bpf_ring")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut part = vec![0; usize::try_from(end - start).unwrap()];
        memory.read_exact_at(&mut part, start).unwrap_or_else(|error| panic!("{line}: {error}"));
        bytes.append(&mut part);
    }
    bytes
}

fn count(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).filter(|part| *part == wanted).count()
}

/// Asks for everything in every way.
fn ask(server: &Server) -> Vec<Logged> {
    let keys: Vec<Vec<u8>> = SIZES.iter().map(|size| key(*size)).collect();
    let mut text = Client::connect(server.address, Protocol::Text);
    for key in &keys {
        text.get("get", std::slice::from_ref(key));
        text.cas_unique(key);
    }
    text.get("get", &keys);
    text.get("gat", &keys);
    // More than sockets hold, before any of it is read: the server sends it bit by bit.
    for key in &keys {
        text.send(&[b"get ", &key[..], b"\r\n"].concat().repeat(8));
    }
    for key in &keys {
        (0..8).for_each(|_| text.get_reply("get", std::slice::from_ref(key)));
    }
    let mut binary = Client::connect(server.address, Protocol::Binary);
    for key in &keys {
        binary.binary("get", key, b"");
        binary.binary("gat", key, b"");
        binary.binary("get", b"aardvark:none", b"");
    }
    binary.binary_quiet_gets(&[&keys[..], &keys, &keys, &keys].concat());
    [text.log, binary.log].concat()
}

/// Asks by meta commands, whose answers nobody logs.
fn ask_meta(server: &Server) {
    let mut stream = server.endpoint().connect().unwrap();
    let mut expected = 0;
    for size in SIZES {
        let line = [b"mg ", &key(size)[..], b" v f k O123\r\n"].concat();
        stream.write_all(&line).unwrap();
        let flags = format!("VA {size} f0 k{} O123\r\n", key(size).escape_ascii());
        expected += flags.len() + size + 2;
    }
    let mut replies = vec![0; expected];
    stream.read_exact(&mut replies).unwrap();
    assert!(replies.ends_with(b"\r\n") && count(&replies, MARK) > 1_000);
}

fn values_stay_out(release: &str, arguments: &[&str]) {
    let server = Server::start(release, arguments);
    let mut client = Client::connect(server.address, Protocol::Text);
    for size in SIZES {
        client.store("set", &key(size), &value(size), "");
    }
    drop(client);
    server.settle(0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &["--source", "syscalls"]);
    let mut client = Client::connect(server.address, Protocol::Text);
    until("records on the ring", || {
        client.get("get", &[FIRST.to_vec()]);
        (count(&ring(&recorder), FIRST) > 0).then_some(())
    });
    drop(client);
    server.settle(0);
    // So that nothing takes the place of records that it has read.
    recorder.signal(Signal::STOP);
    let mut log = ask(&server);
    server.settle(0);
    let meta = log.len();
    ask_meta(&server);
    server.settle(0);
    let ring = ring(&recorder);
    recorder.signal(Signal::CONT);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    assert!(count(&ring, KEYS) > log.len(), "{release}: the ring is not where it was looked for");
    assert_eq!(count(&ring, MARK), 0, "{release}: parts of values are on the ring");
    // And all is known of them that is to be known.
    let mut rows = capture::rows(&path);
    rows.sort_by_key(|row| (row.conn_id, row.request_id, row.key_index));
    rows.retain(|row| row.op != "noop" && row.key != FIRST);
    let recorded: Vec<_> =
        rows.iter().map(|row| (&row.key, &*row.status, row.value_size)).collect();
    log.extend(SIZES.map(|size| Logged {
        protocol: Protocol::Text,
        op: "get",
        key: key(size),
        status: "hit",
        value_size: Some(size),
        request: 0,
    }));
    let logged = log
        .iter()
        .map(|row| (&row.key, row.status, row.value_size.map(|size| i64::try_from(size).unwrap())));
    let logged: Vec<_> = logged.collect();
    assert_eq!(recorded[..meta.min(recorded.len())], logged[..meta], "{release}");
    assert_eq!(recorded[meta..], logged[meta..], "{release}");
}

#[test]
fn values_that_are_returned_are_not_copied() {
    for (release, arguments) in
        [("debian-1.6.18", &[][..]), ("plain-1.6.45", &["-o", "slab_chunk_max=64"])]
    {
        values_stay_out(release, arguments);
    }
}
