//! Replies find their requests.

use mcrec_schema::codes::{Op, Status};

use super::{Connection, Desk};
use crate::{
    reply::{self, Parsed, Reply, parse},
    request::Request,
    wire::{self, Answer},
};

/// How a reply fits the first request that is not answered.
enum Fit {
    /// It answers it, when the value after it has come.
    Answers(Status, Option<u64>),
    /// It is a part of the answer.
    Part,
    /// It is that of a later one: this one has none.
    Later,
    /// It cannot be.
    Not,
}

impl Connection {
    /// Takes what the target sent. Returns whether it makes sense.
    pub(super) fn take(&mut self, mut data: &[u8], now: u64, desk: &mut Desk) -> bool {
        if !self.partial.is_empty() {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(data);
            return self.take(&whole, now, desk);
        }
        while !data.is_empty() {
            if self.body > 0 {
                let here = self.body.min(data.len() as u64);
                self.body -= here;
                data = &data[usize::try_from(here).unwrap_or(data.len())..];
                if self.body == 0 {
                    self.value_came(now, desk);
                }
                continue;
            }
            match parse(data, self.binary) {
                Parsed::More => {
                    self.partial = data.to_vec();
                    return true;
                }
                Parsed::Nonsense => return false,
                Parsed::Head { length, body, reply } => {
                    if !self.reply(&reply, body, now, desk) {
                        return false;
                    }
                    data = &data[length..];
                }
            }
        }
        true
    }

    /// Finds the request that `reply` is for. Returns whether there is one.
    fn reply(&mut self, reply: &Reply<'_>, body: u64, now: u64, desk: &mut Desk) -> bool {
        self.body = body;
        loop {
            self.answer_silent(desk);
            if !self.first_is_sent() {
                desk.tally.stray += 1;
                // Of a quiet request, or a greeting; a value would be of neither.
                return matches!(reply, Reply::Error(_)) && self.binary_or(body == 0);
            }
            let Some(request) = self.first_request() else { return false };
            match self.fit(request, reply) {
                Fit::Answers(status, cas) => {
                    if self.body > 0 {
                        self.completes = Some((status, cas));
                    } else {
                        self.answered(status, cas, now, desk);
                    }
                    return true;
                }
                Fit::Part => {
                    if let Reply::Value { key, cas } = reply {
                        return self.value(key, *cas, desk);
                    }
                    return true;
                }
                Fit::Later => self.was_silent(desk),
                Fit::Not => return false,
            }
        }
    }

    fn binary_or(&self, other: bool) -> bool {
        self.binary || other
    }

    fn fit(&self, request: &Request, reply: &Reply<'_>) -> Fit {
        let outcome = reply::outcome(request.op, reply);
        let by_outcome = |cas| outcome.map_or(Fit::Not, |status| Fit::Answers(status, cas));
        match (wire::answer(request), *reply) {
            (Answer::Values, Reply::Value { .. }) | (Answer::List, Reply::Other) => Fit::Part,
            (Answer::Values, Reply::End) => Fit::Answers(Status::Miss, None),
            (Answer::List, Reply::End) => Fit::Answers(Status::Ok, None),
            (Answer::Meta, Reply::Meta { opaque, cas, .. }) => {
                if request.quiet && opaque != Some(self.first_opaque) {
                    return Fit::Later;
                }
                by_outcome(cas)
            }
            (Answer::Packets, Reply::Packet { empty: false, status: 0, opaque, .. })
                if opaque == self.first_opaque =>
            {
                Fit::Part
            }
            (Answer::Packet | Answer::Packets, Reply::Packet { opaque, cas, .. }) => {
                match opaque == self.first_opaque {
                    true => by_outcome(cas),
                    false if request.quiet => Fit::Later,
                    false => Fit::Not,
                }
            }
            (Answer::Values | Answer::List, Reply::Done(_)) => Fit::Not,
            (Answer::Line | Answer::List | Answer::Values, Reply::Done(_) | Reply::Error(_))
            | (Answer::Meta, Reply::Error(_)) => by_outcome(None),
            // `me` says more than a code, or a line that is none.
            (Answer::Meta, Reply::Other) => by_outcome(None),
            _ if request.quiet => Fit::Later,
            _ => Fit::Not,
        }
    }

