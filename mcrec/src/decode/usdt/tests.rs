//! Each rule of pairing, on records made by hand.

use mcrec_schema::codes::{Op, Status};

use super::{
    FIXED, KEYS_HELD, Malformed, Operation, UsdtDecoder, mcrec_command, mcrec_head, mcrec_kind,
};

const GET: u32 = mcrec_command::MCREC_GET.0;
const SET: u32 = mcrec_command::MCREC_SET.0;

/// A row without the fields that the test at hand does not ask about.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    key: String,
    status: Status,
    value_size: Option<u64>,
    latency: Option<u64>,
    request_id: u64,
    key_index: u32,
    conn_id: u64,
}

impl Row {
    fn of(operation: &Operation<'_>) -> Self {
        Self {
            key: String::from_utf8(operation.key.unwrap().to_vec()).unwrap(),
            status: operation.status,
            value_size: operation.value_size,
            latency: operation.latency,
            request_id: operation.request_id,
            key_index: operation.key_index,
            conn_id: operation.conn_id,
        }
    }
}

/// Plays the part of the BPF programs.
#[derive(Default)]
struct Server {
    decoder: UsdtDecoder,
    connections: std::collections::HashMap<u32, Seen>,
    rows: Vec<Row>,
    ops: Vec<Op>,
}

/// What they keep of a connection.
#[derive(Default)]
struct Seen {
    generation: u32,
    sequence: u32,
    started: u64,
    ended: u64,
    left_out: u64,
    untold: bool,
}

impl Server {
    fn seen(&mut self, fd: u32) -> &mut Seen {
        self.connections.entry(fd).or_default()
    }

    fn record(&mut self, ts: u64, fd: u32, kind: mcrec_kind, command: u32, size: i32, key: &[u8]) {
        let seen = self.connections.entry(fd).or_default();
        let fields = (kind == mcrec_kind::MCREC_COMMAND)
            .then_some(([77, seen.started, seen.ended, seen.left_out], key));
        let head = mcrec_head {
            ts,
            connection: fd,
            generation: seen.generation,
            sequence: seen.sequence,
            thread: 1,
            kind: u8::try_from(kind.0).unwrap(),
            command: u8::try_from(command).unwrap(),
            key_length: u8::try_from(key.len()).unwrap(),
            key_unreadable: 0,
            size,
        };
        seen.sequence += 1;
        (seen.ended, seen.left_out) = (0, 0);
        let Self { decoder, rows, ops, .. } = self;
        decoder
            .decode(&bytes(head, fields), &mut |operation| {
                ops.push(operation.op);
                rows.push(Row::of(operation));
            })
            .unwrap();
    }

    fn connect(&mut self, fd: u32) {
        let generation = self.seen(fd).generation + 1;
        *self.seen(fd) = Seen { generation, ..Seen::default() };
        self.record(0, fd, mcrec_kind::MCREC_CONNECT, 0, 0, b"");
    }
    fn start(&mut self, ts: u64, fd: u32) {
        let seen = self.seen(fd);
        if seen.untold && seen.ended == 0 {
            seen.ended = ts;
        }
        (seen.started, seen.left_out) = (ts, 0);
    }
    fn command(&mut self, ts: u64, fd: u32, command: u32, size: i32, key: &str) {
        self.seen(fd).untold = self.seen(fd).started != 0;
        self.record(ts, fd, mcrec_kind::MCREC_COMMAND, command, size, key.as_bytes());
    }
    fn end(&mut self, ts: u64, fd: u32) {
        let seen = self.seen(fd);
        seen.started = 0;
        if std::mem::take(&mut seen.untold) {
            let ts = if seen.ended == 0 { ts } else { seen.ended };
            self.record(ts, fd, mcrec_kind::MCREC_END, 0, 0, b"");
        }
    }
    fn release(&mut self, fd: u32) {
        let Seen { generation, sequence, .. } = *self.seen(fd);
        *self.seen(fd) = Seen { generation, sequence, ..Seen::default() };
        self.record(0, fd, mcrec_kind::MCREC_DISCONNECT, 0, 0, b"");
    }
    /// An operation outside of the sample.
    fn leave_out(&mut self, fd: u32) {
        self.seen(fd).left_out += 1;
    }
    /// A record of the connection does not arrive.
    fn lose(&mut self, fd: u32) {
        self.seen(fd).sequence += 1;
    }

