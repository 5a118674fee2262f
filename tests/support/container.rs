//! Containers, as runtimes of images make them, but of a root file system that has nothing
//! but a program and the libraries that it needs.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    net::SocketAddr,
    os::{
        fd::AsFd,
        unix::fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{recorder::Recorder, server::Address, until};

/// What docker gives to containers that ask for nothing.
pub const USUAL: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What recording needs.
pub const NEEDED: [&str; 3] = ["BPF", "PERFMON", "SYS_PTRACE"];

/// The root file system of a container with one program.
pub struct Root {
    folder: TempDir,
    /// The program as the container has it.
    program: String,
}

impl Root {
    /// One of `program`.
    ///
    /// # Panics
    ///
    /// When the program or a library of its cannot be copied.
    pub fn of(program: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["proc", "sys", "dev", "tmp", "data", "usr/lib", "usr/lib64"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for name in ["lib", "lib64"] {
            symlink(format!("usr/{name}"), folder.path().join(name)).unwrap();
        }
        let name = program.file_name().unwrap().to_str().unwrap();
        fs::copy(program, folder.path().join(name)).unwrap();
        for library in libraries(program) {
            let to = folder.path().join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&library, to).unwrap();
        }
        let program = format!("/{name}");
        Self { folder, program }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The libraries that a program is linked with, and what loads them.
fn libraries(program: &Path) -> BTreeSet<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().expect("ldd runs");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let words = listed.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

/// What makes the container.
#[derive(Clone, Copy, Debug)]
pub enum Runtime {
    /// Docker's.
    Runc,
    /// Podman's.
    Crun,
}

impl Runtime {
    fn command(self) -> Command {
        /// It refuses a machine that has control groups of both versions.
        const NEWER_ALONE: &str = "umount -R -l /sys/fs/cgroup && \
             mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec crun --cgroup-manager disabled \"$@\"";
        match self {
            Self::Runc => Command::new("runc"),
            Self::Crun => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", NEWER_ALONE, "sh"]);
                command
            }
        }
    }
}

/// What a container is to be.
pub struct Config<'a> {
    root: &'a Root,
    runtime: Runtime,
    arguments: Vec<String>,
    user: u32,
    capabilities: Vec<&'a str>,
    /// The pid namespace to be in; one of its own without.
    pids: Pids,
    /// System calls that seccomp refuses, with this error.
    refused: Vec<(&'a str, u32)>,
    /// A folder to have at `/data`.
    data: Option<&'a Path>,
    /// A folder for what is written to the layers of an image.
    layers: Option<&'a Path>,
    has_sys: bool,
    hides_processes: bool,
    has_tracing: bool,
}

/// The pid namespace of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pids {
    Own,
    /// As with `--pid=host`.
    Machines,
    /// Of this process, as with `--pid=container:NAME`.
    Of(u32),
}

impl<'a> Config<'a> {
    /// Of a container that runs the program of `root` as root, without any capability, with
    /// namespaces of its own.
    pub fn new(root: &'a Root, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Self {
            root,
            runtime: Runtime::Runc,
            arguments: [root.program.clone()].into_iter().chain(arguments).collect(),
            user: 0,
            capabilities: Vec::new(),
            pids: Pids::Own,
            refused: Vec::new(),
            data: None,
            layers: None,
            has_sys: true,
            hides_processes: false,
            has_tracing: false,
        }
    }

    pub fn runtime(self, runtime: Runtime) -> Self {
        Self { runtime, ..self }
    }

    pub fn user(self, user: u32) -> Self {
        Self { user, ..self }
    }

    pub fn capabilities(self, capabilities: &[&'a str]) -> Self {
        Self { capabilities: capabilities.to_vec(), ..self }
    }

    pub fn pids(self, pids: Pids) -> Self {
        Self { pids, ..self }
    }

    /// Has seccomp refuse system call `name` with an error.
    pub fn refuse(mut self, name: &'a str, error: u32) -> Self {
        self.refused.push((name, error));
        self
    }

    pub fn data(self, data: &'a Path) -> Self {
        Self { data: Some(data), ..self }
    }

    /// Has its libraries on layers, as those of an image are: the files of the root, and above
    /// them what is written to `folder`.
    ///
    /// # Panics
    ///
    /// When the folder cannot be written to.
    pub fn layers(self, folder: &'a Path) -> Self {
        for name in ["upper", "work"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        Self { layers: Some(folder), ..self }
    }

    /// Leaves `/sys` away.
    pub fn without_sys(self) -> Self {
        Self { has_sys: false, ..self }
    }

    /// Has tracefs where the machine has it, which no runtime gives by itself.
    pub fn tracing(self) -> Self {
        Self { has_tracing: true, ..self }
    }

    /// Shows in `/proc` only what it may look at, as some machines do.
    pub fn hide_processes(self) -> Self {
        Self { hides_processes: true, ..self }
    }

    /// As OCI runtimes read it.
    fn json(&self) -> Value {
        let capabilities: Vec<String> =
            self.capabilities.iter().map(|name| format!("CAP_{name}")).collect();
        let pid = match self.pids {
            Pids::Own => vec![json!({"type": "pid"})],
            Pids::Machines => vec![],
            Pids::Of(pid) => vec![json!({"type": "pid", "path": format!("/proc/{pid}/ns/pid")})],
        };
        let others = ["mount", "network", "ipc", "uts"].map(|kind| json!({"type": kind}));
        let namespaces = [pid, others.to_vec()].concat();
        let refused = self.refused.iter().map(
            |(name, error)| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": error}),
        );
        let refused: Vec<Value> = refused.collect();
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": self.user, "gid": self.user},
                "args": self.arguments,
                "env": ["PATH=/"],
                "cwd": "/",
                "noNewPrivileges": true,
                "capabilities": {
                    "bounding": capabilities,
                    "effective": capabilities,
                    "permitted": capabilities,
                },
            },
            "root": {"path": self.root.path(), "readonly": true},
            "hostname": "container",
            "mounts": self.mounts(),
            "linux": {
                "namespaces": namespaces,
                // As docker and podman have them.
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
            },
        });
        if !refused.is_empty() {
            config["linux"]["seccomp"] =
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": refused});
        }
        config
    }

    fn mounts(&self) -> Vec<Value> {
        let closed = ["nosuid", "noexec", "nodev"];
        let read_only = [&closed[..], &["ro"]].concat();
        let hidden = if self.hides_processes { "hidepid=invisible" } else { "hidepid=off" };
        let processes = [&closed[..], &[hidden]].concat();
        let mut mounts = vec![
            json!({"destination": "/proc", "type": "proc", "source": "proc", "options": processes}),
            json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
                   "options": read_only}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                   "options": ["nosuid", "mode=755"]}),
            json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": closed}),
        ];
        if self.has_tracing {
            mounts.push(json!({"destination": "/sys/kernel/tracing", "type": "tracefs",
                               "source": "tracefs", "options": read_only}));
        }
        mounts.retain(|mount| self.has_sys || mount["destination"] != "/sys");
        mounts.extend(self.layers.map(|folder| {
            let layer = |kind: &str, folder: &Path| format!("{kind}={}", folder.display());
            let options = [
                layer("lowerdir", &self.root.path().join("usr")),
                layer("upperdir", &folder.join("upper")),
                layer("workdir", &folder.join("work")),
            ];
            json!({"destination": "/usr", "type": "overlay", "source": "overlay",
                   "options": options})
        }));
        mounts.extend(self.data.map(|data| {
            json!({"destination": "/data", "type": "bind", "source": data,
                   "options": ["bind", "rw"]})
        }));
        mounts
    }
}

