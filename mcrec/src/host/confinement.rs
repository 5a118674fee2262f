//! What mcrec itself is confined by: its capabilities, its namespaces, seccomp, and the
//! module of the kernel that may refuse what capabilities allow.

use std::{fmt, fs, os::unix::fs::MetadataExt};

use procfs::process::Process;
use rustix::{
    process::{geteuid, getpid},
    thread::{CapabilitySet, capabilities},
};

/// Inode numbers of the namespaces that the machine itself has: part of the kernel's ABI.
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// What a process is confined by.
#[derive(Clone, Debug)]
pub(crate) struct Confinement {
    /// Its effective capabilities.
    pub(crate) capabilities: CapabilitySet,
    /// Whether it is root, as its own user namespace has it.
    pub(crate) root: bool,
    /// Whether its user namespace is that of the machine: elsewhere capabilities are good for
    /// nothing that belongs to all of it.
    pub(crate) machines_users: bool,
    /// Whether its pid namespace is that of the machine, which has all processes.
    pub(crate) machines_pids: bool,
    /// Whether `/proc` is there, and of its own pid namespace.
    pub(crate) proc: Proc,
    /// Whether seccomp filters its system calls.
    pub(crate) filtered: bool,
    /// The security module that confines it, if one does.
    pub(crate) module: Option<Module>,
}

/// What is mounted at `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proc {
    /// What should be.
    Ours,
    /// The processes of another pid namespace.
    Foreign,
    /// Nothing.
    Missing,
}

/// A security module, with what it calls this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    AppArmor(String),
    SeLinux(String),
}

impl Confinement {
    /// Looks at this process.
    pub(crate) fn here() -> Self {
        let inode = |namespace: &str| {
            fs::metadata(format!("/proc/self/ns/{namespace}")).map(|metadata| metadata.ino()).ok()
        };
        let status = Process::myself().and_then(|me| me.status()).ok();
        // The newer file is there where several modules may be.
        let label = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"]
            .iter()
            .find_map(|file| fs::read_to_string(file).ok());
        Self {
            capabilities: capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective),
            root: geteuid().is_root(),
            // What cannot be told is not blamed.
            machines_users: inode("user").is_none_or(|inode| inode == INITIAL_USER_NAMESPACE),
            machines_pids: inode("pid").is_none_or(|inode| inode == INITIAL_PID_NAMESPACE),
            proc: proc(),
            filtered: status.and_then(|status| status.seccomp).is_some_and(|mode| mode != 0),
            module: label.and_then(|label| module(&label)),
        }
    }

    /// Whether it has `capability`, or the one that is good for all but looking at processes.
    pub(crate) fn has(&self, capability: CapabilitySet) -> bool {
        let all = capability != CapabilitySet::SYS_PTRACE
            && self.capabilities.contains(CapabilitySet::SYS_ADMIN);
        all || self.capabilities.contains(capability)
    }

    /// How to get the capability `name`, which is without its `CAP_`.
    pub(crate) fn remedy(&self, name: &str) -> String {
        let root = if self.root { "" } else { "run as root, or " };
        format!(
            "{root}give mcrec the capability CAP_{name} (docker, podman: --cap-add {name}; \
             Kubernetes: capabilities.add: [{name}])"
        )
    }
}

impl fmt::Display for Confinement {
    /// What confines it; nothing for a process of the machine itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let module = self.module.as_ref().map(ToString::to_string);
        let parts = [
            (!self.machines_users).then(|| "another user namespace than the machine's".to_owned()),
            (!self.machines_pids).then(|| "another pid namespace than the machine's".to_owned()),
            self.filtered.then(|| "a seccomp filter".to_owned()),
            module,
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl Module {
    /// How to be free of it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::AppArmor(_) => {
                "run mcrec without a profile (docker, podman: --security-opt apparmor=unconfined; \
                 Kubernetes: appArmorProfile.type: Unconfined)"
            }
            Self::SeLinux(_) => {
                "give mcrec a type that may (docker, podman: --security-opt label=type:spc_t; \
                 Kubernetes: seLinuxOptions.type: spc_t)"
            }
        }
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppArmor(profile) => write!(f, "AppArmor's profile {profile}"),
            Self::SeLinux(context) => write!(f, "SELinux's context {context}"),
        }
    }
}

