//! memcached's own probes: `bpf/usdt.bpf.c`, a program for each.

use anyhow::{Context, Result};
use libbpf_rs::{
    Link, ProgramMut,
    skel::{OpenSkel, SkelBuilder},
};

use super::{
    Layout, Storage, refused,
    skeleton::{self, Skeleton},
};
use crate::{kernel::Kernel, plan::Plan, target::Target};

skeleton::skeleton!(atomic, UsdtSkel, "/usdt.skel.rs");
skeleton::skeleton!(older, UsdtSkel, "/older/usdt.skel.rs");

pub(crate) use atomic::types;

/// The programs by their numbers in `bpf/usdt.bpf.c`, where those of commands have
/// their `enum mcrec_command`.
pub(super) const PROGRAMS: [&str; 15] = [
    "process_command_start",
    "command_get",
    "command_set",
    "command_add",
    "command_replace",
    "command_append",
    "command_prepend",
    "command_cas",
    "command_touch",
    "command_incr",
    "command_decr",
    "command_delete",
    "process_command_end",
    "conn_allocate",
    "conn_release",
];

pub(super) fn load<'a>(
    storage: &'a mut Storage,
    plan: &Plan,
    target: &Target,
    kernel: &Kernel,
    ring: Layout,
) -> Result<Box<dyn Skeleton + 'a>> {
    Ok(skeleton::load_form!(kernel, storage, ring, UsdtSkelBuilder, |open| {
        skeleton::prepare(open.open_object_mut(), ring, target.descriptors, |program| {
            let probe = probe_of(program);
            plan.source.attached.iter().any(|attached| attached.probe == probe)
        })?;
    }))
}

pub(super) fn attach(program: &ProgramMut<'_>, target: &Target) -> Result<Vec<Link>> {
    let probe = probe_of(&program.name().to_string_lossy());
    let link = program.attach_usdt(target.pid, target.executable_file(), "memcached", &probe);
    let link = link.map_err(|error| {
        let what = format!("cannot attach to probe {probe} of process {}", target.pid);
        refused(&error, &what)
    });
    Ok(vec![link?])
}

/// The program for probe `command__get` is called `command_get`, and so on.
fn probe_of(program: &str) -> String {
    program.replace('_', "__")
}
