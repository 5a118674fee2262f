//! The BPF programs: loaded, attached, switched on and off, and what they cost.

mod ring;
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

use anyhow::{Context, Result, anyhow};
use libbpf_rs::{
    Link, MapHandle, Object, OpenObject, PrintLevel, ProgramMut,
    btf::{
        Btf,
        types::{Struct, Typedef},
    },
};
use mcrec_schema::sample;
use rustix::thread::{MembarrierCommand, membarrier};

use crate::{
    plan::{Kind, Plan},
    sample::OneIn,
    target::Target,
};

/// The types of `bpf/mcrec.h`, as the compiler of the BPF programs laid them out.
pub(crate) use usdt::types as record;

pub(crate) use ring::{Layout, RingMaps};
pub(crate) use statistics::Statistics;

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

/// Whether the kernel can show the calls on sockets alone: it has tracepoints for what is
/// received and sent (from 6.3 on), and links of uprobes that need no more privileges than
/// what else is done here (from 6.6 on).
pub(crate) fn can_see_sockets() -> bool {
    let Ok(kernel) = Btf::from_vmlinux() else { return false };
    ["btf_trace_sock_recv_length", "btf_trace_sock_send_length"]
        .iter()
        .all(|name| kernel.type_by_name::<Typedef<'_>>(name).is_some())
        && kernel.type_by_name::<Struct<'_>>("bpf_uprobe_multi_link").is_some()
}

/// Room for the object that [`Probes`] borrows.
pub(crate) type Storage = MaybeUninit<OpenObject>;

/// The loaded programs of a source.
trait Programs {
    fn object(&self) -> &Object;
    fn attach(&self, program: &ProgramMut<'_>, target: &Target) -> Result<Vec<Link>>;
    fn switch(&mut self, on: bool);
    /// Sets `sample_limit` of `bpf/sample.bpf.h`.
    fn limit_sample(&mut self, limit: u32);
    fn ring(&self) -> libbpf_rs::Result<RingMaps>;
    fn counters(&self) -> libbpf_rs::Result<MapHandle>;
    /// `runs` of `bpf/shared.bpf.h`.
    fn runs(&self) -> libbpf_rs::Result<MapHandle>;
    /// The number of a program there.
    fn number(&self, program: &str) -> u32;
}

/// The loaded programs, attached to the target and switched off until [`Probes::start`].
pub(crate) struct Probes<'a> {
    programs: Box<dyn Programs + 'a>,
    links: Vec<Link>,
    /// A copy of the descriptor of each link, for [`Probes::detach`].
    copies: Vec<OwnedFd>,
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
        stack::refuse_private_stacks(programs.object())?;
        let links = programs
            .object()
            .progs_mut()
            .filter(|program| program.autoload())
            .map(|program| programs.attach(&program, target))
            .collect::<Result<Vec<_>>>()?;
        let copies = copies_of_links();
        Ok(Self { programs, links: links.into_iter().flatten().collect(), copies })
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
    /// When a descriptor cannot be duplicated.
    pub(crate) fn ring(&self) -> Result<RingMaps> {
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
        let programs = programs.map(|program| {
            let name = program.name().to_string_lossy().into_owned();
            let number = self.programs.number(&name);
            statistics::Program::new(name, number, program.as_fd())
        });
        let runs = self.programs.runs().context("cannot share the counters of runs")?;
        Ok(Statistics::new(programs.collect::<Result<_>>()?, runs))
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
