//! However the network and the kernel split a conversation, it is the same one.

mod common;

use common::{Splits, Step, decode, expected, script};
use mcrec_protocol::Dialect;
use proptest::prelude::*;

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![Just(1), 1..40usize, 40..3000usize, Just(1 << 30)];
    proptest::collection::vec(size, 1..12)
}

fn splits() -> impl Strategy<Value = Splits> {
    (sizes(), sizes(), (0..40usize, 0..4usize), 1..25usize)
        .prop_map(|(reads, sends, copied, burst)| Splits { reads, sends, copied, burst })
}

fn conversation(groups: Vec<Vec<Step>>) -> impl Strategy<Value = Vec<Step>> {
    let group = proptest::sample::select(groups);
    proptest::collection::vec(group, 1..30).prop_map(|groups| groups.concat())
}

fn dialects() -> impl Strategy<Value = Dialect> {
    any::<bool>().prop_map(|before_1_6_40| Dialect { before_1_6_40, ..Dialect::default() })
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
    fn binary(steps in conversation(script::binary()), splits in splits()) {
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
