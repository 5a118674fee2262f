//! The records of system calls, made by hand.

use mcrec_protocol::Dialect;
use mcrec_schema::codes::{Op, Status};

use super::{HELD_MAX, SyscallsDecoder, address};
use crate::probe::record::{mcrec_address, mcrec_kind};

type Row = (Op, Status, Option<Vec<u8>>, u64, Option<String>, Option<u64>);

/// Plays the part of the BPF program.
struct Server {
    decoder: SyscallsDecoder,
    rows: Vec<Row>,
    sequence: u32,
    ts: u64,
}

const INODE: u32 = 77;

impl Server {
    fn new() -> Self {
        let decoder = SyscallsDecoder::new(Dialect::default());
        Self { decoder, rows: Vec::new(), sequence: 0, ts: 0 }
    }

    fn record(&mut self, descriptor: u32, inode: u32, kind: mcrec_kind, rest: &[u8]) -> bool {
        self.ts += 10;
        let mut record = self.ts.to_ne_bytes().to_vec();
        for number in [descriptor, inode, self.sequence, 1] {
            record.extend(number.to_ne_bytes());
        }
        record.extend([u8::try_from(kind.0).unwrap(), 0, 0, 0, 0, 0, 0, 0]);
        record.extend(rest);
        self.sequence += 1;
        self.feed(&record)
    }

    fn feed(&mut self, record: &[u8]) -> bool {
        let rows = &mut self.rows;
        let decoded = self.decoder.decode(record, &mut |row| {
            let client = row.client.map(str::to_owned);
            let key = row.key.map(<[u8]>::to_vec);
            rows.push((row.op, row.status, key, row.conn_id, client, row.latency));
        });
        decoded.is_ok()
    }

    fn connect(&mut self, descriptor: u32, inode: u32, accepted: u8) {
        self.sequence = 0;
        let mut rest = vec![2, 0, 0x39, 0x30, 192, 0, 2, 1];
        rest.resize(20, 0);
        rest.extend([0, 0, accepted, 1]);
        assert!(self.record(descriptor, inode, mcrec_kind::MCREC_CONNECT, &rest));
    }

    fn read(&mut self, inode: u32, asked: u32, data: &[u8]) {
        let length = u32::try_from(data.len()).unwrap();
        let numbers = [length, asked, 0, length].map(u32::to_ne_bytes).concat();
        let rest = [&numbers, data].concat();
        assert!(self.record(9, inode, mcrec_kind::MCREC_READ, &rest));
    }

    fn send(&mut self, inode: u32, data: &[u8]) {
        let length = u32::try_from(data.len()).unwrap();
        let mut rest = [length, 0, 1, 1, length].map(u32::to_ne_bytes).concat();
        rest.extend(u16::try_from(data.len()).unwrap().to_ne_bytes());
        rest.extend([0, 0]);
        rest.extend(data);
        assert!(self.record(9, inode, mcrec_kind::MCREC_SEND, &rest));
    }
}

#[test]
fn a_connection_from_its_beginning_to_its_end() {
    let mut server = Server::new();
    server.connect(9, INODE, 1);
    server.read(INODE, 16384, b"get a\r\n");
    server.send(INODE, b"END\r\n");
    assert!(server.record(9, INODE, mcrec_kind::MCREC_DISCONNECT, &[]));
    let client = Some("192.0.2.1:12345".to_owned());
    assert_eq!(
        server.rows,
        [
            (Op::Connect, Status::Ok, None, 1, client.clone(), None),
            (Op::Get, Status::Miss, Some(b"a".to_vec()), 1, client.clone(), Some(10)),
            (Op::Disconnect, Status::Ok, None, 1, client, None),
        ]
    );
    assert_eq!(server.decoder.tally().counted_records, 1);
}

#[test]
fn a_descriptor_that_is_reused_is_another_connection() {
    let mut server = Server::new();
    server.connect(9, INODE, 1);
    server.read(INODE, 16384, b"get a\r\n");
    // The end of the first, and the beginning of the second, were lost.
    server.sequence = 1;
    server.read(INODE + 1, 16384, b"get b\r\n");
    server.send(INODE + 1, b"END\r\n");
    let seen: Vec<_> = server.rows.iter().map(|row| (row.0, row.1, row.3)).collect();
    assert_eq!(
        seen,
        [
            (Op::Connect, Status::Ok, 1),
            (Op::Get, Status::Unknown, 1),
            (Op::Disconnect, Status::Ok, 1),
            (Op::Get, Status::Miss, 2),
        ]
    );
}

