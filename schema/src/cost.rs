//! What recording cost.

use serde::{Deserialize, Serialize};

/// What recording cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// By BPF program; empty where that is not known.
    pub programs: Vec<ProgramCost>,
    /// CPU time of mcrec, user and system, seconds.
    pub cpu_s: f64,
    /// Peak resident memory of mcrec, bytes.
    pub peak_memory: u64,
    /// The most bytes that waited on the ring; 0 where that was not counted.
    #[serde(default)]
    pub ring_peak: u64,
}

impl Cost {
    /// Run time of all programs together, ns.
    pub fn run_time_ns(&self) -> u64 {
        self.programs.iter().map(|program| program.run_time_ns).sum()
    }

    /// Runs of all programs together.
    pub fn run_count(&self) -> u64 {
        self.programs.iter().map(|program| program.run_count).sum()
    }

    /// What came after `before`, which was counted earlier. The peaks are
    /// those of all time.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let programs = self.programs.iter().map(|program| {
            let earlier = before.programs.iter().find(|earlier| earlier.name == program.name);
            let (runs, time) = earlier.map_or((0, 0), |e| (e.run_count, e.run_time_ns));
            ProgramCost {
                name: program.name.clone(),
                run_count: program.run_count.saturating_sub(runs),
                run_time_ns: program.run_time_ns.saturating_sub(time),
            }
        });
        Self {
            programs: programs.collect(),
            cpu_s: (self.cpu_s - before.cpu_s).max(0.0),
            peak_memory: self.peak_memory,
            ring_peak: self.ring_peak,
        }
    }
}

/// What one BPF program cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramCost {
    /// Name of the program.
    pub name: String,
    /// How often it ran in the target.
    pub run_count: u64,
    /// For how long, ns, in all, by those of its runs that were timed.
    pub run_time_ns: u64,
}
