//! What the kernel can do for a recording. It is found by trying (`probe/features.rs`), not
//! read off a release: distributions backport. The two exceptions say why.

use crate::{cli::Lacking, host::release_numbers};

/// What the kernel can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    /// BPF programs can compare and swap, on a processor that makes their writes visible in
    /// their order.
    pub(crate) atomics: bool,
    /// It has tracepoints for what sockets receive and send.
    pub(crate) socket_tracepoints: bool,
    /// Which threads of a process a link of uprobes shows.
    pub(crate) uprobe_links: UprobeLinks,
    /// Whether programs at the raw tracepoints of sockets may be preempted.
    pub(crate) raw_sockets: RawTracepoints,
    /// The same at that of the exit of all system calls, where on 7.0 it differs. To answer,
    /// every process's calls pass a program for a moment, so it is asked only where needed.
    pub(crate) raw_calls: fn() -> RawTracepoints,
    /// Perf's tracepoints can be attached to: their programs run with preemption off on all
    /// kernels, and take longer to get to.
    pub(crate) perf_tracepoints: bool,
    /// A return probe ends a process under seccomp that does not know its system call.
    pub(crate) return_probes_break_seccomp: bool,
}

/// Links that attach a program to many uprobes of a process, which take no privileges that
/// recording does not have anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UprobeLinks {
    /// The kernel has none.
    None,
    /// They show what the first thread does, whatever they were asked for.
    FirstThread,
    /// They show what the process does.
    Process,
}

/// Whether programs at raw tracepoints may be preempted. While one waits for its CPU, the
/// kernel skips the same program for every other thread there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawTracepoints {
    /// They run to their end: the kernel never preempts, or not there.
    Undisturbed,
    /// They may be, or it is not known.
    Preemptible,
}

/// The tracepoints of the syscalls source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Of what sockets receive and send.
    Sockets,
    /// Of the exit of all system calls.
    Calls,
}

/// How events reach the programs of the syscalls source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracepoints {
    /// Raw, the cheapest.
    Raw,
    /// Perf's.
    Perf,
}

impl Kernel {
    /// The tracepoints to attach to: the cheapest whose programs are never skipped, if any.
    pub(crate) fn tracepoints(&self, at: At) -> Tracepoints {
        match self.raw(at) {
            RawTracepoints::Preemptible if self.perf_tracepoints => Tracepoints::Perf,
            _ => Tracepoints::Raw,
        }
    }

    fn raw(&self, at: At) -> RawTracepoints {
        match at {
            At::Sockets => self.raw_sockets,
            At::Calls => (self.raw_calls)(),
        }
    }

    /// Whether the kernel may skip programs at the tracepoints that are attached to.
    pub(crate) fn may_skip(&self, at: At) -> bool {
        self.tracepoints(at) == Tracepoints::Raw && self.raw(at) == RawTracepoints::Preemptible
    }

    /// Why what sockets receive and send cannot be seen alone, if that is so: of a process
    /// that is `confined` by seccomp.
    pub(crate) fn blind_to_sockets(&self, confined: bool) -> Option<&'static str> {
        if !self.socket_tracepoints || self.uprobe_links == UprobeLinks::None {
            Some("this kernel cannot show those on sockets alone (from Linux 6.6 on)")
        } else if self.uprobe_links == UprobeLinks::FirstThread {
            Some("this kernel shows what the first thread of a process closes, not its workers")
        } else if confined && self.return_probes_break_seccomp {
            Some("memcached is under seccomp, and a return probe would end it on this kernel")
        } else {
            None
        }
    }

    /// What a recording through the tracepoints may miss here, and what to do, if that is so.
    pub(crate) fn skips(&self, at: At) -> Option<&'static str> {
        self.may_skip(at).then_some(
            "this kernel skips a program while another run of it waits for its CPU; what that may \
             hide is counted. Where mcrec can read tracefs nothing is skipped: mount -t tracefs \
             tracefs /sys/kernel/tracing, and run as root or with CAP_DAC_READ_SEARCH",
        )
    }

    /// What was found out, in words.
    pub(crate) fn describe(&self) -> Vec<String> {
        let yes = |has: bool| if has { "yes" } else { "no" };
        let links = match self.uprobe_links {
            UprobeLinks::None => "no",
            UprobeLinks::FirstThread => "of the first thread only",
            UprobeLinks::Process => "yes",
        };
        let atomics = match self.atomics {
            true => "yes",
            false if cfg!(target_arch = "x86_64") => "no",
            false => "not used on this processor",
        };
        let raw = |at| match self.raw(at) {
            RawTracepoints::Undisturbed => "never preempted",
            RawTracepoints::Preemptible => "may be preempted, and then skipped",
        };
        let mut lines = vec![
            format!(
                "tracepoints of sockets {}, links of uprobes {links}, atomic BPF instructions {atomics}",
                yes(self.socket_tracepoints),
            ),
            format!(
                "programs at raw tracepoints of sockets {}, at that of system calls {}",
                raw(At::Sockets),
                raw(At::Calls)
            ),
            format!(
                "programs at perf's tracepoints never preempted; these can{} be attached to",
                if self.perf_tracepoints { "" } else { "not" }
            ),
        ];
        if self.return_probes_break_seccomp {
            lines.push("a return probe ends a process that is under seccomp".to_owned());
        }
        lines
    }

    /// The same kernel without some of its features.
    pub(crate) fn without(mut self, lacking: &[Lacking]) -> Self {
        for one in lacking {
            match one {
                Lacking::Atomics => self.atomics = false,
                Lacking::Sockets => self.socket_tracepoints = false,
                Lacking::PerfTracepoints => self.perf_tracepoints = false,
                Lacking::RawTracepoints => {
                    self.raw_sockets = RawTracepoints::Preemptible;
                    self.raw_calls = || RawTracepoints::Preemptible;
                }
            }
        }
        self
    }
}

