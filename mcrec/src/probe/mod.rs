//! The BPF programs: loaded, attached, switched on and off, and what they cost.

mod syscalls;
mod usdt;

use std::{
    fs,
    mem::{MaybeUninit, size_of},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::{
        Mutex,
        atomic::{Ordering, fence},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use libbpf_rs::{Link, MapHandle, Object, OpenObject, PrintLevel, ProgramMut};
use mcrec_schema::{footer::ProgramCost, sample};
use rustix::thread::{MembarrierCommand, membarrier};

use crate::{
    plan::{Kind, Plan},
    sample::OneIn,
    target::Target,
};

/// The types of `bpf/mcrec.h`, as the compiler of the BPF programs laid them out.
pub(crate) use usdt::types as record;

const _: () = assert!(size_of::<record::mcrec_head>() == 32);
const _: () = assert!(size_of::<record::mcrec_operation>() == 32 + 8 + 8 + 256);
const _: () = assert!(size_of::<record::mcrec_address>() == 20);
const _: () = assert!(size_of::<record::mcrec_connect>() == 32 + 20 + 4);
const _: () = assert!(size_of::<record::mcrec_read>() == 32 + 16);
const _: () = assert!(size_of::<record::mcrec_send>() == 32 + 16);
const _: () = assert!(size_of::<record::mcrec_segment>() == 8);
const _: () = assert!(size_of::<record::mcrec_counters>() == 56);

/// Room for the object that [`Probes`] borrows.
pub(crate) type Storage = MaybeUninit<OpenObject>;

/// The loaded programs of a source.
trait Programs {
    fn object(&self) -> &Object;
    fn attach(&self, program: &ProgramMut<'_>, target: &Target) -> Result<Link>;
    fn switch(&mut self, on: bool);
    /// Sets `sample_limit` of `bpf/sample.bpf.h`.
    fn limit_sample(&mut self, limit: u32);
    fn ring(&self) -> libbpf_rs::Result<MapHandle>;
    fn counters(&self) -> libbpf_rs::Result<MapHandle>;
}

/// The loaded programs, attached to the target and switched off until [`Probes::start`].
pub(crate) struct Probes<'a> {
    programs: Box<dyn Programs + 'a>,
    links: Vec<Link>,
    /// A copy of the descriptor of each link, for [`Probes::detach`].
    copies: Vec<OwnedFd>,
    /// Keeps the kernel's run-time statistics on.
    statistics: Option<OwnedFd>,
}

impl<'a> Probes<'a> {
    /// Loads the programs of `plan` and attaches them to `target`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, with what it refused and libbpf's reason.
    pub(crate) fn attach(
        storage: &'a mut Storage,
        plan: &Plan,
        target: &Target,
        ring_size: u32,
    ) -> Result<Self> {
        collect_libbpf_warnings();
        let programs: Box<dyn Programs + 'a> = match plan.kind {
            Kind::Usdt => Box::new(usdt::Usdt::load(storage, plan, target, ring_size)?),
            Kind::Syscalls => Box::new(syscalls::Syscalls::load(storage, plan, target, ring_size)?),
        };
        let statistics = enable_statistics();
        let links = programs
            .object()
            .progs_mut()
            .filter(|program| program.autoload())
            .map(|program| programs.attach(&program, target))
            .collect::<Result<_>>()?;
        let copies = copies_of_links();
        Ok(Self { programs, links, copies, statistics })
    }

    /// From now on every probe that fires is recorded.
    pub(crate) fn start(&mut self) {
        self.programs.switch(true);
    }

    /// From when this returns on the programs leave out what they can of the keys
    /// that are not in the sample of one key in `one_in`.
    pub(crate) fn sample(&mut self, one_in: OneIn) {
        // Below 2^32 there is room for all but that of every key, which is 0.
        let limit = u32::try_from(sample::limit(one_in)).unwrap_or(0);
        self.programs.limit_sample(limit);
        // Seen by every CPU before anything that the caller does next.
        fence(Ordering::SeqCst);
    }

    /// From now on no probe that fires is recorded.
    pub(crate) fn pause(&mut self) {
        self.programs.switch(false);
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
        // program that runs with preemption off; where it is not to be had, any
        // of them is long done by then.
        if membarrier(MembarrierCommand::Global).is_err() {
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The ring, for the thread that drains it.
    ///
    /// # Errors
    ///
    /// When its descriptor cannot be duplicated.
    pub(crate) fn ring(&self) -> Result<MapHandle> {
        self.programs.ring().context("cannot share the ring buffer")
    }

    /// The kernel's counters.
    ///
    /// # Errors
    ///
    /// When its descriptor cannot be duplicated.
    pub(crate) fn counters(&self) -> Result<MapHandle> {
        self.programs.counters().context("cannot share the counters")
    }

    /// The programs' statistics.
    ///
    /// # Errors
    ///
    /// When a descriptor cannot be duplicated.
    pub(crate) fn statistics(&self) -> Result<Statistics> {
        let programs = self.programs.object().progs_mut().filter(|program| program.autoload());
        let programs = programs
            .map(|program| {
                let fd = program.as_fd().try_clone_to_owned();
                Ok((
                    program.name().to_string_lossy().into_owned(),
                    fd.context("cannot share a program")?,
                ))
            })
            .collect::<Result<_>>()?;
        Ok(Statistics { programs, timed: self.statistics.is_some() })
    }
}

/// The kernel's own statistics of the programs.
pub(crate) struct Statistics {
    /// Name and descriptor of each.
    programs: Vec<(String, OwnedFd)>,
    /// The kernel counts runs and run time.
    timed: bool,
}

impl Statistics {
    /// Whether the kernel counts what the programs cost.
    pub(crate) fn are_timed(&self) -> bool {
        self.timed
    }

    /// What each program cost so far; nothing where the kernel does not count that.
    pub(crate) fn cost(&self) -> Vec<ProgramCost> {
        self.infos()
            .filter(|_| self.timed)
            .map(|(name, info)| ProgramCost {
                name: name.to_owned(),
                run_count: info.run_cnt,
                run_time_ns: info.run_time_ns,
            })
            .collect()
    }

    /// How often the kernel skipped a program: for command probes, and for the others.
    pub(crate) fn missed(&self) -> (u64, u64) {
        self.infos().fold((0, 0), |(commands, context), (name, info)| {
            if name.starts_with("command_") {
                (commands + info.recursion_misses, context)
            } else {
                (commands, context + info.recursion_misses)
            }
        })
    }

    fn infos(&self) -> impl Iterator<Item = (&str, libbpf_sys::bpf_prog_info)> {
        self.programs.iter().filter_map(|(name, fd)| Some((name.as_str(), info(fd)?)))
    }
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

/// Run-time statistics cost about 100 ns a run and are what the printed cost
/// comes from. They need `CAP_SYS_ADMIN`; without it the cost is not known.
fn enable_statistics() -> Option<OwnedFd> {
    // SAFETY: a plain system call without pointers.
    let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
    // SAFETY: a descriptor that is not negative was just opened for us alone.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn info(program: &OwnedFd) -> Option<libbpf_sys::bpf_prog_info> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = u32::try_from(size_of::<libbpf_sys::bpf_prog_info>()).ok()?;
    // SAFETY: info and length outlive the call, and length is the size of info,
    // whose pointers are null, so that the kernel fills in only its fixed part.
    let result = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut length)
    };
    (result == 0).then_some(info)
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
    let warnings = LIBBPF_WARNINGS.lock().map(|warnings| warnings.join("\n")).unwrap_or_default();
    let lines: Vec<&str> = warnings.lines().collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
    if error.kind() == libbpf_rs::ErrorKind::PermissionDenied {
        return anyhow!(
            "{what}: permission denied. It needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE, \
             and a container must allow the bpf and perf_event_open system calls\n  {last}"
        );
    }
    anyhow!("{what}: {error}\n  {last}")
}
