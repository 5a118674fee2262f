//! System calls that recording needs, made to see what comes back: what a profile, a module
//! or the kernel's configuration say of them is not asked, for there are too many of those.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

/// The number of the error with which a call was refused.
pub(crate) type Answer = Result<(), i32>;

/// What the kernel, or what stands before it, answers to `bpf(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bpf {
    /// To a map of one element.
    pub(super) map: Answer,
    /// To a program of the kind that sees system calls, which does nothing.
    pub(super) program: Answer,
    /// To one that reads kernel memory.
    pub(super) reading: Answer,
}

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// What `bpf(2)` reads to create a map: the beginning of that variant of `union bpf_attr`.
#[repr(C)]
struct CreateMap {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// The same to load a program.
#[repr(C)]
struct LoadProgram {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

// Instructions of BPF, as load() takes them.
const R0_IS_0: u64 = 0x0000_0000_0000_00b7;
const R1_IS_FRAME: u64 = 0x0000_0000_0000_a1bf;
const R1_MINUS_8: u64 = 0xffff_fff8_0000_0107;
const R2_IS_8: u64 = 0x0000_0008_0000_02b7;
const R3_IS_0: u64 = 0x0000_0000_0000_03b7;
const CALL_PROBE_READ_KERNEL: u64 = 0x0000_0071_0000_0085;
const EXIT: u64 = 0x0000_0000_0000_0095;

impl Bpf {
    /// Tries.
    pub(super) fn ask() -> Self {
        Self {
            map: create_map(),
            program: load(&[R0_IS_0, EXIT]),
            reading: load(&[
                R1_IS_FRAME,
                R1_MINUS_8,
                R2_IS_8,
                R3_IS_0,
                CALL_PROBE_READ_KERNEL,
                R0_IS_0,
                EXIT,
            ]),
        }
    }
}

fn create_map() -> Answer {
    let attributes = CreateMap {
        map_type: MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        map_flags: 0,
    };
    // SAFETY: the kernel reads so many bytes of the attributes, which hold no pointer.
    opened(unsafe {
        libc::syscall(libc::SYS_bpf, MAP_CREATE, &raw const attributes, size_of::<CreateMap>())
    })
}

/// What the kernel answers to a program of these instructions, of the kind that sees system
/// calls: from the lowest byte on each has an operation, its registers, an offset in two bytes
/// and a number in four.
pub(crate) fn load(program: &[u64]) -> Answer {
    // The function that reads kernel memory is for programs under the GPL alone.
    const LICENSE: &[u8] = b"GPL\0";
    let attributes = LoadProgram {
        prog_type: PROG_TYPE_RAW_TRACEPOINT,
        insn_cnt: u32::try_from(program.len()).unwrap_or(0),
        insns: program.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: the kernel reads so many bytes of the attributes, as many instructions as they
    // say, and the license up to its NUL; all of them live until it returns.
    opened(unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size_of::<LoadProgram>())
    })
}

/// What `perf_event_open(2)` answers to an event that never happens, of the kernel's side too,
/// as a tracepoint or a uprobe is. On a CPU and not in a process: for the first event that
/// follows a process, the kernel patches its scheduler.
pub(super) fn perf_event() -> Answer {
    const SIZE: usize = 64;
    const SOFTWARE: u64 = 1;
    const DUMMY: u64 = 9;
    const CLOSE_ON_EXEC: libc::c_ulong = 8;
    // `struct perf_event_attr` in its first version: type and size, what is counted, zeros.
    let mut attributes = [0_u64; SIZE / size_of::<u64>()];
    attributes[0] = SOFTWARE | (SIZE as u64) << 32;
    attributes[1] = DUMMY;
    let (any_process, first_cpu, no_group) = (-1, 0, -1);
    // SAFETY: the kernel reads as many bytes of the attributes as their second word says.
    opened(unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            any_process,
            first_cpu,
            no_group,
            CLOSE_ON_EXEC,
        )
    })
}

/// Closes what was opened.
fn opened(result: libc::c_long) -> Answer {
    match libc::c_int::try_from(result) {
        Ok(descriptor) if descriptor >= 0 => {
            // SAFETY: the kernel has just opened it for us, and nobody else has it.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
            Ok(())
        }
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    }
}
