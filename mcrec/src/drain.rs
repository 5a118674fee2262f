//! Thread 1: empties the ring into batches and hands them on. Nothing else.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use libbpf_rs::{AsRawLibbpf, MapCore, MapHandle, RingBuffer, RingBufferBuilder};

use crate::{
    host,
    raw::{Filled, RawBatch},
};

/// Records taken before looking whether the batch is full.
const ROUND_RECORDS: usize = 64;

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

/// Drains the ring until told to stop, or until nobody receives any more.
///
/// # Errors
///
/// When the ring cannot be opened or read.
pub(crate) fn run(ring: &MapHandle, batches: &Filled, control: &Control) -> Result<()> {
    let pause = pause(ring.max_entries());
    let Some(first) = batches.empty() else { return Ok(()) };
    let batch = RefCell::new(first);
    let mut builder = RingBufferBuilder::new();
    // Called from C: it must not panic, and it does nothing but copy.
    builder
        .add(ring, |record| {
            batch.borrow_mut().push(record);
            0
        })
        .context("cannot open the ring buffer")?;
    let ring = builder.build().context("cannot open the ring buffer")?;
    while !control.end_now.load(Ordering::Acquire) {
        // Read before consuming: what was there when it was set is drained.
        let last = control.end_when_empty.load(Ordering::Acquire);
        let used = used(&ring);
        control.ring_used.store(used, Ordering::Relaxed);
        control.ring_peak.fetch_max(used, Ordering::Relaxed);
        let began = host::monotonic_ns();
        let emptied = fill(&batch, &ring)?;
        if !batch.borrow().is_empty() {
            // Where all are full, this waits.
            let Some(next) = batches.empty() else { return Ok(()) };
            if !batches.send(batch.replace(next)) {
                return Ok(());
            }
        }
        if !emptied {
            continue;
        }
        control.drained_to.store(began, Ordering::Release);
        if last {
            return Ok(());
        }
        thread::sleep(pause);
    }
    Ok(())
}

/// Fills the batch. Whether that emptied the ring.
fn fill(batch: &RefCell<RawBatch>, ring: &RingBuffer<'_>) -> Result<bool> {
    while !batch.borrow().is_full() {
        match usize::try_from(ring.consume_raw_n(ROUND_RECORDS)) {
            Ok(ROUND_RECORDS) => {}
            Ok(_) => return Ok(true),
            Err(_) => bail!("cannot read the ring buffer any more"),
        }
    }
    Ok(false)
}

fn used(ring: &RingBuffer<'_>) -> u64 {
    // SAFETY: the manager is alive, and its first ring, the only one, with it.
    unsafe {
        let ring = libbpf_sys::ring_buffer__ring(ring.as_libbpf_object().as_ptr(), 0);
        libbpf_sys::ring__avail_data_size(ring)
    }
}

/// The programs never wake us: a wake-up a record would cost the server more
/// than all the rest. So the ring is looked at every few milliseconds, small
/// ones more often: in less time than 100 MB/s, a million operations, would take
/// to fill it.
fn pause(ring_bytes: u32) -> Duration {
    const BYTES_PER_SECOND: f64 = 100e6;
    let fills_in = Duration::from_secs_f64(f64::from(ring_bytes) / BYTES_PER_SECOND);
    (fills_in / 4).clamp(Duration::from_micros(200), Duration::from_millis(10))
}
