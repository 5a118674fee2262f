//! The BPF programs: loaded, attached, switched on and off, and what they cost.

mod features;
mod info;
mod ring;
mod skeleton;
mod stack;
mod statistics;
mod syscalls;
mod usdt;

use std::{
    fs,
    mem::{MaybeUninit, size_of, take},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex,
        atomic::{Ordering, fence},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};
use libbpf_rs::{Link, MapHandle, OpenObject, PrintLevel};
use mcrec_schema::sample;
use rustix::thread::{MembarrierCommand, membarrier};

use crate::{
    kernel::Kernel,
    plan::{Kind, Plan},
    sample::OneIn,
    target::Target,
};

/// The types of `bpf/mcrec.h`, as the compiler of the BPF programs laid them out.
pub(crate) use usdt::types as record;

pub(crate) use features::find as find_features;
pub(crate) use ring::{Layout, RingMaps};
use skeleton::Skeleton;
use statistics::Skipped;
pub(crate) use statistics::{Missed, Statistics};

const _: () = assert!(size_of::<record::mcrec_head>() == 32);
const _: () = assert!(size_of::<record::mcrec_operation>() == 32 + 4 * 8 + 256);
const _: () = assert!(size_of::<record::mcrec_address>() == 20);
const _: () = assert!(size_of::<record::mcrec_connect>() == 32 + 20 + 4);
const _: () = assert!(size_of::<record::mcrec_read>() == 32 + 16);
const _: () = assert!(size_of::<record::mcrec_send>() == 32 + 16);
const _: () = assert!(size_of::<record::mcrec_segment>() == 8);
const _: () = assert!(size_of::<record::mcrec_counters>() == 64);
const _: () = assert!(size_of::<record::mcrec_runs>() == 24);
const _: () = assert!(size_of::<record::mcrec_positions>() == 256);

/// Room for the object that [`Probes`] borrows.
pub(crate) type Storage = MaybeUninit<OpenObject>;

/// The loaded programs, attached to the target and switched off until [`Probes::start`].
pub(crate) struct Probes<'a> {
    programs: Box<dyn Skeleton + 'a>,
    kind: Kind,
    links: Vec<Link>,
    /// A copy of the descriptor of each link, for [`Probes::detach`].
    copies: Vec<OwnedFd>,
    /// Programs may still be under way a while after detaching.
    preemptible: bool,
}

impl<'a> Probes<'a> {
    /// Loads the programs of `plan`, in the form that `kernel` takes, and attaches them to
    /// `target`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, with what it refused and libbpf's reason.
    pub(crate) fn attach(
        storage: &'a mut Storage,
        plan: &Plan,
        target: &Target,
        kernel: &Kernel,
        ring_size: u32,
    ) -> Result<Self> {
        let programs = load(storage, plan, target, kernel, ring_size)?;
        let links = programs
            .object()
            .progs_mut()
            .filter(|program| program.autoload())
            .map(|program| match plan.kind {
                Kind::Usdt => usdt::attach(&program, target),
                Kind::Syscalls => syscalls::attach(&program, target),
            })
            .collect::<Result<Vec<_>>>()?;
        let copies = copies_of_links();
        let links = links.into_iter().flatten().collect();
        let preemptible = plan.skips(kernel).is_some();
        Ok(Self { programs, kind: plan.kind, links, copies, preemptible })
    }

    /// From now on every probe that fires is recorded.
    pub(crate) fn start(&mut self) {
        self.switch(true);
    }

    /// From when this returns on the programs leave out what they can of the keys
    /// that are not in the sample of one key in `one_in`.
    pub(crate) fn sample(&mut self, one_in: OneIn) {
        // Below 2^32 there is room for all but that of every key, which is 0.
        let limit = u32::try_from(sample::limit(one_in)).unwrap_or(0);
        if let Some(sample_limit) = self.programs.sample_limit() {
            *sample_limit = limit;
        }
        // Seen by every CPU before anything that the caller does next.
        fence(Ordering::SeqCst);
    }

    /// From now on no probe that fires is recorded.
    pub(crate) fn pause(&mut self) {
        self.switch(false);
    }

    fn switch(&mut self, on: bool) {
        if let Some(recording) = self.programs.recording() {
            *recording = on;
        }
    }

