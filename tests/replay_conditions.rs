//! Conditions and meta flags are replayed as they were, and what cannot be is said before.

mod support;
#[path = "support/replay.rs"]
mod tool;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use arrow_array::{Array, Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
use mcrec_capture::{Capture, Durability, Encoder, Folder, Writer};
use mcrec_schema::columns;
use support::{
    capture::{self, Row},
    recorder::Recorder,
    server::{Address, Server},
};
use tool::{replay, to};

const SOURCE: [&str; 2] = ["--source", "syscalls"];
/// A unique that no server comes to by itself.
const WRONG: &str = "999999999";

/// A connection by hand.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(server: &Server) -> Self {
        let Address::Tcp(address) = server.endpoint() else { panic!("not a socket") };
        Self(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    /// Sends `request`, and sees that the lines which come back begin so. Returns the last.
    #[track_caller]
    fn ask(&mut self, request: &str, replies: &[&str]) -> String {
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        for reply in replies {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            assert!(line.starts_with(reply), "{line:?} to {request:?}, not {reply:?}");
        }
        line
    }

    /// The unique that the first reply to `request` tells, as `c` or at the end of `VALUE`.
    #[track_caller]
    fn unique(&mut self, request: &str, replies: &[&str]) -> u64 {
        let first = self.ask(request, &replies[..1]);
        let told = first.split_whitespace().find_map(|word| word.strip_prefix('c')?.parse().ok());
        let told = told.or_else(|| first.split_whitespace().last()?.parse().ok());
        self.ask("", &replies[1..]);
        told.unwrap_or_else(|| panic!("no unique in {first:?}"))
    }

    /// Sends a packet on `key`, and returns the status and the unique of the reply.
    fn packet(
        &mut self,
        opcode: u8,
        cas: u64,
        extras: &[u8],
        key: &str,
        value: &str,
    ) -> (u16, u64) {
        let mut packet = vec![0x80, opcode, 0, u8::try_from(key.len()).unwrap()];
        packet.extend([u8::try_from(extras.len()).unwrap(), 0, 0, 0]);
        let body = u32::try_from(extras.len() + key.len() + value.len()).unwrap();
        packet.extend(body.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(cas.to_be_bytes());
        for part in [extras, key.as_bytes(), value.as_bytes()] {
            packet.extend(part);
        }
        self.0.get_mut().write_all(&packet).unwrap();
        let mut head = [0; 24];
        self.0.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[8..12].try_into().unwrap());
        self.0.read_exact(&mut vec![0; length as usize]).unwrap();
        let status = u16::from_be_bytes(head[6..8].try_into().unwrap());
        (status, u64::from_be_bytes(head[16..].try_into().unwrap()))
    }
}

fn recorded<T>(server: &Server, path: &Path, work: impl FnOnce() -> T) -> T {
    recorded_by(server, path, &SOURCE, work)
}

fn recorded_by<T>(server: &Server, path: &Path, by: &[&str], work: impl FnOnce() -> T) -> T {
    let mut recorder = Recorder::start(server.pid(), path, by);
    let done = work();
    server.settle(0);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    done
}

/// A server whose uniques are others than those of the one before.
fn with_other_uniques(release: &str, stores: usize) -> Server {
    let server = Server::start(release, &[]);
    let mut client = Client::connect(&server);
    for at in 0..stores {
        client.ask(&format!("set other:{at} 0 0 1\r\nx\r\n"), &["STORED"]);
    }
    server
}

/// Leases, stale items, and changes that depend on a unique.
fn meta(client: &mut Client) {
    client.ask("ms k 2 T90 F5\r\nxx\r\n", &["HD"]);
    client.ask(&format!("md k C{WRONG}\r\n"), &["EX"]);
    client.ask("mg k v\r\n", &["VA 2", "xx"]);
    client.ask("ms k 2 c C1234\r\nyy\r\n", &["EX"]);
    let unique = client.unique("mg k s c\r\n", &["HD"]);
    let unique = client.unique(&format!("ms k 2 c C{unique} T90\r\nzz\r\n"), &["HD"]);
    client.ask(&format!("md k I T30 C{unique}\r\n"), &["HD"]);
    // Stale, and the first is to make it anew.
    let reply = client.ask("mg k s c v\r\n", &["VA", ""]);
    assert_eq!(reply, "zz\r\n");
    client.ask("mg k s t\r\n", &["HD"]);
    client.ask("md k\r\n", &["HD"]);
    client.ask("mg new v N30 t O17\r\n", &["VA 0", "\r\n"]);
    client.ask("mg new v N30 t k\r\n", &["VA 0", "\r\n"]);
    client.ask("ms new 3 S3 T0\r\nabc\r\n", &["CLIENT_ERROR"]);
    client.ask("ms new 3 T60 I\r\nabc\r\n", &["HD"]);
    client.ask("mg new v R30 h l\r\n", &["VA 3", "abc"]);
    client.ask("ma n N0 v\r\n", &["VA 1", "0"]);
    client.ask(&format!("ma n C{WRONG}\r\n"), &["EX"]);
    let unique = client.unique("mg n c\r\n", &["HD"]);
    client.ask(&format!("ma n MD C{unique} q O5\r\nmn\r\n"), &["MN"]);
    client.ask(&format!("md n q C{unique} O6\r\nmn\r\n"), &["EX", "MN"]);
    client.ask("ms a2V5IGI= 4 b MS T40\r\nmore\r\n", &["HD"]);
    client.ask("mg a2V5IGI= b k v\r\n", &["VA 4", "more"]);
    let unique = client.unique("mg a2V5IGI= b c\r\n", &["HD"]);
    client.ask(&format!("ms a2V5IGI= 4 b MA C{unique}\r\nmore\r\n"), &["HD"]);
    client.ask("mg a2V5IGI= b s\r\n", &["HD s8"]);
}

fn text(client: &mut Client) {
    client.ask("set t 0 0 1\r\n1\r\n", &["STORED"]);
    let unique = client.unique("gets t\r\n", &["VALUE", "1", "END"]);
    client.ask(&format!("cas t 0 0 1 {unique}\r\n2\r\n"), &["STORED"]);
    client.ask(&format!("cas t 0 0 1 {unique}\r\n3\r\n"), &["EXISTS"]);
    // Small ones, which the items of another server have.
    for unique in 1..9 {
        client.ask(&format!("cas t 0 0 1 {unique}\r\n3\r\n"), &["EXISTS"]);
    }
    client.ask("cas never 0 0 1 5\r\n3\r\n", &["NOT_FOUND"]);
}

/// Items whose uniques the client gives, since 1.6.38 or so.
fn explicit(client: &mut Client) {
    client.ask("ms e 2 E5000\r\nxx\r\n", &["HD"]);
    client.ask("md e C4999\r\n", &["EX"]);
    client.ask("ms e 2 C5000 E6000\r\nyy\r\n", &["HD"]);
    client.ask("mg e c\r\n", &["HD c6000"]);
    client.ask("md e C6000\r\n", &["HD"]);
    client.ask("mg e\r\n", &["EN"]);
}

fn binary(client: &mut Client) {
    let store = [0, 0, 0, 7, 0, 0, 0, 60];
    let count = [[0; 7].as_slice(), &[1], &[0; 12]].concat();
    let (status, unique) = client.packet(0x01, 0, &store, "b", "value");
    assert_eq!(status, 0);
    for opcode in [0x04, 0x0e] {
        let value = if opcode == 0x0e { "more" } else { "" };
        assert_eq!(client.packet(opcode, unique + 1_000_000, &[], "b", value).0, 2);
    }
    let (status, unique) = client.packet(0x0e, unique, &[], "b", "more");
    assert_eq!(status, 0);
    assert_eq!(client.packet(0x01, unique + 1_000_000, &store, "b", "value").0, 2);
    assert_eq!(client.packet(0x04, unique, &[], "b", "").0, 0);
    let (status, unique) = client.packet(0x01, 0, &store, "c", "1");
    assert_eq!(status, 0);
    assert_eq!(client.packet(0x05, unique + 1_000_000, &count, "c", "").0, 2);
    assert_eq!(client.packet(0x05, unique, &count, "c", "").0, 0);
    assert_eq!(client.packet(0x00, 0, &[], "c", "").0, 0);
}

/// What is to be the same. Uniques are those of another server.
fn seen(row: &Row) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        (row.op.clone(), row.protocol.clone(), row.key.escape_ascii().to_string()),
        (row.status.clone(), row.value_size, row.ttl, row.client_flags, row.quiet),
        (row.cas_sent.is_some(), row.cas.is_some(), row.cas_set),
        (row.meta_flags.clone(), row.meta_returned.clone()),
    )
}

