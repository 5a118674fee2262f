//! The clock by which a capture is played back. Pure.

use std::time::{Duration, Instant};

/// The fastest and the slowest.
const SPEEDS: (f64, f64) = (1.0 / 64.0, 65_536.0);

/// The time of a capture that is played back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// µs since the epoch.
    at: f64,
    pub(super) speed: f64,
    pub(super) paused: bool,
    /// When it was looked at last.
    since: Instant,
}

impl Pace {
    /// From `start`, µs since the epoch, `speed` times as fast as it was.
    pub(super) fn new(start: i64, speed: f64, now: Instant) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
        let at = start as f64;
        Self { at, speed: speed.clamp(SPEEDS.0, SPEEDS.1), paused: false, since: now }
    }

    /// Moves on, but not beyond `end`, and says to where.
    pub(super) fn advance(&mut self, now: Instant, end: i64) -> i64 {
        let passed = now.saturating_duration_since(self.since);
        self.since = now;
        #[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
        let end = end as f64;
        if !self.paused && self.at < end {
            self.at = (self.at + passed.as_secs_f64() * 1e6 * self.speed).min(end);
        }
        self.at()
    }

    /// Where it stands, µs since the epoch.
    pub(super) fn at(&self) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "it was an i64, or less than one")]
        let at = self.at as i64;
        at
    }

    /// How long it takes until `ts`; `None` while it is paused.
    pub(super) fn until(&self, ts: i64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
        let seconds = (ts as f64 - self.at).max(0.0) / 1e6 / self.speed;
        (!self.paused).then(|| Duration::from_secs_f64(seconds.min(60.0)))
    }

    /// Twice as fast, or half.
    pub(super) fn change(&mut self, faster: bool) {
        let speed = self.speed * if faster { 2.0 } else { 0.5 };
        self.speed = speed.clamp(SPEEDS.0, SPEEDS.1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Pace;

    #[test]
    fn time_passes_as_fast_as_it_is_told_to() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut pace = Pace::new(1_000_000, 1.0, begin);
        assert_eq!(pace.advance(after(1), 60_000_000), 2_000_000);
        pace.change(true);
        assert_eq!(pace.advance(after(2), 60_000_000), 4_000_000);
        assert_eq!(pace.until(6_000_000), Some(Duration::from_secs(1)));
        pace.paused = true;
        assert_eq!(pace.advance(after(20), 60_000_000), 4_000_000);
        assert_eq!(pace.until(6_000_000), None);
        pace.paused = false;
        assert_eq!(pace.advance(after(100), 60_000_000), 60_000_000);
        (0..100).for_each(|_| pace.change(true));
        assert!(pace.speed < 1e5);
    }
}