    /// A value of a multi-get: keys before its own were missed.
    fn value(&mut self, named: &[u8], cas: Option<u64>, desk: &mut Desk) -> bool {
        let Some(held) = self.groups.front() else { return false };
        let Some(request) = held.group.requests.get(self.first.0) else { return false };
        let first = request.first_key as usize;
        for at in self.first.1..request.keys as usize {
            let (key, recorded) = (held.group.key(first + at), held.group.keys[first + at]);
            if key == named {
                desk.tally.outcome(request.op, recorded.status, Status::Hit);
                desk.live.read(Status::Hit);
                if let (Some(was), Some(is)) = (recorded.cas, cas) {
                    desk.uniques.remember(key, was, is);
                }
                self.first.1 = at + 1;
                return true;
            }
            desk.tally.outcome(request.op, recorded.status, Status::Miss);
            desk.live.read(Status::Miss);
        }
        false
    }

    /// The value of a reply has come to its end.
    fn value_came(&mut self, now: u64, desk: &mut Desk) {
        if let Some((status, cas)) = self.completes.take() {
            self.answered(status, cas, now, desk);
        }
    }

    /// The first request is answered: with `status` for the keys that have none yet.
    fn answered(&mut self, status: Status, cas: Option<u64>, now: u64, desk: &mut Desk) {
        let Some(held) = self.groups.front() else { return };
        let Some(request) = held.group.requests.get(self.first.0) else { return };
        self.conclude(status, cas, desk);
        let since = if desk.depth.is_some() { held.sent_at } else { held.group.due };
        desk.tally.answered(request.op, now.saturating_sub(since));
        let must_answer = super::must_answer(request);
        self.open = self.open.saturating_sub(u32::from(must_answer));
        self.pop_first();
    }

    /// Counts `status` for the keys of the first request that have none yet.
    fn conclude(&self, status: Status, cas: Option<u64>, desk: &mut Desk) {
        let Some(held) = self.groups.front() else { return };
        let Some(request) = held.group.requests.get(self.first.0) else { return };
        let first = request.first_key as usize;
        for at in self.first.1..request.keys as usize {
            let recorded = held.group.keys[first + at];
            desk.tally.outcome(request.op, recorded.status, status);
            if request.reads() {
                desk.live.read(status);
            }
            if let (Some(was), Some(is)) = (recorded.cas, cas) {
                desk.uniques.remember(held.group.key(first + at), was, is);
            }
            // One that the client chose is the same again.
            let done = matches!(status, Status::Stored | Status::Deleted | Status::Ok);
            if let Some(set) = request.cas_set.filter(|_| done) {
                desk.uniques.remember(held.group.key(first + at), set, set);
            }
        }
    }

    /// The first request has no answer, which says what became of it.
    fn was_silent(&mut self, desk: &mut Desk) {
        if let Some(request) = self.first_request() {
            self.conclude(reply::silence(request), None, desk);
        }
        self.pop_first();
    }

    /// Goes past those first requests that are sent and never answered.
    pub(super) fn answer_silent(&mut self, desk: &mut Desk) {
        while self.first_is_sent()
            && self.first_request().is_some_and(|it| wire::answer(it) == Answer::Nothing)
        {
            if self.first_request().is_some_and(|it| it.op == Op::Quit) {
                // That the target hangs up will tell.
                return;
            }
            self.was_silent(desk);
        }
    }

    /// The target has said all: those that it may be silent about it was silent about.
    /// Returns whether nothing else is open.
    pub(super) fn settle(&mut self, desk: &mut Desk) -> bool {
        while self.first_is_sent()
            && let Some(request) = self.first_request()
        {
            if super::must_answer(request) {
                return false;
            }
            self.was_silent(desk);
        }
        true
    }
}
