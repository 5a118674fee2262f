//! Which of the requests that may be answered with silence were answered.
//!
//! Replies come in the order of the requests, but a quiet request has none when
//! all went as usual. So replies are held until the next one that can be no quiet
//! request's, or until the server reads on; then they are assigned. Where more
//! than one assignment is possible, what differs between them is not known.

use crate::{
    operation::{Observer, Outcome},
    pending::{KEPT, Queue, Request},
    reply::{Kinds, Reply},
};

/// Beyond this many pairs of request and reply, what is ambiguous is not sought out.
const PAIRS_MAX: usize = 1 << 16;

/// Replies whose requests are not known yet.
#[derive(Debug, Default)]
pub(crate) struct Held {
    replies: Vec<Reply>,
    /// What they name.
    bytes: Vec<u8>,
    /// The first open request that the next reply can be of: each of those that are held is
    /// of one before it.
    next: usize,
    /// So many of the first open requests may be silent.
    silent: usize,
}

/// What completing requests showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Each that must be answered can have been, and each reply can be one's.
    pub(crate) sound: bool,
    /// Some that should have been answered were none.
    pub(crate) forgotten: bool,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered(usize),
    Silent,
    Unknown,
}

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.replies.clear();
        self.bytes.clear();
        // As with the requests, what was much is given back.
        self.replies.shrink_to(KEPT.0);
        self.bytes.shrink_to(KEPT.1);
        (self.next, self.silent) = (0, 0);
    }

    /// Bytes of memory.
    pub(crate) fn size(&self) -> usize {
        self.replies.capacity() * size_of::<Reply>() + self.bytes.capacity()
    }

    /// The first of the `open` requests that must be answered.
    pub(crate) fn first_sure(&mut self, open: &[Request]) -> Option<usize> {
        let more = open.get(self.silent..).unwrap_or_default();
        self.silent += more.iter().take_while(|request| request.silence.is_some()).count();
        (self.silent < open.len()).then_some(self.silent)
    }

    /// The first open request that `reply`, which comes after those that are held, can be of.
    pub(crate) fn earliest(&self, reply: &Reply, bytes: &[u8], queue: &Queue) -> Option<usize> {
        let open = queue.open().get(self.next..)?;
        let found = open.iter().position(|request| queue.accepts(request, reply, bytes))?;
        Some(self.next + found)
    }

    /// Keeps `reply`, whose names lie in `bytes`, and which the open request `earliest` is the
    /// first to be able to have.
    pub(crate) fn hold(&mut self, mut reply: Reply, bytes: &[u8], earliest: usize) {
        self.next = earliest + 1;
        for range in [&mut reply.token, &mut reply.key].into_iter().flatten() {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&bytes[range.clone()]);
            *range = start..self.bytes.len();
        }
        self.replies.push(reply);
    }

    /// The reply that was held last has come to its end.
    pub(crate) fn complete_last(&mut self, complete: &Reply) {
        if let Some(last) = self.replies.last_mut() {
            last.bytes = complete.bytes;
            last.answered_at = complete.answered_at;
        }
    }

    /// Of the reply that was held last, so many bytes were sent, and no more come.
    pub(crate) fn cut_last(&mut self, bytes: u64) {
        if let Some(last) = self.replies.last_mut() {
            last.bytes = bytes;
        }
    }

    /// Whether one of the replies can be that of `request`.
    pub(crate) fn any_for(&self, request: &Request, queue: &Queue) -> bool {
        self.replies.iter().any(|reply| queue.accepts(request, reply, &self.bytes))
    }

    /// The one open request that `reply` can be of, after those that are held.
    pub(crate) fn only_place(&self, reply: &Reply, bytes: &[u8], queue: &Queue) -> Option<usize> {
        let (open, count) = (queue.open(), self.replies.len());
        if open.len().saturating_mul(count) > PAIRS_MAX {
            return None;
        }
        // Whether the requests so far can have had so many of the replies.
        let mut had = vec![false; count + 1];
        had[0] = true;
        let mut place = None;
        for (at, request) in open.iter().enumerate() {
            let fits = had[count]
                && queue.accepts(request, reply, bytes)
                && names_a_key(request, reply, bytes, queue);
            if fits && place.replace(at).is_some() {
                return None;
            }
            for replies in (0..=count).rev() {
                let silent = request.silence.is_some() && had[replies];
                had[replies] = silent
                    || (replies > 0
                        && had[replies - 1]
                        && queue.accepts(request, &self.replies[replies - 1], &self.bytes));
            }
            if !had.contains(&true) {
                break;
            }
        }
        place
    }

    /// Completes the first `count` open requests with the replies held. Where there is no way
    /// to do so in which each that must be answered is, lines of no known verb that were not
    /// are taken for what they most likely are: no requests.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        count: usize,
        queue: &mut Queue,
        observer: &mut impl Observer,
    ) -> Settled {
        if count == 0 {
            return Settled { sound: self.replies.is_empty(), forgotten: false };
        }
        self.settle_some(count, queue, observer)
    }

    fn settle_some(
        &mut self,
        count: usize,
        queue: &mut Queue,
        observer: &mut impl Observer,
    ) -> Settled {
        let (fates, sound) = self.fates(&queue.open()[..count], queue);
        let mut forgotten = false;
        for fate in fates {
            let Some(request) = queue.front() else { break };
            if !sound && fate == Fate::Unknown && request.may_be_none() {
                queue.forget();
                forgotten = true;
                continue;
            }
            let silence = request.silence;
            let (outcome, answered_at) = match fate {
                Fate::Answered(at) => (Outcome::Unknown, self.answer(at, queue)),
                Fate::Silent => (silence.unwrap_or(Outcome::Unknown), None),
                Fate::Unknown => (Outcome::Unknown, None),
            };
            queue.finish(outcome, answered_at, observer);
        }
        self.clear();
        Settled { sound, forgotten }
    }

    /// Writes the reply `at` into the first open request; returns when it was complete, if it
    /// was.
    fn answer(&self, at: usize, queue: &mut Queue) -> Option<u64> {
        let reply = &self.replies[at];
        queue.apply(0, reply);
        (reply.answered_at > 0).then_some(reply.answered_at)
    }

    /// Completes all open requests, where those after the last reply that was seen
    /// may have others; with `contradicted`, any may. Then their silence means
    /// nothing, unless they could have no reply.
    pub(crate) fn abandon(
        &mut self,
        contradicted: bool,
        queue: &mut Queue,
        observer: &mut impl Observer,
    ) {
        let (n, k) = (queue.open().len(), self.replies.len());
        // Nor is anything known of a reply whose end is missing.
        let cut_off = self.replies.last().is_none_or(|last| last.answered_at == 0);
        let fates = if contradicted || cut_off || n * k > PAIRS_MAX {
            vec![Fate::Unknown; n]
        } else {
            let accepts =
                |i: usize, j: usize| queue.accepts(&queue.open()[i], &self.replies[j], &self.bytes);
            every_way(queue.open(), k, accepts, true).0
        };
        for fate in fates {
            let Some(request) = queue.front() else { break };
            if contradicted && request.may_be_none() {
                queue.forget();
                continue;
            }
            let (silence, none) = (request.silence, request.accepts == Kinds::NONE);
            let outcome = silence.filter(|_| none || fate == Fate::Silent);
            let mut answered_at = None;
            if let Fate::Answered(at) = fate {
                answered_at = self.answer(at, queue);
            }
            queue.finish(outcome.unwrap_or(Outcome::Unknown), answered_at, observer);
        }
        self.clear();
    }

    /// What became of each, and whether each that must be answered can have been.
    fn fates(&self, requests: &[Request], queue: &Queue) -> (Vec<Fate>, bool) {
        let accepts =
            |i: usize, j: usize| queue.accepts(&requests[i], &self.replies[j], &self.bytes);
        let silent = |i: usize| match requests[i].silence {
            Some(_) => Fate::Silent,
            None => Fate::Unknown,
        };
        let mut fates: Vec<Fate> = (0..requests.len()).map(silent).collect();
        let all_told = |fates: &[Fate]| !fates.contains(&Fate::Unknown);
        if self.replies.is_empty() {
            let sound = all_told(&fates);
            return (fates, sound);
        }
        let (n, k) = (requests.len(), self.replies.len());
        let left = in_order(0..k, 0..n, |j, i| accepts(i, j));
        let right = in_order((0..k).rev(), (0..n).rev(), |j, i| accepts(i, j));
        let (Some(left), Some(mut right)) = (left, right) else {
            // A reply that is nobody's: then nothing is sure.
            fates.fill(Fate::Unknown);
            return (fates, false);
        };
        right.reverse();
        if left == right {
            for (j, &i) in left.iter().enumerate() {
                fates[i] = Fate::Answered(j);
            }
            let sound = all_told(&fates);
            return (fates, sound);
        }
        if n * k > PAIRS_MAX {
            // Both ends go forward from reply to reply.
            let mut told = 0;
            for (j, (&from, &to)) in left.iter().zip(&right).enumerate() {
                let fate = if from == to { Fate::Answered(j) } else { Fate::Unknown };
                fates[from.max(told)..=to].fill(fate);
                told = to + 1;
            }
            return (fates, true);
        }
        // None is before where it is at the earliest, nor after where it is at the latest.
        let accepts = |i, j| (left[j]..=right[j]).contains(&i) && accepts(i, j);
        every_way(requests, k, accepts, false)
    }
}