/// Releases on which a process under seccomp dies of a return probe: from when these return by
/// a system call, which its filter does not know, to when seccomp lets that pass. What mended
/// it left no trace that could be asked for, so this list is of releases; a distribution may
/// have mended its own earlier, and then loses no more than the cheaper way.
pub(crate) fn return_probes_break_seccomp(release: &str) -> bool {
    let release = release_numbers(release);
    ((6, 11, 0)..=(6, 12, 13)).contains(&release) || ((6, 13, 0)..=(6, 13, 2)).contains(&release)
}

/// Whether programs at raw tracepoints run with preemption off, by the release: for kernels
/// that cannot be asked. Where this is wrong, what is skipped is counted all the same.
pub(crate) fn has_undisturbed(release: &str) -> bool {
    release_numbers(release) < (7, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::{
        At, Kernel, RawTracepoints, Tracepoints, UprobeLinks, has_undisturbed,
        return_probes_break_seccomp,
    };
    use crate::cli::Lacking;

    const NEW: Kernel = Kernel {
        atomics: true,
        socket_tracepoints: true,
        uprobe_links: UprobeLinks::Process,
        raw_sockets: RawTracepoints::Undisturbed,
        raw_calls: || RawTracepoints::Undisturbed,
        perf_tracepoints: true,
        return_probes_break_seccomp: false,
    };

    #[test]
    fn tracepoints_are_those_that_are_never_skipped_and_then_the_cheapest() {
        let preempts = NEW.without(&[Lacking::RawTracepoints]);
        let neither = preempts.without(&[Lacking::PerfTracepoints]);
        for at in [At::Sockets, At::Calls] {
            let chosen = |kernel: Kernel| (kernel.tracepoints(at), kernel.may_skip(at));
            assert_eq!(chosen(NEW), (Tracepoints::Raw, false));
            assert_eq!(chosen(preempts), (Tracepoints::Perf, false));
            assert_eq!(chosen(neither), (Tracepoints::Raw, true));
        }
        // As 7.0 has it.
        let one = Kernel { raw_sockets: RawTracepoints::Preemptible, ..NEW };
        assert_eq!(one.tracepoints(At::Sockets), Tracepoints::Perf);
        assert_eq!(one.tracepoints(At::Calls), Tracepoints::Raw);
    }

    #[test]
    fn sockets_alone_need_all_that_shows_their_beginning_and_end() {
        assert_eq!(NEW.blind_to_sockets(true), None);
        let broken = Kernel { return_probes_break_seccomp: true, ..NEW };
        assert_eq!(broken.blind_to_sockets(false), None);
        assert!(broken.blind_to_sockets(true).unwrap().contains("seccomp"));
        for links in [UprobeLinks::None, UprobeLinks::FirstThread] {
            assert!(Kernel { uprobe_links: links, ..NEW }.blind_to_sockets(false).is_some());
        }
        assert!(NEW.without(&[Lacking::Sockets]).blind_to_sockets(false).is_some());
    }

    #[test]
    fn a_kernel_that_cannot_be_asked_is_judged_by_its_release() {
        assert!(has_undisturbed("6.19.14+deb14-amd64"));
        assert!(!has_undisturbed("7.0.0-1-amd64"));
    }

    #[test]
    fn seccomp_and_return_probes_disagree_from_6_11_to_when_it_was_mended() {
        for (release, breaks) in [
            ("6.10.14", false),
            ("6.11.0-29-generic", true),
            ("6.12.13-amd64", true),
            ("6.12.14", false),
            ("6.12.43+deb13-amd64", false),
            ("6.13.2", true),
            ("6.13.3", false),
            ("6.14.0", false),
            ("5.10.0-32-cloud-amd64", false),
            ("", false),
        ] {
            assert_eq!(return_probes_break_seccomp(release), breaks, "{release}");
        }
    }
}
