//! What was done and what came of it, counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use hdrhistogram::Histogram;
use mcrec_schema::codes::{Op, Status};

use crate::request::{Group, Request};

/// Words of each kind.
const OPS: usize = Op::ALL.len();
const STATUSES: usize = Status::ALL.len();
/// Three digits: a latency is at most a thousandth off.
const DIGITS: u8 = 3;

/// Why a request of the capture was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Unsent {
    /// Its key is not known.
    KeyUnknown,
    /// It is one that a capture does not tell all of: authentication, `watch`, others.
    NotReplayable,
    /// The server refused it as malformed: how it was written is not known.
    Malformed,
    /// The protocol that it is to be sent in cannot say it, or not its key.
    NotSayable,
    /// Its time to live is not known.
    TtlUnknown,
    /// Its value may not have arrived as a whole.
    NotWhole,
    /// Its value is larger than any that memcached stores.
    TooLarge,
    /// It ends a connection that others share.
    SharedConnection,
    /// The target refused the connection.
    Refused,
    /// Its connection was given up: the target did not answer for too long.
    GivenUp,
    /// The run ended before.
    Ended,
}

impl Unsent {
    pub(crate) const ALL: [Self; 11] = [
        Self::KeyUnknown,
        Self::NotReplayable,
        Self::Malformed,
        Self::NotSayable,
        Self::TtlUnknown,
        Self::NotWhole,
        Self::TooLarge,
        Self::SharedConnection,
        Self::Refused,
        Self::GivenUp,
        Self::Ended,
    ];

    /// For programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KeyUnknown => "key_unknown",
            Self::NotReplayable => "not_replayable",
            Self::Malformed => "malformed",
            Self::NotSayable => "not_sayable",
            Self::TtlUnknown => "ttl_unknown",
            Self::NotWhole => "not_whole",
            Self::TooLarge => "too_large",
            Self::SharedConnection => "shared_connection",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
            Self::Ended => "ended",
        }
    }

    /// For people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::KeyUnknown => "whose key is not known",
            Self::NotReplayable => "that no capture tells all of (auth, watch, other)",
            Self::Malformed => "that the recorded server refused as malformed",
            Self::NotSayable => {
                "that the protocol cannot say, or not on their keys or with their condition"
            }
            Self::TtlUnknown => {
                "whose time to live the capture does not know (--unknown-ttl gives them one)"
            }
            Self::NotWhole => "whose value may not have come to its end: no reply was seen",
            Self::TooLarge => "whose value is larger than any that memcached stores",
            Self::SharedConnection => "to end a connection that others share",
            Self::Refused => "as the target refused the connection",
            Self::GivenUp => "on connections that were given up",
            Self::Ended => "as the run ended before",
        }
    }

    /// It is the target, not the capture.
    pub(crate) fn is_of_target(self) -> bool {
        matches!(self, Self::Refused | Self::GivenUp | Self::Ended)
    }
}

/// Why a request that was sent has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The target closed the connection.
    Closed,
    /// It did not answer for too long.
    TimedOut,
    /// What it sent is no reply to what was asked.
    Nonsense,
}

impl Unanswered {
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::TimedOut, Self::Nonsense];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::TimedOut => "timed_out",
            Self::Nonsense => "nonsense",
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Closed => "as the target closed the connection",
            Self::TimedOut => "as the target did not answer in time",
            Self::Nonsense => "as what the target sent answers nothing that was asked",
        }
    }
}

/// What became of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connections {
    pub(crate) opened: u64,
    pub(crate) refused: u64,
    /// By the target, unasked.
    pub(crate) closed: u64,
    pub(crate) given_up: u64,
}

/// What is shown while it runs, by all threads.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Operations sent, and answered, if they are to be.
    pub(crate) sent: AtomicU64,
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    /// How far behind the schedule the last was that was sent, ns.
    pub(crate) behind: AtomicU64,
    pub(crate) open: AtomicUsize,
}

/// All that one command did.
#[derive(Clone, Debug)]
pub(crate) struct OfOp {
    /// Operations that were sent.
    pub(crate) sent: u64,
    /// From the intended time to the reply, ns.
    pub(crate) latency: Histogram<u64>,
    /// What the recorded server took for the same requests, ns.
    pub(crate) recorded: Histogram<u64>,
    /// Recorded outcome by outcome now.
    statuses: [[u64; STATUSES]; STATUSES],
}

/// What one thread did, or all of them.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    ops: Vec<Option<Box<OfOp>>>,
    /// Behind the schedule, for each operation, ns.
    pub(crate) lateness: Histogram<u64>,
    unsent: [u64; Unsent::ALL.len()],
    unanswered: [u64; Unanswered::ALL.len()],
    pub(crate) connections: Connections,
    /// Requests `cas` of which no unique was known that would do.
    pub(crate) cas_unknown: u64,
    /// Replies that answer nothing.
    pub(crate) stray: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

/// One that grows to whatever it is given, so that recording does not fail.
fn histogram() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("so many digits can be had")
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            ops: vec![None; OPS],
            lateness: histogram(),
            unsent: [0; Unsent::ALL.len()],
            unanswered: [0; Unanswered::ALL.len()],
            connections: Connections::default(),
            cas_unknown: 0,
            stray: 0,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }
}

impl Tally {
    fn of_mut(&mut self, op: Op) -> &mut OfOp {
        self.ops[op as usize].get_or_insert_with(|| {
            Box::new(OfOp {
                sent: 0,
                latency: histogram(),
                recorded: histogram(),
                statuses: [[0; STATUSES]; STATUSES],
            })
        })
    }