#[test]
fn the_end_of_a_connection_that_is_told_late_is_there_once_and_ends_no_other() {
    let mut server = Server::new();
    server.connect(9, INODE, 1);
    let late = server.sequence;
    server.connect(9, INODE + 1, 1);
    let of_next = std::mem::replace(&mut server.sequence, late);
    assert!(server.record(9, INODE, mcrec_kind::MCREC_DISCONNECT, &[]));
    server.sequence = of_next;
    server.read(INODE + 1, 16384, b"get a\r\n");
    server.send(INODE + 1, b"END\r\n");
    let seen: Vec<_> = server.rows.iter().map(|row| (row.0, row.3, row.4.is_some())).collect();
    let expected = [(Op::Connect, 1), (Op::Disconnect, 1), (Op::Connect, 2), (Op::Get, 2)];
    assert_eq!(seen, expected.map(|(op, connection)| (op, connection, true)));
    assert_eq!(server.decoder.tally().decode_errors, 0);
}

#[test]
fn a_gap_leaves_the_outcome_unknown_and_the_next_request_brings_it_into_step() {
    let mut server = Server::new();
    server.connect(9, INODE, 1);
    server.read(INODE, 16384, b"get a\r\n");
    server.sequence += 1;
    server.read(INODE, 16384, b"get b\r\n");
    server.send(INODE, b"END\r\n");
    let seen: Vec<_> = server.rows.iter().skip(1).map(|row| (row.1, row.2.clone())).collect();
    let expected = [(Status::Unknown, Some(b"a".to_vec())), (Status::Miss, Some(b"b".to_vec()))];
    assert_eq!(seen, expected);
    let tally = server.decoder.tally();
    assert_eq!((tally.unsynced, tally.decode_errors), (0, 0), "the kernel counted the loss");
}

#[test]
fn what_is_no_record_is_refused() {
    let mut server = Server::new();
    server.connect(9, INODE, 1);
    assert!(!server.feed(&[0; 31]));
    for kind in 0..20 {
        for length in 0..60 {
            let rest = vec![0xff; length];
            // Whatever it is, it is taken or refused.
            let _ = server.record(9, INODE, mcrec_kind(kind), &rest);
        }
    }
    assert!(!server.record(u32::MAX, INODE, mcrec_kind::MCREC_READ, &[0; 16]));
}

#[test]
fn endless_requests_on_many_connections_take_bounded_memory() {
    let mut server = Server::new();
    for descriptor in 0..1000 {
        server.sequence = 0;
        let mut line = [b"get ".as_slice(), &[b'k'; 16380]].concat();
        // As the server reads a line that does not end: it doubles its buffer.
        let mut buffer = 16384;
        for read in 0..8 {
            let asked = buffer - read * 16384;
            let numbers = [16384, asked, 0, 16384].map(u32::to_ne_bytes).concat();
            let rest = [&numbers, line.as_slice()].concat();
            assert!(server.record(descriptor, descriptor + 1, mcrec_kind::MCREC_READ, &rest));
            line.fill(b'k');
            if asked == 16384 {
                buffer *= 2;
            }
        }
        assert!(server.decoder.held <= HELD_MAX + HELD_MAX / 2);
    }
    let held: usize =
        server.decoder.connections.iter().flatten().map(|one| one.connection.held()).sum();
    assert_eq!(server.decoder.held, held, "what is counted is what is held");
    assert!(server.decoder.tally().decode_errors > 0, "what was let go is counted");
}

#[test]
fn addresses_are_written_as_people_write_them() {
    let of = |family, ip: [u8; 16]| address(&mcrec_address { family, port: 11211, ip });
    let mut mapped = [0; 16];
    mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 7]);
    assert_eq!(of(10, mapped), "10.0.0.7:11211");
    let mut ip = [0; 16];
    (ip[0], ip[1], ip[15]) = (0x20, 0x01, 1);
    assert_eq!(of(10, ip), "[2001::1]:11211");
    assert_eq!(of(1, [0; 16]), "unix");
}
