//! What mcrec may do while it records: write the capture, and nothing else. Asked of
//! the running process itself, by making it try.

mod support;

use std::{
    ffi::OsString,
    fs,
    net::TcpListener,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::{
    capture,
    client::{Client, Protocol},
    process::Running,
    recorder::{Recorder, mcrec},
    server::{Server, program},
    until,
};

const ROOT: u32 = 0;
/// Two that own nothing else and run nothing else.
const OWNER: u32 = 54_321;
const OTHER: u32 = 54_322;

const EPERM: i64 = 1;
const EACCES: i64 = 13;

/// A folder for captures, of `owner`'s. The path to it is closed to all but root.
fn folder_of(owner: u32) -> (tempfile::TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("captures");
    fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    chown(&folder, Some(owner), Some(owner)).unwrap();
    (outer, folder)
}

/// Gets and sets, so that there is something to record.
fn work(client: &mut Client, operations: usize) {
    for number in 0..operations {
        let key = format!("key:{number}").into_bytes();
        if number % 2 == 0 {
            client.store("set", &key, b"value", "");
        } else {
            client.get("get", &[key]);
        }
    }
}

/// A process of `user`'s that waits.
fn sleeper(user: u32) -> Running {
    let ids = [format!("--reuid={user}"), format!("--regid={user}")];
    Running::start(Command::new("setpriv").args(ids).args(["--clear-groups", "sleep", "600"]))
}

/// A system call for a process to make, by its number on x86-64.
#[derive(Clone, Debug)]
struct Call(u32, Vec<Argument>);

#[derive(Clone, Debug)]
enum Argument {
    Number(u64),
    /// Where these bytes are.
    Bytes(Vec<u8>),
    /// What the call before returned.
    Answer,
}
use Argument::{Answer, Bytes, Number};

const REGISTERS: [&str; 4] = ["rdi", "rsi", "rdx", "r10"];

/// Makes process `pid` make system calls, and returns what the kernel answers to the last of
/// each list: `-errno` where it refuses. Registers are set and one instruction is stepped
/// over: debuggers older than the processor cannot call functions, for which they would have
/// to restore registers that they do not know.
fn inject(pid: u32, calls: &[Vec<Call>]) -> Vec<i64> {
    let mut gdb = Command::new("gdb");
    gdb.args(["-q", "-nx", "-batch", "-p", &pid.to_string()]);
    let mut tell = |command: &str| {
        gdb.args(["-ex", command]);
    };
    let used = ["rip", "rax", "orig_rax", "rcx", "r11"];
    let used = || used.iter().chain(&REGISTERS);
    tell("set scheduler-locking on");
    used().for_each(|register| tell(&format!("set $saved_{register} = ${register}")));
    // The instruction, in the C library's function of that name.
    tell("find /b (char *)&syscall, +64, 0x0f, 0x05");
    tell("set $instruction = $_");
    for calls in calls {
        calls.iter().for_each(|call| make(call, &mut tell));
        tell(r#"printf "answer %ld\n", $rax"#);
    }
    used().for_each(|register| tell(&format!("set ${register} = $saved_{register}")));
    let output = gdb.output().expect("gdb runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let answers = said.lines().filter_map(|line| line.strip_prefix("answer "));
    let answers: Vec<_> = answers.map(|answer| answer.parse().unwrap()).collect();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(answers.len(), calls.len(), "{said}{complaint}");
    answers
}

/// Tells gdb to have a call made.
fn make(Call(number, arguments): &Call, tell: &mut impl FnMut(&str)) {
    // Below what the function at hand may use without telling.
    let mut free = 1024;
    for (register, argument) in REGISTERS.iter().zip(arguments) {
        match argument {
            Number(number) => tell(&format!("set ${register} = {number}")),
            Answer => tell(&format!("set ${register} = $rax")),
            Bytes(bytes) => {
                tell(&format!("set ${register} = $rsp - {free}"));
                for (at, word) in bytes.chunks(8).enumerate() {
                    let mut padded = [0; 8];
                    padded[..word.len()].copy_from_slice(word);
                    let word = u64::from_le_bytes(padded);
                    tell(&format!("set {{unsigned long}}(${register} + {}) = {word}", at * 8));
                }
                free += 512;
            }
        }
    }
    // That it was interrupted in a call is no reason to go on with that one.
    tell("set $orig_rax = -1");
    tell(&format!("set $rax = {number}"));
    tell("set $rip = $instruction");
    tell("stepi");
}

/// With its NUL.
fn string(text: &str) -> Argument {
    Bytes([text.as_bytes(), b"\0"].concat())
}

fn open(path: &Path) -> Vec<Call> {
    vec![Call(2, vec![string(path.to_str().unwrap()), Number(0), Number(0)])]
}

fn kill(pid: u32) -> Vec<Call> {
    vec![Call(62, vec![Number(pid.into()), Number(0)])]
}

/// Connects a new socket to a port of the loopback interface.
fn connect(port: u16) -> Vec<Call> {
    let [high, low] = port.to_be_bytes();
    let address = vec![2, 0, high, low, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let socket = Call(41, vec![Number(2), Number(1), Number(0)]);
    vec![socket, Call(42, vec![Answer, Bytes(address), Number(16)])]
}

fn setgroups() -> Vec<Call> {
    vec![Call(116, vec![Number(0), Number(0)])]
}

fn chroot() -> Vec<Call> {
    vec![Call(161, vec![string("/")])]
}

fn become_root() -> Vec<Call> {
    vec![Call(117, vec![Number(0), Number(0), Number(0)])]
}

/// Creates a file in the folder that is descriptor `at`.
fn create(at: u64, name: &str) -> Vec<Call> {
    vec![Call(257, vec![Number(at), string(name), Number(0o301), Number(0o600)])]
}

/// What a field of every thread's status says.
fn statuses(pid: u32, field: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let values = tasks.map(|task| {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        value.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
    });
    values.collect()
}

#[track_caller]
fn assert_harmless(pid: u32, user: u32) {
    let none = "0000000000000000";
    let ids = format!("{user} {user} {user} {user}");
    for (field, expected) in [
        ("CapInh", none),
        ("CapPrm", none),
        ("CapEff", none),
        ("CapBnd", none),
        ("CapAmb", none),
        ("NoNewPrivs", "1"),
        ("Uid", &ids),
        ("Gid", &ids),
        ("Groups", ""),
    ] {
        let values = statuses(pid, field);
        assert!(values.len() >= 5, "all its threads are there: {values:?}");
        assert!(values.iter().all(|value| value == expected), "{field}: {values:?}");
    }
}

/// The number of its descriptor that is `folder`.
fn descriptor_of(pid: u32, folder: &Path) -> OsString {
    let mut entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let found = entries.find(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == folder));
    found.expect("the folder is open").file_name()
}

#[track_caller]
fn assert_confined(source: &str, owner: u32) {
    let server = Server::start("1.6.18", &[]);
    let (outer, folder) = folder_of(owner);
    let path = folder.join("capture.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &["--source", source]);
    let mut client = Client::connect(server.address, Protocol::Text);
    work(&mut client, 100);
    let pid = recorder.process.id();
    assert_harmless(pid, owner);

    let secret = outer.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = sleeper(OTHER);
    let calls = [
        open(&secret),
        open(Path::new("/etc/shadow")),
        open(Path::new("/etc/passwd")),
        open(Path::new("/proc/self/status")),
        kill(other.0.id()),
        kill(std::process::id()),
        connect(listener.local_addr().unwrap().port()),
        setgroups(),
        chroot(),
    ];
    let undropped = sleeper(ROOT);
    for (call, answer) in calls.iter().zip(inject(undropped.0.id(), &calls)) {
        assert!(answer >= 0, "root may {call:?}: {answer}");
    }
    for (call, answer) in calls.iter().zip(inject(pid, &calls)) {
        assert!([-EPERM, -EACCES].contains(&answer), "{call:?}: {answer}");
    }
    if owner != ROOT {
        assert_eq!(inject(pid, &[become_root()]), [-EPERM]);
    }
    let descriptor = descriptor_of(pid, &folder);
    let descriptor = descriptor.to_str().unwrap().parse().unwrap();
    assert!(inject(pid, &[create(descriptor, "new")])[0] >= 0);
    assert_eq!(fs::metadata(folder.join("new")).unwrap().uid(), owner);

    work(&mut client, 100);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    assert_eq!(capture::rows(&path).len(), 200);
    let cost = capture::footer(&path).unwrap().cost;
    assert!(cost.cpu_s > 0.0 && cost.peak_memory > 0, "{cost:?}");
    let made = fs::metadata(&path).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (owner, owner, 0o600));
}

#[test]
fn root_becomes_the_owner_of_the_folder_recording_system_calls() {
    assert_confined("syscalls", OWNER);
}

#[test]
fn root_becomes_the_owner_of_the_folder_recording_probes() {
    assert_confined("usdt", OWNER);
}

#[test]
fn root_in_its_own_folder_is_as_confined() {
    assert_confined("syscalls", ROOT);
    assert_confined("usdt", ROOT);
}

/// mcrec as OWNER, with three capabilities, from where everybody can run it.
fn with_capabilities(folder: &Path) -> Command {
    let copy = folder.join("mcrec");
    if !copy.exists() {
        fs::copy(env!("CARGO_BIN_EXE_mcrec"), &copy).unwrap();
    }
    let capabilities = "-all,+bpf,+perfmon,+sys_ptrace";
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={OWNER}"), format!("--regid={OWNER}")])
        .arg("--clear-groups")
        .args([format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}")])
        .args([format!("--bounding-set={capabilities},+setpcap")])
        .arg(copy);
    command
}

#[test]
fn three_capabilities_record_the_memcached_of_somebody_else() {
    // Its owner may look at it no more than others may: it has changed its user.
    let server = Server::start("1.6.18", &["-u", "nobody"]);
    for source in ["syscalls", "usdt"] {
        let (outer, folder) = folder_of(OWNER);
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // There before the recording: known to be a client's by whose port it uses.
        let mut client = Client::connect(server.address, Protocol::Text);
        client.other("version");
        let path = folder.join("capture.parquet");
        let command = with_capabilities(outer.path());
        let mut recorder = Recorder::start_as(command, server.pid(), &path, &["--source", source]);
        work(&mut client, 100);
        let pid = recorder.process.id();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let values = statuses(pid, set);
            assert!(values.iter().all(|value| value == "0000000000000000"), "{set}: {values:?}");
        }
        assert!(statuses(pid, "NoNewPrivs").iter().all(|value| value == "1"));
        let refused = inject(pid, &[open(Path::new("/etc/passwd")), kill(server.pid())]);
        assert_eq!(refused, [-EACCES, -EPERM]);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        assert_eq!(capture::rows(&path).len(), 100, "{source}: {said}");
        // With these alone, it does not have to do with less.
        assert!(!said.contains("cannot attach"), "{source}: {said}");
        let target = capture::footer(&path).unwrap().target;
        assert_eq!(target.listening, [server.address.to_string()]);
    }
}

/// What somebody may put where a capture, or its journal, will be.
#[derive(Clone, Copy, Debug)]
enum Planted {
    Link,
    LinkToNowhere,
    HardLink,
    Pipe,
    Folder,
}

impl Planted {
    fn at(self, path: &Path, precious: &Path) {
        match self {
            Self::Link => symlink(precious, path).unwrap(),
            Self::LinkToNowhere => symlink(precious.with_file_name("begun"), path).unwrap(),
            Self::HardLink => fs::hard_link(precious, path).unwrap(),
            Self::Pipe => mknodat(CWD, path, FileType::Fifo, Mode::from(0o666), 0).unwrap(),
            Self::Folder => fs::create_dir(path).unwrap(),
        }
    }
}

#[test]
fn what_is_planted_in_a_folder_that_all_may_write_to_is_not_written_through() {
    let server = Server::start("1.6.18", &[]);
    let pid = server.pid().to_string();
    let kinds =
        [Planted::Link, Planted::LinkToNowhere, Planted::HardLink, Planted::Pipe, Planted::Folder];
    let names = ["capture.parquet", "capture.parquet.journal"];
    for (kind, name) in kinds.iter().flat_map(|kind| names.map(|name| (kind, name))) {
        for force in [false, true] {
            let case = format!("{kind:?} as {name}, force: {force}");
            let outer = tempfile::tempdir().unwrap();
            let folder = outer.path().join("open");
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
            let precious = outer.path().join("precious");
            // Longer than any journal: to be overwritten and to be cut off both show.
            fs::write(&precious, "precious".repeat(10_000)).unwrap();
            fs::set_permissions(&precious, fs::Permissions::from_mode(0o644)).unwrap();
            // Root's own: the kernel protects from what others put in sticky folders,
            // where it is told to.
            kind.at(&folder.join(name), &precious);

            let output = folder.join("capture.parquet");
            let mut recorder = Command::new("timeout");
            recorder.args(["60", env!("CARGO_BIN_EXE_mcrec"), "-q", "--duration", "100ms"]);
            recorder.args(["-p", &pid, "-o"]).arg(&output);
            if force {
                recorder.arg("--force");
            }
            let ended = recorder.output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(matches!(ended.status.code(), Some(0 | 2)), "{case}: {said}");
            let content = fs::read_to_string(&precious).unwrap();
            assert_eq!(content, "precious".repeat(10_000), "{case}");
            assert_eq!(fs::metadata(&precious).unwrap().mode() & 0o7777, 0o644, "{case}");
            assert!(!outer.path().join("begun").exists(), "{case}");
            if ended.status.success() {
                assert!(force, "{case}: only --force replaces anything");
                let made = fs::symlink_metadata(&output).unwrap();
                assert!(made.is_file() && made.nlink() == 1, "{case}");
                assert!(capture::footer(&output).is_some(), "{case}");
            } else {
                assert!(said.contains(name), "{case}: {said}");
                let others = fs::read_dir(&folder).unwrap().count();
                assert_eq!(others, 1, "{case}: nothing but what was planted is there");
            }
        }
    }
}

#[test]
fn a_folder_that_its_owner_may_not_write_to() {
    let server = Server::start("1.6.18", &[]);
    let (_outer, folder) = folder_of(OWNER);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    let path = folder.join("capture.parquet");
    let output = mcrec().args(["-p", &server.pid().to_string(), "-o"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("capture.parquet") && said.contains("as uid 54321"), "{said}");
}

#[test]
fn a_capture_that_is_removed_is_missed_also_where_the_path_to_it_is_closed() {
    let server = Server::start("1.6.18", &[]);
    let (_outer, folder) = folder_of(OWNER);
    let path = folder.join("capture.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &["--commit-every", "50ms"]);
    let mut client = Client::connect(server.address, Protocol::Text);
    work(&mut client, 100);
    fs::remove_file(&path).unwrap();
    until("mcrec to end", || {
        work(&mut client, 100);
        recorder.process.try_wait().unwrap()
    });
    let (status, said) = recorder.wait();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("removed while it was being recorded"), "{said}");
}

#[test]
fn a_recording_does_not_outlive_who_follows_although_it_is_another_users() {
    let (outer, folder) = folder_of(OWNER);
    // Other tests have theirs running; this one is found by its name.
    let name = format!("mcf-{}", std::process::id());
    let memcached = outer.path().join(&name);
    fs::copy(program("1.6.18"), &memcached).unwrap();
    let _server = Server::start_program(&memcached, &[]);
    let mut follower = mcrec();
    follower.args(["--follow", &name, "-o"]).arg(folder.join("capture.parquet"));
    let mut follower = Running::start(&mut follower);
    let recording = until("a recording as the owner", || {
        let mut processes = procfs::process::all_processes().unwrap().flatten();
        processes.find(|process| {
            process.stat().is_ok_and(|stat| stat.ppid.cast_unsigned() == follower.0.id())
                && process.status().is_ok_and(|status| status.euid == OWNER && status.threads >= 5)
        })
    });
    follower.0.kill().unwrap();
    until("the recording to end", || (!recording.is_alive()).then_some(()));
    let captures: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [capture] = captures.as_slice() else { panic!("{captures:?}") };
    let footer = capture::footer(capture).unwrap();
    assert_eq!(footer.capture.ended.as_deref(), Some("interrupted"));
}

#[test]
fn where_landlock_is_missing_root_is_told_what_that_means() {
    // The kernel's answer where it has none.
    const WITHOUT: &str = "import errno, os, seccomp, sys
program = seccomp.SyscallFilter(seccomp.ALLOW)
program.add_rule(seccomp.ERRNO(errno.ENOSYS), 'landlock_create_ruleset')
program.load()
os.execv(sys.argv[1], sys.argv[1:])";
    let server = Server::start("1.6.18", &[]);
    for owner in [ROOT, OWNER] {
        let (_outer, folder) = folder_of(owner);
        let path = folder.join("capture.parquet");
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", WITHOUT, env!("CARGO_BIN_EXE_mcrec")]);
        let mut recorder = Recorder::start_as(command, server.pid(), &path, &[]);
        work(&mut Client::connect(server.address, Protocol::Text), 100);
        assert_harmless(recorder.process.id(), owner);
        let (status, said) = recorder.interrupt();
        assert!(status.success(), "{said}");
        assert_eq!(said.contains("no Landlock"), owner == ROOT, "{said}");
        assert_eq!(capture::rows(&path).len(), 100);
    }
}
