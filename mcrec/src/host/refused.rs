//! Why a system call that recording needs was refused, and what to change: from what the
//! kernel answered, and from what confines mcrec.

use std::fs;

use super::{
    attempt::{Answer, Bpf},
    confinement::Confinement,
};

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENOSYS: i32 = 38;

/// How much the kernel is locked down: what even root may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lockdown {
    /// Nothing of what recording needs is forbidden.
    Harmless,
    /// Reading kernel memory is, too.
    Confidentiality,
    /// The file that says so is not to be seen.
    Unknown,
}

impl Lockdown {
    /// Looks at this machine.
    pub(super) fn here() -> Self {
        fs::read_to_string("/sys/kernel/security/lockdown")
            .map_or(Self::Unknown, |modes| Self::of(&modes))
    }

    /// The file names all modes, and marks the one at work: `none [integrity] confidentiality`.
    fn of(modes: &str) -> Self {
        if modes.contains("[confidentiality]") { Self::Confidentiality } else { Self::Harmless }
    }
}

/// What keeps `bpf(2)` from doing what recording needs, and what to change. The capabilities
/// for it are there.
pub(super) fn bpf(
    answers: Bpf,
    confinement: &Confinement,
    lockdown: Lockdown,
) -> Result<(), String> {
    for answer in [answers.map, answers.program] {
        call("bpf", "CAP_BPF and CAP_PERFMON are", answer, confinement)?;
    }
    // Of two programs that differ in nothing else.
    let Err(error) = answers.reading else { return Ok(()) };
    Err(match lockdown {
        Lockdown::Confidentiality => {
            "the kernel is locked down in mode confidentiality (/sys/kernel/security/lockdown), \
             which keeps BPF programs from reading kernel memory: boot it with lockdown=integrity \
             or without lockdown"
                .to_owned()
        }
        _ => format!(
            "the kernel refuses BPF programs that read kernel memory (error {error}), as where it \
             is locked down in mode confidentiality: see /sys/kernel/security/lockdown on the \
             machine, and boot it with lockdown=integrity or without lockdown"
        ),
    })
}

/// What keeps `perf_event_open(2)` from doing what recording needs, and what to change.
pub(super) fn perf_event(answer: Answer, confinement: &Confinement) -> Result<(), String> {
    call("perf_event_open", "CAP_PERFMON is", answer, confinement)
}

/// The same of any call, for which certain capabilities are there.
fn call(
    name: &str,
    capabilities: &str,
    answer: Answer,
    confinement: &Confinement,
) -> Result<(), String> {
    let Err(error) = answer else { return Ok(()) };
    let refuses = [EPERM, EACCES, ENOSYS].contains(&error);
    if refuses && !confinement.machines_users {
        return Err(format!(
            "mcrec is in another user namespace than the machine's (a rootless or remapped \
             container), where its capabilities are good for nothing of the machine's, as {name} \
             is: start the container as root, without userns-remap, --userns or hostUsers: false"
        ));
    }
    if refuses && confinement.filtered {
        return Err(format!(
            "seccomp refuses it, although {capabilities} there: allow {name} in the seccomp \
             profile, or run without one (docker, podman: --security-opt seccomp=unconfined; \
             Kubernetes: seccompProfile.type: Unconfined), or add CAP_SYS_ADMIN where the profile \
             wants that for it"
        ));
    }
    Err(match (error, &confinement.module) {
        (ENOSYS, _) => format!("the kernel was built without {name}"),
        (EPERM | EACCES, Some(module)) => {
            format!("{module} refuses it, although {capabilities} there: {}", module.remedy())
        }
        (EPERM | EACCES, _) => format!(
            "a security module of the kernel refuses it, although {capabilities} there: see the \
             kernel's log (dmesg, or ausearch -m avc) for which rule"
        ),
        (other, _) => format!(
            "the kernel refuses it with error {other}: it must be built with CONFIG_BPF_SYSCALL, \
             CONFIG_BPF_EVENTS and CONFIG_PERF_EVENTS"
        ),
    })
}

#[cfg(test)]
mod tests {
    use rustix::thread::CapabilitySet;

