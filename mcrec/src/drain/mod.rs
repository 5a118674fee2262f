//! Thread 1: empties the ring into batches and hands them on. Nothing else.

mod ring;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    host,
    probe::RingMaps,
    raw::{Filled, RawBatch},
};
use ring::{Ring, Taken};

/// Records taken before looking whether the batch is full.
const ROUND_RECORDS: usize = 64;
/// How long a record that nobody can be writing is waited for.
const UNFINISHED_AT_MOST: Duration = Duration::from_secs(1);

/// What the drain is told, and what it tells, while it runs.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// End when the ring is empty. Set once no program can add to it any more.
    pub(crate) end_when_empty: AtomicBool,
    /// End now, whatever the ring still holds.
    pub(crate) end_now: AtomicBool,
    /// Bytes on the ring when it was last looked at.
    pub(crate) ring_used: AtomicU64,
    /// The most that there ever were.
    pub(crate) ring_peak: AtomicU64,
    /// `CLOCK_MONOTONIC`, ns: what was put on the ring before has been handed on.
    pub(crate) drained_to: AtomicU64,
}

/// Drains the ring until told to stop, or until nobody receives any more. Whether records
/// are left on it: it was told not to wait, or one of them will never be finished.
///
/// # Errors
///
/// When the ring cannot be mapped.
pub(crate) fn run(maps: &RingMaps, batches: &Filled, control: &Control) -> Result<bool> {
    let mut ring = Ring::open(maps)?;
    let pause = pause(maps.layout().bytes());
    let Some(mut batch) = batches.empty() else { return Ok(false) };
    let mut unfinished: Option<Instant> = None;
    while !control.end_now.load(Ordering::Acquire) {
        // Read before consuming: what was there when it was set is drained.
        let last = control.end_when_empty.load(Ordering::Acquire);
        let used = ring.used();
        control.ring_used.store(used, Ordering::Relaxed);
        control.ring_peak.fetch_max(used, Ordering::Relaxed);
        let began = host::monotonic_ns();
        let taken = fill(&mut batch, &mut ring);
        if !batch.is_empty() {
            // Where all are full, this waits.
            let Some(next) = batches.empty() else { return Ok(false) };
            if !batches.send(std::mem::replace(&mut batch, next)) {
                return Ok(false);
            }
        }
        if taken == Taken::All {
            control.drained_to.store(began, Ordering::Release);
            if last {
                return Ok(false);
            }
        }
        // That it is to end when empty is said when no program runs any more.
        if last && taken == Taken::UpToUnfinished {
            let since = unfinished.get_or_insert_with(Instant::now);
            if since.elapsed() >= UNFINISHED_AT_MOST {
                return Ok(true);
            }
        }
        if taken != Taken::Some {
            // Until then, or until it is told to end.
            thread::park_timeout(pause);
        }
    }
    Ok(true)
}

/// Fills the batch.
fn fill(batch: &mut RawBatch, ring: &mut Ring) -> Taken {
    while !batch.is_full() {
        let taken = ring.take(ROUND_RECORDS, |record| batch.push(record));
        if taken != Taken::Some {
            return taken;
        }
    }
    Taken::Some
}

/// The programs never wake us: a wake-up a record would cost the server more
/// than all the rest. So the ring is looked at every few milliseconds, small
/// ones more often: in less time than 100 MB/s, a million operations, would take
/// to fill it.
fn pause(ring_bytes: u32) -> Duration {
    const BYTES_PER_SECOND: f64 = 100e6;
    let fills_in = Duration::from_secs_f64(f64::from(ring_bytes) / BYTES_PER_SECOND);
    (fills_in / 4).clamp(Duration::from_micros(200), Duration::from_millis(50))
}