/// A container's files on the machine, and what it is called there. Removed with this, and
/// the container ended.
pub struct Bundle {
    folder: TempDir,
    name: String,
    runtime: Runtime,
}

impl Bundle {
    pub fn new(config: &Config<'_>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mcrec-test-{}-{number}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let json = serde_json::to_vec_pretty(&config.json()).unwrap();
        fs::write(folder.path().join("config.json"), json).unwrap();
        Self { folder, name, runtime: config.runtime }
    }

    fn runtime(&self) -> Command {
        let mut command = self.runtime.command();
        command.arg("--root").arg(self.folder.path().join("state"));
        command
    }

    /// What runs the container to its end.
    pub fn run(&self) -> Command {
        let mut command = self.runtime();
        command.arg("run").arg("--bundle").arg(self.folder.path());
        command.arg("--pid-file").arg(self.pid_file()).arg(&self.name).stdin(Stdio::null());
        command
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.path().join("pid")
    }

    /// The first process of the container, once it runs, by its number on the machine.
    pub fn pid(&self) -> u32 {
        until("the container to run", || fs::read_to_string(self.pid_file()).ok()?.parse().ok())
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let mut command = self.runtime();
        // It may have ended, and is forgotten then.
        let _ = command.args(["delete", "--force", &self.name]).stderr(Stdio::null()).status();
    }
}

/// Runs a container to its end.
///
/// # Panics
///
/// When there is no runtime: a test that cannot run has not passed.
pub fn output(config: &Config<'_>) -> Output {
    Bundle::new(config).run().output().expect("the runtime runs: run `make packages`")
}

/// Starts a recording in a container, of `/data/NAME`, which is `path` on the machine.
pub fn record(bundle: &Bundle, path: &Path) -> Recorder {
    Recorder::started(bundle.run(), path)
}

/// A memcached in a container of its own, as its image has it: as a user without any
/// capability, on all of its addresses.
pub struct Memcached {
    process: Child,
    bundle: Bundle,
    _layers: TempDir,
    /// By its number on the machine.
    pub pid: u32,
}