    /// What was done of each command that was sent, in the order of the format.
    pub(crate) fn by_op(&self) -> impl Iterator<Item = (Op, &OfOp)> {
        Op::ALL.iter().filter_map(|&op| Some((op, self.ops[op as usize].as_deref()?)))
    }

    /// `request` was sent, `late` ns behind the schedule, if there is one.
    pub(crate) fn sent(&mut self, request: &Request, late: Option<u64>) {
        let keys = u64::from(request.keys);
        let of = self.of_mut(request.op);
        of.sent += keys;
        if let Some(latency) = request.latency_ns {
            let _ = of.recorded.record(latency);
        }
        if let Some(late) = late {
            let _ = self.lateness.record_n(late, keys);
        }
    }

    /// A key of a request of `op` had `now` for an outcome, where `recorded` was.
    pub(crate) fn outcome(&mut self, op: Op, recorded: Status, now: Status) {
        self.of_mut(op).statuses[recorded as usize][now as usize] += 1;
    }

    /// A request of `op` was answered after so many ns.
    pub(crate) fn answered(&mut self, op: Op, latency: u64) {
        let _ = self.of_mut(op).latency.record(latency);
    }

    /// So many operations were not sent.
    pub(crate) fn unsent(&mut self, why: Unsent, operations: u64) {
        self.unsent[why as usize] += operations;
    }

    /// The requests of `group` from number `first` on were not sent.
    pub(crate) fn unsent_from(&mut self, why: Unsent, group: &Group, first: usize) {
        let keys = group.requests.iter().skip(first).map(|request| u64::from(request.keys)).sum();
        self.unsent(why, keys);
    }

    /// So many operations were sent and not answered.
    pub(crate) fn unanswered(&mut self, why: Unanswered, operations: u64) {
        self.unanswered[why as usize] += operations;
    }

    /// Operations not sent, by reason, but for those that have none.
    pub(crate) fn by_unsent(&self) -> impl Iterator<Item = (Unsent, u64)> {
        Unsent::ALL.into_iter().map(|why| (why, self.unsent[why as usize])).filter(|it| it.1 > 0)
    }

    /// Operations not answered, by reason, but for those that have none.
    pub(crate) fn by_unanswered(&self) -> impl Iterator<Item = (Unanswered, u64)> {
        let all = Unanswered::ALL.into_iter().map(|why| (why, self.unanswered[why as usize]));
        all.filter(|it| it.1 > 0)
    }

    /// Operations that were sent.
    pub(crate) fn operations(&self) -> u64 {
        self.by_op().map(|(_, of)| of.sent).sum()
    }

    /// Adds what another thread did.
    pub(crate) fn add(&mut self, other: &Self) {
        for (op, of) in other.by_op() {
            let to = self.of_mut(op);
            to.sent += of.sent;
            // Of the same range, so there is nothing that it could refuse.
            let _ = to.latency.add(&of.latency);
            let _ = to.recorded.add(&of.recorded);
            let counts = of.statuses.iter().flatten();
            to.statuses.iter_mut().flatten().zip(counts).for_each(|(to, count)| *to += count);
        }
        let _ = self.lateness.add(&other.lateness);
        self.unsent.iter_mut().zip(other.unsent).for_each(|(to, count)| *to += count);
        self.unanswered.iter_mut().zip(other.unanswered).for_each(|(to, count)| *to += count);
        let (to, of) = (&mut self.connections, other.connections);
        to.opened += of.opened;
        to.refused += of.refused;
        to.closed += of.closed;
        to.given_up += of.given_up;
        self.cas_unknown += other.cas_unknown;
        self.stray += other.stray;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }
}

impl OfOp {
    /// Recorded outcome, outcome now, and how often that was, where it was.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (Status, Status, u64)> {
        Status::ALL.iter().flat_map(move |&recorded| {
            Status::ALL.iter().filter_map(move |&now| {
                let count = self.statuses[recorded as usize][now as usize];
                (count > 0).then_some((recorded, now, count))
            })
        })
    }
}

/// Hits and misses: recorded and now, of what was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ratio {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl Ratio {
    fn count(&mut self, status: Status, count: u64) {
        match status {
            Status::Hit => self.hits += count,
            Status::Miss => self.misses += count,
            _ => {}
        }
    }

    /// 0 to 1; `None` where nothing was asked for.
    pub(crate) fn ratio(self) -> Option<f64> {
        let all = self.hits + self.misses;
        #[expect(clippy::cast_precision_loss, reason = "it is a ratio")]
        let ratio = self.hits as f64 / all as f64;
        (all > 0).then_some(ratio)
    }
}

impl Tally {
    /// Hits and misses of what was sent and answered: as recorded, and now.
    pub(crate) fn ratios(&self) -> (Ratio, Ratio) {
        let (mut recorded, mut now) = (Ratio::default(), Ratio::default());
        for (op, of) in self.by_op() {
            if Op::READS.contains(&op) {
                for (was, is, count) in of.outcomes() {
                    recorded.count(was, count);
                    now.count(is, count);
                }
            }
        }
        (recorded, now)
    }

    /// Operations whose outcome is as recorded, and those whose is another. What was or is
    /// not known is neither.
    pub(crate) fn agreement(&self) -> (u64, u64) {
        let (mut same, mut other) = (0, 0);
        for (_, of) in self.by_op() {
            for (was, is, count) in of.outcomes().filter(|(was, ..)| *was != Status::Unknown) {
                if was == is { same += count } else { other += count }
            }
        }
        (same, other)
    }
}

impl Live {
    /// A key that was read was there, or not.
    pub(crate) fn read(&self, status: Status) {
        match status {
            Status::Hit => self.hits.fetch_add(1, Relaxed),
            Status::Miss => self.misses.fetch_add(1, Relaxed),
            _ => 0,
        };
    }
}
