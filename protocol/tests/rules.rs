//! What memcached does and no sequence of well-behaved requests shows.

mod common;

use common::{
    Log, Splits, Step, check, decode, feed,
    hand::Hand,
    script::{PLAIN, Packet, ask, front, packet, store},
    serve,
};
use mcrec_protocol::{Binding, Connection, Dialect, Fault, Reason, Segment, Start};

const NEW: Dialect =
    Dialect { release: None, authenticates: false, binding: Binding::Auto, proxies: false };
const OLD: Dialect = of(39);

/// Of release 1.6.`patch`.
const fn of(patch: u32) -> Dialect {
    Dialect { release: Some([1, 6, patch]), ..NEW }
}

const GET: &str = "get a\r\n";
const HIT: &str = "VALUE a 0 1\r\nx\r\nEND\r\n";

#[test]
fn from_the_midst_it_begins_with_a_known_verb_and_an_empty_buffer() {
    let mut hand = Hand::new(NEW, Start::Midst);
    hand.send("END\r\n").read(100, GET).read(16384, "xyz get\r\n").read(16384, b"\x80abc");
    hand.read(16384, GET).send(HIT).read(16384, "");
    hand.told(&["Get a Hit v1 f0"], &[Fault::Unsynced; 3]);
    let noop = front(0x80, 0x0a, 0, &[], "", 0);
    let reply = front(0x81, 0x0a, 0, &[], "", 0);
    let mut hand = Hand::new(NEW, Start::Midst);
    hand.read(16384, &noop).send(&reply).told(&["Noop - Ok"], &[]);
}

#[test]
fn a_request_that_was_under_way_is_counted_once_and_not_where_its_beginning_was_lost() {
    let value = "a".repeat(1000);
    let mut hand = Hand::new(NEW, Start::Midst);
    hand.read(2002, &value).read(1002, &value).read(2, "\r\n").send("STORED\r\n");
    hand.read(16384, GET).send(HIT).told(&["Get a Hit v1 f0"], &[Fault::Unsynced]);
    // One whose request was read before, and only its reply seen, began before.
    let mut hand = Hand::new(NEW, Start::Midst);
    hand.send(HIT).read(16384, GET).send(HIT).told(&["Get a Hit v1 f0"], &[]);
    let mut hand = Hand::new(NEW, Start::Lost);
    hand.read(1002, &value).read(16384, GET).send(HIT).told(&["Get a Hit v1 f0"], &[]);
    let mut hand = Hand::new(NEW, Start::Midst);
    hand.gap().read(1002, &value).told(&[], &[]);
}

#[test]
fn tls_is_recognised_in_its_midst_too() {
    let mut hand = Hand::new(NEW, Start::Midst);
    hand.read(5, b"\x17\x03\x03\0\x20").read(32, [7; 32]).told(&[], &[Fault::Encrypted]);
}

#[test]
fn a_gap_makes_unknown_what_may_have_been_answered_and_is_overcome() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "delete n noreply\r\nmg m q\r\nget b\r\n").gap();
    hand.send(HIT).read(16384, GET).send(HIT);
    let told = ["Delete n NoReply q ~", "Get m Unknown q ~", "Get b Unknown ~", "Get a Hit v1 f0"];
    hand.told(&told, &[Fault::Desynced(Reason::Gap)]);
}

#[test]
fn a_read_for_other_than_expected_is_noticed() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "get").read(16384, GET).send(HIT);
    hand.told(&["Get a Hit v1 f0"], &[Fault::Desynced(Reason::Asked)]);
    // In a value no more is asked for than is missing.
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "set a 0 0 10\r\nabc").read(9, "0123456").read(2, "\r\n").send("STORED\r\n");
    hand.read(16384, "set b 0 0 10\r\nabc").read(10, "x");
    let told = ["Set a Stored v10 f0 t0", "Set b Unknown v10 f0 t0 ~"];
    hand.told(&told, &[Fault::Desynced(Reason::Asked)]);
}

