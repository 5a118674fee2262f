//! The kernel's counts of what it saw and lost, and how they add up.

use std::mem::size_of;

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use mcrec_schema::footer::{Incomplete, Loss, Losses, Possible};

use crate::probe::{Missed, Statistics, record::mcrec_counters};

/// Reads the counters of the BPF programs.
pub(crate) struct KernelCounts {
    counters: MapHandle,
    statistics: Statistics,
}

/// What the kernel counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    operations: u64,
    ring_full: u64,
    argument_unreadable: u64,
    connection_untracked: u64,
    missed: Missed,
    context_lost: u64,
    key_unreadable: u64,
    sampled_out: u64,
    requests_without_operation: u64,
}

/// What happened to the records on this side of the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Records taken of those that the kernel counts.
    pub(crate) counted_records: u64,
    /// Rows in the file.
    pub(crate) written: u64,
    /// Reads of connections that were out of step.
    pub(crate) unsynced: u64,
    /// Times that a connection fell out of step for what it carried.
    pub(crate) decode_errors: u64,
    /// Records that were none.
    pub(crate) malformed: u64,
    /// Decoded, but the file could not be written any more.
    pub(crate) write_failed: u64,
    /// Operations outside of the sample, which are no loss.
    pub(crate) sampled_out: u64,
}

/// How a recording stands when its losses are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There may be records on the ring.
    Recording,
    /// The ring was drained to empty after the last program had run.
    Drained,
    /// What was on the ring was left there.
    Abandoned,
}

impl KernelCounts {
    /// Counts from these. Reads them once: libbpf then knows of `/sys` what it needs
    /// to read them where `/sys` is out of reach.
    ///
    /// # Errors
    ///
    /// When the kernel does not give them.
    pub(crate) fn new(counters: MapHandle, statistics: Statistics) -> Result<Self> {
        let counts = Self { counters, statistics };
        counts.read()?;
        Ok(counts)
    }

    /// The programs' statistics.
    pub(crate) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The counts now.
    ///
    /// # Errors
    ///
    /// When the kernel does not give them.
    pub(crate) fn read(&self) -> Result<Seen> {
        let per_cpu = self
            .counters
            .lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)
            .context("cannot read the loss counters")?
            .context("the loss counters are gone")?;
        let missed = self.statistics.missed();
        let mut seen = Seen { missed, ..Seen::default() };
        for bytes in &per_cpu {
            anyhow::ensure!(bytes.len() >= size_of::<mcrec_counters>(), "loss counters cut short");
            // SAFETY: the bytes are there, the read is unaligned, and
            // mcrec_counters is integers only.
            let counters = unsafe { bytes.as_ptr().cast::<mcrec_counters>().read_unaligned() };
            seen.add(&counters);
        }
        // A program that was skipped did not count its operation.
        seen.operations += missed.operations;
        Ok(seen)
    }
}

impl Seen {
    fn add(&mut self, counters: &mcrec_counters) {
        self.operations += counters.operations;
        self.ring_full += counters.ring_full;
        self.argument_unreadable += counters.argument_unreadable;
        self.connection_untracked += counters.connection_untracked;
        self.context_lost += counters.context_lost;
        self.key_unreadable += counters.key_unreadable;
        self.sampled_out += counters.sampled_out;
        self.requests_without_operation += counters.requests_without_operation;
    }

    /// Requests that began and ended without showing an operation.
    pub(crate) fn requests_without_operation(&self) -> u64 {
        self.requests_without_operation
    }

    /// Operations lost in the kernel so far, and reads or replies that may be missing too.
    pub(crate) fn lost(&self) -> (u64, u64) {
        let loss = self.loss(&Taken::default(), State::Recording);
        (loss.losses.total(), loss.possible.total())
    }

    /// Operations outside of the sample, left out by the kernel or on this side. The
    /// kernel counts its own nowhere else.
    pub(crate) fn sampled_out(&self, taken: &Taken) -> u64 {
        self.sampled_out + taken.sampled_out
    }

    /// Adds up what the kernel saw and what became of it, without the series.
    ///
    /// While recording, operations on their way are neither written nor lost,
    /// and so not yet seen. At the end whatever the kernel saw and nobody
    /// counted is a loss too.
    pub(crate) fn loss(&self, taken: &Taken, state: State) -> Loss {
        let mut losses = Losses {
            ring_full: self.ring_full,
            argument_unreadable: self.argument_unreadable,
            connection_untracked: self.connection_untracked,
            probe_missed: self.missed.operations,
            record_malformed: taken.malformed,
            ..Losses::default()
        };
        let missing = self.operations.saturating_sub(taken.counted_records + losses.total());
        losses.connection_unsynced = taken.unsynced;
        losses.decode_error = taken.decode_errors;
        losses.write_failed = taken.write_failed;
        match state {
            State::Recording => {}
            State::Drained => losses.unaccounted = missing,
            State::Abandoned => losses.abandoned = missing,
        }
        Loss {
            seen: taken.written + losses.total(),
            written: taken.written,
            losses,
            incomplete: Incomplete {
                request_boundaries_lost: self.context_lost + self.missed.boundaries,
                key_unreadable: self.key_unreadable,
            },
            possible: Possible { skipped_runs: self.missed.possible },
            ..Loss::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Missed, Seen, State, Taken};

    #[test]
    fn what_is_seen_is_written_or_lost() {
        let missed = Missed { operations: 1, ..Missed::default() };
        let seen = Seen { operations: 100, ring_full: 7, missed, ..Seen::default() };
        // Of the 85 that were taken, four were beyond --max-events, and one was not
        // written.
        let taken = Taken {
            counted_records: 85,
            written: 80,
            malformed: 2,
            write_failed: 1,
            ..Taken::default()
        };
        for (state, unaccounted, abandoned) in
            [(State::Recording, 0, 0), (State::Drained, 5, 0), (State::Abandoned, 0, 5)]
        {
            let loss = seen.loss(&taken, state);
            assert_eq!(loss.losses.unaccounted, unaccounted);
            assert_eq!(loss.losses.abandoned, abandoned);
            assert_eq!(loss.seen, loss.written + loss.losses.total());
        }
        // At the end: all that the kernel saw, but for what nobody wanted.
        assert_eq!(seen.loss(&taken, State::Drained).seen, 100 - 4);
    }

    #[test]
    fn what_the_kernel_skipped_is_lost_incomplete_or_possibly_lost() {
        let missed = Missed { operations: 3, boundaries: 5, possible: 7 };
        let seen = Seen { operations: 3, context_lost: 2, missed, ..Seen::default() };
        let loss = seen.loss(&Taken::default(), State::Drained);
        assert_eq!((loss.losses.probe_missed, loss.losses.total(), loss.seen), (3, 3, 3));
        assert_eq!(loss.incomplete.request_boundaries_lost, 2 + 5);
        assert_eq!(loss.possible.skipped_runs, 7);
        assert!(!loss.is_none());
        assert_eq!(seen.lost(), (3, 7));
    }
}
