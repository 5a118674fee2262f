//! What the BPF programs cost, and how often the kernel skipped them.

use std::{
    mem::size_of,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use mcrec_schema::footer::ProgramCost;

use super::{info::info, record::mcrec_runs};

/// What the programs count of themselves, and the kernel of them.
pub(crate) struct Statistics {
    programs: Vec<Program>,
    /// `runs` of `bpf/shared.bpf.h`.
    runs: MapHandle,
}

/// What a run that the kernel skipped would have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// An operation of the target.
    Operation,
    /// The beginning or end of a request or connection of the target.
    Boundary,
    /// A read or a reply, if it was one of the target.
    Perhaps,
}

/// How often the kernel skipped programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// Operations that nobody saw.
    pub(crate) operations: u64,
    /// Beginnings and ends of requests and connections.
    pub(crate) boundaries: u64,
    /// Reads or replies, at most.
    pub(crate) possible: u64,
}

/// A loaded program.
pub(super) struct Program {
    name: String,
    skipped: Skipped,
    /// In `runs`.
    number: u32,
    fd: OwnedFd,
}

impl Missed {
    fn add(&mut self, skipped: Skipped, runs: u64) {
        let count = match skipped {
            Skipped::Operation => &mut self.operations,
            Skipped::Boundary => &mut self.boundaries,
            Skipped::Perhaps => &mut self.possible,
        };
        *count = count.saturating_add(runs);
    }
}

impl Program {
    pub(super) fn new(
        name: String,
        (number, skipped): (u32, Skipped),
        fd: BorrowedFd<'_>,
    ) -> Result<Self> {
        let fd = fd.try_clone_to_owned().context("cannot share a program")?;
        Ok(Self { name, skipped, number, fd })
    }
}

impl Statistics {
    pub(super) fn new(programs: Vec<Program>, runs: MapHandle) -> Self {
        Self { programs, runs }
    }

    /// What each program cost so far in the target: how often it ran, and, from those
    /// of its runs that were timed, how long that took.
    pub(crate) fn cost(&self) -> Vec<ProgramCost> {
        let programs = self.programs.iter().filter_map(|program| {
            let runs = self.runs_of(program)?;
            let run_time = u128::from(runs.time) * u128::from(runs.count);
            let run_time = run_time.checked_div(u128::from(runs.timed)).unwrap_or(0);
            Some(ProgramCost {
                name: program.name.clone(),
                run_count: runs.count,
                run_time_ns: u64::try_from(run_time).unwrap_or(u64::MAX),
            })
        });
        programs.collect()
    }

    /// How often the kernel skipped programs so far, and what that hid.
    pub(crate) fn missed(&self) -> Missed {
        let mut missed = Missed::default();
        for program in &self.programs {
            let runs = info(program.fd.as_fd()).map_or(0, |info| info.recursion_misses);
            missed.add(program.skipped, runs);
        }
        missed
    }

    /// On all CPUs together.
    fn runs_of(&self, program: &Program) -> Option<mcrec_runs> {
        let key = program.number.to_ne_bytes();
        let per_cpu = self.runs.lookup_percpu(&key, MapFlags::ANY).ok()??;
        let mut sum = mcrec_runs { count: 0, timed: 0, time: 0 };
        for bytes in per_cpu.iter().filter(|bytes| bytes.len() >= size_of::<mcrec_runs>()) {
            // SAFETY: the bytes are there, the read is unaligned, and mcrec_runs is
            // integers only.
            let runs = unsafe { bytes.as_ptr().cast::<mcrec_runs>().read_unaligned() };
            sum.count += runs.count;
            sum.timed += runs.timed;
            sum.time += runs.time;
        }
        Some(sum)
    }
}
