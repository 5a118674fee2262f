//! What mcreplay makes of a capture: recorded again, it is the same.

mod support;
#[path = "support/replay.rs"]
mod tool;

use std::{collections::HashMap, os::unix::fs::PermissionsExt, path::Path, thread};

use support::{
    capture::{self, Row},
    commands::Keys,
    random::Random,
    recorder::Recorder,
    rows::{by_connection, is_event},
    server::{Address, Server},
    wire::{Answer, Expected, Wire},
};
use tool::{RELATIVE_MAX, Replayed, is_replayed, replay, same, to};

const SOURCE: [&str; 2] = ["--source", "syscalls"];
const RELEASES: [&str; 2] = ["debian-1.6.18", "plain-1.6.45"];

/// Records what `clients` do to a memcached.
fn record(release: &str, path: &Path, clients: impl FnOnce(&Server)) {
    let server = Server::start(release, &["-t", "2"]);
    record_of(&server, path, || clients(&server));
}

fn record_of<T>(server: &Server, path: &Path, work: impl FnOnce() -> T) -> T {
    let mut recorder = Recorder::start(server.pid(), path, &SOURCE);
    let done = work();
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    done
}

/// Replays `from` to a new memcached, and records that to `again`.
fn replay_recorded(release: &str, from: &Path, again: &Path, arguments: &[&str]) -> Replayed {
    let server = Server::start(release, &["-t", "2"]);
    let target = to(&server.endpoint());
    record_of(&server, again, || replay(from, &target, arguments))
}

/// The operations of each connection, by its first key, which no other has.
fn connections(rows: &[Row]) -> HashMap<Vec<u8>, Vec<&Row>> {
    let connections = by_connection(rows).into_values();
    let with_rows = connections
        .map(|rows| -> Vec<&Row> { rows.into_iter().filter(|row| !is_event(row)).collect() });
    with_rows.filter(|rows| !rows.is_empty()).map(|rows| (rows[0].key.clone(), rows)).collect()
}

/// Everything on every connection is the same, in the same order and requests.
fn assert_same(path: &Path, again: &Path) -> usize {
    let (rows, rows_again) = (capture::all_rows(path), capture::all_rows(again));
    let (was, is) = (connections(&rows), connections(&rows_again));
    assert_eq!(was.len(), is.len(), "connections");
    for (name, was) in &was {
        let is = &is[name];
        for (at, (was, is)) in was.iter().zip(is).enumerate() {
            assert_eq!(same(was), same(is), "operation {at} of {}", name.escape_ascii());
            if let Some(ttl) = was.ttl.filter(|&ttl| ttl > RELATIVE_MAX) {
                let moved = is.ttl.unwrap() - ttl;
                let later = (is.ts - was.ts) / 1_000_000;
                assert!((later - 2..=later + 2).contains(&moved), "{moved} s, {later} s later");
            }
        }
        assert_eq!(was.len(), is.len(), "operations of {}", name.escape_ascii());
    }
    rows.iter().filter(|row| !is_event(row)).count()
}

/// A client whose keys are its own, so that what becomes of each request is certain.
fn client(address: &Address, number: usize) {
    let mut random = Random(number as u64);
    let mut wire = Wire::connect(address);
    let binary = number % 3 == 2;
    wire.begin(&format!("client-{number}"), binary);
    let key = |at: usize| format!("client-{number}:key:{at}").into_bytes();
    for round in 0..30 {
        if binary {
            binary_round(&mut wire, &key, round);
        } else if number % 3 == 1 {
            meta_round(&mut wire, &mut random, &key);
        } else {
            text_round(&mut wire, &mut random, &key, round);
        }
    }
    if number.is_multiple_of(2) {
        wire.quit(binary, &mut random);
        assert!(wire.is_closed_by_server());
    }
    wire.close();
}