    use super::{
        super::confinement::{Confinement, Module, confined_by_nothing},
        Bpf, EACCES, ENOSYS, EPERM, Lockdown, bpf, perf_event,
    };

    const EINVAL: i32 = 22;
    const FREE: Bpf = Bpf { map: Ok(()), program: Ok(()), reading: Ok(()) };

    fn able() -> Confinement {
        let capabilities = CapabilitySet::BPF | CapabilitySet::PERFMON;
        Confinement { capabilities, ..confined_by_nothing() }
    }

    fn all(error: i32) -> Bpf {
        Bpf { map: Err(error), program: Err(error), reading: Err(error) }
    }

    #[track_caller]
    fn assert_says(said: Result<(), String>, texts: &[&str]) {
        let said = said.unwrap_err();
        for text in texts {
            assert!(said.contains(text), "{text:?} is not in: {said}");
        }
        assert!(!said.contains('\n'), "one line: {said}");
    }

    #[test]
    fn what_is_allowed_needs_nothing() {
        let filtered = Confinement { filtered: true, ..able() };
        for confinement in [able(), filtered] {
            assert_eq!(bpf(FREE, &confinement, Lockdown::Confidentiality), Ok(()));
            assert_eq!(perf_event(Ok(()), &confinement), Ok(()));
        }
    }

    #[test]
    fn a_filter_is_seccomp() {
        let filtered = Confinement { filtered: true, ..able() };
        for error in [EPERM, EACCES, ENOSYS] {
            let said = bpf(all(error), &filtered, Lockdown::Unknown);
            assert_says(said, &["seccomp refuses it", "allow bpf", "CAP_SYS_ADMIN"]);
            let said = perf_event(Err(error), &filtered);
            assert_says(said, &["seccomp refuses it", "allow perf_event_open", "CAP_PERFMON is"]);
        }
    }

    #[test]
    fn a_container_without_root_is_not_seccomps_fault() {
        let rootless = Confinement { filtered: true, machines_users: false, ..able() };
        let said = bpf(all(EPERM), &rootless, Lockdown::Unknown);
        assert_says(said, &["user namespace", "rootless"]);
        // Where some of it is allowed to all, what is not decides.
        let said = bpf(Bpf { map: Ok(()), ..all(EPERM) }, &rootless, Lockdown::Unknown);
        assert_says(said, &["user namespace"]);
    }

    #[test]
    fn without_a_filter_it_is_a_module_or_the_kernel() {
        let context = "system_u:system_r:container_t:s0:c1,c2";
        let selinux = Confinement { module: Some(Module::SeLinux(context.to_owned())), ..able() };
        assert_says(bpf(all(EACCES), &selinux, Lockdown::Unknown), &[context, "spc_t"]);
        assert_says(bpf(all(EPERM), &able(), Lockdown::Unknown), &["security module"]);
        assert_says(bpf(all(ENOSYS), &able(), Lockdown::Unknown), &["built without bpf"]);
        let no_events = Bpf { map: Ok(()), ..all(EINVAL) };
        assert_says(bpf(no_events, &able(), Lockdown::Unknown), &["22", "CONFIG_BPF_EVENTS"]);
    }

    #[test]
    fn only_reading_kernel_memory_is_lockdown() {
        let locked = Bpf { reading: Err(EINVAL), ..FREE };
        let filtered = Confinement { filtered: true, ..able() };
        for confinement in [able(), filtered] {
            let said = bpf(locked, &confinement, Lockdown::Confidentiality);
            assert_says(said, &["is locked down in mode confidentiality", "lockdown=integrity"]);
            let said = bpf(locked, &confinement, Lockdown::Unknown);
            assert_says(said, &["read kernel memory", "/sys/kernel/security/lockdown"]);
        }
    }

    #[test]
    fn lockdown_is_what_its_file_marks() {
        let confidentiality = "none integrity [confidentiality]\n";
        assert_eq!(Lockdown::of(confidentiality), Lockdown::Confidentiality);
        for harmless in ["[none] integrity confidentiality\n", "none [integrity] confidentiality\n"]
        {
            assert_eq!(Lockdown::of(harmless), Lockdown::Harmless);
        }
    }
}
