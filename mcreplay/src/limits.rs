//! What a replay cannot do as it was: found out, counted and said before it begins.

use anyhow::Result;
use mcrec_schema::codes::{Op, Protocol};

use crate::{
    request::{Group, Request},
    run::Plan,
    tally::{Live, Tally, Unsent},
    trace::{Assembly, Trace},
    uniques::Uniques,
    worker::Ending,
};

/// Of what is sent, what is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Altered {
    /// Values are not in captures.
    Value,
    /// Nor is what counters count by.
    Delta,
    /// Nor what they begin with.
    Initial,
    /// What to compare with was not recorded.
    UniqueUnknown,
    /// Where the client had what it compared with is not in the capture.
    UniqueUnseen,
    /// The flags are not in the capture.
    FlagsUnknown,
    /// The flags have no words in another protocol.
    FlagsLeftOut,
    /// A quiet meta request had no token.
    TokenAdded,
    /// The time to live is the user's.
    TtlGiven,
}

impl Altered {
    const ALL: [Self; 9] = [
        Self::Value,
        Self::Delta,
        Self::Initial,
        Self::UniqueUnknown,
        Self::UniqueUnseen,
        Self::FlagsUnknown,
        Self::FlagsLeftOut,
        Self::TokenAdded,
        Self::TtlGiven,
    ];

    /// For programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Delta => "delta",
            Self::Initial => "initial",
            Self::UniqueUnknown => "unique_unknown",
            Self::UniqueUnseen => "unique_unseen",
            Self::FlagsUnknown => "flags_unknown",
            Self::FlagsLeftOut => "flags_left_out",
            Self::TokenAdded => "token_added",
            Self::TtlGiven => "ttl_given",
        }
    }

    /// For people, after a number of operations.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Value => "store values that are generated: captures have their sizes alone",
            Self::Delta => "count by 1: captures do not have by how much",
            Self::Initial => "may make a counter, from 0: captures do not have the first value",
            Self::UniqueUnknown => {
                "compare with a CAS unique that was not recorded: the last that the target \
                 returned is sent"
            }
            Self::UniqueUnseen => {
                "compare with a CAS unique that no reply told before: one is sent that matches or \
                 does not, as theirs did"
            }
            Self::FlagsUnknown => {
                "are meta requests whose flags were not recorded: those are sent that other \
                 columns show"
            }
            Self::FlagsLeftOut => "have meta flags that the other protocol has no words for",
            Self::TokenAdded => {
                "are quiet meta requests that get an opaque token, by which a reply is known"
            }
            Self::TtlGiven => "have the time to live of --unknown-ttl: theirs is not known",
        }
    }
}

/// What cannot be done as it was, counted.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    altered: [u64; Altered::ALL.len()],
    /// Operations that are not sent for what the captures do not tell of them.
    unsent: Tally,
}

impl Limits {
    /// Looks through all that is to be replayed.
    ///
    /// # Errors
    ///
    /// When a capture cannot be read.
    pub(crate) fn of(
        trace: &Trace,
        plan: &Plan,
        live: &Live,
        ending: &Ending,
        mut watch: impl FnMut(),
    ) -> Result<Self> {
        let mut limits = Self::default();
        let uniques = Uniques::default();
        let mut assembly = Assembly::new(plan.shape);
        let mut unsent = Tally::default();
        trace.read(&plan.filter, &mut assembly, &mut unsent, &mut |group| {
            for request in &group.requests {
                limits.request(&group, request, &uniques, plan);
            }
            live.sent.fetch_add(group.operations(), std::sync::atomic::Ordering::Relaxed);
            watch();
            Ok(!ending.is_near())
        })?;
        limits.unsent = unsent;
        Ok(limits)
    }

    fn request(&mut self, group: &Group, request: &Request, uniques: &Uniques, plan: &Plan) {
        let key = group.first_key(request);
        let counts = matches!(request.op, Op::Incr | Op::Decr);
        let flags = request.flags.as_deref();
        let meta = request.protocol == Protocol::Meta;
        let initial = match (request.protocol, flags) {
            (Protocol::Binary, _) => request.ttl.is_some_and(|ttl| ttl != i64::from(u32::MAX)),
            (_, Some(flags)) => flags.has(b'N'),
            _ => meta && request.ttl.is_some(),
        };
        let unseen = request.cas_sent.is_some_and(|sent| uniques.now(key, sent).is_none());
        let keyed = request.stores() || request.reads() || counts || request.op == Op::Delete;
        let lost = request.recorded_meta && !meta;
        for (is, what) in [
            (request.stores(), Altered::Value),
            (counts, Altered::Delta),
            (counts && initial, Altered::Initial),
            (request.compares() && request.cas_sent.is_none(), Altered::UniqueUnknown),
            (unseen, Altered::UniqueUnseen),
            (request.recorded_meta && meta && keyed && flags.is_none(), Altered::FlagsUnknown),
            (lost && request.needs_meta, Altered::FlagsLeftOut),
            (meta && request.quiet && flags.is_some_and(|it| !it.has(b'O')), Altered::TokenAdded),
            (request.ttl_given && plan.shape.unknown_ttl.is_some(), Altered::TtlGiven),
        ] {
            self.altered[what as usize] += u64::from(is) * u64::from(request.keys);
        }
        for (at, recorded) in group.keys_of(request).iter().enumerate() {
            let key = group.key(request.first_key as usize + at);
            for told in [recorded.cas, request.cas_set].into_iter().flatten() {
                uniques.remember(key, told, told);
            }
        }
    }

    /// What is not as it was, and of how many operations, but for what none has.
    pub(crate) fn altered(&self) -> impl Iterator<Item = (Altered, u64)> {
        Altered::ALL.into_iter().map(|it| (it, self.altered[it as usize])).filter(|it| it.1 > 0)
    }

    /// What will not be sent, and of how many operations, but for what none has.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = (Unsent, u64)> {
        self.unsent.by_unsent()
    }

    /// All of it, a sentence each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let unsent = self
            .unsent()
            .map(|(why, count)| format!("{count} are not sent: those {}", why.words()));
        let altered = self.altered().map(|(what, count)| format!("{count} {}", what.words()));
        unsent.chain(altered).collect()
    }
}
