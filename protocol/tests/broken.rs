//! Conversations that break off, and servers that do not do what was decoded.

mod common;

use common::{
    hand::Hand,
    script::{PLAIN, Packet, packet},
};
use mcrec_protocol::{Dialect, Fault, Reason, Start};

const OLD: Dialect = Dialect {
    release: Some([1, 6, 39]),
    authenticates: false,
    binding: mcrec_protocol::Binding::Auto,
    proxies: false,
};
const NEW: Dialect = Dialect { release: None, ..OLD };
const PROXY: Dialect = Dialect { proxies: true, ..OLD };

const GET: &str = "get a\r\n";
const HIT: &str = "VALUE a 0 1\r\nx\r\nEND\r\n";
const TOLD: &str = "Get a Hit v1 f0";

fn begun(dialect: Dialect) -> Hand {
    Hand::new(dialect, Start::Beginning)
}

#[test]
fn a_value_that_was_taken_for_requests_is_none() {
    let line = format!("set {} 0 0 12\r\n", "k".repeat(251));
    for after in ["", "get c\r\n"] {
        let mut hand = begun(OLD);
        hand.read(16384, format!("{line}get b\r\nnoise\r\n{after}")).send("STORED\r\n");
        hand.send("END\r\n").read(16384, GET).send(HIT);
        hand.told(&["Set [251] Stored f0 t0", TOLD], &[Fault::Desynced(Reason::Contradicted)]);
    }
    // Where no reply was asked for, what was taken for requests is not answered.
    let mut hand = begun(OLD);
    hand.read(16384, line.replace("12", "12 noreply") + "not a command\r\n");
    hand.read(16384, GET).send(HIT);
    let unanswered = Fault::Desynced(Reason::Unanswered);
    hand.told(&["Set [251] NoReply f0 t0 q ~", TOLD], &[unanswered]);
    // At the end of a connection too.
    let mut hand = begun(OLD);
    hand.read(16384, line.replace("12", "12 noreply") + "not a command\r\n");
    hand.told(&["Set [251] NoReply f0 t0 q ~"], &[unanswered]);
}

#[test]
fn a_value_that_the_server_left_is_noticed_by_the_first_error() {
    let contradicted = Fault::Desynced(Reason::Contradicted);
    // Only a part of it came before the server answered.
    let mut hand = begun(OLD);
    hand.read(16384, "set a 0 0 10\r\nabc").send("CLIENT_ERROR bad command line format\r\n");
    hand.read(16384, GET).send(HIT);
    hand.told(&["Set a ClientError v3 f0 t0", TOLD], &[contradicted]);
    // All of it came, and a request after it: the second error is not that one's.
    for (dialect, error) in [
        (OLD, "CLIENT_ERROR bad command line format"),
        (NEW, "ERROR"),
        (NEW, "CLIENT_ERROR unauthenticated"),
        (PROXY, "CLIENT_ERROR parsing request"),
    ] {
        let mut hand = begun(dialect);
        hand.read(16384, "set a 0 0 3\r\nabc\r\nget b\r\n");
        hand.send(format!("{error}\r\nERROR\r\nEND\r\n")).read(16384, GET).send(HIT);
        hand.told(
            &["Set a ClientError v3 f0 t0", "Get b Unknown ~", TOLD]
                .map(|told| {
                    if error == "ERROR" {
                        told.replace("ClientError", "Error")
                    } else {
                        told.to_owned()
                    }
                })
                .each_ref()
                .map(String::as_str),
            &[contradicted],
        );
    }
    // These are said of a value that was read.
    for error in ["CLIENT_ERROR bad data chunk", "SERVER_ERROR object too large for cache"] {
        let mut hand = begun(OLD);
        hand.read(16384, "set a 0 0 3\r\nabcde").send(format!("{error}\r\n"));
        hand.read(16384, GET).send(HIT);
        let told = if error.starts_with('C') { "ClientError" } else { "ServerError" };
        hand.told(&[&format!("Set a {told} v3 f0 t0"), TOLD], &[]);
    }
}

#[test]
fn a_store_that_never_arrived_whole_is_none() {
    for (request, told) in [
        ("ms k 10 q\r\nabc", "Set k Unknown v3 q ~"),
        ("ms k 10\r\nabc", "Set k Unknown v3 ~"),
        ("ms k 10 q\r\n0123456789\r", "Set k Unknown v10 q ~"),
        ("set k 0 0 10 noreply\r\nabc", "Set k Unknown v3 f0 t0 q ~"),
        ("append k 0 0 10\r\n", "Append k Unknown v0 f0 t0 ~"),
    ] {
        let mut hand = begun(NEW);
        hand.read(16384, request).told(&[told], &[]);
        assert_eq!(hand.log.request_bytes, request.len() as u64, "{request}");
        // When the recording ends, the rest may still come.
        let mut hand = begun(NEW);
        hand.read(16384, request).gap();
        assert!(hand.log.operations[0].contains("Unknown"), "{:?}", hand.log.operations);
    }
    // Where it goes on in reads of its own.
    let mut hand = begun(NEW);
    hand.read(16384, "ms k 10 q\r\nabc").read(9, "defg").read(5, "");
    hand.told(&["Set k Unknown v7 q ~"], &[]);
    let plain: &[u8] = &[0; 8];
    for (opcode, extras, told) in [
        (0x01, plain, "Set k Unknown v3 f0 t0 ~"),
        (0x11, plain, "Set k Unknown v3 f0 t0 q ~"),
        (0x19, &[], "Append k Unknown v3 q ~"),
    ] {
        let store = Packet { opcode, extras, key: "k", value: "0123456789", ..PLAIN };
        let request = packet(&store, &[], &[]).request;
        let mut hand = begun(NEW);
        hand.read(16384, [&request[..], b"abc"].concat()).told(&[told], &[]);
        assert_eq!(hand.log.request_bytes, request.len() as u64 + 3);
    }
}