fn text_round(wire: &mut Wire, random: &mut Random, key: &dyn Fn(usize) -> Vec<u8>, round: usize) {
    let size = [0, 1, 20, 21, 500, 16_000][random.below(6)];
    let absolute = 2_000_000_000;
    wire.store(
        "set",
        &key(round),
        [0, 300, absolute][random.below(3)],
        &vec![b'v'; size],
        None,
        false,
    );
    wire.run_whole();
    // A pipeline of 64, some of which are not answered.
    for at in 0..64 {
        match at % 8 {
            0 => wire.store("set", &key(at), 0, b"41", None, random.chance(50)),
            1 => wire.on_key("incr", &key(at - 1), Some(1), random.chance(50)),
            2 => wire.get("get", None, &[&key(at / 2)]),
            3 => wire.store("add", &key(at / 3), 60, b"added", None, false),
            4 => wire.store("append", &key(at / 4), 0, b"more", None, false),
            5 => wire.get("gats", Some(500), &[&key(at / 2), &key(at)]),
            6 => wire.on_key("touch", &key(at / 5), Some(100), random.chance(50)),
            _ => wire.on_key("delete", &key(at / 2), None, false),
        }
    }
    wire.run_whole();
    let keys: Vec<Vec<u8>> = (0..100).map(key).collect();
    wire.get("get", None, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>());
    wire.run_whole();
    // The unique is known from the read before, and does not match the second time.
    wire.store("set", &key(1), 0, b"first", None, false);
    wire.get("gets", None, &[&key(1)]);
    wire.run_whole();
    let unique = wire.uniques[&key(1)];
    wire.store("cas", &key(1), 0, b"second", Some(unique), false);
    wire.run_whole();
    wire.store("cas", &key(1), 0, b"third", Some(unique), false);
    wire.run_whole();
    if round.is_multiple_of(10) {
        wire.store("set", &key(200), 0, &vec![b'v'; 1 << 20], None, false);
        wire.run_whole();
        wire.get("get", None, &[&key(200)]);
        wire.line_command("version", "version");
        wire.run_whole();
    }
}

/// Every form of a meta request that is the same each time.
fn meta_round(wire: &mut Wire, random: &mut Random, key: &dyn Fn(usize) -> Vec<u8>) {
    const FORMS: [(&str, &str, Option<usize>, &str, &str); 17] = [
        ("mg", "get", None, "v", "miss"),
        ("mg", "get", None, "s f c v", "miss"),
        ("mg", "get", None, "", "miss"),
        ("mg", "get", None, "s", "miss"),
        ("mg", "gat", None, "v T100", "miss"),
        ("mg", "get", None, "k v N300 t", "miss"),
        ("md", "delete", None, "I T300", "deleted"),
        ("ms", "cas", Some(3), "c C999999999", "stored"),
        ("ms", "set", Some(300), "T90 F5", "stored"),
        ("ms", "set", Some(0), "", "stored"),
        ("ms", "add", Some(2), "ME", "stored"),
        ("ms", "append", Some(30), "MA", "stored"),
        ("ms", "prepend", Some(1), "MP", "stored"),
        ("ms", "replace", Some(700), "MR T0", "stored"),
        ("md", "delete", None, "", "deleted"),
        ("ma", "incr", None, "", "ok"),
        ("ma", "decr", None, "MD", "ok"),
    ];
    for _ in 0..12 {
        for _ in 0..10 {
            let (verb, op, size, flags, silence) = FORMS[random.below(FORMS.len())];
            let (key, quiet) = (key(random.below(10)), random.chance(40));
            // Counters have keys of their own, so that all values are numbers or none is.
            let key = if verb == "ma" { [&key[..], b":n"].concat() } else { key };
            wire.opaque += 1;
            let token = format!("O{}", wire.opaque);
            let words = [flags, if quiet { "q" } else { "" }, &token].join(" ");
            let length = size.map_or_else(String::new, |size| format!(" {size}"));
            let rest = format!("{length} {words}\r\n");
            let line = [verb.as_bytes(), b" ", &key, rest.as_bytes()];
            let value = size.map(|size| [&vec![b'v'; size][..], b"\r\n"].concat());
            let answer = Answer::Meta(Some(token.into_bytes()), quiet.then_some(silence));
            let (keys, protocol) = (vec![key.clone()], "meta");
            let bytes = [line.concat(), value.unwrap_or_default()].concat();
            let ttl = flags.split(' ').find_map(|word| word.strip_prefix('T')?.parse().ok());
            wire.push(&bytes, Expected { op, protocol, keys, size, ttl, quiet, answer });
        }
        wire.mn();
        wire.run_whole();
    }
}