#[test]
fn a_hole_in_a_value_is_passed_over_and_elsewhere_is_not() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read_of(16384, 15 + 101, "set a 0 0 100\r\nabc");
    hand.read(1, "\n").send("STORED\r\n");
    hand.read_of(16384, 50, "get a");
    assert_eq!(hand.log.faults.last(), Some(&Fault::Desynced(Reason::Hole)));
}

#[test]
fn replies_that_nobody_asked_for_are_noticed() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, GET).send("STORED\r\n").read(16384, GET).send("END\r\n");
    hand.told(&["Get a Unknown ~", "Get a Miss"], &[Fault::Desynced(Reason::Reply)]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, GET).read(16384, GET).send("END\r\n");
    hand.told(&["Get a Unknown ~", "Get a Miss"], &[Fault::Desynced(Reason::Unanswered)]);
    // Too many connections.
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.send("ERROR Too many open connections\r\n").told(&[], &[]);
}

#[test]
fn what_could_be_one_or_the_other_is_unknown() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "mg a q\r\nmg b q\r\nmn\r\n").send("HD\r\nMN\r\n");
    hand.told(&["Get a Unknown q ~", "Get b Unknown q ~", "Noop - Ok"], &[]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "get a a\r\n").send(HIT);
    hand.told(&["Get a Unknown", "Get a Unknown"], &[]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "get a b a b c\r\n").send("VALUE a 0 1\r\nx\r\nVALUE b 0 1\r\nx\r\nEND\r\n");
    let unknown = "Get b Unknown";
    hand.told(&["Get a Unknown", unknown, "Get a Unknown", unknown, "Get c Miss"], &[]);
    // The second `a` must be a hit: `b` comes after it only.
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "get a b a\r\n").send("VALUE b 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
    hand.told(&["Get a Miss", "Get b Hit v1 f0", "Get a Hit v1 f0"], &[]);
}

#[test]
fn many_keys_again_and_again_are_told_in_time() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(1 << 18, format!("get{}\r\n", " a".repeat(100_000)));
    for _ in 0..50_000 {
        hand.send("VALUE a 0 1\r\nx\r\n");
    }
    hand.send("END\r\n");
    assert!(hand.log.operations.iter().all(|line| line == "Get a Unknown"));
    assert_eq!(hand.log.operations.len(), 100_000);
}

#[test]
fn a_length_beyond_all_bounds_is_followed() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, GET).send("VALUE a 0 18446744073709551615\r\nx\r\n");
    hand.told(&["Get a Hit v18446744073709551615 f0 ~"], &[]);
}

/// Nothing of it may be in an operation, nor be kept.
#[track_caller]
fn keeps_no_secret(dialect: Dialect, steps: &[Step]) -> Log {
    for chunk in [1, 7, 30, 1 << 20] {
        let splits = Splits { reads: vec![chunk], ..Splits::none() };
        let mut log = Log::default();
        let mut connection = Connection::new(dialect, Start::Beginning);
        for (at, event) in (0..).zip(serve(steps, &splits)) {
            feed(&mut connection, &[event], at, &mut log);
            let state = format!("{connection:?}");
            let bytes = format!("{:?}", b"hunter2");
            assert!(!state.contains(bytes.trim_matches(['[', ']'])), "{state}");
            assert!(!state.contains("hunter2"));
        }
        assert!(!log.debug.contains("hunter2"));
        assert!(!log.debug.contains("104, 117, 110, 116, 101, 114, 50"));
        if chunk == 1 << 20 {
            return log;
        }
    }
    unreachable!("the last chunk is the largest")
}