/// What is to be the same of each connection, by its first key, which no other has. What
/// was refused as malformed is not replayed.
fn by_connection(rows: &[Row]) -> BTreeMap<String, Vec<impl PartialEq + std::fmt::Debug + use<>>> {
    let connections = support::rows::by_connection(rows).into_values();
    let connections = connections.map(|rows| {
        let replayed = rows.iter().filter(|row| tool::is_replayed(row));
        (rows[0].key.escape_ascii().to_string(), replayed.map(|row| seen(row)).collect())
    });
    connections.collect()
}

#[test]
fn conditions_leases_and_stale_items_are_the_same_again() {
    for release in ["debian-1.6.18", "plain-1.6.45"] {
        let folder = tempfile::tempdir().unwrap();
        let (first, again) = (folder.path().join("first"), folder.path().join("again"));
        let server = with_other_uniques(release, 30);
        recorded(&server, &first, || {
            meta(&mut Client::connect(&server));
            text(&mut Client::connect(&server));
            binary(&mut Client::connect(&server));
            if release == "plain-1.6.45" {
                explicit(&mut Client::connect(&server));
            }
        });
        let rows = capture::rows(&first);
        let has = |letter: &str| {
            let mut returned = rows.iter().filter_map(|row| row.meta_returned.as_deref());
            returned.any(|it| it.split(' ').any(|it| it == letter))
        };
        assert!(has("W") && has("X") && has("Z"), "leases are recorded");
        let wrong = rows.iter().find(|row| row.op == "delete").unwrap();
        assert_eq!(wrong.cas_sent.map(|it| it.to_string()).as_deref(), Some(WRONG));
        let returned = rows.iter().find(|row| row.cas_sent == Some(1234)).unwrap();
        assert_eq!((returned.status.as_str(), returned.cas), ("exists", Some(0)));
        let expected = by_connection(&rows);
        for speed in ["1", "max"] {
            std::fs::remove_file(&again).ok();
            let server = with_other_uniques(release, 3);
            let replayed = recorded(&server, &again, || {
                replay(&first, &to(&server.endpoint()), &["--speed", speed])
            });
            assert_eq!(replayed.number("/outcomes/other"), 0, "{:#}", replayed.report);
            assert_eq!(replayed.number("/cas_unknown"), 0, "{:#}", replayed.report);
            let found = by_connection(&capture::rows(&again));
            for ((_, expected), (key, found)) in expected.iter().zip(&found) {
                for (expected, found) in expected.iter().zip(found) {
                    assert_eq!(expected, found, "{release} {key}");
                }
                assert_eq!(expected.len(), found.len(), "{release} {key}");
            }
            assert_eq!(expected.len(), found.len(), "{:#}", replayed.report);
            // What cannot be told of it was told before it began.
            assert!(replayed.said.contains("that no reply told before"), "{}", replayed.said);
            // One with N, and two packets with a time to live.
            assert_eq!(replayed.number("/not_as_it_was/initial"), 3, "{}", replayed.said);
            assert!(replayed.number("/not_as_it_was/unique_unseen") > 10);
        }
    }
}

