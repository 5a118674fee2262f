//! Programs that run preemptibly must have no private stack.
//!
//! From 6.13 on the kernel's compiler gives programs of the kprobe kind that need 64 bytes
//! of stack a private one for each CPU. Uprobe programs are of that kind and run preemptibly,
//! so where the kernel preempts, two threads meet on that stack and the kernel crashes. Ours
//! are written so that they get none (`ON_ITS_THREADS_STACK` in `bpf/shared.bpf.h`). What the
//! kernel made of them is looked at here, before anything is attached: neither an edit nor a
//! compiler can bring the private stack back unnoticed.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result, bail};
use libbpf_rs::{Object, ProgramType};
use libbpf_sys::bpf_prog_info;

use super::info;

/// `add r9, gs:[…]`: how the compiler of x86 turns the address of a private stack into that
/// of this CPU's. No other code of a BPF program uses `r9`.
const PRIVATE_STACK_X86: [u8; 5] = [0x65, 0x4c, 0x03, 0x0c, 0x25];

/// An instruction as the kernel shows it: 8 bytes.
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`, and the helper's number.
const CALL: u8 = 0x85;
const TAIL_CALL: i32 = 12;

/// Looks at the loaded programs of `object` that uprobes run.
///
/// # Errors
///
/// When one has a private stack, or the kernel does not show that it has none.
pub(super) fn refuse_private_stacks(object: &Object) -> Result<()> {
    let programs = object.progs_mut();
    for program in programs.filter(|p| p.autoload() && p.prog_type() == ProgramType::Kprobe) {
        let name = program.name().to_string_lossy().into_owned();
        let code = Code::of(program.as_fd())
            .with_context(|| format!("cannot look at the loaded program {name}"))?;
        if code.may_have_private_stack() {
            bail!(
                "will not attach program {name}: this kernel gave it a private stack, on which two \
                 threads of memcached can meet and crash the kernel. Please report this with the \
                 output of uname -a"
            );
        }
    }
    Ok(())
}

/// A program as the kernel has it.
struct Code {
    /// After the verifier.
    translated: Vec<u8>,
    /// The machine's; empty where the kernel does not show it to us (no `CAP_SYSLOG`).
    compiled: Vec<u8>,
}

impl Code {
    fn of(program: BorrowedFd<'_>) -> Result<Self> {
        let lengths = info::info(program)?;
        let mut translated = vec![0; usize::try_from(lengths.xlated_prog_len)?];
        let mut compiled = vec![0; usize::try_from(lengths.jited_prog_len)?];
        let mut info = bpf_prog_info {
            xlated_prog_len: lengths.xlated_prog_len,
            xlated_prog_insns: translated.as_mut_ptr() as u64,
            jited_prog_len: lengths.jited_prog_len,
            jited_prog_insns: compiled.as_mut_ptr() as u64,
            ..bpf_prog_info::default()
        };
        // SAFETY: each vector has as many bytes as the length beside its pointer says.
        unsafe { info::ask(program, &mut info) }?;
        // The kernel leaves the length and clears the pointer where it may not show the code.
        if info.jited_prog_insns == 0 {
            compiled.clear();
        }
        Ok(Self { translated, compiled })
    }

    fn may_have_private_stack(&self) -> bool {
        let has_tail_call = self.translated.chunks_exact(INSTRUCTION).any(|instruction| {
            instruction[0] == CALL
                // Of a call within the program, the upper half says so.
                && instruction[1] >> 4 == 0
                && instruction[4..] == TAIL_CALL.to_ne_bytes()
        });
        let length = PRIVATE_STACK_X86.len();
        let uses_one = cfg!(target_arch = "x86_64")
            && self.compiled.windows(length).any(|bytes| bytes == PRIVATE_STACK_X86);
        uses_one || !has_tail_call
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    const TAIL_CALL: [u8; 8] = [0x85, 0, 0, 0, 12, 0, 0, 0];
    const CALL_WITHIN: [u8; 8] = [0x85, 0x10, 0, 0, 12, 0, 0, 0];
    const OTHER_HELPER: [u8; 8] = [0x85, 0, 0, 0, 14, 0, 0, 0];

    #[test]
    fn only_a_program_with_a_tail_call_surely_has_no_private_stack() {
        let code = |instructions: &[[u8; 8]]| Code {
            translated: instructions.concat(),
            compiled: Vec::new(),
        };
        assert!(!code(&[OTHER_HELPER, TAIL_CALL]).may_have_private_stack());
        assert!(code(&[OTHER_HELPER, CALL_WITHIN]).may_have_private_stack());
        assert!(code(&[]).may_have_private_stack());
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_machine_code_has_the_last_word() {
        use super::PRIVATE_STACK_X86;

        let compiled = [&[0x55][..], &PRIVATE_STACK_X86, &[1, 2, 3, 4]].concat();
        let code = Code { translated: TAIL_CALL.to_vec(), compiled };
        assert!(code.may_have_private_stack());
    }
}