#[test]
fn credentials_are_not_kept() {
    let dialect = Dialect { authenticates: true, ..NEW };
    let login = |reply, expected| {
        let step = store("set auth 0 0 12\r\n", "user hunter2\r\n", reply, &[expected]);
        Step { buffered: true, ..step }
    };
    let steps = [
        ask(GET, "CLIENT_ERROR unauthenticated\r\n", &["Get a ClientError"]),
        login("CLIENT_ERROR authentication failure\r\n", "Auth - ClientError"),
        ask(GET, "CLIENT_ERROR unauthenticated\r\n", &["Get a ClientError"]),
        login("STORED\r\n", "Auth - Ok"),
        ask(GET, "END\r\n", &["Get a Miss"]),
        store("set b 0 0 2\r\n", "ab\r\n", "STORED\r\n", &["Set b Stored v2 f0 t0"]),
    ];
    keeps_no_secret(dialect, &steps);
    // Who is refused is taken to wait for that; who is not need not wait.
    for (steps, reads) in
        [(&steps[..], 1), (&steps[3..], 1), (&steps[3..], 10), (&steps[3..], 9999)]
    {
        let splits = Splits { reads: vec![reads], burst: 1, ..Splits::none() };
        let log = decode(dialect, steps, &splits);
        assert_eq!(log.operations, common::expected(steps));
        assert_eq!(log.faults, []);
    }
    let sasl = Packet { opcode: 0x21, key: "PLAIN", value: "\0user\0hunter2", ..PLAIN };
    let done = Packet { value: "Authenticated", ..PLAIN };
    let steps = [packet(&sasl, &[(0, done)], &["Auth - Ok"])];
    keeps_no_secret(NEW, &steps);
    check(NEW, &steps);
}

#[test]
fn what_a_watcher_is_sent_is_no_reply() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "watch fetchers\r\n").send("OK\r\nts=1 gid=1 type=item_get\r\n");
    hand.send("END\r\nHD\r\n").read(1, "").read(16384, GET).gap();
    hand.told(&["Watch - Ok"], &[]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "watch\r\n").send("ERROR watch failed\r\n").read(16384, GET).send(HIT);
    hand.told(&["Watch - Error", "Get a Hit v1 f0"], &[]);
}

#[test]
fn dumps_are_lists() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "lru_crawler metadump all\r\n");
    hand.send("key=a exp=-1 la=1 cas=1 fetch=no cls=1 size=63\nkey=EN").send("D exp=-1\nEND\r\n");
    hand.read(16384, "lru_crawler mgdump all\r\n").send("mg a\r\nmg ").send("EN\r\nEN\r\n");
    hand.read(16384, "lru_crawler metadump all\r\n").send("BUSY currently processing\r\n");
    hand.read(16384, GET).send(HIT);
    hand.told(&["Other - Ok", "Other - Ok", "Other - Ok", "Get a Hit v1 f0"], &[]);
}

/// One that its client wants no reply to is over for the queue, but for the sending it was not.
#[test]
fn a_list_is_let_go_that_has_no_end_when_the_server_reads_on() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "lru_crawler metadump all noreply\r\n").send("key=a exp=-1\r\n");
    hand.read(16384, GET).send(HIT).read(16384, "");
    let unanswered = Fault::Desynced(Reason::Unanswered);
    hand.told(&["Other - NoReply q ~", "Get a Hit v1 f0"], &[unanswered]);
}

#[test]
fn lists_of_which_only_the_ends_are_copied_end() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "stats\r\n");
    let segment = Segment { length: 5000, head: b"STAT pid 1\r\nSTA", tail: b"x\r\nEND\r\n" };
    hand.connection.sent(std::iter::once(segment), 5000, 5, &mut hand.log);
    hand.told(&["Stats - Ok"], &[]);
}

#[test]
fn of_an_unknown_opcode_the_body_is_swallowed_again() {
    let unknown = [front(0x80, 0x60, 0, &[1, 2], "key", 4), b"val1".to_vec()].concat();
    let refused = front(0x81, 0x60, 0x81, &[], "", 0);
    let noop = front(0x80, 0x0a, 0, &[], "", 0);
    let reply = front(0x81, 0x0a, 0, &[], "", 0);
    let mut hand = Hand::new(NEW, Start::Beginning);
    // Five bytes of extras and key were read, and nine more are taken.
    hand.read(16384, [&unknown[..], b"fives", &noop].concat()).send(&refused).send(&reply);
    hand.told(&["Other - Error", "Noop - Ok"], &[]);
}

