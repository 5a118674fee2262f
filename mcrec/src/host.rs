//! The machine that mcrec runs on: what its kernel can do and what we may do.

use std::{
    fmt,
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use procfs::{
    FromRead,
    process::{Process, Status},
};
use rustix::time::{ClockId, clock_gettime};

// Bits of a capability set, linux/capability.h.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// What recording needs of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Host name.
    pub(crate) name: String,
    /// Kernel release.
    pub(crate) kernel: String,
    /// What is needed, whether it is there, and what is missing when it is not.
    pub(crate) needs: Vec<Need>,
}

/// One thing that recording needs.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    /// What.
    pub(crate) name: &'static str,
    /// Whether it is there.
    pub(crate) met: bool,
    /// Where it comes from.
    pub(crate) remedy: &'static str,
    /// The source that needs it, where not all do.
    pub(crate) source: Option<&'static str>,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, if self.met { "yes" } else { "NO" })
    }
}

impl Host {
    /// Looks at this machine.
    pub(crate) fn here() -> Self {
        let uname = rustix::system::uname();
        let capability = |bit: u32| {
            let set =
                Process::myself().and_then(|me| me.status()).map_or(0, |status| status.capeff);
            set >> bit & 1 == 1 || set >> CAP_SYS_ADMIN & 1 == 1
        };
        let needs = vec![
            Need {
                name: "CAP_BPF",
                met: capability(CAP_BPF),
                remedy: "run as root, or give mcrec the capability CAP_BPF",
                source: None,
            },
            Need {
                name: "CAP_PERFMON",
                met: capability(CAP_PERFMON),
                remedy: "run as root, or give mcrec the capability CAP_PERFMON",
                source: None,
            },
            Need {
                name: "BTF",
                met: Path::new("/sys/kernel/btf/vmlinux").exists(),
                remedy: "the kernel must be built with CONFIG_DEBUG_INFO_BTF (and /sys be mounted)",
                source: None,
            },
            Need {
                name: "atomic BPF instructions",
                met: kernel_at_least(&uname.release().to_string_lossy(), (5, 12)),
                remedy: "the kernel must be 5.12 or newer",
                source: None,
            },
            Need {
                name: "loops in BPF",
                met: kernel_at_least(&uname.release().to_string_lossy(), (5, 17)),
                remedy: "the kernel must be 5.17 or newer; --source usdt does without",
                source: Some("syscalls"),
            },
            Need {
                name: "uprobes",
                met: Path::new("/sys/bus/event_source/devices/uprobe").exists(),
                remedy: "the kernel must be built with CONFIG_UPROBE_EVENTS (and /sys be mounted)",
                source: Some("usdt"),
            },
        ];
        Self {
            name: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            needs,
        }
    }

    /// # Errors
    ///
    /// When something is missing that recording through `source` needs, with what and whence.
    pub(crate) fn require(&self, source: &str) -> Result<()> {
        let missing: Vec<String> = self
            .needs
            .iter()
            .filter(|need| !need.met && need.source.is_none_or(|needing| needing == source))
            .map(|need| format!("no {}: {}", need.name, need.remedy))
            .collect();
        if !missing.is_empty() {
            bail!(
                "cannot record on this machine (kernel {}):\n  {}",
                self.kernel,
                missing.join("\n  ")
            );
        }
        Ok(())
    }

    /// Whether the kernel lets only the privileged read a map that they have open.
    pub(crate) fn maps_need_capability(&self) -> bool {
        !kernel_at_least(&self.kernel, (5, 19))
    }
}

fn kernel_at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= wanted,
        _ => false,
    }
}

/// `CLOCK_MONOTONIC`, the clock of the BPF programs, ns.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Wall clock minus [`monotonic_ns`], ns: the tightest of a few readings.
pub(crate) fn clock_offset_ns() -> i64 {
    let reading = || {
        let before = monotonic_ns();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let after = monotonic_ns();
        let offset =
            i128::try_from(wall.as_nanos()).unwrap_or(0) - i128::from(before.midpoint(after));
        (after - before, i64::try_from(offset).unwrap_or(0))
    };
    (0..16).map(|_| reading()).min().map_or(0, |(_, offset)| offset)
}

/// Threads of this process.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub(crate) fn threads() -> Result<u64> {
    let status = Process::myself().and_then(|me| me.status()).context("cannot read /proc")?;
    Ok(status.threads)
}

/// Whether this process was started with a signal ignored.
pub(crate) fn ignores(signal: i32) -> bool {
    let status = Process::myself().and_then(|me| me.status());
    status.is_ok_and(|status| status.sigign & 1 << (signal - 1) != 0)
}

/// What this process costs, also when it may not open anything in `/proc` any more.
#[derive(Debug)]
pub(crate) struct OwnCost {
    status: Option<File>,
}

impl OwnCost {
    /// Opens what the cost is read from.
    pub(crate) fn open() -> Self {
        Self { status: File::open("/proc/self/status").ok() }
    }

    /// CPU time (user and system) and peak resident memory (bytes, the ring's too) of this
    /// process; zero where it is not known.
    pub(crate) fn read(&self) -> (Duration, u64) {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::new(
            u64::try_from(cpu.tv_sec).unwrap_or(0),
            u32::try_from(cpu.tv_nsec).unwrap_or(0),
        );
        let mut text = [0; 8192];
        let length = self.status.as_ref().and_then(|status| status.read_at(&mut text, 0).ok());
        let status = Status::from_read(&text[..length.unwrap_or(0)]).ok();
        let peak = status.and_then(|status| status.vmhwm).unwrap_or(0) * 1024;
        (cpu, peak)
    }
}

#[cfg(test)]
mod tests {
    use super::kernel_at_least;

    #[test]
    fn kernel_releases_compare_by_number() {
        assert!(kernel_at_least("5.10.0-35-amd64", (5, 8)));
        assert!(kernel_at_least("6.18.44-fc", (5, 8)));
        assert!(!kernel_at_least("4.19.0", (5, 8)));
        assert!(!kernel_at_least("5.7.19", (5, 8)));
        assert!(!kernel_at_least("", (5, 8)));
    }
}
