//! The memcached to record: finding it, and what can be known of it from outside.

mod executable;
mod hidden;
mod library;

use std::{
    collections::{BTreeSet, HashSet},
    fmt, fs, io,
    ops::Range,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow, bail};
use procfs::{
    ProcError,
    net::{TcpState, UnixState},
    process::{FDTarget, LimitValue, MMPermissions, MMapPath, MemoryMap, Process, all_processes},
};

use rustix::{
    fs::{FileType, fstat},
    io::Errno,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

pub(crate) use executable::Executable;
#[cfg(test)]
pub(crate) use executable::Version;
pub(crate) use library::Function;

use crate::host::Confinement;

/// Functions of the C library that begin a connection, and one that ends it.
pub(crate) const ACCEPT: &str = "accept";
pub(crate) const ACCEPT4: &str = "accept4";
pub(crate) const CLOSE: &str = "close";

/// Descriptors beyond this (`fs.nr_open`'s default) are counted, and not recorded.
pub(crate) const DESCRIPTORS_MAX: u32 = 1 << 20;
/// Executables beyond this are not read: memcached has about one megabyte.
const EXECUTABLE_MAX: u64 = 256 << 20;

/// A running memcached.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Process id.
    pub(crate) pid: i32,
    /// The executable's path as the process itself sees it.
    pub(crate) path: PathBuf,
    /// What the executable says.
    pub(crate) executable: Executable,
    /// Its command line.
    pub(crate) command_line: Vec<String>,
    /// Addresses it listens on.
    pub(crate) listening: Vec<String>,
    /// Local ports of its clients: those it listens on, and those of its UDP sockets.
    pub(crate) ports: Vec<u16>,
    /// Number of threads that serve connections.
    pub(crate) worker_threads: usize,
    /// Its descriptors are below this.
    pub(crate) descriptors: u32,
    /// Addresses of the executable's memory that is never written: where its constants are.
    pub(crate) readonly: Range<u64>,
    /// Where it may call the functions that begin and end a connection.
    pub(crate) functions: Vec<Function>,
    /// Whether it has UDP sockets.
    pub(crate) has_udp: bool,
    /// Whether seccomp judges its system calls.
    pub(crate) confined: bool,
}

/// A memcached that was found when none was named.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Process id.
    pub(crate) pid: i32,
    command_line: String,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8}  {}", self.pid, self.command_line)
    }
}

/// What memcached's process is called, unless someone renamed its program.
pub(crate) const NAME: &str = "memcached";

/// Every running memcached whose program is called `name`, by process id: as the kernel
/// knows it, which is the first 15 bytes of its file name; `memcached` is also what has a
/// version or a kind after that, as in `memcached-debug`. What starts it, or exports its
/// figures, may be called the same and is none.
///
/// # Errors
///
/// When `/proc` cannot be listed.
pub(crate) fn running(name: &str) -> Result<Vec<Candidate>> {
    const KNOWN: usize = 15;
    hidden::proc(&Confinement::here()).map_err(Error::msg)?;
    let known = name.get(..KNOWN).unwrap_or(name);
    let mut found = Vec::new();
    for process in all_processes().context("cannot list /proc")? {
        // A process may end while it is being looked at.
        let Ok(process) = process else { continue };
        let Ok(stat) = process.stat() else { continue };
        let is_build = |rest: &str| name == NAME && rest.starts_with(['-', '.']);
        let same = stat.comm == known || stat.comm.strip_prefix(NAME).is_some_and(is_build);
        if same && stat.state != 'Z' && may_be_memcached(process.pid()) {
            let command_line = process.cmdline().unwrap_or_default().join(" ");
            found.push(Candidate { pid: process.pid(), command_line: printable(&command_line) });
        }
    }
    found.sort_by_key(|candidate| candidate.pid);
    Ok(found)
}

/// Why [`running`] found no memcached, for people.
pub(crate) fn none_running() -> String {
    hidden::none(&Confinement::here())
}

/// Where [`running`] looks, for people, if that is not the whole machine.
pub(crate) fn where_looked_for() -> &'static str {
    hidden::within(&Confinement::here())
}

/// Whether the program of process `pid` is a memcached; also where it may not be looked at,
/// which [`Target::of`] explains.
fn may_be_memcached(pid: i32) -> bool {
    let Ok(executable) = read_executable(pid) else { return true };
    Executable::parse(&executable).is_ok_and(|executable| executable.is_memcached())
}

