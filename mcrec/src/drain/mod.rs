//! Thread 1: empties the ring into batches and hands them on. Nothing else.

mod kernel_ring;
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
use kernel_ring::KernelRing;
use ring::Ring;

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
    let pause = pause(maps.bytes());
    Ok(match maps {
        RingMaps::Ours { blocks, positions } => {
            drain(&mut Ring::open(blocks, positions)?, pause, batches, control)
        }
        RingMaps::Kernels(ring) => drain(&mut KernelRing::open(ring)?, pause, batches, control),
    })
}

/// A ring, as the recorder sees it.
trait Records {
    /// Bytes that are taken, whether their records are complete or not.
    fn used(&self) -> u64;
    /// Gives out records, `most` of them if there are so many.
    fn take(&mut self, most: usize, record: impl FnMut(&[u8])) -> Taken;
}

/// What was taken from a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// As many records as were asked for.
    Some,
    /// All that there were.
    All,
    /// Those before one that a program has not finished writing.
    UpToUnfinished,
}

fn drain(ring: &mut impl Records, pause: Duration, batches: &Filled, control: &Control) -> bool {
    let Some(mut batch) = batches.empty() else { return false };
    let mut unfinished: Option<Instant> = None;
    while !control.end_now.load(Ordering::Acquire) {
        // Read before consuming: what was there when it was set is drained.
        let last = control.end_when_empty.load(Ordering::Acquire);
        let used = ring.used();
        control.ring_used.store(used, Ordering::Relaxed);
        control.ring_peak.fetch_max(used, Ordering::Relaxed);
        let began = host::monotonic_ns();
        let taken = fill(&mut batch, ring);
        if !batch.is_empty() {
            // Where all are full, this waits.
            let Some(next) = batches.empty() else { return false };
            if !batches.send(std::mem::replace(&mut batch, next)) {
                return false;
            }
        }
        if taken == Taken::All {
            control.drained_to.store(began, Ordering::Release);
            if last {
                return false;
            }
        }
        // That it is to end when empty is said when no program runs any more.
        if last && taken == Taken::UpToUnfinished {
            let since = unfinished.get_or_insert_with(Instant::now);
            if since.elapsed() >= UNFINISHED_AT_MOST {
                return true;
            }
        }
        if taken != Taken::Some {
            // Until then, or until it is told to end.
            thread::park_timeout(pause);
        }
    }
    true
}

/// Fills the batch.
fn fill(batch: &mut RawBatch, ring: &mut impl Records) -> Taken {
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
