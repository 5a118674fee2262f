//! What is lost is counted exactly, stored and told.

mod support;

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{
    capture,
    client::{Client, Protocol},
    now_us,
    recorder::Recorder,
    sequence::{self, Load},
    server::Server,
    until,
};

/// The state of a process, as in /proc/PID/stat.
fn state(pid: u32) -> char {
    let pid = i32::try_from(pid).unwrap();
    procfs::process::Process::new(pid).unwrap().stat().unwrap().state
}

#[test]
fn a_full_ring_is_counted_to_the_operation() {
    let server = Server::start("1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let arguments = ["--source", "usdt", "--buffer-size", "64KiB", "--commit-every", "1s"];
    let mut recorder = Recorder::start(server.pid(), &path, &arguments);
    let pid = recorder.process.id();
    let mut clients: Vec<Client> =
        (0..4).map(|_| Client::connect(server.address, Protocol::Text)).collect();
    let mut work = |operations: usize| {
        for number in 0..operations {
            let client = &mut clients[number % 4];
            let key = format!("key:{}", number % 100).into_bytes();
            if number % 3 == 0 {
                client.store("set", &key, b"value", "");
            } else {
                client.get("get", &[key]);
            }
        }
    };

    work(1_000);
    // A recorder that does not drain: the ring fills, and memcached goes on.
    recorder.signal(Signal::STOP);
    until("mcrec to stop", || (state(pid) == 'T').then_some(()));
    work(10_000);
    recorder.signal(Signal::CONT);
    until("mcrec to see the loss", || {
        let footer = capture::footer(&path)?;
        (footer.loss.losses.ring_full > 0).then_some(())
    });
    work(1_000);

    let (status, said) = recorder.interrupt();
    let sent: usize = clients.iter().map(|client| client.log.len()).sum();
    let rows = capture::rows(&path);
    let loss = capture::footer(&path).unwrap().loss;
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(rows.len() as u64 + loss.losses.total(), sent as u64, "{loss:?}");
    assert_eq!(loss.losses.ring_full, loss.losses.total(), "for this reason alone");
    assert!(loss.losses.ring_full > 5_000, "most of what came while it did not drain");
    assert_eq!((loss.seen, loss.written), (sent as u64, rows.len() as u64));
    assert!(said.contains("ring full") && !said.contains("at least"), "{said}");
    // The series tells when.
    let by_time: i64 = loss.series.iter().map(|[_, _, lost]| lost).sum();
    assert_eq!(by_time.cast_unsigned(), loss.losses.total());
    assert!(loss.series.is_sorted_by(|one, other| one[1] <= other[0]), "{:?}", loss.series);

    // No row has another's latency: where records are missing it is unknown.
    assert!(loss.incomplete.request_boundaries_lost > 0);
    let known = rows.iter().filter_map(|row| row.latency);
    assert!(known.max().unwrap() < 1_000_000_000, "a latency spans the gap");
    assert!(rows.iter().any(|row| row.latency.is_some()));
    // And within each connection, what is there is in the order it was sent.
    for client in &clients {
        let log: Vec<&[u8]> = client.log.iter().map(|logged| logged.key.as_slice()).collect();
        let found = rows.iter().filter(|row| row.conn_id == conn_id(&rows, log[0])).fold(
            log.iter(),
            |mut rest, row| {
                assert!(rest.any(|key| *key == row.key), "a row that was not sent, or not then");
                rest
            },
        );
        assert!(found.len() < log.len());
    }
}

/// The connection whose first row has this key: the first four operations were
/// on four keys, one a connection.
fn conn_id(rows: &[capture::Row], key: &[u8]) -> i64 {
    rows.iter().find(|row| row.key == key).unwrap().conn_id
}

#[test]
fn what_a_recorder_that_stands_still_loses_is_counted_to_the_operation() {
    let server = Server::start("debian-1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let arguments = ["--buffer-size", "1MiB", "--commit-every", "100ms"];
    let mut recorder = Recorder::start(server.pid(), &path, &arguments);
    let pid = recorder.process.id();
    let load = Load::start(server.address, 4);
    until("rows", || (capture::footer(&path)?.loss.written > 1_000).then_some(()));
    recorder.signal(Signal::STOP);
    until("mcrec to stop", || (state(pid) == 'T').then_some(()));
    // The server goes on as if nobody watched.
    let stopped = load.sent();
    until("much more than the ring holds", || (load.sent() > stopped + 100_000).then_some(()));
    recorder.signal(Signal::CONT);
    let after = until("the loss to be known", || {
        let loss = capture::footer(&path)?.loss;
        (loss.losses.ring_full > 0).then_some(loss.written)
    });
    until("later rows", || (capture::footer(&path)?.loss.written > after + 1_000).then_some(()));
    let sent = load.stop();
    let (status, said) = recorder.interrupt();
    assert_eq!(status.code(), Some(1), "{said}");
    // It was reads that were lost; that each had one operation is known to this test only.
    assert!(said.contains("lost       at least "), "{said}");
    let shown = sequence::check(&capture::rows(&path));
    let loss = capture::footer(&path).unwrap().loss;
    assert_eq!(shown.rows + loss.losses.total(), sent, "{loss:?}");
    assert_eq!(shown.missing, loss.losses.total(), "all that is missing, and nothing else");
    assert!(loss.losses.ring_full > 50_000, "{loss:?}");
    // One reply on each connection, at most, was lost without its request.
    assert!(shown.unknown <= 4, "{}", shown.unknown);
    let last = shown.ranges.values().map(|(_, last)| last + 1).sum::<u64>();
    assert_eq!(last, sent, "the later rows are there, to the last");
}

#[test]
fn no_more_is_said_to_be_lost_than_was_where_a_request_takes_several_reads() {
    const VALUE: usize = 200_000;
    let server = Server::start("1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let arguments = ["--source", "syscalls", "--buffer-size", "4KiB", "--commit-every", "100ms"];
    let mut recorder = Recorder::start(server.pid(), &path, &arguments);
    let pid = recorder.process.id();
    let mut client = Client::connect(server.address, Protocol::Text);
    let mut work = |operations: usize| {
        let value = vec![b'x'; VALUE];
        for number in 0..operations {
            client.store("set", format!("key:{number}").as_bytes(), &value, "");
        }
    };
    recorder.signal(Signal::STOP);
    until("mcrec to stop", || (state(pid) == 'T').then_some(()));
    work(500);
    recorder.signal(Signal::CONT);
    until("mcrec to see the loss", || {
        (capture::footer(&path)?.loss.losses.ring_full > 0).then_some(())
    });
    work(10);

    let (status, said) = recorder.interrupt();
    assert_eq!(status.code(), Some(1), "{said}");
    let loss = capture::footer(&path).unwrap().loss;
    let rows = capture::rows(&path).len() as u64;
    let missing = client.log.len() as u64 - rows;
    let lost = loss.losses.total();
    assert!(missing / 2 < lost && lost <= missing, "{missing} are missing: {loss:?}");
    assert!(loss.incomplete.request_boundaries_lost > 0, "{loss:?}");
    assert!(said.contains("lost       at least "), "{said}");
}

#[test]
fn a_request_that_was_under_way_is_missing_and_counted() {
    let server = Server::start("1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let mut client = Client::connect(server.address, Protocol::Text);
    // That the first is answered shows that the server has read what follows it too.
    client.send(b"get none\r\nset key 0 0 5\r\nva");
    client.get_reply("get", &[b"none".to_vec()]);
    let mut recorder = Recorder::start(server.pid(), &path, &["--source", "syscalls"]);
    client.send(b"lue\r\n");
    client.store_reply("set", b"key", 5);
    client.get("get", &[b"key".to_vec()]);

    let (status, said) = recorder.interrupt();
    assert_eq!(status.code(), Some(1), "{said}");
    let rows = capture::rows(&path);
    assert_eq!(rows.iter().map(|row| &*row.op).collect::<Vec<_>>(), ["get"], "{rows:?}");
    let loss = capture::footer(&path).unwrap().loss;
    assert_eq!((loss.losses.connection_unsynced, loss.losses.total()), (1, 1), "{loss:?}");
}

#[test]
fn all_that_happens_between_its_beginning_and_its_end_is_there() {
    let server = Server::start("1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    for source in ["syscalls", "usdt"] {
        let path = folder.path().join(source);
        let mut client = Client::connect(server.address, Protocol::Text);
        let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        let mut times = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                // Not for ever: a test that failed has no one to stop it.
                let end = Instant::now() + Duration::from_secs(120);
                while !over.load(Ordering::Relaxed) && Instant::now() < end {
                    let sent = now_us();
                    client.store("set", format!("key:{}", times.len()).as_bytes(), b"value", "");
                    times.push((sent, now_us()));
                    answered.store(times.len(), Ordering::Relaxed);
                }
            });
            let mut recorder = Recorder::start(server.pid(), &path, &["--source", source]);
            let before = answered.load(Ordering::Relaxed);
            until("more answers", || {
                (answered.load(Ordering::Relaxed) > before + 100).then_some(())
            });
            let (status, said) = recorder.interrupt();
            over.store(true, Ordering::Relaxed);
            assert_eq!(status.code(), Some(0), "{said}");
        });
        let capture = capture::footer(&path).unwrap().capture;
        let keys: HashSet<Vec<u8>> = capture::rows(&path).into_iter().map(|row| row.key).collect();
        let between = times.iter().enumerate().filter(|(_, (sent, answered))| {
            *sent >= capture.start_us && *answered <= capture.end_us
        });
        let missing: Vec<_> = between
            .filter(|(number, _)| !keys.contains(format!("key:{number}").as_bytes()))
            .collect();
        assert!(missing.is_empty(), "{source}: {missing:?} from {}", capture.start_us);
        assert!(!keys.is_empty(), "{source}");
    }
}