/// Waits until process `pid` listens to clients, or ends, but not longer than `at_most`:
/// what a memcached that was just started has not bound yet, and which libraries it has
/// not loaded, cannot be seen.
pub(crate) fn wait_for_listener(pid: i32, at_most: Duration) {
    const LOOK: Duration = Duration::from_millis(50);
    let since = Instant::now();
    while since.elapsed() < at_most && runs(pid) {
        let listens = Process::new(pid)
            .ok()
            .and_then(|process| Some(!listening(&process, &sockets(&process).ok()?).is_empty()));
        // It binds its sockets one right after the other.
        thread::sleep(LOOK);
        if listens == Some(true) {
            return;
        }
    }
}

impl Target {
    /// Looks at process `pid`.
    ///
    /// # Errors
    ///
    /// When there is no such process, it may not be looked at, or it is not a memcached.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        hidden::proc(&Confinement::here()).map_err(Error::msg)?;
        let process = match Process::new(pid) {
            Ok(process) => process,
            Err(ProcError::NotFound(_)) => {
                bail!(hidden::absent(pid, hidden::is_there(pid), &Confinement::here()))
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot look at process {pid}"));
            }
        };
        if process.stat().is_ok_and(|stat| stat.state == 'Z') {
            bail!("process {pid} has exited");
        }
        if let Some(of) = process.status().ok().map(|status| status.tgid).filter(|of| *of != pid) {
            bail!("{pid} is a thread of process {of}: name that with -p {of}");
        }
        let executable = read_executable(pid)?;
        let path = process.exe().unwrap_or_default();
        let executable = Executable::parse(&executable).with_context(|| {
            format!("process {pid} is not a memcached that mcrec can read: {}", path.display())
        })?;
        if !executable.is_memcached() {
            bail!(
                "process {pid} is not a memcached: its program {} neither states a memcached \
                 version nor has memcached's probes",
                path.display()
            );
        }
        let sockets = sockets(&process)?;
        let udp_ports = udp_ports(&process, &sockets);
        // What cannot be read is left out.
        let mappings: Vec<MemoryMap> = process.maps().into_iter().flatten().collect();
        Ok(Self {
            pid,
            readonly: readonly(&mappings, &path),
            functions: library::functions(pid, &mappings, &[ACCEPT, ACCEPT4, CLOSE]),
            has_udp: !udp_ports.is_empty(),
            confined: process.status().is_ok_and(|status| status.seccomp.unwrap_or(0) > 0),
            path,
            executable,
            command_line: process.cmdline().unwrap_or_default(),
            listening: listening(&process, &sockets),
            ports: ports(&process, &sockets, udp_ports),
            worker_threads: worker_threads(&process),
            descriptors: descriptors(&process),
        })
    }

    /// A path of the executable that works from here, also when the process
    /// lives in a container or its file was replaced on disk since it started.
    pub(crate) fn executable_file(&self) -> PathBuf {
        executable_file(self.pid)
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&self) -> bool {
        runs(self.pid)
    }

    /// Its version for people.
    pub(crate) fn version(&self) -> &str {
        self.executable.version.as_ref().map_or("of unknown version", |version| &version.text)
    }
}

/// Whether process `pid` still runs.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = Process::new(pid).and_then(|process| process.stat());
    stat.is_ok_and(|stat| stat.state != 'Z')
}

/// The mappings of the executable before the first that may be written; none where that
/// cannot be told.
fn readonly(mappings: &[MemoryMap], executable: &Path) -> Range<u64> {
    let own = mappings
        .iter()
        .filter(|mapping| matches!(&mapping.pathname, MMapPath::Path(path) if path == executable));
    own.take_while(|mapping| !mapping.perms.contains(MMPermissions::WRITE))
        .map(|mapping| mapping.address.0..mapping.address.1)
        .reduce(|all, next| if next.start == all.end { all.start..next.end } else { all })
        .unwrap_or(0..0)
}

fn executable_file(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/exe"))
}