fn binary_round(wire: &mut Wire, key: &dyn Fn(usize) -> Vec<u8>, round: usize) {
    let wild = |at: usize| [&key(at)[..], b" \r\n\0\xff"].concat();
    let size = [0, 20, 5000, (1 << 20) - 100][round % 4];
    let store = [0, 0, 0, 5, 0, 0, 0, 200];
    wire.packet("set", 0x01, &store, &wild(1), &vec![b'v'; size], 0, None);
    wire.packet("noop", 0x0a, &[], b"", b"", 0, None);
    wire.run_whole();
    for at in 0..16 {
        wire.packet("set", 0x11, &store, &wild(at), b"quiet", 0, Some("stored"));
        wire.packet("get", 0x09, &[], &wild(at * 2), b"", 0, Some("miss"));
        wire.packet("append", 0x0e, &[], &wild(at), b"more", 0, None);
        wire.packet("delete", 0x14, &[], &wild(at / 2), b"", 0, Some("deleted"));
        wire.packet("touch", 0x1c, &[0, 0, 0, 99], &wild(at), b"", 0, None);
        wire.packet("gat", 0x1d, &[0, 0, 0, 99], &wild(at), b"", 0, None);
    }
    wire.packet("noop", 0x0a, &[], b"", b"", 0, None);
    wire.run_whole();
}

#[test]
fn every_connection_does_again_what_it_did() {
    for release in RELEASES {
        let folder = tempfile::tempdir().unwrap();
        let (first, again) = (folder.path().join("first"), folder.path().join("again"));
        record(release, &first, |server| {
            let address = &server.endpoint();
            thread::scope(|scope| {
                for number in 0..9 {
                    scope.spawn(move || client(address, number));
                }
            });
        });
        for arguments in [&["--speed", "1"][..], &["--rate", "20k"], &["--speed", "max"]] {
            std::fs::remove_file(&again).ok();
            let replayed = replay_recorded(release, &first, &again, arguments);
            assert_eq!(replayed.status, Some(0), "{} {:#}", replayed.said, replayed.report);
            let count = assert_same(&first, &again);
            assert!(count > 5000, "it is not of nothing: {count}");
            assert_eq!(replayed.number("/operations"), count as u64);
            assert_eq!(replayed.number("/outcomes/other"), 0, "{:#}", replayed.report);
            assert_eq!(replayed.number("/connections/opened"), 9);
        }
    }
}

/// What a client may think of, errors and all: what can be sent is, in order, and the
/// replies are understood.
#[test]
fn whatever_was_asked_is_asked_again() {
    for release in RELEASES {
        let folder = tempfile::tempdir().unwrap();
        let (first, again) = (folder.path().join("first"), folder.path().join("again"));
        record(release, &first, |server| {
            let mut random = Random(11);
            for number in 0..12 {
                let keys = Keys::new(&mut Random(number));
                let mut wire = Wire::connect(&server.endpoint());
                let binary = number % 2 == 0;
                wire.begin(&format!("client-{number}"), binary);
                for _ in 0..12 {
                    match binary {
                        true => wire.binary_batch(&mut random, &keys, 30),
                        false => wire.text_batch(&mut random, &keys, 30),
                    }
                }
                wire.close();
            }
        });
        let replayed = replay_recorded(release, &first, &again, &[]);
        let unanswered = &replayed.report["not_answered"];
        assert_eq!(unanswered.as_object().map(serde_json::Map::len), Some(0), "{unanswered}");
        assert_eq!(replayed.number("/stray_replies"), 0, "{:#}", replayed.report);
        let (rows, rows_again) = (capture::all_rows(&first), capture::all_rows(&again));
        let (was, is) = (connections(&rows), connections(&rows_again));
        let mut left_out = 0;
        for (name, was) in &was {
            let replayable = was.iter().filter(|row| is_replayed(row));
            let key = |row: &&&Row| (row.op.clone(), row.protocol.clone(), row.key.clone());
            let expected: Vec<_> = replayable.map(|row| key(&row)).collect();
            let found: Vec<_> = is[name].iter().map(|row| key(&row)).collect();
            left_out += was.len() - expected.len();
            for (at, (expected, found)) in expected.iter().zip(&found).enumerate() {
                assert_eq!(expected, found, "operation {at} of {}", name.escape_ascii());
            }
            assert_eq!(expected.len(), found.len());
        }
        let said = replayed.report["not_sent"].as_object().unwrap().values();
        assert_eq!(said.filter_map(serde_json::Value::as_u64).sum::<u64>(), left_out as u64);
        assert!(left_out > 0);
    }
}