#[test]
fn what_is_left_of_the_body_of_a_touch_is_the_next_packet() {
    let noop = front(0x80, 0x0a, 0, &[], "", 0);
    let touch = front(0x80, 0x1c, 0, &[0, 0, 0, 9], "a", noop.len());
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, [&touch[..], &noop].concat());
    hand.send(front(0x81, 0x1c, 0, &[], "", 0)).send(front(0x81, 0x0a, 0, &[], "", 0));
    hand.told(&["Touch a Touched t9", "Noop - Ok"], &[]);
}

/// Those before it may have had replies that were not sent.
#[test]
fn silence_before_the_server_hangs_up_means_nothing() {
    let quiet = front(0x80, 0x09, 0, &[], "a", 0);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, [&quiet[..], &[0; 24]].concat()).told(&["Get a Unknown q ~"], &[]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "delete a\r\nmg b q\r\nGET / HTTP/1.1\r\n");
    hand.told(&["Delete a Unknown ~", "Get b Unknown q ~", "Other - Error ~"], &[]);
}

#[test]
fn a_malformed_packet_ends_the_connection() {
    let wrong = front(0x80, 0x01, 0, &[0; 4], "a", 0);
    let refused = front(0x81, 0x01, 4, &[], "", 0);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, [&wrong[..], b"whatever"].concat()).send(&refused);
    hand.told(&["Set a ClientError"], &[]);
}

#[test]
fn datagrams_stand_alone() {
    let frame = |data: &str| [b"\0\x07\0\0\0\x01\0\0", data.as_bytes()].concat();
    let mut hand = Hand::new(NEW, Start::Datagrams);
    hand.read(65536, frame("get a\r\n")).send(frame(HIT));
    hand.read(65536, frame("get a\r\nget ")).send(frame("END\r\n"));
    hand.read(65536, b"\0\x07\0\0\0\x02\0\0get a\r\n").read(65536, "short");
    // Several datagrams, with a head each.
    hand.read(65536, frame("get a b\r\n")).send(frame("VALUE a 0 10\r\n01234"));
    hand.send(frame("56789\r\n")).send(frame("END\r\n"));
    // Lost.
    hand.read(65536, frame("get b\r\n")).read(65536, frame("get c\r\n")).send(frame("END\r\n"));
    hand.read(65536, frame("set d 0 0 1 noreply\r\nx\r\n"));
    let told = [
        "Get a Hit v1 f0",
        "Get a Miss",
        "Get a Hit v10 f0",
        "Get b Miss",
        "Get b Unknown ~",
        "Get c Miss",
        "Set d NoReply v1 f0 t0 q ~",
    ];
    hand.told(&told, &[]);
}

#[test]
fn releases_differ_in_whether_a_refused_store_has_a_value() {
    let bad = "CLIENT_ERROR bad command line format\r\n";
    let key = "k".repeat(251);
    for line in [
        format!("set {key} 0 0 7\r\n"),
        "set a x 0 7\r\n".to_owned(),
        "set a 0 x 7\r\n".to_owned(),
        "cas a 0 0 7 x\r\n".to_owned(),
    ] {
        let mut hand = Hand::new(OLD, Start::Beginning);
        hand.read(16384, format!("{line}version\r\nmn\r\n")).send(bad);
        hand.send("VERSION 1.6.18\r\nMN\r\n").read(16384, "");
        assert_eq!(hand.log.operations[1..], ["Version - Ok", "Noop - Ok"], "{line}");
        let mut hand = Hand::new(NEW, Start::Beginning);
        hand.read(16384, format!("{line}version\r\nmn\r\n")).send(format!("{bad}MN\r\n"));
        hand.read(16384, "");
        assert_eq!(hand.log.operations[1..], ["Noop - Ok"], "{line}");
        assert_eq!(hand.log.faults, []);
    }
    // Without a length there is none.
    for dialect in [OLD, NEW] {
        for length in ["-1", "x", "2147483647"] {
            let mut hand = Hand::new(dialect, Start::Beginning);
            hand.read(16384, format!("set a 0 0 {length}\r\nmn\r\n"));
            hand.send("CLIENT_ERROR bad data chunk\r\nMN\r\n");
            hand.told(&["Set a ClientError f0 t0", "Noop - Ok"], &[]);
        }
    }
    // A meta store with too long a key.
    let line = format!("ms {key} 2\r\nmn\r\n");
    let mut hand = Hand::new(OLD, Start::Beginning);
    hand.read(16384, &line)
        .send(bad)
        .send("MN\r\n")
        .told(&["Set [251] ClientError", "Noop - Ok"], &[]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, &line).send(bad).told(&["Set [251] ClientError v2"], &[]);
}