/// A value's line names a key that was asked for.
fn names_a_key(request: &Request, reply: &Reply, bytes: &[u8], queue: &Queue) -> bool {
    match &reply.key {
        Some(key) if reply.kind == Kinds::VALUE => queue.asks_for(request, &bytes[key.clone()]),
        _ => true,
    }
}

/// Assigns each of `replies` the next of `requests` that fits it.
fn in_order(
    replies: impl Iterator<Item = usize>,
    mut requests: impl Iterator<Item = usize>,
    fits: impl Fn(usize, usize) -> bool,
) -> Option<Vec<usize>> {
    replies.map(|j| requests.find(|&i| fits(j, i))).collect()
}

/// Looks at all assignments at once: `before[i][j]` says that the first i
/// requests can have had the first j replies, `after[i][j]` that the others can
/// have had the others. With an open end, not all of those need to have had theirs.
fn every_way(
    requests: &[Request],
    k: usize,
    accepts: impl Fn(usize, usize) -> bool,
    open_end: bool,
) -> (Vec<Fate>, bool) {
    let n = requests.len();
    let at = |i: usize, j: usize| i * (k + 1) + j;
    let fits: Vec<bool> = (0..n * k).map(|pair| accepts(pair / k, pair % k)).collect();
    let (mut before, mut after) = (vec![false; (n + 1) * (k + 1)], vec![false; (n + 1) * (k + 1)]);
    before[at(0, 0)] = true;
    for i in 0..n {
        for j in 0..=k {
            let silent = requests[i].silence.is_some() && before[at(i, j)];
            let answered = j > 0 && fits[i * k + j - 1] && before[at(i, j - 1)];
            before[at(i + 1, j)] = silent || answered;
        }
    }
    after[at(n, k)] = true;
    for i in (0..n).rev() {
        after[at(i, k)] = open_end;
        for j in 0..=k {
            let silent = requests[i].silence.is_some() && after[at(i + 1, j)];
            let answered = j < k && fits[i * k + j] && after[at(i + 1, j + 1)];
            after[at(i, j)] |= silent || answered;
        }
    }
    let fates = (0..n)
        .map(|i| {
            let silent = requests[i].silence.is_some()
                && (0..=k).any(|j| before[at(i, j)] && after[at(i + 1, j)]);
            let mut replies =
                (0..k).filter(|&j| fits[i * k + j] && before[at(i, j)] && after[at(i + 1, j + 1)]);
            match (silent, replies.next(), replies.next()) {
                _ if open_end && before[at(i, k)] => Fate::Unknown,
                (true, None, _) => Fate::Silent,
                (false, Some(j), None) => Fate::Answered(j),
                _ => Fate::Unknown,
            }
        })
        .collect();
    (fates, before[at(n, k)])
}