    fn finish(&mut self) {
        let Self { decoder, rows, .. } = self;
        decoder.finish(&mut |operation| rows.push(Row::of(operation)));
    }

    /// Key and latency of each row.
    fn latencies(&self) -> Vec<(&str, Option<u64>)> {
        self.rows.iter().map(|row| (row.key.as_str(), row.latency)).collect()
    }
}

/// CAS, start, end of the request before and operations left out; and the key.
type Fields<'a> = ([u64; 4], &'a [u8]);

fn bytes(head: mcrec_head, operation: Option<Fields<'_>>) -> Vec<u8> {
    let mut record = Vec::new();
    record.extend(head.ts.to_ne_bytes());
    for word in [head.connection, head.generation, head.sequence, head.thread] {
        record.extend(word.to_ne_bytes());
    }
    record.extend([head.kind, head.command, head.key_length, head.key_unreadable]);
    record.extend(head.size.to_ne_bytes());
    if let Some((fields, key)) = operation {
        record.extend(fields.iter().flat_map(|field| field.to_ne_bytes()));
        assert_eq!(record.len(), FIXED);
        record.extend(key);
    }
    record
}

#[test]
fn what_is_outside_of_the_sample_has_its_place_in_the_request() {
    let mut server = Server::default();
    server.connect(30);
    server.start(100, 30);
    server.leave_out(30);
    server.leave_out(30);
    server.command(130, 30, GET, 7, "c");
    server.leave_out(30);
    server.command(140, 30, GET, 7, "e");
    server.leave_out(30);
    server.end(150, 30);
    // A request of which nothing is in the sample.
    server.start(200, 30);
    server.leave_out(30);
    server.end(250, 30);
    // Requests whose start does not show.
    server.leave_out(30);
    server.command(530, 30, SET, 7, "x");
    let places = server.rows.iter().map(|row| (row.key.as_str(), row.request_id, row.key_index));
    assert_eq!(places.collect::<Vec<_>>(), [("c", 1, 2), ("e", 1, 4), ("x", 2, 0)]);
    assert_eq!(server.rows[0].latency, Some(50));
}

#[test]
fn a_get_is_start_command_end() {
    let mut server = Server::default();
    server.connect(30);
    server.start(100, 30);
    server.command(130, 30, GET, 7, "a");
    server.end(150, 30);
    let row = Row {
        key: "a".into(),
        status: Status::Hit,
        value_size: Some(5),
        latency: Some(50),
        request_id: 1,
        key_index: 0,
        conn_id: 1,
    };
    assert_eq!(server.rows, [row]);
}