/// Who reads a number as C does keeps its low 32 bits, and takes signs and space.
#[test]
fn releases_differ_in_what_a_number_is() {
    for patch in [0, 18, 38, 39, 40, 44, 45] {
        // Flags and times are read so by all.
        for (line, told) in [
            ("set a 0 2147483648 5\r\n", "Set a Stored v5 f0 t2147483648"),
            ("set a +1 -9223372036854775808 5\r\n", "Set a Stored v5 f1 t-9223372036854775808"),
            ("set a 4294967297 \t7\t 5\r\n", "Set a Stored v5 f4294967297 t7"),
            (
                "cas a -0 0 5 18446744073709551615\r\n",
                "Cas a Stored v5 f0 C18446744073709551615 t0",
            ),
        ] {
            let mut hand = Hand::new(of(patch), Start::Beginning);
            hand.read(16384, format!("{line}mn\r\nx\r\nmn\r\n")).send("STORED\r\nMN\r\n");
            hand.read(16384, "").told(&[told, "Noop - Ok"], &[]);
        }
        // How long a value is, is not.
        let c = patch < 40;
        for (length, five) in [
            ("+5", c),
            ("5\t", c),
            ("4294967301", c),
            ("000000000005", c),
            ("00000000005", true),
            ("5x", false),
            ("0x5", false),
            ("9223372036854775808", false),
        ] {
            let mut hand = Hand::new(of(patch), Start::Beginning);
            hand.read(16384, format!("set a 0 0 {length}\r\nmn\r\nx\r\nmn\r\n"));
            if five {
                hand.send("STORED\r\nMN\r\n").read(16384, "");
                hand.told(&["Set a Stored v5 f0 t0", "Noop - Ok"], &[]);
            } else {
                hand.send("CLIENT_ERROR bad\r\nMN\r\nERROR\r\nMN\r\n").read(16384, "");
                let told = ["Set a ClientError f0 t0", "Noop - Ok", "Other - Error", "Noop - Ok"];
                hand.told(&told, &[]);
            }
        }
    }
    // What 64 bits cannot hold is refused, and of it nothing is known.
    let mut hand = Hand::new(OLD, Start::Beginning);
    hand.read(16384, "touch a 9223372036854775808\r\n").send("CLIENT_ERROR invalid\r\n");
    hand.read(16384, "gat 4294967296 a\r\n").send("END\r\n");
    hand.told(&["Touch a ClientError", "Gat a Miss t4294967296"], &[]);
}

