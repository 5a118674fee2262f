//! When what is sent.

use std::time::Instant;

use crate::request::Group;

/// How fast to play.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// As it was recorded, so many times as fast.
    Recorded(f64),
    /// So many operations a second, in the recorded order.
    Rate(f64),
    /// As fast as the target answers, with so many requests open on a connection.
    Max(u32),
}

impl Pace {
    /// Requests that are open on a connection, where no schedule says when to send.
    pub(crate) fn depth(self) -> Option<u32> {
        match self {
            Self::Max(depth) => Some(depth),
            Self::Recorded(_) | Self::Rate(_) => None,
        }
    }
}

/// The time since the program began, for all threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// ns.
    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Before the first request, connections are opened: ns.
const LEAD: u64 = 200_000_000;

/// Says when each group is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    clock: Clock,
    /// When the first group is due, ns.
    begin: Option<u64>,
    /// Time of the first group of this pass over the trace, µs since the epoch.
    first: Option<i64>,
    /// When this pass began, and how late its last group is: ns after the beginning.
    pass: f64,
    last: f64,
    /// Operations so far.
    operations: u64,
}

impl Schedule {
    pub(crate) fn new(pace: Pace, clock: Clock) -> Self {
        let (begin, first) = (None, None);
        Self { pace, clock, begin, first, pass: 0.0, last: 0.0, operations: 0 }
    }

    /// Writes into `group` when it is due.
    pub(crate) fn set(&mut self, group: &mut Group) {
        let lead = if self.pace.depth().is_some() { 0 } else { LEAD };
        let begin = *self.begin.get_or_insert_with(|| self.clock.now() + lead);
        let first = *self.first.get_or_insert(group.ts);
        #[expect(clippy::cast_precision_loss, reason = "exact to the µs for 285 years")]
        let after = match self.pace {
            Pace::Recorded(speed) => {
                self.pass + group.ts.saturating_sub(first).max(0) as f64 * 1000.0 / speed
            }
            Pace::Rate(rate) => self.operations as f64 * 1e9 / rate,
            Pace::Max(_) => 0.0,
        };
        self.operations += group.operations();
        self.last = self.last.max(after);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is not")]
        let after = after as u64;
        group.due = begin.saturating_add(after);
    }

    /// The trace begins again.
    pub(crate) fn next_pass(&mut self) {
        (self.pass, self.first) = (self.last, None);
    }

    /// When the first group was due, ns; `None` if there was none.
    pub(crate) fn began(&self) -> Option<u64> {
        self.begin
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Pace, Schedule};
    use crate::request::{Group, Kind};

    fn dues(pace: Pace, times: &[i64]) -> Vec<u64> {
        let mut schedule = Schedule::new(pace, Clock::start());
        let mut due = |ts| {
            let mut group = Group::new(1, ts, Kind::Open);
            schedule.set(&mut group);
            group.due
        };
        let dues: Vec<u64> = times.iter().map(|&ts| due(ts)).collect();
        dues.iter().map(|due| due - dues[0]).collect()
    }

    #[test]
    fn gaps_are_as_recorded_or_scaled() {
        let times = [1_790_000_000_000_000, 1_790_000_000_000_007, 1_790_000_100_000_000];
        assert_eq!(dues(Pace::Recorded(1.0), &times), [0, 7000, 100_000_000_000]);
        assert_eq!(dues(Pace::Recorded(4.0), &times), [0, 1750, 25_000_000_000]);
        assert_eq!(dues(Pace::Max(1), &times), [0, 0, 0]);
    }

    #[test]
    fn a_second_pass_begins_where_the_first_ended() {
        let mut schedule = Schedule::new(Pace::Recorded(2.0), Clock::start());
        let due = |schedule: &mut Schedule, ts| {
            let mut group = Group::new(1, ts, Kind::Open);
            schedule.set(&mut group);
            group.due
        };
        let first = due(&mut schedule, 500);
        due(&mut schedule, 1500);
        schedule.next_pass();
        assert_eq!(due(&mut schedule, 500) - first, 500_000);
        assert_eq!(due(&mut schedule, 700) - first, 600_000);
    }
}
