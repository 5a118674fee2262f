//! What is written is decoded again, by the decoder of the recorder.

use mcrec_protocol::{Connection, Dialect, Fault, Observer, Operation, Read, Segment, Start};
use mcrec_schema::codes::{Op, Protocol, Status};

use super::{Writing, can_compare, can_say, write};
use crate::{
    flags::Flags,
    request::{Group, Key, Kind, Request},
    value::Values,
};

/// An operation as the decoder gives it out.
#[derive(Debug, PartialEq)]
struct Decoded {
    op: String,
    protocol: String,
    key: Vec<u8>,
    value_size: Option<u64>,
    ttl: Option<i64>,
    client_flags: Option<u64>,
    cas: Option<u64>,
    flags: Option<String>,
    quiet: bool,
    request_bytes: u64,
}

#[derive(Default)]
struct Log(Vec<Decoded>);

impl Observer for Log {
    fn operation(&mut self, operation: &Operation<'_>) {
        self.0.push(Decoded {
            op: format!("{:?}", operation.command).to_lowercase(),
            protocol: format!("{:?}", operation.protocol).to_lowercase(),
            key: operation.key.unwrap_or_default().to_vec(),
            value_size: operation.value_size,
            ttl: operation.ttl,
            client_flags: operation.client_flags,
            cas: operation.cas_sent,
            flags: operation.meta_flags.map(str::to_owned),
            quiet: operation.quiet,
            request_bytes: operation.request_bytes,
        });
    }

    fn fault(&mut self, fault: Fault) {
        panic!("{fault:?}");
    }
}