#[test]
fn a_store_that_never_came_to_its_end_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let server = Server::start("plain-1.6.45", &[]);
    recorded(&server, &first, || {
        for part in ["set cut 0 0 100\r\n0123456789", "ms cut 100\r\n0123456789"] {
            let mut client = Client::connect(&server);
            client.ask("set before 0 0 1\r\nx\r\n", &["STORED"]);
            client.ask(part, &[]);
        }
        let mut client = Client::connect(&server);
        let store = [0, 0, 0, 7, 0, 0, 0, 60];
        assert_eq!(client.packet(0x01, 0, &store, "before", "value").0, 0);
        let head = [0x80, 1, 0, 3, 8, 0, 0, 0, 0, 0, 0, 111];
        let rest = [[0; 12].as_slice(), &store, b"cut", b"0123456789"].concat();
        client.0.get_mut().write_all(&[&head, &rest[..]].concat()).unwrap();
    });
    let cut = capture::rows(&first).into_iter().filter(|row| row.key == b"cut");
    assert!(cut.clone().all(|row| row.status == "unknown"));
    let cut = cut.count() as u64;
    assert_eq!(cut, 3);
    let server = Server::start("plain-1.6.45", &[]);
    let replayed = replay(&first, &to(&server.endpoint()), &["--speed", "max"]);
    assert_eq!(replayed.number("/not_sent/not_whole"), cut, "{:#}", replayed.report);
    assert!(replayed.said.contains("3 are not sent: those whose value"), "{}", replayed.said);
    Client::connect(&server).ask("mg cut\r\nmg before\r\n", &["EN", "HD"]);
}

#[test]
fn a_time_to_live_that_is_not_known_is_not_sent_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let server = Server::start("1.6.38", &[]);
    recorded_by(&server, &first, &["--source", "usdt"], || {
        let mut client = Client::connect(&server);
        for at in 0..5 {
            client.ask(&format!("set k{at} 0 300 1\r\nx\r\n"), &["STORED"]);
            client.ask(&format!("get k{at}\r\n"), &["VALUE", "x", "END"]);
        }
    });
    let server = Server::start("plain-1.6.45", &[]);
    let target = to(&server.endpoint());
    let left_out = replay(&first, &target, &["--speed", "max"]);
    assert_eq!(left_out.number("/not_sent/ttl_unknown"), 5, "{:#}", left_out.report);
    assert!(left_out.said.contains("--unknown-ttl"), "{}", left_out.said);
    assert_eq!(left_out.number("/hit_ratio/now/misses"), 5);
    let given = replay(&first, &target, &["--speed", "max", "--unknown-ttl", "1000"]);
    assert_eq!(given.number("/not_as_it_was/ttl_given"), 5, "{:#}", given.report);
    assert_eq!(given.number("/hit_ratio/now/hits"), 5);
    let line = Client::connect(&server).ask("mg k0 t\r\n", &["HD t"]);
    let left: i64 = line.trim_end().strip_prefix("HD t").unwrap().parse().unwrap();
    assert!((900..=1000).contains(&left), "{line}");
}