/// A server that has keys before it is recorded.
#[test]
fn a_warmed_target_hits_what_was_hit() {
    let folder = tempfile::tempdir().unwrap();
    let (first, again) = (folder.path().join("first"), folder.path().join("again"));
    let server = Server::start(RELEASES[0], &[]);
    let key = |at: usize| format!("key:{at}").into_bytes();
    let mut wire = Wire::connect(&server.endpoint());
    for at in 0..2000 {
        wire.store("set", &key(at), 0, &vec![b'v'; at], None, false);
    }
    wire.run_whole();
    wire.close();
    server.settle(0);
    record_of(&server, &first, || {
        let mut wire = Wire::connect(&server.endpoint());
        let mut random = Random(3);
        for _ in 0..400 {
            let keys: Vec<Vec<u8>> = (0..10).map(|_| key(random.below(3000))).collect();
            wire.get("get", None, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>());
            wire.store("set", &key(random.below(3000)), 0, b"new", None, false);
            wire.on_key("delete", &key(random.below(3000)), None, false);
            wire.run_whole();
        }
        wire.close();
    });
    let cold = replay_recorded(RELEASES[0], &first, &again, &["--speed", "max"]);
    assert!(cold.number("/hit_ratio/now/hits") < cold.number("/hit_ratio/recorded/hits") / 2);
    let server = Server::start(RELEASES[0], &[]);
    let target = to(&server.endpoint());
    let warm = replay(&first, &target, &["--speed", "max", "--warm"]);
    for which in ["hits", "misses"] {
        let number = |of: &str| warm.number(&format!("/hit_ratio/{of}/{which}"));
        assert_eq!(number("now"), number("recorded"));
    }
    // But for sizes that a delete does not tell.
    assert_eq!(warm.number("/outcomes/other"), 0, "{:#}", warm.report);
}

#[test]
fn captures_in_other_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    record(RELEASES[1], &first, |server| {
        for number in 0..6 {
            client(&server.endpoint(), number);
        }
    });
    let all = capture::rows(&first).len() as u64;
    let server = Server::start(RELEASES[1], &[]);
    let target = to(&server.endpoint());
    let quits = 3;
    let shared = replay(&first, &target, &["--connections", "2", "--speed", "max"]);
    assert_eq!(shared.number("/not_sent/shared_connection"), quits);
    assert_eq!(shared.number("/operations"), all - quits);
    assert!(shared.number("/connections/opened") <= 4);
    let more = replay(&first, &target, &["--repeat-keys", "3", "--speed", "max"]);
    assert_eq!(more.number("/operations"), all * 3);
    assert_eq!(more.number("/connections/opened"), 18);
    let twice = replay(&first, &target, &["--loop=2", "--speed", "max"]);
    assert_eq!(twice.number("/operations"), all * 2);
    let gets = replay(&first, &target, &["--op", "get", "--speed", "max"]);
    let count = capture::rows(&first).iter().filter(|row| row.op == "get").count();
    assert_eq!(gets.number("/operations"), count as u64);
    for protocol in ["text", "meta", "binary"] {
        let forced = replay(&first, &target, &["--protocol", protocol, "--speed", "max"]);
        let unsent: u64 = forced.report["not_sent"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(serde_json::Value::as_u64)
            .sum();
        assert_eq!(forced.number("/operations") + unsent, all, "{:#}", forced.report);
        assert_eq!(forced.report["not_answered"].as_object().unwrap().len(), 0);
        assert_eq!(forced.number("/stray_replies"), 0);
    }
}

#[test]
fn pseudonyms_are_keys_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let (first, again) = (folder.path().join("first"), folder.path().join("again"));
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "00112233445566778899aabbccddeeff\n").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let server = Server::start(RELEASES[1], &["-t", "2"]);
    let arguments = ["--source", "syscalls", "--hash-keys", secret.to_str().unwrap()];
    let mut recorder = Recorder::start(server.pid(), &first, &arguments);
    client(&server.endpoint(), 0);
    client(&server.endpoint(), 1);
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    let replayed = replay_recorded(RELEASES[1], &first, &again, &[]);
    assert_eq!(replayed.status, Some(0), "{:#}", replayed.report);
    assert!(assert_same(&first, &again) > 1000);
    assert_eq!(replayed.report["captures"][0]["keys_hashed"], true);
}
