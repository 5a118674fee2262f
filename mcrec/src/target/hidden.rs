//! Why a process is not to be found, or may not be looked at, and what to change.

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
    thread::CapabilitySet,
};

use crate::host::{Confinement, Proc};

/// What to do where the pid namespace is not the machine's.
const SHARE: &str = ": run mcrec in the machine's pid namespace (docker, podman: --pid=host; \
     Kubernetes: hostPID: true), or in memcached's (--pid=container:NAME; \
     shareProcessNamespace: true), and name memcached by its pid there";

/// Why `/proc` cannot be what processes are looked for in; nothing where it can.
pub(super) fn proc(us: &Confinement) -> Result<(), &'static str> {
    match us.proc {
        Proc::Ours => Ok(()),
        Proc::Missing => Err("/proc is not mounted here: mount it to where mcrec runs"),
        Proc::Foreign => Err(
            "/proc is of another pid namespace than mcrec: mount one of its own there (mount -t \
             proc proc /proc, as docker and podman do), or run mcrec in the namespace of that one",
        ),
    }
}

/// Whether process `pid` is there, whatever `/proc` shows.
pub(super) fn is_there(pid: i32) -> bool {
    let pid = Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw);
    let result = pid.map(test_kill_process);
    matches!(result, Some(Ok(()) | Err(Errno::PERM)))
}

/// Why `/proc` has no process `pid`, which `is_there` or is not.
pub(super) fn absent(pid: i32, is_there: bool, us: &Confinement) -> String {
    if is_there {
        return format!(
            "process {pid} runs, but /proc does not show it, for it is mounted with hidepid: \
             {}, or mount /proc without that",
            us.remedy("SYS_PTRACE")
        );
    }
    let where_to = if us.machines_pids { "" } else { SHARE };
    format!("no process has pid {pid}{}{where_to}", within(us))
}

/// Why no memcached was found.
pub(super) fn none(us: &Confinement) -> String {
    const NAME_IT: &str = "if one is under another name, name it with -p PID";
    let where_to = if us.machines_pids { "" } else { SHARE };
    format!("no memcached is running{}{where_to}; {NAME_IT}", within(us))
}

/// Where one is looked for.
pub(super) fn within(us: &Confinement) -> &'static str {
    if us.machines_pids {
        return "";
    }
    " in mcrec's pid namespace, which is not the machine's"
}

/// Why the program of process `pid` may not be looked at.
pub(super) fn closed(pid: i32, us: &Confinement) -> String {
    if !us.has(CapabilitySet::SYS_PTRACE) {
        return format!("may not look at process {pid}: {}", us.remedy("SYS_PTRACE"));
    }
    let there = format!("may not look at process {pid}, although CAP_SYS_PTRACE is there");
    if !us.machines_users {
        return format!(
            "{there}: mcrec is in another user namespace than the machine's (a rootless or \
             remapped container), and its capabilities are good for processes in that alone: \
             start the container as root, without userns-remap, --userns or hostUsers: false"
        );
    }
    match &us.module {
        Some(module) => format!("{there}: {module} refuses it; {}", module.remedy()),
        None => format!(
            "{there}: a security module of the kernel refuses it; see the kernel's log (dmesg, or \
             ausearch -m avc) for which rule"
        ),
    }
}