#[test]
fn releases_differ_in_where_the_length_of_a_meta_store_is() {
    // In a flag, up to 1.6.9, if no other one before it is wrong.
    let mut hand = Hand::new(of(9), Start::Beginning);
    hand.read(16384, "ms a T9 S2\r\nmn\r\nms b ! S2\r\nmn\r\n");
    hand.send("HD\r\nCLIENT_ERROR invalid flag\r\nMN\r\n").read(16384, "");
    hand.told(&["Set a Stored v2 t9", "Set b ClientError", "Noop - Ok"], &[]);
    // Of one flag that cannot be one, all of the line is refused since 1.6.40.
    for (patch, told) in [(39, "Set a ClientError v2"), (40, "Set a ClientError")] {
        let mut hand = Hand::new(of(patch), Start::Beginning);
        hand.read(16384, "ms a 2 !\r\nmn\r\nmn\r\n").send("CLIENT_ERROR bad\r\n");
        hand.send(if patch == 39 { "MN\r\n" } else { "MN\r\nMN\r\n" }).read(16384, "");
        assert_eq!((hand.log.operations[0].as_str(), hand.log.faults.len()), (told, 0));
    }
}

#[test]
fn releases_differ_in_what_they_hang_up_on() {
    for (line, closed) in [
        ("xbc x HTTP/1.1\r\n", 0..46),
        ("abc x HTTP/1.1\r\n", 40..46),
        ("HTTP/1.1\r\n", 0..40),
        ("verbosity 1 HTTP/1.1\r\n", 0..0),
    ] {
        for patch in [3, 18, 39, 40, 45] {
            let mut hand = Hand::new(of(patch), Start::Beginning);
            hand.read(16384, format!("{line}mn\r\n"));
            if closed.contains(&patch) {
                hand.told(&["Other - Error ~"], &[]);
            } else {
                let reply = if line.starts_with('v') { ("OK", "Ok") } else { ("ERROR", "Error") };
                hand.send(format!("{}\r\nMN\r\n", reply.0)).read(16384, "");
                hand.told(&[&*format!("Other - {}", reply.1), "Noop - Ok"], &[]);
            }
        }
    }
}

#[test]
fn a_blank_before_administration_is_passed_over_again() {
    for (patch, told) in [(18, "FlushAll - Ok"), (44, "Other - Error"), (45, "FlushAll - Ok")] {
        let mut hand = Hand::new(of(patch), Start::Beginning);
        let reply = if patch == 44 { "ERROR\r\n" } else { "OK\r\n" };
        hand.read(16384, " flush_all\r\n").send(reply).told(&[told], &[]);
    }
}

#[test]
fn only_older_releases_pass_over_blanks_and_made_counters_known() {
    let mut hand = Hand::new(OLD, Start::Beginning);
    hand.read(16384, " get a\r\n").send(HIT).told(&["Get a Hit v1 f0"], &[]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, " get a\r\n").send("ERROR\r\n").told(&["Other - Error"], &[]);
    let mut hand = Hand::new(OLD, Start::Beginning);
    hand.read(16384, "ma a q N0\r\nmn\r\n").send("HD\r\nMN\r\n");
    hand.told(&["Incr a Ok t0 q", "Noop - Ok"], &[]);
}

#[test]
fn errors_come_through_noreply_and_quiet() {
    let mut hand = Hand::new(OLD, Start::Beginning);
    hand.read(16384, "delete a 0 0 noreply\r\nfoo noreply\r\ndelete a 1 noreply\r\nget a\r\n");
    hand.send("ERROR\r\nERROR\r\n").send(HIT);
    let told = ["Delete a Error q", "Other - Error q", "Delete a NoReply q ~", "Get a Hit v1 f0"];
    hand.told(&told, &[]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "delete a 0 0 noreply\r\nfoo noreply\r\nset a 0 0 x noreply\r\nget a\r\n");
    hand.send("CLIENT_ERROR bad command line format\r\n").send(HIT);
    let quiet = ["Delete a NoReply q ~", "Other - NoReply q ~"];
    let told = [&quiet[..], &["Set a ClientError f0 t0 q", "Get a Hit v1 f0"]].concat();
    hand.told(&told, &[]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "mg a q v\r\nmn\r\n").send("SERVER_ERROR out of memory\r\nMN\r\n");
    hand.read(16384, "").told(&["Get a ServerError q", "Noop - Ok"], &[]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "cache_memlimit 64 noreply\r\nget a\r\n").send(format!("OK\r\n{HIT}"));
    hand.told(&["Other - Ok q", "Get a Hit v1 f0"], &[]);
}