/// The same recording as one of minor version 0: without the later columns, and with what
/// was sent in `cas`.
fn as_older(from: &Path, older: &Path) {
    let capture = Capture::open(from).unwrap();
    let footer = mcrec_schema::footer::Footer { minor: 0, ..capture.footer().clone() };
    let (folder, name) = Folder::of(older).unwrap();
    let mut writer =
        Writer::create(&Arc::new(folder), &name, &footer, Durability::Process).unwrap();
    let before = columns::schema().fields().len() - columns::SINCE_MINOR_1.len();
    for group in 0..capture.row_groups().len() {
        let mut encoder = None;
        for batch in capture.batches(group, None).unwrap() {
            let batch = batch.unwrap();
            let ints = |name| -> Int64Array {
                batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone()
            };
            let (told, sent) = (ints(columns::CAS), ints(columns::CAS_SENT));
            let cas = (0..told.len()).map(|row| match told.is_valid(row) {
                true => Some(told.value(row)),
                false => sent.is_valid(row).then(|| sent.value(row)),
            });
            let at = batch.schema_ref().index_of(columns::CAS).unwrap();
            let mut all = batch.columns().to_vec();
            all[at] = Arc::new(cas.collect::<Int64Array>());
            let batch = RecordBatch::try_new(batch.schema(), all).unwrap();
            let batch = batch.project(&(0..before).collect::<Vec<_>>()).unwrap();
            encoder.get_or_insert_with(|| Encoder::new(batch.schema())).write(&batch).unwrap();
        }
        let group = encoder.unwrap().finish().unwrap().unwrap();
        writer.commit(&[group], &footer).unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn older_captures_are_replayed_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let (first, older) = (folder.path().join("first"), folder.path().join("older"));
    let server = with_other_uniques("plain-1.6.45", 30);
    recorded(&server, &first, || {
        text(&mut Client::connect(&server));
        let mut client = Client::connect(&server);
        client.ask("ms m 2 T90\r\nxx\r\n", &["HD"]);
        client.ask("mg m v f\r\n", &["VA 2 f0", "xx"]);
    });
    as_older(&first, &older);
    assert_eq!(capture::rows(&older).iter().filter(|row| row.cas_sent.is_some()).count(), 0);
    // Its rows are found without a footer, too.
    let (cut, bytes) = (folder.path().join("cut"), std::fs::read(&older).unwrap());
    std::fs::write(&cut, &bytes[..bytes.len() - 9]).unwrap();
    let found = Capture::open(&cut).unwrap();
    assert_eq!(found.rows(), capture::all_rows(&older).len() as u64);
    assert_eq!(found.footer().minor, 0);
    let server = with_other_uniques("plain-1.6.45", 3);
    let replayed = replay(&older, &to(&server.endpoint()), &["--speed", "max"]);
    assert_eq!(replayed.number("/outcomes/other"), 0, "{:#}", replayed.report);
    assert_eq!(replayed.number("/operations"), capture::rows(&first).len() as u64);
    assert_eq!(replayed.number("/not_as_it_was/flags_unknown"), 2, "{}", replayed.said);
}

#[test]
fn a_condition_that_a_protocol_cannot_say_is_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let server = Server::start("plain-1.6.45", &[]);
    recorded(&server, &first, || {
        let mut client = Client::connect(&server);
        client.ask("ms k 2\r\nxx\r\n", &["HD"]);
        client.ask(&format!("md k C{WRONG}\r\n"), &["EX"]);
        client.ask("mg k v N30\r\n", &["VA 2", "xx"]);
    });
    let server = Server::start("plain-1.6.45", &[]);
    let target = to(&server.endpoint());
    let forced = replay(&first, &target, &["--speed", "max", "--protocol", "text"]);
    assert_eq!(forced.number("/not_sent/not_sayable"), 1, "{:#}", forced.report);
    assert_eq!(forced.number("/not_as_it_was/flags_left_out"), 1, "{}", forced.said);
    assert_eq!(forced.number("/outcomes/other"), 0, "{:#}", forced.report);
}
