//! No program that uprobes run has a private stack: on one, two threads of memcached can
//! meet and crash the kernel. Looked at from outside, in what the kernel made of them.

mod support;

use std::{
    ffi::CString,
    fs,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

use support::{recorder::Recorder, server::Server};

/// `add r9, gs:[…]`: how x86 code finds the private stack of its CPU.
const PRIVATE_STACK: [u8; 5] = [0x65, 0x4c, 0x03, 0x0c, 0x25];

/// A program as the kernel describes it, and its machine code.
struct Program {
    name: String,
    kind: u32,
    code: Vec<u8>,
}

/// # Panics
///
/// When the kernel does not show the code.
fn program(fd: &OwnedFd) -> Program {
    let mut info = libbpf_sys::bpf_prog_info::default();
    ask(fd, &mut info);
    let length = info.jited_prog_len;
    let mut code = vec![0u8; length as usize];
    info = libbpf_sys::bpf_prog_info {
        jited_prog_len: length,
        jited_prog_insns: code.as_mut_ptr() as u64,
        ..libbpf_sys::bpf_prog_info::default()
    };
    ask(fd, &mut info);
    assert!(info.jited_prog_insns != 0, "the kernel does not show its code (CAP_SYSLOG?)");
    let name = info.name.iter().take_while(|&&c| c != 0).map(|&c| c.to_ne_bytes()[0]);
    Program { name: String::from_utf8(name.collect()).unwrap(), kind: info.type_, code }
}

fn ask(fd: &OwnedFd, info: &mut libbpf_sys::bpf_prog_info) {
    let mut length = u32::try_from(size_of::<libbpf_sys::bpf_prog_info>()).unwrap();
    // SAFETY: info and length outlive the call, and its pointers are null or lead to as many
    // bytes as their lengths say.
    let result =
        unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd.as_raw_fd(), info, &raw mut length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// The programs that a process has open.
fn programs_of(pid: u32) -> Vec<Program> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    let ids = texts.filter_map(|text| {
        let line = text.lines().find(|line| line.starts_with("prog_id:"))?;
        // Links have the id of their program too.
        let of_program = text.contains("prog_jited:");
        of_program.then(|| line["prog_id:".len()..].trim().parse::<u32>().unwrap())
    });
    ids.map(|id| {
        // SAFETY: it takes a number and returns a descriptor or less than zero.
        let fd = unsafe { libbpf_sys::bpf_prog_get_fd_by_id(id) };
        assert!(fd >= 0, "program {id}: {}", std::io::Error::last_os_error());
        // SAFETY: a new descriptor that nobody else has.
        program(&unsafe { OwnedFd::from_raw_fd(fd) })
    })
    .collect()
}

/// A program of the kind that uprobes run that uses 128 bytes of stack. Not attached.
fn with_deep_stack() -> Program {
    let instructions: [u64; 4] = [
        0x0000_0000_0000_01b7, // r1 = 0
        0x0000_0000_ff80_1a7b, // *(u64 *)(r10 - 128) = r1
        0x0000_0000_0000_00b7, // r0 = 0
        0x0000_0000_0000_0095, // exit
    ];
    let license = CString::new("GPL").unwrap();
    // SAFETY: all pointers lead to what outlives the call, and the count is that of the
    // instructions.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_KPROBE,
            ptr::null(),
            license.as_ptr(),
            instructions.as_ptr().cast(),
            instructions.len() as u64,
            ptr::null_mut(),
        )
    };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else has.
    program(&unsafe { OwnedFd::from_raw_fd(fd) })
}

fn has_private_stack(program: &Program) -> bool {
    program.code.windows(PRIVATE_STACK.len()).any(|bytes| bytes == PRIVATE_STACK)
}

#[test]
fn programs_of_uprobes_have_no_private_stack() {
    assert!(
        has_private_stack(&with_deep_stack()),
        "this kernel gives no private stacks (it must be 6.13 or newer, on x86-64), so nothing \
         can be said of mcrec here"
    );
    let server = Server::start("1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    for (source, form, least) in [
        ("usdt", &[][..], 15),
        ("usdt", &["--without", "atomics"], 15),
        ("syscalls", &[], 2),
        ("syscalls", &["--without", "atomics"], 2),
    ] {
        let path = folder.path().join(format!("{source}-{}.parquet", form.len()));
        let arguments = [&["--source", source], form].concat();
        let recorder = Recorder::start(server.pid(), &path, &arguments);
        let programs = programs_of(recorder.process.id());
        let of_uprobes: Vec<&Program> =
            programs.iter().filter(|p| p.kind == libbpf_sys::BPF_PROG_TYPE_KPROBE).collect();
        assert!(of_uprobes.len() >= least, "{source} has {} programs", of_uprobes.len());
        for program in of_uprobes {
            assert!(!has_private_stack(program), "{} of source {source}", program.name);
        }
    }
}