/// Where those listen.
pub const PORT: u16 = 11211;

impl Memcached {
    /// Starts it and returns once it accepts.
    ///
    /// # Panics
    ///
    /// When there is no runtime: a test that cannot run has not passed.
    pub fn start(root: &Root, arguments: &[&str]) -> Self {
        /// Its user in that image.
        const USER: u32 = 11211;
        let layers = tempfile::tempdir().unwrap();
        fs::set_permissions(layers.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // As other servers of tests, whose clients count on that.
        let arguments = [&["-I", "2m", "-m", "512"], arguments].concat();
        let config = Config::new(root, &arguments).user(USER).layers(layers.path());
        let bundle = Bundle::new(&config);
        let mut process = bundle.run().spawn().expect("the runtime runs: run `make packages`");
        let pid = until("the container to run", || {
            assert!(process.try_wait().unwrap().is_none(), "memcached's container did not start");
            fs::read_to_string(bundle.pid_file()).ok()?.parse().ok()
        });
        let memcached = Self { process, bundle, _layers: layers, pid };
        let accepts = || memcached.within(|| memcached.address().connect().is_ok());
        until("memcached to accept", || accepts().then_some(()));
        memcached.settle();
        memcached
    }

    /// Where its clients connect, if they are within its network namespace.
    pub fn address(&self) -> Address {
        Address::Tcp(SocketAddr::from(([127, 0, 0, 1], PORT)))
    }

    /// Connects its network to the machine's, as a bridge of containers does, and returns the
    /// address that it has there.
    ///
    /// # Panics
    ///
    /// When the kernel refuses.
    pub fn connect_network(&self) -> Address {
        let run = |command: &str| {
            let words: Vec<&str> = command.split(' ').collect();
            let status = Command::new("ip").args(&words).status();
            assert!(status.expect("ip runs: run `make packages`").success(), "ip {command}");
        };
        // One of its own for each process of the machine, in what is for benchmarks of networks.
        let pid = self.pid;
        let network = format!("198.{}.{}", 18 + pid / 64 / 256 % 2, pid / 64 % 256);
        let [ours, theirs] = [1, 2].map(|host| format!("{network}.{}", pid % 64 * 4 + host));
        run(&format!("link add mcrec{pid} type veth peer name eth0 netns {pid}"));
        run(&format!("address add {ours}/30 dev mcrec{pid}"));
        run(&format!("link set mcrec{pid} up"));
        self.within(|| {
            run(&format!("address add {theirs}/30 dev eth0"));
            run("link set eth0 up");
        });
        Address::Tcp(SocketAddr::new(theirs.parse().unwrap(), PORT))
    }

    /// Does something on a thread within its network namespace.
    ///
    /// # Panics
    ///
    /// When the thread may not enter that.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid)).unwrap();
        let enter = || -> io::Result<()> {
            let kind = Some(LinkNameSpaceType::Network);
            Ok(move_into_link_name_space(namespace.as_fd(), kind)?)
        };
        thread::scope(|scope| {
            let within = scope.spawn(|| {
                enter().expect("root may enter a network namespace");
                work()
            });
            within.join().unwrap()
        })
    }

    /// Waits until it has closed all connections, and its threads have nothing to do.
    pub fn settle(&self) {
        let process = procfs::process::Process::new(self.pid.cast_signed()).unwrap();
        until("memcached to close its connections", || {
            let open = |state| {
                matches!(
                    state,
                    procfs::net::TcpState::Established | procfs::net::TcpState::CloseWait
                )
            };
            let sockets = process.tcp().unwrap().into_iter().chain(process.tcp6().unwrap());
            let closed = !sockets.into_iter().any(|socket| open(socket.state));
            let asleep = process.tasks().unwrap().flatten();
            let mut asleep = asleep.map(|task| task.stat().is_ok_and(|stat| stat.state == 'S'));
            (closed && asleep.all(|asleep| asleep)).then_some(())
        });
    }

    /// Its number in its own pid namespace.
    pub fn own_pid(&self) -> u32 {
        let process = procfs::process::Process::new(self.pid.cast_signed()).unwrap();
        let numbers = process.status().unwrap().nspid.unwrap();
        numbers.last().unwrap().cast_unsigned()
    }

    /// Its threads that serve clients, by their numbers on the machine.
    pub fn workers(&self) -> BTreeSet<i32> {
        let process = procfs::process::Process::new(self.pid.cast_signed()).unwrap();
        let tasks = process.tasks().unwrap().flatten();
        tasks.filter(|task| task.stat().unwrap().comm == "mc-worker").map(|t| t.tid).collect()
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let mut command = self.bundle.runtime();
        let _ = command.args(["kill", &self.bundle.name, "KILL"]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}
