//! When to commit.

use std::time::{Duration, Instant};

/// The times of commits.
#[derive(Debug)]
pub(crate) struct Schedule {
    every: Duration,
    interval: Duration,
    last: Instant,
    /// Bytes of the longest footer so far, which is the last one that was written,
    footer: u64,
    /// and of all of them.
    footers: u64,
}

impl Schedule {
    /// Footers may take one byte of this many that are written,
    const FOOTER_SHARE: u64 = 50;
    /// or this many in all: a slow recording has small files and small footers.
    const FOOTERS_FREE: u64 = 8 << 20;
    /// However slow the recording, this is the most that a crash may cost.
    const LONGEST: Duration = Duration::from_mins(1);
    /// Row groups that are whole wait until they have so many times the bytes of the
    /// footer that their commit costs,
    const WORTH: u64 = 2;
    /// or this many: they wait in memory.
    const WAITING_MAX: u64 = 64 << 20;

    /// With commits `every` so often, if that is not too often.
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, interval: every, last: Instant::now(), footer: 0, footers: 0 }
    }

    /// Time between commits that is in force now.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// How long until the next commit.
    pub(crate) fn due_in(&self) -> Duration {
        self.interval.saturating_sub(self.last.elapsed())
    }

    /// Whether row groups of so many bytes should be committed now, whatever the time.
    pub(crate) fn is_worth_it(&self, bytes: u64) -> bool {
        bytes >= (self.footer * Self::WORTH).min(Self::WAITING_MAX)
    }

    /// A commit wrote a footer, and the file now has `file_bytes`. Each footer
    /// holds all row groups so far, so on a long recording they would come to
    /// be most of what is written: then commits are spaced.
    pub(crate) fn done(&mut self, footer_bytes: u64, file_bytes: u64) {
        self.last = Instant::now();
        self.footer = self.footer.max(footer_bytes);
        self.footers += footer_bytes;
        let allowed = (file_bytes / Self::FOOTER_SHARE).max(Self::FOOTERS_FREE);
        self.interval = if self.footers + footer_bytes <= allowed {
            (self.interval / 2).max(self.every)
        } else {
            (self.interval * 2).min(Self::LONGEST).max(self.every)
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Schedule;

    /// The interval after each of `commits` commits that leave footers of
    /// `footer` and row groups of `group` bytes.
    fn interval(commits: u64, footer: u64, group: u64) -> Duration {
        let mut clock = Schedule::new(Duration::from_secs(5));
        for number in 1..=commits {
            clock.done(footer * number, group * number);
        }
        clock.interval
    }

    #[test]
    fn commits_are_spaced_when_footers_would_outgrow_the_data() {
        // Two minutes of a slow recording: as asked.
        assert_eq!(interval(24, 2_500, 1_000), Duration::from_secs(5));
        // Hours of one: a minute at most.
        assert_eq!(interval(1_000, 2_500, 1_000), Duration::from_mins(1));
        // Much data: as asked, however many commits there were.
        assert_eq!(interval(90, 2_500, 6 << 20), Duration::from_secs(5));
    }

    #[test]
    fn row_groups_that_are_whole_wait_only_for_a_long_footer() {
        let mut clock = Schedule::new(Duration::from_secs(5));
        assert!(clock.is_worth_it(1));
        clock.done(1 << 20, 1 << 30);
        assert!(!clock.is_worth_it((2 << 20) - 1));
        assert!(clock.is_worth_it(2 << 20));
        clock.done(1 << 30, 1 << 40);
        assert!(clock.is_worth_it(64 << 20));
    }

    #[test]
    fn an_interval_longer_than_the_longest_is_kept() {
        let mut clock = Schedule::new(Duration::from_mins(5));
        clock.done(1 << 40, 0);
        assert_eq!(clock.interval, Duration::from_mins(5));
    }
}