fn read_executable(pid: i32) -> Result<Vec<u8>> {
    let path = executable_file(pid);
    let size = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!(hidden::closed(pid, &Confinement::here()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // What is hidden can be opened, and looked at no further.
            if fs::metadata(format!("/proc/{pid}")).is_err() {
                bail!(hidden::absent(pid, hidden::is_there(pid), &Confinement::here()));
            }
            bail!("process {pid} has no program file: it is a kernel thread or has just exited")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if size > EXECUTABLE_MAX {
        bail!("process {pid} is not a memcached: its program has {size} bytes");
    }
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn worker_threads(process: &Process) -> usize {
    let Ok(tasks) = process.tasks() else { return 0 };
    tasks.flatten().filter(|task| task.stat().is_ok_and(|stat| stat.comm == "mc-worker")).count()
}

fn descriptors(process: &Process) -> u32 {
    // The hard limit: memcached, or prlimit from outside, may raise the soft one.
    let limit = process.limits().map(|limits| limits.max_open_files.hard_limit);
    let limit = match limit {
        Ok(LimitValue::Value(limit)) => u32::try_from(limit).unwrap_or(DESCRIPTORS_MAX),
        Ok(LimitValue::Unlimited) | Err(_) => DESCRIPTORS_MAX,
    };
    limit.clamp(1, DESCRIPTORS_MAX)
}

/// Inode numbers of its sockets. Without them, no connection that is there already
/// could be told to be a client's.
fn sockets(process: &Process) -> Result<HashSet<u64>> {
    let Ok(descriptors) = process.fd() else { return sockets_held(process) };
    let inodes = descriptors.flatten().filter_map(|descriptor| match descriptor.target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    });
    Ok(inodes.collect())
}

/// The same where its folder in `/proc` is closed to us, as that of any other user's
/// process is, `CAP_SYS_PTRACE` or not: from a copy of each of its descriptors.
fn sockets_held(process: &Process) -> Result<HashSet<u64>> {
    let pid = process.pid();
    let beyond = process.status().with_context(|| format!("cannot look at process {pid}"))?.fdsize;
    let held = Pid::from_raw(pid).context("a process id is positive")?;
    let closed = |error| anyhow!(hidden::sockets(pid, error, &Confinement::here()));
    let held = pidfd_open(held, PidfdFlags::empty()).map_err(closed)?;
    let mut inodes = HashSet::new();
    for descriptor in 0..i32::try_from(beyond).unwrap_or(i32::MAX) {
        let copy = match pidfd_getfd(&held, descriptor, PidfdGetfdFlags::empty()) {
            Ok(copy) => copy,
            Err(Errno::BADF) => continue,
            Err(error) => return Err(closed(error)),
        };
        let Ok(stat) = fstat(&copy) else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Socket {
            inodes.insert(stat.st_ino);
        }
    }
    Ok(inodes)
}

/// What cannot be read is left out.
fn ports(process: &Process, sockets: &HashSet<u64>, udp: Vec<u16>) -> Vec<u16> {
    let tcp = [process.tcp(), process.tcp6()]
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.state == TcpState::Listen && sockets.contains(&entry.inode))
        .map(|entry| entry.local_address.port());
    let ports: BTreeSet<u16> = tcp.chain(udp).collect();
    ports.into_iter().collect()
}

/// What cannot be read is left out.
fn udp_ports(process: &Process, sockets: &HashSet<u64>) -> Vec<u16> {
    let udp = [process.udp(), process.udp6()].into_iter().flatten().flatten();
    let own = udp.filter(|entry| sockets.contains(&entry.inode));
    own.map(|entry| entry.local_address.port()).collect()
}

/// Addresses of listening sockets. For information only: what cannot be read is left out.
fn listening(process: &Process, sockets: &HashSet<u64>) -> Vec<String> {
    let tcp = [process.tcp(), process.tcp6()]
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.state == TcpState::Listen && sockets.contains(&entry.inode))
        .map(|entry| entry.local_address.to_string());
    let unix = process
        .unix()
        .into_iter()
        .flatten()
        .filter(|entry| {
            // A listening unix socket is the one that is bound but not connected.
            entry.state == UnixState::UNCONNECTED && sockets.contains(&entry.inode)
        })
        .filter_map(|entry| entry.path)
        .map(|path| format!("unix:{}", printable(&path.to_string_lossy())));
    tcp.chain(unix).collect()
}

/// `text` on one line and without terminal escapes: a process chooses its own command line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
