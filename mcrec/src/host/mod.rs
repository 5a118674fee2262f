//! The machine that mcrec runs on: what its kernel can do and what we may do.

mod attempt;
mod confinement;
mod refused;

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
use rustix::{
    thread::CapabilitySet,
    time::{ClockId, clock_gettime},
};

pub(crate) use attempt::load as load_program;
pub(crate) use confinement::{Confinement, Proc};
#[cfg(test)]
pub(crate) use confinement::{Module, confined_by_nothing};
use refused::Lockdown;

/// What recording needs of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Host name.
    pub(crate) name: String,
    /// Kernel release.
    pub(crate) kernel: String,
    /// What mcrec is confined by there.
    pub(crate) confinement: Confinement,
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
    /// Where it comes from; of no meaning where it is there.
    pub(crate) remedy: String,
    /// The source that needs it, where not all do.
    pub(crate) source: Option<&'static str>,
}

impl Need {
    fn missing(&self) -> String {
        format!("no {}: {}", self.name, self.remedy)
    }

    /// One that was tried, with why it is not there.
    fn tried(name: &'static str, result: Result<(), String>) -> Self {
        Self { name, met: result.is_ok(), remedy: result.err().unwrap_or_default(), source: None }
    }
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
        let kernel = uname.release().to_string_lossy().into_owned();
        let confinement = Confinement::here();
        let mut needs = privileges(&confinement);
        needs.extend([
            Need {
                name: "BTF",
                met: File::open("/sys/kernel/btf/vmlinux").is_ok(),
                remedy: without_btf(Path::new("/sys/kernel").exists()).to_owned(),
                source: None,
            },
            Need {
                name: "uprobes",
                met: Path::new("/sys/bus/event_source/devices/uprobe").exists(),
                remedy: "the kernel must be built with CONFIG_UPROBE_EVENTS (and /sys be mounted)"
                    .to_owned(),
                source: Some("usdt"),
            },
        ]);
        Self { name: uname.nodename().to_string_lossy().into_owned(), kernel, confinement, needs }
    }

    /// # Errors
    ///
    /// When something is missing that recording through `source` needs, and that where it
    /// attaches `by_perf_events`, with what and whence.
    pub(crate) fn require(&self, source: &str, by_perf_events: bool) -> Result<()> {
        let mut missing = self.missing(Some(source));
        // Tried only where it is needed, for who has nothing to do with it is not to pay.
        if missing.is_empty() && by_perf_events {
            let answer = refused::perf_event(attempt::perf_event(), &self.confinement);
            let need = Need::tried("use of perf_event_open(2)", answer);
            missing.extend((!need.met).then(|| need.missing()));
        }
        if !missing.is_empty() {
            bail!(
                "cannot record on this machine (kernel {}):\n  {}",
                self.kernel,
                missing.join("\n  ")
            );
        }
        Ok(())
    }

    /// A line for each thing that is missing: of what recording through `source` needs, or
    /// without that, of what it needs through any.
    pub(crate) fn missing(&self, source: Option<&str>) -> Vec<String> {
        self.needs
            .iter()
            .filter(|need| !need.met && need.source.is_none_or(|needing| Some(needing) == source))
            .map(Need::missing)
            .collect()
    }

    /// Whether the kernel lets only the privileged read a map that they have open.
    pub(crate) fn maps_need_capability(&self) -> bool {
        !kernel_at_least(&self.kernel, (5, 19))
    }
}

/// What mcrec must be allowed to do: as its capabilities have it, and then, where those are
/// there, as the kernel and what stands before it answer when it is tried.
fn privileges(confinement: &Confinement) -> Vec<Need> {
    let mut needs = vec![
        Need {
            name: "CAP_BPF",
            met: confinement.has(CapabilitySet::BPF),
            remedy: confinement.remedy("BPF"),
            source: None,
        },
        Need {
            name: "CAP_PERFMON",
            met: confinement.has(CapabilitySet::PERFMON),
            remedy: confinement.remedy("PERFMON"),
            source: None,
        },
    ];
    if needs.iter().any(|need| !need.met) {
        // The calls would be refused for that alone.
        return needs;
    }
    let bpf = refused::bpf(attempt::Bpf::ask(), confinement, Lockdown::here());
    needs.push(Need::tried("use of bpf(2)", bpf));
    needs
}

fn without_btf(has_sys: bool) -> &'static str {
    if has_sys {
        "the kernel must be built with CONFIG_DEBUG_INFO_BTF"
    } else {
        "/sys is not mounted here: mount it (read-only will do) to where mcrec runs"
    }
}

fn kernel_at_least(release: &str, (major, minor): (u32, u32)) -> bool {
    release_numbers(release) >= (major, minor, 0)
}

/// The numbers that a kernel's release begins with; 0 for one that is not there.
pub(crate) fn release_numbers(release: &str) -> (u32, u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next(), next())
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