#[test]
fn of_a_reply_that_is_cut_short_what_was_sent_counts() {
    for (request, reply, told) in [
        (GET, "VALUE a 0 1000\r\nabc", "Get a Hit v1000 f0 ~"),
        ("get b a\r\n", "VALUE b 0 1\r\nx\r\nVALUE a 0 1000\r\nabc", "Get a Hit v1000 f0 ~"),
        ("get a b\r\n", "VALUE a 0 1\r\nx\r\nVAL", "Get b Unknown ~"),
        ("mg a v\r\n", "VA 1000\r\nabc", "Get a Hit v1000 ~"),
        ("mg a v q\r\n", "VA 1000\r\nabc", "Get a Hit v1000 q ~"),
        ("stats\r\n", "STAT a 1\r\nSTAT b", "Stats - Unknown ~"),
        ("delete a\r\n", "DELE", "Delete a Unknown ~"),
    ] {
        let mut hand = begun(NEW);
        hand.read(16384, request).send(reply);
        hand.connection.close(&mut hand.log);
        assert_eq!(hand.log.operations.last().unwrap(), told);
        assert_eq!(hand.log.response_bytes, reply.len() as u64, "{request}");
        assert_eq!(hand.log.faults, []);
    }
    // Most of it was not copied.
    let mut hand = begun(NEW);
    hand.read(16384, GET).send("VALUE a 0 4000000\r\n").send_ends(&[b'v'; 64], 2_800_000, &[]);
    hand.told(&["Get a Hit v4000000 f0 ~"], &[]);
    assert_eq!(hand.log.response_bytes, 19 + 64 + 2_800_000);
}

#[test]
fn of_a_hole_is_told_what_must_be_in_it() {
    // The rest of a value, and then the only thing that can come next.
    let mut hand = begun(PROXY);
    hand.read(16384, "get a\r\nget b\r\n").send_ends(
        b"VALUE a 0 1000\r\nabc",
        1002 - 3 + 5,
        b"END\r\n",
    );
    hand.told(&["Get a Hit v1000 f0", "Get b Miss"], &[]);
    // Another value or none: what is not known is not told.
    let mut hand = begun(PROXY);
    hand.read(16384, "get a b\r\nget c\r\n").send_ends(b"VALUE a 0 1000\r\nabc", 1002 - 3 + 5, b"");
    hand.read(16384, GET).send(HIT);
    hand.told(
        &["Get a Hit v1000 f0 ~", "Get b Unknown ~", "Get c Unknown ~", TOLD],
        &[Fault::Desynced(Reason::Hole)],
    );
}

#[test]
fn a_proxy_answers_errors_to_those_that_asked_for_nothing() {
    const FAILURE: &str = "SERVER_ERROR backend failure\r\n";
    let set = "set s 0 0 1 noreply\r\nx\r\n";
    let no_reply = "Set s NoReply v1 f0 t0 q ~";
    let failed = "Set s ServerError v1 f0 t0 q";
    for (after, reply, told) in [
        ("get a\r\n", HIT.to_owned(), vec![no_reply, TOLD]),
        ("get a\r\n", format!("{FAILURE}{HIT}"), vec![failed, TOLD]),
        ("get a\r\n", FAILURE.to_owned(), vec![no_reply, "Get a ServerError"]),
        ("get b\r\nget a\r\n", format!("{FAILURE}END\r\n{HIT}"), vec![failed, "Get b Miss", TOLD]),
        ("", FAILURE.to_owned(), vec![failed]),
        ("", String::new(), vec![no_reply]),
        ("delete d\r\n", format!("{FAILURE}DELETED\r\n"), vec![failed, "Delete d Deleted"]),
    ] {
        let mut hand = begun(PROXY);
        hand.read(16384, format!("{set}{after}")).send(&reply).read(16384, "").told(&told, &[]);
        assert_eq!(hand.log.response_bytes, reply.len() as u64);
    }
    // One key of several fails, and the others are answered; which it is is not told.
    let mut hand = begun(PROXY);
    hand.read(16384, "get c a d\r\nget a\r\n").send(format!("{FAILURE}{HIT}{HIT}"));
    hand.told(&["Get c Unknown", TOLD, "Get d Unknown", TOLD], &[]);
}