    /// Detaches: when this returns, no program runs any more.
    ///
    /// When the last descriptor of a link is closed, the kernel waits until no
    /// program can be running, which can take a second on a busy machine. So the
    /// last ones are copies, closed all at once: libbpf closes its own one after
    /// the other, and its links of USDT probes are not safe to drop on threads.
    pub(crate) fn detach(&mut self) {
        self.links.clear();
        thread::scope(|scope| {
            for copy in self.copies.drain(..) {
                // Without a thread it is closed here and now.
                let _ = thread::Builder::new().spawn_scoped(scope, move || drop(copy));
            }
        });
        // For a raw tracepoint the kernel does not wait. This does, for every
        // program that runs with preemption off. Where it is not to be had, or programs
        // may be preempted, they are long done by then.
        if membarrier(MembarrierCommand::Global).is_err() || self.preemptible {
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The ring, for the thread that drains it.
    ///
    /// # Errors
    ///
    /// When a descriptor cannot be duplicated.
    pub(crate) fn ring(&self) -> Result<RingMaps> {
        skeleton::ring(self.programs.object())
    }

    /// The kernel's counters.
    ///
    /// # Errors
    ///
    /// When its descriptor cannot be duplicated.
    pub(crate) fn counters(&self) -> Result<MapHandle> {
        skeleton::map(self.programs.object(), "counters")
    }

    /// The programs' statistics.
    ///
    /// # Errors
    ///
    /// When a descriptor cannot be duplicated.
    pub(crate) fn statistics(&self) -> Result<Statistics> {
        let programs = self.programs.object().progs_mut().filter(|program| program.autoload());
        let programs = programs.map(|program| {
            let name = program.name().to_string_lossy().into_owned();
            let known = (self.number(&name), self.skipped(&name));
            statistics::Program::new(name, known, program.as_fd())
        });
        let runs = skeleton::map(self.programs.object(), "runs")?;
        Ok(Statistics::new(programs.collect::<Result<_>>()?, runs))
    }

    /// What a run of a program that the kernel skipped would have seen.
    fn skipped(&self, program: &str) -> Skipped {
        match self.kind {
            Kind::Syscalls => Skipped::Perhaps,
            Kind::Usdt if program.starts_with("command_") => Skipped::Operation,
            Kind::Usdt => Skipped::Boundary,
        }
    }

    /// The number of a program in `runs` of `bpf/shared.bpf.h`.
    fn number(&self, program: &str) -> u32 {
        let number = match self.kind {
            Kind::Usdt => usdt::PROGRAMS
                .iter()
                .position(|name| *name == program)
                .and_then(|position| u32::try_from(position).ok()),
            Kind::Syscalls => syscalls::PROGRAMS
                .iter()
                .find(|(name, ..)| *name == program)
                .map(|(_, number, _)| *number),
        };
        number.unwrap_or(u32::MAX)
    }
}

/// Loads the programs of `plan`, and looks at what the kernel made of them.
fn load<'a>(
    storage: &'a mut Storage,
    plan: &Plan,
    target: &Target,
    kernel: &Kernel,
    ring_size: u32,
) -> Result<Box<dyn Skeleton + 'a>> {
    collect_libbpf_warnings();
    let ring = Layout::of(ring_size);
    let programs = match plan.kind {
        Kind::Usdt => usdt::load(storage, plan, target, kernel, ring)?,
        Kind::Syscalls => syscalls::load(storage, plan, target, kernel, ring)?,
    };
    stack::refuse_private_stacks(programs.object())?;
    Ok(programs)
}

/// Loads the programs of `plan`, to see whether the kernel takes them, and attaches nothing.
///
/// # Errors
///
/// As those of [`Probes::attach`].
pub(crate) fn try_to_load(plan: &Plan, target: &Target, kernel: &Kernel) -> Result<()> {
    const RING: u32 = 1 << 16;
    load(&mut Storage::uninit(), plan, target, kernel, RING).map(|_| ())
}

/// A copy of each descriptor of this process that is a BPF link. None, and so no
/// waiting together, on kernels before 6.6: there libbpf uses perf events.
fn copies_of_links() -> Vec<OwnedFd> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().contains("bpf_link"))
        })
        .filter_map(|entry| {
            let descriptor = entry.file_name().to_str()?.parse().ok()?;
            // SAFETY: it was open when it was listed, and nobody closes it before
            // the caller, who holds the links and is the only thread, goes on.
            let link = unsafe { BorrowedFd::borrow_raw(descriptor) };
            link.try_clone_to_owned().ok()
        })
        .collect()
}

/// What libbpf said since it was last asked: the reasons behind an error number.
static LIBBPF_WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn collect_libbpf_warnings() {
    fn collect(_: PrintLevel, text: String) {
        if let Ok(mut warnings) = LIBBPF_WARNINGS.lock() {
            warnings.push(text.trim_end().to_owned());
        }
    }
    libbpf_rs::set_print(Some((PrintLevel::Warn, collect)));
}

fn refused_to_load(error: &libbpf_rs::Error) -> anyhow::Error {
    refused(error, "the kernel refused the BPF programs (see mcrec --check)")
}

fn refused(error: &libbpf_rs::Error, what: &str) -> anyhow::Error {
    /// A refused program comes with the verifier's whole log: its end tells.
    const LINES: usize = 12;
    let warnings = LIBBPF_WARNINGS.lock().map(|mut warnings| take(&mut *warnings));
    let warnings = warnings.unwrap_or_default().join("\n");
    let lines: Vec<&str> = warnings.lines().collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
    if error.kind() == libbpf_rs::ErrorKind::PermissionDenied {
        return anyhow!(
            "{what}: permission denied. It needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE, \
             and a container must allow the bpf and perf_event_open system calls\n  {last}"
        );
    }
    if error.kind() == libbpf_rs::ErrorKind::OutOfMemory {
        return anyhow!("{what}: no memory for them; try a smaller --buffer-size\n  {last}");
    }
    anyhow!("{what}: {error}\n  {last}")
}