#[cfg(test)]
mod tests {
    use super::Held;
    use crate::{
        operation::{Command, Observer, Operation, Outcome, Protocol},
        pending::{Queue, Request},
        reply::{self, Kinds},
    };

    #[derive(Default)]
    struct Outcomes(Vec<Outcome>);

    impl Observer for Outcomes {
        fn operation(&mut self, operation: &Operation<'_>) {
            self.0.push(operation.outcome);
        }

        fn fault(&mut self, _: crate::Fault) {}
    }

    /// How often a reply is compared with a request where `count` quiet gets are read at once,
    /// and one in `every` has a reply, all of them alike or each with its own token.
    fn comparisons(count: usize, every: usize, tokens: bool) -> usize {
        let (mut queue, mut held) = (Queue::default(), Held::default());
        let token = |at: usize| if tokens { format!("O{at}") } else { "Oall".to_owned() };
        for at in 0..count {
            let mut request = Request::new(Protocol::Meta, Command::Get, Kinds::HD);
            request.silence = Some(Outcome::Miss);
            let key = std::iter::once((&b"k"[..], 1));
            queue.push(request, key, Some(token(at).as_bytes()));
        }
        for at in (0..count).step_by(every) {
            let line = format!("HD {}", token(at));
            let mut reply = reply::line(line.as_bytes());
            reply.answered_at = 1;
            assert_eq!(held.first_sure(queue.open()), None);
            let earliest = held.earliest(&reply, line.as_bytes(), &queue).unwrap();
            held.hold(reply, line.as_bytes(), earliest);
        }
        let compared = queue.comparisons.clone();
        let before_settling = compared.get();
        let mut outcomes = Outcomes::default();
        assert!(held.settle(count, &mut queue, &mut outcomes).sound);
        assert_eq!(outcomes.0.len(), count);
        let hits = outcomes.0.iter().filter(|outcome| **outcome == Outcome::Hit).count();
        let sure = tokens || every == 1;
        assert_eq!(hits, if sure { count.div_ceil(every) } else { 0 });
        before_settling.max(queue.comparisons.get())
    }

    #[test]
    fn placing_replies_takes_as_long_as_there_are_requests() {
        for (every, tokens) in [(1, false), (1, true), (2, true), (2, false), (100, true)] {
            for count in [500, 2000, 20_000] {
                let compared = comparisons(count, every, tokens);
                assert!(compared <= 4 * count, "{compared} for {count}, one in {every}");
            }
        }
        // Where few can be assigned in many ways, all ways are looked at.
        assert!(comparisons(250, 2, false) <= 1 << 16);
    }
}