fn proc() -> Proc {
    let Ok(number) = fs::read_link("/proc/self") else {
        // There, but of a namespace that does not have this process.
        return if fs::metadata("/proc/1").is_ok() { Proc::Foreign } else { Proc::Missing };
    };
    let ours = getpid().as_raw_nonzero().to_string();
    if number.as_os_str() == ours.as_str() { Proc::Ours } else { Proc::Foreign }
}

/// The module behind a process's label; none where it enforces nothing.
fn module(label: &str) -> Option<Module> {
    let label = label.trim_end_matches(['\0', '\n']);
    if let Some(profile) = label.strip_suffix(" (enforce)") {
        return Some(Module::AppArmor(profile.to_owned()));
    }
    let is_context = !label.contains(' ') && label.split(':').count() >= 3;
    is_context.then(|| Module::SeLinux(label.to_owned()))
}

/// Root of the machine itself, without a capability: what tests begin with.
#[cfg(test)]
pub(crate) fn confined_by_nothing() -> Confinement {
    Confinement {
        capabilities: CapabilitySet::empty(),
        root: true,
        machines_users: true,
        machines_pids: true,
        proc: Proc::Ours,
        filtered: false,
        module: None,
    }
}

#[cfg(test)]
mod tests {
    use rustix::thread::CapabilitySet;

    use super::{Confinement, Module, confined_by_nothing, module};

    #[test]
    fn a_label_tells_the_module() {
        let apparmor = Module::AppArmor("docker-default".to_owned());
        assert_eq!(module("docker-default (enforce)\n"), Some(apparmor));
        let apparmor = Module::AppArmor(":lxd:cri-containerd.apparmor.d".to_owned());
        assert_eq!(module(":lxd:cri-containerd.apparmor.d (enforce)"), Some(apparmor));
        let context = "system_u:system_r:container_t:s0:c1,c2";
        let selinux = Module::SeLinux(context.to_owned());
        assert_eq!(module(&format!("{context}\0")), Some(selinux));
        for free in ["unconfined\n", "docker-default (complain)\n", "kernel", ""] {
            assert_eq!(module(free), None, "{free:?}");
        }
    }

    #[test]
    fn the_capability_of_administrators_is_not_one_to_look_at_processes() {
        let administrator =
            Confinement { capabilities: CapabilitySet::SYS_ADMIN, ..confined_by_nothing() };
        assert!(administrator.has(CapabilitySet::BPF) && administrator.has(CapabilitySet::PERFMON));
        assert!(!administrator.has(CapabilitySet::SYS_PTRACE));
        assert!(!confined_by_nothing().has(CapabilitySet::BPF));
    }

    #[test]
    fn only_who_is_not_root_may_become_that() {
        let root = confined_by_nothing();
        let says = "give mcrec the capability CAP_BPF (docker, podman: --cap-add BPF;";
        assert!(root.remedy("BPF").starts_with(says), "{}", root.remedy("BPF"));
        let user = Confinement { root: false, ..root };
        assert!(user.remedy("BPF").starts_with(&format!("run as root, or {says}")));
    }

    #[test]
    fn what_confines_is_listed() {
        let free = confined_by_nothing();
        assert_eq!(free.to_string(), "");
        let confined = Confinement {
            machines_pids: false,
            filtered: true,
            module: Some(Module::AppArmor("docker-default".to_owned())),
            ..free
        };
        assert_eq!(
            confined.to_string(),
            "another pid namespace than the machine's, a seccomp filter, \
             AppArmor's profile docker-default"
        );
    }
}
