//! Finds out what the kernel can do, by trying it.

use std::{
    ffi::{CString, OsStr},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::OnceLock,
};

use libbpf_rs::{
    OpenObject,
    btf::{
        Btf,
        types::{Enum, Struct, Typedef},
    },
    skel::{OpenSkel, SkelBuilder},
};

use super::{collect_libbpf_warnings, skeleton::include_skeleton};
use crate::{
    host::{Host, load_program},
    kernel::{Kernel, RawTracepoints, UprobeLinks, has_undisturbed, return_probes_break_seccomp},
};

include_skeleton!(programs, "/features.skel.rs");

/// Whether the processor makes a program's writes visible in their order. What the programs
/// with atomics write is read on another CPU without a fence (`bpf/ring.bpf.h`), so where it
/// does not, the others are used, on every kernel.
const IN_ORDER: bool = cfg!(target_arch = "x86_64");

/// Where a kernel says how perf attaches to a tracepoint.
const TRACING: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Tries what recording can make use of. Where mcrec may not, and so may not record either,
/// says what is true of most kernels.
pub(crate) fn find(host: &Host) -> Kernel {
    collect_libbpf_warnings();
    let btf = Btf::from_vmlinux().ok();
    let has_tracepoint = |name: &str| {
        btf.as_ref().is_some_and(|btf| btf.type_by_name::<Typedef<'_>>(name).is_some())
    };
    let has_links = btf
        .as_ref()
        .is_some_and(|btf| btf.type_by_name::<Struct<'_>>("bpf_uprobe_multi_link").is_some());
    let socket_tracepoints = ["btf_trace_sock_recv_length", "btf_trace_sock_send_length"]
        .iter()
        .all(|name| has_tracepoint(name));
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut kernel = Kernel {
        atomics: IN_ORDER,
        socket_tracepoints,
        uprobe_links: if has_links { UprobeLinks::Process } else { UprobeLinks::None },
        raw_sockets: RawTracepoints::Undisturbed,
        raw_calls: || RawTracepoints::Undisturbed,
        perf_tracepoints: has_perf_tracepoints(btf.as_ref(), socket_tracepoints),
        return_probes_break_seccomp: return_probes_break_seccomp(&release),
    };
    if !host.missing(None).is_empty() {
        return kernel;
    }
    kernel.atomics = IN_ORDER && has_atomics();
    if has_links && !shows_whole_processes() {
        kernel.uprobe_links = UprobeLinks::FirstThread;
    }
    // A kernel that never preempts says so, by not saying that it does.
    if uname.version().to_string_lossy().contains("PREEMPT") {
        kernel.raw_calls = raw_calls;
        if socket_tracepoints {
            kernel.raw_sockets = judge(sockets_run_undisturbed());
        }
    }
    kernel
}

/// What a kernel that preempts does at the exit of system calls. It is asked once.
fn raw_calls() -> RawTracepoints {
    static ANSWER: OnceLock<RawTracepoints> = OnceLock::new();
    *ANSWER.get_or_init(|| judge(calls_run_undisturbed()))
}

/// What was found, or else what is true of this release: a kernel that does not list its
/// variables cannot be asked.
fn judge(undisturbed: Option<bool>) -> RawTracepoints {
    let by_release = || has_undisturbed(&rustix::system::uname().release().to_string_lossy());
    match undisturbed.unwrap_or_else(by_release) {
        true => RawTracepoints::Undisturbed,
        false => RawTracepoints::Preemptible,
    }
}

/// Whether programs can be attached to perf's tracepoints: where those are found, and a program
/// can find the registers of a system call, which these do not pass on.
fn has_perf_tracepoints(btf: Option<&Btf<'_>>, of_sockets: bool) -> bool {
    let helpers = btf.and_then(|btf| btf.type_by_name::<Enum<'_>>("bpf_func_id"));
    let has_registers = helpers.is_some_and(|helpers| {
        helpers.iter().any(|it| it.name == Some(OsStr::new("BPF_FUNC_task_pt_regs")))
    });
    if !has_registers {
        return false;
    }
    let events: &[&str] = if of_sockets {
        &["raw_syscalls/sys_exit", "sock/sock_recv_length", "sock/sock_send_length"]
    } else {
        &["raw_syscalls/sys_exit"]
    };
    TRACING.iter().any(|tracing| {
        events.iter().all(|event| Path::new(&format!("{tracing}/events/{event}/id")).exists())
    })
}

/// Whether the kernel takes a program that compares and swaps.
fn has_atomics() -> bool {
    let program = [
        0x0000_0000_0000_01b7, // r1 = 0
        0x0000_0000_fff8_1a7b, // *(u64 *)(r10 - 8) = r1
        0x0000_0000_0000_00b7, // r0 = 0
        0x0000_00f1_fff8_1adb, // r0 = cmpxchg_64(r10 - 8, r0, r1)
        0x0000_0000_0000_00b7, // r0 = 0
        0x0000_0000_0000_0095, // exit
    ];
    load_program(&program).is_ok()
}

/// Whether links of uprobes show all threads of a process. Kernels whose do look at what they
/// are asked for in that order: first at the process, of which there is none with this number.
/// The others find fault with the file, which is a folder.
fn shows_whole_processes() -> bool {
    let mut storage = MaybeUninit::uninit();
    let Some(skeleton) = load(&mut storage, "nothing") else { return false };
    refusal(skeleton.progs.nothing.as_fd()).raw_os_error()
        == Some(rustix::io::Errno::INVAL.raw_os_error())
}

/// How the kernel refuses to attach to a process that cannot be, and a file that is none.
fn refusal(program: BorrowedFd<'_>) -> io::Error {
    const NOBODY: u32 = u32::MAX;
    let path = CString::from(c"/");
    let offset = 0;
    let mut options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as u64,
        ..libbpf_sys::bpf_link_create_opts::default()
    };
    options.__bindgen_anon_1.uprobe_multi =
        libbpf_sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_3 {
            cnt: 1,
            path: path.as_ptr(),
            offsets: &raw const offset,
            pid: NOBODY,
            ..libbpf_sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_3::default()
        };
    // SAFETY: all pointers lead to what outlives the call.
    let link = unsafe {
        libbpf_sys::bpf_link_create(
            program.as_raw_fd(),
            -1,
            libbpf_sys::BPF_TRACE_UPROBE_MULTI,
            &raw const options,
        )
    };
    if link >= 0 {
        // SAFETY: a new descriptor that nobody else has.
        drop(unsafe { OwnedFd::from_raw_fd(link) });
        return io::Error::other("it was attached");
    }
    io::Error::last_os_error()
}

/// Whether a program at the exit of system calls runs with preemption off: it looks itself.
/// `None` where it cannot.
fn calls_run_undisturbed() -> Option<bool> {
    let mut storage = MaybeUninit::uninit();
    let skeleton = load(&mut storage, "at_exit")?;
    let link = skeleton.progs.at_exit.attach_trace().ok()?;
    // Any call will do; of those of other processes some may be made meanwhile.
    let _ = rustix::process::getppid();
    drop(link);
    undisturbed(&skeleton)
}

/// The same at what sockets send. `None` also where mcrec may have no socket.
fn sockets_run_undisturbed() -> Option<bool> {
    let mut storage = MaybeUninit::uninit();
    let skeleton = load(&mut storage, "at_send")?;
    let link = skeleton.progs.at_send.attach_trace().ok()?;
    let (one, _other) = UnixStream::pair().ok()?;
    rustix::io::write(&one, b".").ok()?;
    drop(link);
    undisturbed(&skeleton)
}

/// What the program saw. What it begins with is what nobody saw, and below 0 is what the
/// program does not know.
fn undisturbed(skeleton: &programs::FeaturesSkel<'_>) -> Option<bool> {
    let least = skeleton.maps.data_data.as_deref().map(|data| data.least_count);
    least.filter(|least| (0..i32::MAX).contains(least)).map(|least| least > 0)
}

/// Loads one of the programs; `None` where the kernel does not take it.
fn load<'a>(
    storage: &'a mut MaybeUninit<OpenObject>,
    wanted: &str,
) -> Option<programs::FeaturesSkel<'a>> {
    let mut open = programs::FeaturesSkelBuilder::default().open(storage).ok()?;
    for mut program in open.open_object_mut().progs_mut() {
        let is_wanted = program.name() == wanted;
        program.set_autoload(is_wanted);
    }
    open.load().ok()
}
