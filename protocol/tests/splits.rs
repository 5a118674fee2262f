//! However the network and the kernel split a conversation, it is the same one.

mod common;

use common::{
    Splits, Step,
    buffers::{Copying, Joining},
    decode, expected, script,
};
use mcrec_protocol::Dialect;
use proptest::prelude::*;

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![Just(1), 1..40usize, 40..3000usize, Just(1 << 30)];
    proptest::collection::vec(size, 1..12)
}

/// Any buffers, of which the midst of values is not copied.
fn buffers() -> impl Strategy<Value = (Copying, Joining)> {
    let joining = prop_oneof![
        Just(Joining::Apart),
        Just(Joining::Proxy),
        proptest::collection::vec(1..9usize, 1..6).prop_map(Joining::Any),
    ];
    ((0..40usize, 0..4usize), joining)
        .prop_map(|((head, tail), joining)| (Copying::Ends(head, tail), joining))
}

/// Those that memcached has, copied as the recorder does.
fn memcacheds() -> impl Strategy<Value = (Copying, Joining)> {
    prop_oneof![Just(Joining::Apart), Just(Joining::Proxy)]
        .prop_map(|joining| (Copying::Bpf, joining))
}

fn splits_of(buffers: impl Strategy<Value = (Copying, Joining)>) -> impl Strategy<Value = Splits> {
    (sizes(), sizes(), 0..40usize, buffers, 1..25usize).prop_map(
        |(reads, sends, copied, (copying, joining), burst)| Splits {
            reads,
            sends,
            copied,
            copying,
            joining,
            burst,
        },
    )
}

fn splits() -> impl Strategy<Value = Splits> {
    splits_of(prop_oneof![buffers(), memcacheds()])
}

/// No proxy speaks the binary protocol.
fn binary_splits() -> impl Strategy<Value = Splits> {
    splits_of(prop_oneof![buffers(), Just((Copying::Bpf, Joining::Apart))])
}

fn conversation(groups: Vec<Vec<Step>>) -> impl Strategy<Value = Vec<Step>> {
    let group = proptest::sample::select(groups);
    proptest::collection::vec(group, 1..30).prop_map(|groups| groups.concat())
}

fn dialects() -> impl Strategy<Value = Dialect> {
    // Of those before, `ms` has its length in a flag.
    proptest::option::of(10..=45_u32).prop_map(|patch| {
        let release = patch.map(|patch| [1, 6, patch]);
        Dialect { release, ..Dialect::default() }
    })
}

fn same(dialect: Dialect, steps: &[Step], splits: &Splits) -> Result<(), TestCaseError> {
    let log = decode(dialect, steps, splits);
    prop_assert_eq!(&log.operations, &expected(steps));
    prop_assert_eq!(&log.faults, &[]);
    let sent: usize = steps.iter().map(|step| step.request.len() + step.body.len()).sum();
    prop_assert_eq!(log.request_bytes, sent as u64);
    let replied: usize =
        steps.iter().flat_map(|step| &step.reply).map(|vector| vector.bytes.len()).sum();
    prop_assert_eq!(log.response_bytes, replied as u64);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn text(dialect in dialects(), steps in conversation(script::text()), splits in splits()) {
        same(dialect, &steps, &splits)?;
    }

    #[test]
    fn meta(dialect in dialects(), steps in conversation(script::meta()), splits in splits()) {
        same(dialect, &steps, &splits)?;
    }

    #[test]
    fn text_and_meta(
        steps in conversation([script::text(), script::meta()].concat()),
        splits in splits(),
    ) {
        same(Dialect::default(), &steps, &splits)?;
    }

    /// What is told is true, or said to be unknown.
    #[test]
    fn ambiguous(
        steps in conversation([script::ambiguous(), script::meta()].concat()),
        splits in splits(),
    ) {
        let log = decode(Dialect::default(), &steps, &splits);
        let truth = expected(&steps);
        prop_assert_eq!(log.operations.len(), truth.len());
        for (told, truth) in log.operations.iter().zip(&truth) {
            let unknown = told.contains("Unknown") && script::asked(told) == script::asked(truth);
            prop_assert!(told == truth || unknown, "{} is told as {}", truth, told);
        }
        prop_assert_eq!(&log.faults, &[]);
    }

    #[test]
    fn binary(steps in conversation(script::binary()), splits in binary_splits()) {
        same(Dialect::default(), &steps, &splits)?;
    }
}

#[test]
fn each_alone() {
    for steps in [script::text(), script::meta(), script::binary()].concat() {
        for reads in [1, 1 << 30] {
            let splits = Splits { reads: vec![reads], ..Splits::none() };
            same(Dialect::default(), &steps, &splits).unwrap();
        }
    }
}

/// The kernel takes a reply in two parts, cut at each of its bytes.
#[test]
fn sends_that_are_resumed_at_any_byte() {
    for (joining, scripts) in [
        (Joining::Apart, [script::text(), script::meta(), script::binary()].concat()),
        (Joining::Proxy, [script::text(), script::meta()].concat()),
    ] {
        for steps in scripts {
            let reply = |step: &Step| step.reply.iter().map(|part| part.bytes.len()).sum::<usize>();
            let length: usize = steps.iter().map(reply).sum();
            // What comes after shows whether it was followed.
            let steps = [&steps[..], &script::text()[0], &script::meta()[0]].concat();
            let steps =
                if steps[0].request[0] == 0x80 { &steps[..steps.len() - 2] } else { &steps };
            for first in (1..=length).filter(|at| length < 1500 || at % 61 == 0) {
                let sends = vec![first, 1 << 30];
                let (copying, joining) = (Copying::Bpf, joining.clone());
                let splits = Splits { sends, copying, joining, ..Splits::none() };
                same(Dialect::default(), steps, &splits).unwrap();
            }
        }
    }
}