/// The usual form of each is recognised by how it begins, and others look much like it.
#[test]
fn what_is_nearly_as_usual_is_told_alike() {
    for dialect in [NEW, OLD] {
        for (request, reply, told) in [
            (
                "get a ab\r\n",
                "VALUE ab 0 1\r\nx\r\nEND\r\n",
                &["Get a Miss", "Get ab Hit v1 f0"][..],
            ),
            ("get ab\r\n", "VALUE ab 00 01 07\r\nx\r\nEND\r\n", &["Get ab Hit v1 f0 c7"]),
            ("get a \r\n", "VALUE a 0 1 \r\nx\r\nEND\r\n", &["Get a Hit v1 f0"]),
            ("get  a\r\n", "VALUE  a 0  1\nx\r\nEND\n", &["Get a Hit v1 f0"]),
            ("get a\n", "VALUE a +5 1\r\nx\r\nEND \r\n", &["Get a Hit v1 f5"]),
            (
                "get a\tb\r\n",
                "VALUE a\tb 0 1 18446744073709551615\r\nx\r\nEND\r\n",
                &["Get a\tb Hit v1 f0 c18446744073709551615"],
            ),
        ] {
            let mut hand = Hand::new(dialect, Start::Beginning);
            hand.read(16384, request).send(reply).read(16384, "").told(told, &[]);
        }
    }
    // The word is a key, and since 1.6.40 it asks for silence all the same.
    let mut hand = Hand::new(OLD, Start::Beginning);
    hand.read(16384, "delete noreply\r\n").send("NOT_FOUND\r\n").read(16384, "");
    hand.told(&["Delete noreply NotFound"], &[]);
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "delete noreply\r\n").read(16384, "");
    hand.told(&["Delete noreply NoReply q ~"], &[]);
}

#[test]
fn the_end_of_a_connection_gives_out_what_is_open() {
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "get a\r\nquit\r\nget b\r\n").send(HIT);
    hand.told(&["Get a Hit v1 f0", "Quit - NoReply ~"], &[]);
    // It was not closed after all; a value was under way.
    let mut hand = Hand::new(NEW, Start::Beginning);
    hand.read(16384, "get a\r\nquit\r\n").send("VALUE a 0 9\r\n0123");
    hand.read(16384, GET).send("VALUE a 0 1\r\nx\r\nEND\r\n");
    hand.told(&["Get a Hit v9 f0 ~", "Quit - NoReply ~", "Get a Hit v1 f0"], &[]);
}

#[test]
fn replies_that_were_seen_are_not_lost_with_those_that_were_not() {
    let requests = "mg a v q O2\r\nnonsense\r\nmg b q\r\n";
    // The error is the second's, though it could be the first's if that had no other.
    let mut hand = Hand::new(OLD, Start::Beginning);
    hand.read(16384, requests).send("VA 0 O2 W\r\n\r\nERROR\r\n").gap();
    let told = ["Get a Hit v0 q", "Other - Error", "Get b Unknown q ~"];
    hand.told(&told, &[Fault::Desynced(Reason::Gap)]);
    // Here it could be, if the second's was not seen.
    let mut hand = Hand::new(OLD, Start::Beginning);
    hand.read(16384, requests).send("ERROR\r\n").gap();
    let told = ["Get a Unknown q ~", "Other - Unknown ~", "Get b Unknown q ~"];
    hand.told(&told, &[Fault::Desynced(Reason::Gap)]);
    // What comes after tells.
    let mut hand = Hand::new(OLD, Start::Beginning);
    hand.read(16384, [requests, "mn\r\n"].concat()).send("ERROR\r\nMN\r\n").gap();
    let told = ["Get a Miss q ~", "Other - Error", "Get b Miss q ~", "Noop - Ok"];
    hand.told(&told, &[Fault::Desynced(Reason::Gap)]);
}
