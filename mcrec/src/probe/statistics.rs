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

/// A loaded program.
pub(super) struct Program {
    name: String,
    /// In `runs`.
    number: u32,
    fd: OwnedFd,
}

impl Program {
    pub(super) fn new(name: String, number: u32, fd: BorrowedFd<'_>) -> Result<Self> {
        let fd = fd.try_clone_to_owned().context("cannot share a program")?;
        Ok(Self { name, number, fd })
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

    /// How often the kernel skipped a program: for command probes, and for the others.
    pub(crate) fn missed(&self) -> (u64, u64) {
        self.programs.iter().fold((0, 0), |(commands, context), program| {
            let missed = info(program.fd.as_fd()).map_or(0, |info| info.recursion_misses);
            if program.name.starts_with("command_") {
                (commands + missed, context)
            } else {
                (commands, context + missed)
            }
        })
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