/// What a server reads of `request`.
fn decoded(group: &Group, request: &Request) -> Vec<Decoded> {
    let values = Values::new(0.5);
    let writing = Writing { values: &values, opaque: 77, cas: 1234, later_s: 1000 };
    let mut bytes = Vec::new();
    write(group, request, &writing, &mut bytes);
    let mut log = Log::default();
    let mut connection = Connection::new(Dialect::default(), Start::Beginning);
    let length = bytes.len() as u64;
    connection.received(Read { asked: 16384, length, data: &bytes }, 1, &mut log);
    connection.sent(std::iter::empty::<Segment<'_>>(), 0, 2, &mut log);
    connection.close(&mut log);
    log.0
}

fn group(protocol: Protocol, op: Op, key: &[u8], quiet: bool) -> Group {
    let mut group = Group::new(1, 0, Kind::Send);
    group.bytes = key.to_vec();
    let stores = Op::STORES.contains(&op);
    let flags = stores && !matches!((protocol, op), (Protocol::Binary, Op::Append | Op::Prepend));
    group.keys = vec![Key {
        end: u32::try_from(key.len()).unwrap(),
        status: Status::Unknown,
        size: stores.then_some(30),
        client_flags: flags.then_some(9),
        cas: None,
    }];
    let touches = matches!(op, Op::Gat | Op::Gats | Op::Touch);
    group.requests = vec![Request {
        op,
        protocol,
        quiet,
        ttl: (touches || flags).then_some(500),
        cas_sent: (op == Op::Cas).then_some(9),
        cas_set: None,
        flags: None,
        recorded_meta: false,
        needs_meta: false,
        ttl_given: false,
        extends: false,
        request_bytes: 150,
        response_bytes: None,
        latency_ns: None,
        first_key: 0,
        keys: 1,
    }];
    group
}

#[test]
fn only_points_in_time_are_later_now() {
    let values = Values::new(0.5);
    let writing = Writing { values: &values, opaque: 0, cas: 0, later_s: 1000 };
    let day = 86_400;
    for same in [-1, 0, 30 * day, (1 << 32) + 77, 1 << 31, 1_764_550_000_000, -(1 << 40) + 77] {
        assert_eq!(writing.ttl(same), same);
    }
    for later in [30 * day + 1, 1_764_550_000, (1 << 32) + 1_764_550_000] {
        assert_eq!(writing.ttl(later), later + 1000);
    }
}

#[test]
fn each_request_is_read_as_what_it_is() {
    let mut count = 0;
    for protocol in [Protocol::Text, Protocol::Meta, Protocol::Binary] {
        for &op in Op::ALL {
            for (key, quiet) in
                [(&b"user:1"[..], false), (b"user:1", true), (b"a b\r\n\xff", false)]
            {
                let quiet = quiet && op != Op::Quit && protocol != Protocol::Text;
                if !can_say(protocol, op, Some(key)) || (quiet && !Op::STORES.contains(&op)) {
                    continue;
                }
                let group = group(protocol, op, key, quiet);
                let found = decoded(&group, &group.requests[0]);
                assert_eq!(found.len(), 1, "{protocol:?} {op:?}: {found:?}");
                let (found, recorded) = (&found[0], &group.keys[0]);
                assert_read(found, protocol, op, key, recorded, quiet);
                count += 1;
            }
        }
    }
    assert!(count > 60, "{count}");
}

fn assert_read(
    found: &Decoded,
    protocol: Protocol,
    op: Op,
    key: &[u8],
    recorded: &Key,
    quiet: bool,
) {
    let expected = match (protocol, op) {
        (Protocol::Text, Op::Noop) => "version",
        (Protocol::Meta, Op::Touch | Op::Gats) => "gat",
        (Protocol::Meta, Op::Gets) => "get",
        (Protocol::Binary, Op::Gats) => "gat",
        (Protocol::Binary, Op::Gets) => "get",
        (_, op) => op.as_str(),
    };
    assert_eq!(found.op.replace("flushall", "flush_all"), expected, "{protocol:?}");
    let has_key = !matches!(op, Op::FlushAll | Op::Stats | Op::Version | Op::Noop | Op::Quit);
    assert_eq!(found.key, if has_key { key } else { b"" }, "{protocol:?} {op:?}");
    assert_eq!(found.value_size, recorded.size, "{protocol:?} {op:?}");
    assert_eq!(found.client_flags, recorded.client_flags, "{protocol:?} {op:?}");
    assert_eq!(found.quiet, quiet, "{protocol:?} {op:?}");
    assert_eq!(found.cas, (op == Op::Cas).then_some(1234), "{protocol:?} {op:?}");
    let touches = matches!(op, Op::Gat | Op::Gats | Op::Touch);
    if touches || (recorded.client_flags.is_some() && op != Op::Append && op != Op::Prepend) {
        assert_eq!(found.ttl, Some(500), "{protocol:?} {op:?}");
    }
}

#[test]
fn a_meta_request_has_its_recorded_length() {
    let with_length = |length| {
        let mut group = group(Protocol::Meta, Op::Set, b"user:1", false);
        group.requests[0].request_bytes = length;
        decoded(&group, &group.requests[0])[0].request_bytes
    };
    let shortest = with_length(0);
    // " O" and at least one byte of token.
    for length in shortest + 3..shortest + 33 {
        assert_eq!(with_length(length), length);
    }
}

#[test]
fn a_condition_is_sent_with_each_change_that_has_one() {
    for protocol in [Protocol::Meta, Protocol::Binary] {
        for op in [Op::Delete, Op::Incr, Op::Decr, Op::Cas] {
            let mut group = group(protocol, op, b"user:1", false);
            group.requests[0].cas_sent = Some(5);
            assert_eq!(
                decoded(&group, &group.requests[0])[0].cas,
                Some(1234),
                "{protocol:?} {op:?}"
            );
        }
    }
    assert!(!can_compare(Protocol::Text, Op::Delete) && can_compare(Protocol::Text, Op::Cas));
    // One that adds to a value stays one.
    let mut group = group(Protocol::Binary, Op::Cas, b"user:1", true);
    group.requests[0].extends = true;
    group.keys[0].client_flags = None;
    let found = &decoded(&group, &group.requests[0])[0];
    assert_eq!((found.ttl, found.client_flags, found.cas), (None, None, Some(1234)));
}

#[test]
fn meta_flags_are_sent_as_they_were() {
    for (op, text) in [
        (Op::Get, "v c N30 t R15 O h"),
        (Op::Get, ""),
        (Op::Get, "b k s f"),
        (Op::Gat, "T v O"),
        (Op::Cas, "MA C E T F I O b"),
        (Op::Set, "T F N90 MA"),
        (Op::Delete, "I T x q O"),
        (Op::Delete, "C E"),
        (Op::Decr, "MD D J N60 T O v"),
        (Op::Incr, "M+ q v O"),
    ] {
        let mut group = group(Protocol::Meta, op, b"user:1", text.contains('q'));
        let request = &mut group.requests[0];
        (request.cas_sent, request.cas_set) = (Some(5), Some(6));
        request.ttl = Some(500);
        request.flags = Some(Flags::parse(text).into());
        group.requests[0].request_bytes = 0;
        let shortest = decoded(&group, &group.requests[0])[0].request_bytes;
        group.requests[0].request_bytes = shortest + 9;
        let found = &decoded(&group, &group.requests[0])[0];
        assert_eq!(found.flags.as_deref(), Some(text));
        assert_eq!(found.key, b"user:1");
        assert_eq!(
            found.ttl,
            (text.contains('T') || text.contains("N60")).then_some(500),
            "{text}"
        );
        assert_eq!(found.cas, text.contains('C').then_some(1234));
        // A token makes it as long as it was.
        let token = text.contains('O');
        assert_eq!(found.request_bytes == shortest + 9, token, "{text}");
    }
}

#[test]
fn what_a_protocol_cannot_carry_is_not_said() {
    let long = [b'k'; 251];
    for protocol in [Protocol::Text, Protocol::Meta, Protocol::Binary] {
        assert!(!can_say(protocol, Op::Get, Some(&long)));
        assert!(can_say(protocol, Op::Get, Some(&long[..250])));
        assert!(!can_say(protocol, Op::Get, None) && !can_say(protocol, Op::Auth, Some(b"k")));
    }
    assert!(!can_say(Protocol::Text, Op::Get, Some(b"a b")));
    assert!(can_say(Protocol::Meta, Op::Get, Some(b"a b")));
    assert!(!can_say(Protocol::Meta, Op::Get, Some(&[b' '; 188])));
    assert!(can_say(Protocol::Binary, Op::Get, Some(&[b' '; 188])));
}
