//! The target's system calls: `bpf/syscalls.bpf.c`.

use std::{fs, os::unix::fs::MetadataExt};

use anyhow::{Context, Result};
use libbpf_rs::{
    Link, ProgramMut, UprobeMultiOpts,
    skel::{OpenSkel, SkelBuilder},
};
use mcrec_protocol::Binding;

use super::{
    Layout, Storage, refused,
    skeleton::{self, Skeleton},
};
use crate::{
    kernel::Kernel,
    plan::Plan,
    target::{self, Target},
};

skeleton::skeleton!(atomic, SyscallsSkel, "/syscalls.skel.rs");
skeleton::skeleton!(older, SyscallsSkel, "/older/syscalls.skel.rs");

/// The programs with their numbers in `bpf/syscalls.bpf.c`, and how a plan calls what each is
/// attached to. Of two with one number a plan has one.
pub(super) const PROGRAMS: [(&str, u32, &str); 8] = [
    ("sys_exit", 0, "raw_tp:sys_exit"),
    ("sock_recv_length", 1, "raw_tp:sock_recv_length"),
    ("sock_send_length", 2, "raw_tp:sock_send_length"),
    ("perf_sys_exit", 0, "tp:sys_exit"),
    ("perf_recv_length", 1, "tp:sock_recv_length"),
    ("perf_send_length", 2, "tp:sock_send_length"),
    (ACCEPTED, 3, "uretprobe:accept"),
    (CLOSES, 4, "uprobe:close"),
];
const ACCEPTED: &str = "accepted";
const CLOSES: &str = "closes";

/// `PROC_PID_INIT_INO`: part of the kernel's ABI.
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

pub(super) fn load<'a>(
    storage: &'a mut Storage,
    plan: &Plan,
    target: &Target,
    kernel: &Kernel,
    ring: Layout,
) -> Result<Box<dyn Skeleton + 'a>> {
    Ok(skeleton::load_form!(kernel, storage, ring, SyscallsSkelBuilder, |open| {
        let constants = open.maps.rodata_data.as_deref_mut();
        let constants = constants.context("the BPF programs have no constants")?;
        constants.target_tgid = u32::try_from(target.pid).context("a pid is not negative")?;
        constants.namespace_inode = pid_namespace()?;
        // What comes before a connection has authenticated is no request on a key.
        let (binding, skips) = (plan.dialect.binding, !plan.dialect.authenticates);
        constants.skips_text = skips && binding != Binding::Binary;
        constants.skips_binary = skips && binding != Binding::Text;
        constants.proxies = plan.dialect.proxies;
        constants.readonly_start = target.readonly.start;
        constants.readonly_end = target.readonly.end;
        for (to, from) in constants.listening_ports.iter_mut().zip(&target.ports) {
            *to = *from;
            constants.listening_port_count += 1;
        }
        skeleton::prepare(open.open_object_mut(), ring, target.descriptors, |program| {
            let probe = PROGRAMS.iter().find(|(name, ..)| *name == program).map(|known| known.2);
            plan.source.attached.iter().any(|attached| Some(&*attached.probe) == probe)
        })?;
    }))
}

/// Inode of the pid namespace that this process is in; zero for the initial one.
fn pid_namespace() -> Result<u32> {
    let namespace =
        fs::metadata("/proc/self/ns/pid").context("cannot look at the pid namespace")?;
    match namespace.ino() {
        INITIAL_PID_NAMESPACE => Ok(0),
        inode => u32::try_from(inode).context("namespaces have numbers of 32 bits"),
    }
}

pub(super) fn attach(program: &ProgramMut<'_>, target: &Target) -> Result<Vec<Link>> {
    let name = program.name().to_string_lossy();
    let functions: &[&str] = match &*name {
        ACCEPTED => &[target::ACCEPT, target::ACCEPT4],
        CLOSES => &[target::CLOSE],
        _ => {
            let link = program.attach();
            return Ok(vec![
                link.map_err(|error| refused(&error, &format!("cannot attach to {name}")))?,
            ]);
        }
    };
    let functions = target.functions.iter().filter(|function| functions.contains(&function.name));
    let links = functions.map(|function| {
        let opts = UprobeMultiOpts {
            offsets: vec![function.offset],
            retprobe: &*name == ACCEPTED,
            ..UprobeMultiOpts::default()
        };
        let link = program.attach_uprobe_multi_with_opts(target.pid, &function.library, "", opts);
        link.map_err(|error| {
            let library = function.library.display();
            refused(&error, &format!("cannot attach to {} of {library}", function.name))
        })
    });
    links.collect()
}
