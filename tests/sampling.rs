//! A sample of the keys is all of the clients' operations on those keys, and what
//! was left out is counted.

mod support;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use mcrec_schema::footer::{Footer, Losses};
use rustix::process::Signal;
use support::{
    alone::{forms, plain_keys, singles},
    capture::{self, Row},
    client::{Client, Protocol},
    commands::Keys,
    probes,
    random::Random,
    recorder::Recorder,
    rows::{by_connection, is_event, of_done, of_row},
    server::{Address, Server},
    until,
    wire::{Done, Log, Wire},
};

const RELEASES: [&str; 2] = ["debian-1.6.18", "plain-1.6.45"];

/// Whether a key is in the sample of one in `one_in`, by the words of the format and
/// nothing else: FNV-1a, then the finalizer of `MurmurHash3`, then the upper half.
fn in_sample(one_in: i64, key: &[u8]) -> bool {
    let mut hash = 14_695_981_039_346_656_037_u64;
    for byte in key {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(1_099_511_628_211);
    }
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash ^= hash / (1 << 33);
        hash = hash.wrapping_mul(factor);
    }
    hash ^= hash / (1 << 33);
    hash / (1 << 32) < (1 << 32) / one_in.cast_unsigned()
}

/// Operations without a key are in every sample.
fn is_recorded(one_in: i64, key: &[u8]) -> bool {
    key.is_empty() || in_sample(one_in, key)
}

/// A folder, and where in it to record to.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    (folder, path)
}

/// A key of the sample of one in `one_in`, or not, that begins with `name`.
fn key_like(name: &str, one_in: i64, wanted: bool) -> Vec<u8> {
    let mut keys = (0..).map(|number| format!("{name}-{number}").into_bytes());
    keys.find(|key| in_sample(one_in, key) == wanted).unwrap()
}

/// A client that opens one connection after the other and mixes everything.
fn client(address: &Address, number: u64, shared: &Keys, one_in: i64) -> Vec<Log> {
    let (mut random, plain) = (Random(number), plain_keys());
    let mut logs = Vec::new();
    for connection in 0..3 {
        let binary = random.chance(40);
        let mut wire = Wire::connect(address);
        let name = String::from_utf8(key_like(&format!("{number}-{connection}"), one_in, true));
        wire.begin(&name.unwrap(), binary);
        for _ in 0..6 {
            singles(&mut wire, binary, &mut random, &plain, 60);
            let most = if random.chance(50) { 30 } else { 1 };
            if binary {
                wire.binary_batch(&mut random, shared, most);
            } else {
                wire.text_batch(&mut random, shared, most);
            }
        }
        // Still to be settled when the recording ends.
        if !binary && random.chance(50) {
            wire.store("set", &plain[0], 0, b"last", None, true);
            wire.run_whole();
        }
        logs.push(wire.close());
    }
    logs
}