/// Why copies of the descriptors of process `pid` may not be had.
pub(super) fn sockets(pid: i32, error: Errno, us: &Confinement) -> String {
    let what = format!("may not look at the sockets of process {pid}");
    let read = "give mcrec CAP_DAC_READ_SEARCH, which does without";
    if !us.has(CapabilitySet::SYS_PTRACE) {
        return format!("{what}: {}", us.remedy("SYS_PTRACE"));
    }
    match &us.module {
        _ if us.filtered => format!(
            "{what} ({error}): seccomp refuses pidfd_open or pidfd_getfd; allow those in the \
             seccomp profile, or {read}"
        ),
        Some(module) => format!("{what} ({error}): {module} refuses it; {}", module.remedy()),
        None => format!(
            "{what} ({error}), although CAP_SYS_PTRACE is there, as where Yama forbids all \
             tracing: {read}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use rustix::{io::Errno, thread::CapabilitySet};

    use super::{absent, closed, is_there, none, proc, sockets};
    use crate::host::{Confinement, Module, Proc, confined_by_nothing};

    fn with(capabilities: CapabilitySet) -> Confinement {
        Confinement { capabilities, ..confined_by_nothing() }
    }

    fn able() -> Confinement {
        with(CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYS_PTRACE)
    }

    #[track_caller]
    fn assert_says(said: &str, texts: &[&str]) {
        for text in texts {
            assert!(said.contains(text), "{text:?} is not in: {said}");
        }
        assert!(!said.contains('\n'), "one line: {said}");
    }

    #[test]
    fn a_process_may_be_in_another_namespace() {
        assert_eq!(absent(42, false, &able()), "no process has pid 42");
        let elsewhere = Confinement { machines_pids: false, ..able() };
        let ways = ["--pid=host", "hostPID", "--pid=container", "shareProcessNamespace"];
        assert_says(&absent(42, false, &elsewhere), &ways);
        assert_says(&none(&elsewhere), &ways);
        assert!(!none(&able()).contains("--pid"));
        assert_says(&absent(42, true, &able()), &["hidepid", "CAP_SYS_PTRACE"]);
    }

    #[test]
    fn processes_are_there_or_not() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(is_there(own));
        for none in [i32::MAX, 0, -1] {
            assert!(!is_there(none), "{none}");
        }
    }

    #[test]
    fn a_proc_of_other_processes_is_of_no_use() {
        assert_eq!(proc(&able()), Ok(()));
        let foreign = Confinement { proc: Proc::Foreign, ..able() };
        assert_says(proc(&foreign).unwrap_err(), &["another pid namespace", "mount"]);
        let missing = Confinement { proc: Proc::Missing, ..able() };
        assert_says(proc(&missing).unwrap_err(), &["not mounted"]);
    }

    #[test]
    fn without_the_capability_that_is_named_and_nothing_else() {
        let nothing = with(CapabilitySet::empty());
        let administrator = with(CapabilitySet::SYS_ADMIN);
        let module = Some(Module::AppArmor("docker-default".to_owned()));
        let confined = Confinement { module, machines_users: false, ..with(CapabilitySet::BPF) };
        for us in [nothing, administrator, confined] {
            let said = closed(42, &us);
            assert_says(&said, &["42", "CAP_SYS_PTRACE (", "--cap-add SYS_PTRACE"]);
            assert!(!said.contains("AppArmor") && !said.contains("user namespace"), "{said}");
        }
    }

    #[test]
    fn with_the_capability_it_is_a_module_or_a_namespace() {
        let module = Some(Module::AppArmor("docker-default".to_owned()));
        let confined = Confinement { module, filtered: true, ..able() };
        let says = [
            "although CAP_SYS_PTRACE is there",
            "AppArmor's profile docker-default",
            "--security-opt apparmor=unconfined",
            "appArmorProfile",
        ];
        assert_says(&closed(42, &confined), &says);
        let context = "system_u:system_r:container_t:s0:c1,c2";
        let module = Some(Module::SeLinux(context.to_owned()));
        assert_says(&closed(42, &Confinement { module, ..able() }), &[context, "spc_t"]);
        assert_says(&closed(42, &able()), &["security module", "dmesg"]);
        let rootless = Confinement { machines_users: false, ..confined };
        assert_says(&closed(42, &rootless), &["user namespace", "rootless"]);
    }

    #[test]
    fn sockets_may_be_closed_although_the_process_is_not() {
        let nothing = with(CapabilitySet::empty());
        assert_says(
            &sockets(42, Errno::PERM, &nothing),
            &["give mcrec the capability CAP_SYS_PTRACE"],
        );
        let filtered = Confinement { filtered: true, ..able() };
        assert_says(&sockets(42, Errno::NOSYS, &filtered), &["seccomp", "pidfd_getfd"]);
        assert_says(&sockets(42, Errno::PERM, &able()), &["Yama", "CAP_DAC_READ_SEARCH"]);
        let module = Some(Module::AppArmor("docker-default".to_owned()));
        let confined = Confinement { module, ..able() };
        assert_says(&sockets(42, Errno::ACCESS, &confined), &["AppArmor", "apparmor=unconfined"]);
    }
}