#[test]
fn every_key_of_a_multi_get_has_the_latency_of_its_request() {
    let mut server = Server::default();
    server.start(100, 30);
    for (at, key) in [(110, "a"), (120, "b"), (130, "c")] {
        server.command(at, 30, GET, -1, key);
    }
    assert!(server.rows.is_empty(), "rows come when the request is complete");
    server.end(160, 30);
    assert_eq!(server.latencies(), [("a", Some(60)), ("b", Some(60)), ("c", Some(60))]);
    assert_eq!(server.rows.iter().map(|row| row.key_index).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(server.rows.iter().all(|row| row.request_id == 1 && row.status == Status::Miss));
}

#[test]
fn in_a_pipeline_a_request_ends_where_the_next_starts() {
    let mut server = Server::default();
    server.start(100, 30);
    server.command(110, 30, GET, 2, "a");
    server.start(120, 30);
    server.command(130, 30, SET, 2, "b");
    server.start(150, 30);
    server.command(155, 30, GET, 2, "c");
    server.end(190, 30);
    assert_eq!(server.latencies(), [("a", Some(20)), ("b", Some(30)), ("c", Some(40))]);
    assert_eq!(server.rows.iter().map(|row| row.request_id).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_set_that_waits_for_its_value_keeps_its_own_start() {
    let mut server = Server::default();
    server.start(100, 30);
    server.start(200, 31);
    server.command(210, 31, SET, 3, "other");
    server.end(220, 31);
    server.command(900, 30, SET, 12, "late");
    server.end(910, 30);
    assert_eq!(server.latencies(), [("other", Some(20)), ("late", Some(810))]);
}

#[test]
fn a_reused_descriptor_is_another_connection() {
    let mut server = Server::default();
    server.connect(30);
    server.start(100, 30);
    server.release(30);
    server.connect(30);
    server.command(500, 30, GET, 2, "a");
    server.end(510, 30);
    assert_eq!(server.latencies(), [("a", None)]);
    assert_eq!(server.rows[0].conn_id, 2);
}

#[test]
fn a_lost_allocation_is_still_another_connection() {
    let mut server = Server::default();
    server.connect(30);
    server.start(100, 30);
    server.command(110, 30, GET, 2, "a");
    // Neither the release nor the allocation arrives, but the generation tells.
    *server.seen(30) = Seen { generation: 2, sequence: 1, ..Seen::default() };
    server.start(500, 30);
    server.command(510, 30, GET, 2, "b");
    server.end(520, 30);
    assert_eq!(server.latencies(), [("a", None), ("b", Some(20))]);
    assert_eq!(server.rows.iter().map(|row| row.conn_id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_gap_costs_latencies_but_no_operation() {
    let mut server = Server::default();
    server.start(100, 30);
    server.command(110, 30, GET, 2, "a");
    server.lose(30); // the end
    server.start(900, 30);
    server.lose(30); // a command
    server.end(950, 30);
    server.command(1000, 30, GET, 2, "b");
    server.end(1010, 30);
    server.start(1100, 30);
    server.command(1110, 30, GET, 2, "c");
    server.end(1120, 30);
    assert_eq!(server.latencies(), [("a", None), ("b", None), ("c", Some(20))]);
}

#[test]
fn requests_without_a_probe_of_their_own_end_those_before_them() {
    let mut server = Server::default();
    server.start(100, 30);
    server.command(110, 30, GET, 2, "a");
    server.start(120, 30); // such as a hit of meta get
    server.start(140, 30);
    server.command(150, 30, GET, 2, "b");
    server.start(160, 30);
    server.end(200, 30);
    assert_eq!(server.latencies(), [("a", Some(20)), ("b", Some(20))]);
}

#[test]
fn what_is_open_at_the_end_is_kept_without_latency() {
    let mut server = Server::default();
    server.start(100, 30);
    server.command(110, 30, GET, 2, "a");
    server.start(100, 31);
    server.finish();
    assert_eq!(server.latencies(), [("a", None)]);
}

#[test]
fn an_endless_multi_get_is_let_go_in_parts() {
    let mut server = Server::default();
    server.start(100, 30);
    let keys = u32::try_from(KEYS_HELD).unwrap() + 1;
    for index in 0..keys {
        server.command(110, 30, GET, 2, &index.to_string());
    }
    assert_eq!(server.rows.len(), KEYS_HELD);
    server.end(120, 30);
    assert!(server.rows.iter().zip(0..).all(|(row, index)| row.key_index == index));
    assert!(server.rows.iter().all(|row| row.request_id == 1));
    assert_eq!(server.rows.last().unwrap().latency, Some(20));
}

#[test]
fn what_a_size_means_for_each_command() {
    let cases = [
        (mcrec_command::MCREC_GET, 2, Op::Get, Status::Hit, Some(0)),
        (mcrec_command::MCREC_GET, -1, Op::Get, Status::Miss, None),
        (mcrec_command::MCREC_SET, 12, Op::Set, Status::Stored, Some(10)),
        (mcrec_command::MCREC_ADD, -1, Op::Add, Status::NotStored, None),
        (mcrec_command::MCREC_REPLACE, 3, Op::Replace, Status::Stored, Some(1)),
        (mcrec_command::MCREC_APPEND, 4, Op::Append, Status::Stored, Some(2)),
        (mcrec_command::MCREC_PREPEND, -1, Op::Prepend, Status::NotStored, None),
        (mcrec_command::MCREC_CAS, 12, Op::Cas, Status::Unknown, Some(10)),
        (mcrec_command::MCREC_TOUCH, 12, Op::Touch, Status::Touched, None),
        (mcrec_command::MCREC_TOUCH, -1, Op::Touch, Status::NotFound, None),
        (mcrec_command::MCREC_INCR, 0, Op::Incr, Status::Ok, None),
        (mcrec_command::MCREC_DECR, 0, Op::Decr, Status::Ok, None),
        (mcrec_command::MCREC_DELETE, 0, Op::Delete, Status::Deleted, None),
    ];
    for (command, size, op, status, value_size) in cases {
        let mut server = Server::default();
        server.command(1, 30, command.0, size, "k");
        let row = &server.rows[0];
        assert_eq!((server.ops[0], row.status, row.value_size), (op, status, value_size), "{op:?}");
    }
}

#[test]
fn bytes_that_are_no_record_are_refused() {
    let head = mcrec_head {
        ts: 1,
        connection: 3,
        generation: 0,
        sequence: 0,
        thread: 1,
        kind: 2,
        command: 1,
        key_length: 3,
        key_unreadable: 0,
        size: 2,
    };
    let refused = [
        vec![],
        vec![0; 31],
        bytes(head, None),
        bytes(head, Some(([0; 4], b"four"))),
        bytes(mcrec_head { kind: 0, ..head }, None),
        bytes(mcrec_head { kind: 9, ..head }, None),
        bytes(mcrec_head { command: 0, ..head }, Some(([0; 4], b"key"))),
        bytes(mcrec_head { command: 99, ..head }, Some(([0; 4], b"key"))),
        bytes(mcrec_head { connection: u32::MAX, ..head }, Some(([0; 4], b"key"))),
    ];
    for record in refused {
        let result = UsdtDecoder::default().decode(&record, &mut |_| panic!("an operation"));
        assert_eq!(result, Err(Malformed), "{record:?}");
    }
}

/// Whatever comes and whatever is lost: each operation that arrives becomes one
/// row, and those of a connection stay in their order.
#[test]
fn no_sequence_of_records_loses_or_invents_an_operation() {
    let mut bits = 1_u64;
    let mut random = |end: u64| {
        // xorshift64 (Marsaglia, 2003).
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        bits % end
    };
    for _ in 0..200 {
        let mut server = Server::default();
        let mut sent: Vec<String> = Vec::new();
        for ts in 0..300 {
            let fd = 30 + u32::try_from(random(4)).unwrap();
            match random(12) {
                0..=2 => server.start(ts, fd),
                3..=6 => {
                    let key = format!("{fd}:{ts}");
                    server.command(ts, fd, GET, 2, &key);
                    sent.push(key);
                }
                7..=8 => server.end(ts, fd),
                9 => server.lose(fd),
                10 => server.release(fd),
                _ => server.connect(fd),
            }
        }
        server.finish();
        let rows: Vec<&str> = server.rows.iter().map(|row| row.key.as_str()).collect();
        let of = |keys: &mut dyn Iterator<Item = &str>, fd: u32| -> Vec<String> {
            let prefix = format!("{fd}:");
            keys.filter(|key| key.starts_with(&prefix)).map(str::to_owned).collect()
        };
        for fd in 30..34 {
            let expected = of(&mut sent.iter().map(String::as_str), fd);
            assert_eq!(of(&mut rows.iter().copied(), fd), expected);
        }
        assert_eq!(rows.len(), sent.len());
        assert!(server.rows.iter().all(|row| row.latency.is_none_or(|latency| latency < 300)));
    }
}