/// Runs several clients to their end.
fn clients(server: &Server, one_in: i64) -> Vec<Log> {
    let (address, keys) = (server.endpoint(), Keys::new(&mut Random(5)));
    thread::scope(|scope| {
        let (address, keys) = (&address, &keys);
        let clients: Vec<_> = (0..6)
            .map(|number| scope.spawn(move || client(address, number, keys, one_in)))
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// The rows of a connection equal its log, as far as that is in the sample.
fn assert_connection(rows: &[&Row], log: &[Done], one_in: i64) {
    // Its place in the request stays that which it had among all keys.
    let mut place = 0;
    let places = log.iter().enumerate().map(|(at, done)| {
        let same = at > 0 && log[at - 1].request == done.request;
        place = if same { place + 1 } else { 0 };
        (place, done)
    });
    let expected: Vec<_> = places.filter(|(_, done)| is_recorded(one_in, &done.key)).collect();
    for (at, (row, (place, done))) in rows.iter().zip(&expected).enumerate() {
        assert_eq!(of_row(row), of_done(done), "operation {at}");
        assert_eq!(row.key_index, *place, "{row:?}");
    }
    assert_eq!(rows.len(), expected.len(), "operations");
    assert!(rows.is_sorted_by_key(|row| row.ts));
}

/// Finds the rows of each log by the key that its connection begins with.
fn each<'a>(rows: &'a [Row], logs: &'a [Log]) -> Vec<(Vec<&'a Row>, &'a Log)> {
    let connections = by_connection(rows);
    assert_eq!(connections.len(), logs.len(), "connections");
    let of = |log: &Log| {
        let first = log.done[0].key.as_slice();
        let own = |rows: &&Vec<&Row>| rows.iter().any(|row| row.key == first);
        let mut rows = connections.values().find(own).unwrap().clone();
        rows.retain(|row| !is_event(row));
        rows
    };
    logs.iter().map(|log| (of(log), log)).collect()
}

/// Nothing is lost, and all that is not in the capture was left out on purpose.
fn assert_accounts(path: &Path, rows: &[Row], logs: &[Log]) -> Footer {
    let footer = capture::footer(path).unwrap();
    assert_eq!(footer.loss.losses, Losses::default());
    assert_eq!((footer.loss.seen, footer.loss.written), (rows.len() as u64, rows.len() as u64));
    let done: usize = logs.iter().map(|log| log.done.len()).sum();
    let operations = rows.iter().filter(|row| !is_event(row)).count() as u64;
    assert_eq!(operations + footer.sampling.sampled_out.unwrap(), done as u64);
    assert!(done > 8000, "the log is not of nothing: {done}");
    footer
}

#[test]
fn a_sample_is_the_clients_log_of_its_keys() {
    for release in RELEASES {
        for (unix, one_in) in [(false, 1), (false, 4), (true, 4)] {
            eprintln!("memcached {release}, 1/{one_in}{}", if unix { ", Unix socket" } else { "" });
            let server = match unix {
                true => Server::start_unix(release, &["-t", "3"]),
                false => Server::start(release, &["-t", "3"]),
            };
            let (_folder, path) = place();
            let sample = format!("1/{one_in}");
            let arguments = ["--source", "syscalls", "--sample", &sample];
            let mut recorder = Recorder::start(server.pid(), &path, &arguments);
            let logs = clients(&server, one_in);
            server.settle(0);
            let (status, said) = recorder.interrupt();
            assert!(status.success(), "{said}");
            let rows = capture::all_rows(&path);
            for (rows, log) in each(&rows, &logs) {
                assert_connection(&rows, &log.done, one_in);
            }
            let footer = assert_accounts(&path, &rows, &logs);
            let capture = &footer.capture;
            assert_eq!(footer.sampling.series, [[capture.start_us, capture.end_us, one_in]]);
            assert_eq!(footer.sampling.is_sampled(), one_in > 1);
            assert_eq!(said.contains("on purpose: 1/4 of the keys"), one_in > 1, "{said}");
            let keys: HashSet<&[u8]> = rows.iter().map(|row| row.key.as_slice()).collect();
            assert!(keys.len() > 20, "a sample of nothing: {}", keys.len());
        }
    }
}

#[test]
fn what_is_not_in_the_sample_takes_no_room_on_the_ring() {
    const ONE_IN: i64 = 16;
    for release in RELEASES {
        for binary in [false, true] {
            eprintln!("memcached {release}, {}", if binary { "binary" } else { "text" });
            let server = Server::start(release, &[]);
            let (_folder, path) = place();
            let arguments = ["--source", "syscalls", "--sample", "1/16", "--buffer-size", "64KiB"];
            let arguments = [&arguments[..], &["--commit-every", "100ms"]].concat();
            let mut recorder = Recorder::start(server.pid(), &path, &arguments);
            let mut random = Random(3);
            let mut wire = Wire::connect(&server.endpoint());
            let first = String::from_utf8(key_like("first", ONE_IN, true)).unwrap();
            wire.begin(&first, binary);
            until("the beginning to be recorded", || {
                (capture::footer(&path)?.loss.written == 2).then_some(())
            });
            // As long as it stands still, what comes stays on the ring, or is lost.
            recorder.signal(Signal::STOP);
            let pid = recorder.process.id();
            until("mcrec to stop", || {
                let process = procfs::process::Process::new(pid.cast_signed()).unwrap();
                (process.stat().unwrap().state == 'T').then_some(())
            });
            for number in 0..40 {
                let key = key_like(&format!("{}{number}", "k".repeat(6 * number)), ONE_IN, false);
                forms(&server, &mut wire, binary, &key, &mut random);
            }
            recorder.signal(Signal::CONT);
            let log = wire.close();
            server.settle(0);
            let (status, said) = recorder.interrupt();
            assert!(status.success(), "{said}");
            let footer = capture::footer(&path).unwrap();
            assert_eq!(footer.loss.losses, Losses::default());
            let rows = capture::all_rows(&path);
            assert_eq!(rows.len(), 3, "only the connection, and its first request");
            assert_eq!(footer.sampling.sampled_out.unwrap(), log.done.len() as u64 - 1);
            assert!(log.done.len() > 400);
        }
    }
}

#[test]
fn connections_that_were_open_before_are_sampled_too() {
    const ONE_IN: i64 = 4;
    for release in RELEASES {
        let server = Server::start(release, &["-t", "2"]);
        let mut random = Random(21);
        let address = server.endpoint();
        let mut wires: Vec<Wire> = (0..6)
            .map(|number| {
                let mut wire = Wire::connect(&address);
                wire.begin(&format!("before-{number}"), number % 2 == 0);
                wire
            })
            .collect();
        let (_folder, path) = place();
        let arguments = ["--source", "syscalls", "--sample", "1/4"];
        let mut recorder = Recorder::start(server.pid(), &path, &arguments);
        let plain = plain_keys();
        for (number, wire) in wires.iter_mut().enumerate() {
            let binary = number % 2 == 0;
            let name = key_like(&format!("name-{number}"), ONE_IN, true);
            wire.begin(std::str::from_utf8(&name).unwrap(), binary);
            singles(wire, binary, &mut random, &plain, 300);
        }
        let logs: Vec<Log> = wires.into_iter().map(Wire::close).collect();
        server.settle(0);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        let footer = capture::footer(&path).unwrap();
        let rows = capture::rows(&path);
        let connections = by_connection(&rows);
        let mut left_out = 0;
        for (number, log) in logs.iter().enumerate() {
            let name = key_like(&format!("name-{number}"), ONE_IN, true);
            let begin = log.done.iter().position(|done| done.key == name).unwrap();
            let own = |rows: &&Vec<&Row>| rows.iter().any(|row| row.key == name);
            let rows = connections.values().find(own).unwrap();
            let done = &log.done[begin..];
            left_out += done.iter().filter(|done| !is_recorded(ONE_IN, &done.key)).count();
            assert_connection(rows, done, ONE_IN);
        }
        assert_eq!(footer.sampling.sampled_out.unwrap(), left_out as u64);
    }
}

#[test]
fn a_value_that_is_thrown_away_is_not_taken_for_requests() {
    for release in RELEASES {
        let server = Server::start(release, &[]);
        let (_folder, path) = place();
        let arguments = ["--source", "syscalls", "--sample", "1/1024"];
        let mut recorder = Recorder::start(server.pid(), &path, &arguments);
        let mut wire = Wire::connect(&server.endpoint());
        let name = key_like("name", 1024, true);
        wire.begin(std::str::from_utf8(&name).unwrap(), false);
        let looks_like = [b"get ", key_like("k", 1024, false).as_slice(), b"\r\n"].concat();
        for _ in 0..3 {
            // More than the server takes: it reads on as it reads commands, and each
            // of these reads is a request to whoever does not know.
            let value = [&looks_like.repeat(50)[..], &vec![b'v'; 2_500_000]].concat();
            wire.store("set", &name, 0, &value, None, false);
            wire.send_first(b"set ".len() + name.len() + b" 7 0 2500000\r\n".len());
            server.reads(&wire.log.client);
            for _ in 0..50 {
                wire.send_first(looks_like.len());
                server.reads(&wire.log.client);
            }
            wire.run_whole();
            for _ in 0..5 {
                wire.get("get", None, &[b"k"]);
                wire.run_whole();
            }
        }
        let log = wire.close();
        server.settle(0);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        let rows = capture::rows(&path);
        assert_connection(&rows.iter().collect::<Vec<_>>(), &log.done, 1024);
        let sampled_out = capture::footer(&path).unwrap().sampling.sampled_out.unwrap();
        assert_eq!(rows.len() as u64 + sampled_out, log.done.len() as u64);
        assert_eq!(log.done[1].status, "server_error");
    }
}

/// The rate in force at `ts`.
fn rate_at(footer: &Footer, ts: i64) -> i64 {
    let series = &footer.sampling.series;
    series.iter().rfind(|stretch| stretch[0] <= ts).unwrap_or(&series[0])[2]
}

/// How the sample went through its rates, once it did as often as `changes`.
fn rates(path: &Path, changes: usize) -> Vec<i64> {
    until("the sample to change", || {
        let series = capture::footer(path)?.sampling.series;
        (series.len() > changes).then(|| series.iter().map(|stretch| stretch[2]).collect())
    })
}

/// The rows of a connection are those of its log in the sample at their time: what
/// was left out between two rows was not in it, at least at some time between them.
fn assert_changing(rows: &[&Row], log: &Log, footer: &Footer) {
    let mut log = log.done.iter();
    let mut before = footer.capture.start_us;
    let sparsest = |from: i64, to: i64| {
        let within = footer.sampling.series.iter().filter(|s| s[0] <= to && s[1] > from);
        within.map(|stretch| stretch[2]).max().unwrap_or_else(|| rate_at(footer, to))
    };
    for row in rows {
        assert!(is_recorded(rate_at(footer, row.ts), &row.key), "{row:?}");
        let sparsest = sparsest(before, row.ts);
        loop {
            let done = log.next().unwrap_or_else(|| panic!("not sent, or not then: {row:?}"));
            if of_row(row) == of_done(done) {
                break;
            }
            assert!(!is_recorded(sparsest, &done.key), "missing: {done:?} before {row:?}");
        }
        before = row.ts;
    }
    let sparsest = sparsest(before, footer.capture.end_us);
    assert!(log.all(|done| !is_recorded(sparsest, &done.key)), "missing at the end");
}

#[test]
fn above_the_budget_the_sample_becomes_sparser_and_every_row_is_of_its_time() {
    for release in RELEASES {
        let server = Server::start(release, &["-t", "2"]);
        let (_folder, path) = place();
        let arguments = ["--source", "syscalls", "--max-overhead", "0.01%"];
        let arguments = [&arguments[..], &["--commit-every", "100ms"]].concat();
        let mut recorder = Recorder::start(server.pid(), &path, &arguments);
        let (over, plain, shared) =
            (AtomicBool::new(false), plain_keys(), Keys::new(&mut Random(5)));
        let logs: Vec<Log> = thread::scope(|scope| {
            let (over, plain, shared, address) = (&over, &plain, &shared, server.endpoint());
            let busy: Vec<_> = (0..4)
                .map(|number| {
                    let mut wire = Wire::connect(&address);
                    scope.spawn(move || {
                        let (mut random, binary) = (Random(number), number == 0);
                        // In every sample, so that its connection is known by it.
                        let name = key_like(&format!("busy-{number}"), 1024, true);
                        wire.begin(std::str::from_utf8(&name).unwrap(), binary);
                        while !over.load(Relaxed) {
                            singles(&mut wire, binary, &mut random, plain, 50);
                            if binary {
                                wire.binary_batch(&mut random, shared, 10);
                            } else {
                                wire.text_batch(&mut random, shared, 10);
                            }
                        }
                        wire.close()
                    })
                })
                .collect();
            let rates = rates(&path, 4);
            over.store(true, Relaxed);
            assert_eq!(rates[..5], [1, 2, 4, 8, 16]);
            busy.into_iter().map(|busy| busy.join().unwrap()).collect()
        });
        server.settle(0);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        assert!(said.contains("one key in 16 from now on"), "{said}");
        let rows = capture::all_rows(&path);
        let footer = assert_accounts(&path, &rows, &logs);
        let series = &footer.sampling.series;
        assert_eq!(series[0][0], footer.capture.start_us);
        assert_eq!(series.last().unwrap()[1], footer.capture.end_us);
        assert!(series.windows(2).all(|pair| pair[0][1] == pair[1][0]), "{series:?}");
        let sparsest = series.iter().map(|stretch| stretch[2]).max().unwrap();
        for (rows, log) in each(&rows, &logs) {
            assert_changing(&rows, log, &footer);
            // Of the keys of the sparsest sample all is there.
            let rows: Vec<&Row> =
                rows.into_iter().filter(|row| is_recorded(sparsest, &row.key)).collect();
            assert_eq!(
                rows.iter().map(|row| of_row(row)).collect::<Vec<_>>(),
                log.done
                    .iter()
                    .filter(|done| is_recorded(sparsest, &done.key))
                    .map(of_done)
                    .collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn when_there_is_room_again_the_sample_becomes_denser() {
    // These programs cost nothing while the server has nothing to do.
    let server = Server::start("1.6.38", &[]);
    let (_folder, path) = place();
    let arguments = ["--source", "usdt", "--max-overhead", "0.5%", "--commit-every", "100ms"];
    let mut recorder = Recorder::start(server.pid(), &path, &arguments);
    let mut client = Client::connect(server.address, Protocol::Text);
    let name = key_like("first", 1024, true);
    client.store("set", &name, b"", "");
    let (plain, mut random) = (plain_keys(), Random(4));
    let mut work = |client: &mut Client, rounds: usize| {
        for _ in 0..rounds {
            let key = &plain[random.below(plain.len())];
            client.get("get", &[key.clone(), plain[0].clone(), key.clone()]);
            client.store("set", key, b"value", "");
        }
    };
    until("the sample to become sparser", || {
        work(&mut client, 1000);
        (capture::footer(&path)?.sampling.series.len() > 2).then_some(())
    });
    // Each step back takes a few seconds of calm.
    let rates = until("the sample to become denser", || {
        let series = capture::footer(&path)?.sampling.series;
        let rates: Vec<i64> = series.iter().map(|stretch| stretch[2]).collect();
        rates.windows(2).any(|pair| pair[0] > pair[1]).then_some(rates)
    });
    assert_eq!(rates[..3], [1, 2, 4]);
    work(&mut client, 100);
    let log = std::mem::take(&mut client.log);
    drop(client);
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    assert!(said.contains("well below"), "{said}");
    let (rows, footer) = (capture::rows(&path), capture::footer(&path).unwrap());
    assert_eq!(footer.loss.losses, Losses::default());
    let shown: Vec<_> = log.iter().filter_map(|logged| probes::shown(logged, 38)).collect();
    assert_eq!(rows.len() as u64 + footer.sampling.sampled_out.unwrap(), shown.len() as u64);
    assert!(rows.iter().all(|row| is_recorded(rate_at(&footer, row.ts), &row.key)));
    let sparsest = footer.sampling.series.iter().map(|stretch| stretch[2]).max().unwrap();
    let always = |key: &[u8]| in_sample(sparsest, key);
    let recorded: Vec<_> = rows.iter().filter(|row| always(&row.key)).map(probes::of_row).collect();
    let expected: Vec<_> = shown.into_iter().filter(|shown| always(&shown.key)).collect();
    assert_eq!(recorded, expected);
}

#[test]
fn a_sample_through_the_probes_is_the_clients_log_of_its_keys() {
    const ONE_IN: i64 = 4;
    let mut without_operation = Vec::new();
    for sample in ["1/1", "1/4"] {
        let one_in = if sample == "1/1" { 1 } else { ONE_IN };
        let server = Server::start("1.6.38", &["-t", "2"]);
        let (_folder, path) = place();
        let arguments = ["--source", "usdt", "--sample", sample];
        let mut recorder = Recorder::start(server.pid(), &path, &arguments);
        let plain = plain_keys();
        let mut logs = Vec::new();
        for number in 0..3 {
            let mut random = Random(number);
            let mut text = Client::connect(server.address, Protocol::Text);
            let mut binary = Client::connect(server.address, Protocol::Binary);
            text.store("set", &key_like(&format!("text-{number}"), ONE_IN, true), b"", "");
            binary.binary("set", &key_like(&format!("binary-{number}"), ONE_IN, true), b"");
            for _ in 0..300 {
                let key = &plain[random.below(plain.len())];
                let first = random.below(plain.len() - 8);
                match random.below(6) {
                    0 => text.get("get", &plain[first..first + 1 + random.below(8)]),
                    1 => text.store("set", key, &random.value(), ""),
                    2 => text.on_key("delete", key, ""),
                    3 => binary.binary("get", key, b""),
                    4 => binary.binary("set", key, &vec![b'v'; random.below(300)]),
                    _ => binary.binary_quiet_gets(&plain[first..first + 1 + random.below(8)]),
                }
            }
            logs.push(std::mem::take(&mut text.log));
            logs.push(std::mem::take(&mut binary.log));
        }
        server.settle(0);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        let (rows, footer) = (capture::rows(&path), capture::footer(&path).unwrap());
        assert_eq!(footer.loss.losses, Losses::default());
        without_operation.push(footer.source.requests_without_operation);
        let connections = by_connection(&rows);
        let mut all = 0;
        assert_eq!(connections.len(), logs.len());
        for log in &logs {
            let own = |rows: &&Vec<&Row>| rows[0].key == log[0].key;
            let rows = connections.values().find(own).unwrap();
            let shown: Vec<_> = log.iter().filter_map(|l| probes::shown(l, 38)).collect();
            all += shown.len();
            let recorded: Vec<_> = rows.iter().map(|row| probes::of_row(row)).collect();
            let expected: Vec<_> =
                shown.into_iter().filter(|shown| in_sample(one_in, &shown.key)).collect();
            assert_eq!(recorded, expected);
            // A key keeps its place among all keys of its request.
            let gets = log.chunk_by(|one, other| one.request == other.request).flat_map(|keys| {
                let several = keys.iter().enumerate();
                several.filter_map(|(at, logged)| Some((at, probes::shown(logged, 38)?.key)))
            });
            let places = gets.filter(|(_, key)| in_sample(one_in, key)).map(|(at, _)| at);
            let recorded = rows.iter().map(|row| usize::try_from(row.key_index).unwrap());
            assert!(recorded.eq(places), "places of keys in their requests");
        }
        assert_eq!(rows.len() as u64 + footer.sampling.sampled_out.unwrap(), all as u64);
    }
    assert_eq!(without_operation[0], without_operation[1]);
    assert!(without_operation[0] > 0, "some deletes missed");
}
