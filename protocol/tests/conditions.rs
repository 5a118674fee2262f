//! What a request asked, and what its reply told, beside each other: uniques and meta flags.

mod common;

use common::{
    Splits, Step, decode,
    script::{PLAIN, Packet, ask, packet, store},
};
use mcrec_protocol::{Connection, Dialect, Observer, Operation, Start};

/// What is told of each operation: the unique that was sent, the one that the reply told,
/// that which the item was to have, the flags of the request, and those of the reply.
#[derive(Default)]
struct Told(Vec<String>);

impl Observer for Told {
    fn operation(&mut self, it: &Operation<'_>) {
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |it| it.to_string());
        let returned = it.meta_returned.map(|it| it.iter().collect::<String>());
        self.0.push(format!(
            "{:?} {:?} {} {} {} {:?} {:?}",
            it.command,
            it.outcome,
            number(it.cas_sent),
            number(it.cas),
            number(it.cas_set),
            it.meta_flags,
            returned.as_deref(),
        ));
    }

    fn fault(&mut self, fault: mcrec_protocol::Fault) {
        panic!("{fault:?}");
    }
}

#[track_caller]
fn told(steps: &[Step], expected: &[&str]) {
    let mut told = Told::default();
    let mut connection = Connection::new(Dialect::default(), Start::Beginning);
    common::feed(&mut connection, &common::serve(steps, &Splits::none()), 0, &mut told);
    connection.close(&mut told);
    assert_eq!(told.0, expected);
}

#[test]
fn a_unique_that_was_sent_is_not_one_that_was_told() {
    let steps = [
        store("ms k 2 c C1234\r\n", "xx\r\n", "EX c0\r\n", &[]),
        store("ms k 2 c C5\r\n", "xx\r\n", "HD c6\r\n", &[]),
        ask("md k C99\r\n", "EX\r\n", &[]),
        ask("ma k c C7 E90 N30 D5\r\n", "HD c90\r\n", &[]),
        store("cas k 0 0 2 77\r\n", "xx\r\n", "EXISTS\r\n", &[]),
        ask("gets k\r\n", "VALUE k 0 2 6\r\n|xx\r\n|END\r\n", &[]),
        ask("delete k\r\n", "DELETED\r\n", &[]),
    ];
    told(
        &steps,
        &[
            "Cas Exists 1234 0 - Some(\"c C\") Some(\"c\")",
            "Cas Stored 5 6 - Some(\"c C\") Some(\"c\")",
            "Delete Exists 99 - - Some(\"C\") Some(\"\")",
            "Incr Ok 7 90 90 Some(\"c C E N30 D\") Some(\"c\")",
            "Cas Exists 77 - - None None",
            "Gets Hit - 6 - None None",
            "Delete Deleted - - - None None",
        ],
    );
}

#[test]
fn what_a_meta_reply_tells_of_the_state_is_told() {
    let steps = [
        ask("mg k v c N30 t Oab\r\n", "VA 0 c4 t30 Oab W\r\n|\r\n|", &[]),
        ask("mg k v N30 t\r\n", "VA 0 t29 Z\r\n|\r\n|", &[]),
        ask("md k I T30 q\r\n", "", &[]),
        ask("mg k s R15\r\n", "HD s3 W X\r\n", &[]),
        ask("mg k\r\n", "EN\r\n", &[]),
        ask("mn\r\n", "MN\r\n", &[]),
    ];
    told(
        &steps,
        &[
            "Get Hit - 4 - Some(\"v c N30 t O\") Some(\"OWct\")",
            "Get Hit - - - Some(\"v N30 t\") Some(\"Zt\")",
            "Delete Deleted - - - Some(\"I T q\") None",
            "Get Hit - - - Some(\"s R15\") Some(\"WXs\")",
            "Get Miss - - - Some(\"\") Some(\"\")",
            "Noop Ok - - - None None",
        ],
    );
}

#[test]
fn a_condition_of_a_packet_is_that_of_a_change() {
    let store: &[u8] = &[0, 0, 0, 7, 0, 0, 0, 60];
    let count: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 60];
    let send = |opcode, extras, value, status, told| {
        let request = Packet { opcode, cas: 4, extras, key: "k", value, ..PLAIN };
        packet(&request, &[(status, Packet { cas: told, ..PLAIN })], &[])
    };
    let steps = [
        send(0x04, &[], "", 2, 0),
        send(0x04, &[], "", 0, 0),
        send(0x05, count, "", 0, 8),
        send(0x01, store, "v", 0, 9),
        send(0x0e, &[], "v", 2, 0),
        // Compares nothing.
        send(0x1c, &[0, 0, 0, 9], "", 0, 3),
    ];
    told(
        &steps,
        &[
            "Delete Exists 4 - - None None",
            "Delete Deleted 4 - - None None",
            "Incr Ok 4 8 - None None",
            "Cas Stored 4 9 - None None",
            "Cas Exists 4 - - None None",
            "Touch Touched - 3 - None None",
        ],
    );
}

#[test]
fn flags_that_a_store_sends_are_not_those_that_are_returned() {
    let steps = [store("ms k 1 F5 f\r\n", "x\r\n", "HD f9\r\n", &["Set k Stored v1 f5"])];
    assert_eq!(
        decode(Dialect::default(), &steps, &Splits::none()).operations,
        ["Set k Stored v1 f5"]
    );
}
