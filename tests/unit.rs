//! The systemd unit: systemd takes it, and mcrec records under what it says.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::process::{Pid, Signal, kill_process};
use support::{
    capture,
    client::{Client, Protocol},
    process::Running,
    server::{Server, program},
    until,
};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/mcrec.service");
const RUNNER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/unit.py");
/// CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_PERFMON and CAP_BPF.
const CAPABILITIES: u64 = 1 << 2 | 1 << 19 | 1 << 38 | 1 << 39;

/// Runs the service of `unit`, for a memcached that is called `name`.
fn service(unit: &Path, state: &Path, name: &str) -> Command {
    // That of Debian, whose packages it uses.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(RUNNER).arg(unit).args([env!("CARGO_BIN_EXE_mcrec")]).arg(state).arg(name);
    command
}

fn status(pid: u32) -> BTreeMap<String, String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let fields = status.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// The one process that `pid` has started.
fn child_of(pid: u32) -> u32 {
    until("a recording to begin", || {
        let mut processes = procfs::process::all_processes().unwrap().flatten();
        let child = processes.find(|process| {
            process
                .stat()
                .is_ok_and(|stat| stat.ppid.cast_unsigned() == pid && stat.comm == "mcrec")
        });
        child.map(|child| child.pid.cast_unsigned())
    })
}

fn captures(state: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let mut captures: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|end| end == "parquet")).collect();
    captures.sort();
    captures
}

/// Works until the `number`th capture has some of it.
fn work_until_recorded(client: &mut Client, state: &Path, number: usize) -> PathBuf {
    until("something to be recorded", || {
        client.get("get", &[b"before".to_vec()]);
        let path = captures(state).get(number - 1)?.clone();
        capture::footer(&path).is_some_and(|footer| footer.loss.written > 0).then_some(path)
    })
}

#[track_caller]
fn assert_records(source: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    // Other tests have theirs running; this one is found by its name.
    let name = format!("mc{}-{}", &source[..1], std::process::id());
    let memcached = folder.path().join(&name);
    fs::copy(program("1.6.18"), &memcached).unwrap();
    let server = Server::start_program(&memcached, &["-u", "nobody"]);
    let mut command = service(Path::new(UNIT), &state, &name);
    let mut service = Running::start(command.args(["--source", source, "--commit-every", "50ms"]));
    let mut client = Client::connect(server.address, Protocol::Text);
    let first = work_until_recorded(&mut client, &state, 1);

    let waiting = status(service.0.id());
    let recording = status(child_of(service.0.id()));
    let user = "61234\t61234\t61234\t61234";
    for process in [&waiting, &recording] {
        assert_eq!(process["Uid"], user);
        assert_eq!((process["NoNewPrivs"].as_str(), process["Seccomp"].as_str()), ("1", "2"));
        assert_eq!(process["CapBnd"], format!("{CAPABILITIES:016x}"));
    }
    assert_eq!(waiting["CapEff"], format!("{CAPABILITIES:016x}"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(recording[set], "0000000000000000", "{set}");
    }
    for space in ["mnt", "net", "ipc", "uts"] {
        let of = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/{space}")).unwrap();
        assert_ne!(of(service.0.id()), of(std::process::id()), "{space}");
    }
    let seen = fs::read_to_string(format!("/proc/{}/mounts", service.0.id())).unwrap();
    let root = seen.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(root.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"), "{root}");

    for number in 0..100 {
        client.store("set", format!("key:{number}").as_bytes(), b"value", "");
    }
    // It ends, and another one begins.
    server.settle(1);
    drop(server);
    let server = Server::start_program(&memcached, &["-u", "nobody"]);
    let mut client = Client::connect(server.address, Protocol::Text);
    let second = work_until_recorded(&mut client, &state, 2);
    let pid = Pid::from_raw(service.0.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(service.0.wait().unwrap().success());

    let stored = capture::rows(&first).into_iter().filter(|row| row.op == "set");
    let stored: Vec<_> = stored.map(|row| String::from_utf8(row.key).unwrap()).collect();
    let expected: Vec<_> = (0..100).map(|number| format!("key:{number}")).collect();
    assert_eq!(stored, expected);
    for (path, reason) in [(first, "target exited"), (second, "terminated")] {
        let footer = capture::footer(&path).unwrap();
        assert_eq!(footer.capture.ended.as_deref(), Some(reason));
        assert_eq!(footer.source.name, source);
        assert!(!footer.target.listening.is_empty());
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o7777), (61234, 0o600));
    }
}

#[test]
fn it_records_system_calls_in_its_sandbox() {
    assert_records("syscalls");
}

#[test]
fn it_records_probes_in_its_sandbox() {
    assert_records("usdt");
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn what_the_runner_cannot_apply_it_does_not_leave_out() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("mcrec.service");
    for directive in ["PrivateMounds=yes", "IPAddressDeny=any"] {
        let text = fs::read_to_string(UNIT).unwrap();
        fs::write(&unit, text.replace("[Install]", &format!("{directive}\n[Install]"))).unwrap();
        let refused = service(&unit, folder.path(), "none").output().unwrap();
        assert!(!refused.status.success());
        let name = directive.split('=').next().unwrap();
        assert!(said(&refused).contains(&format!("{name} is not known")), "{}", said(&refused));
    }
}

#[test]
fn systemd_takes_the_unit_and_finds_it_well_shut() {
    // It looks for the program too, which is not installed.
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("mcrec.service");
    let text = fs::read_to_string(UNIT).unwrap();
    fs::write(&unit, text.replace("/usr/local/bin/mcrec", env!("CARGO_BIN_EXE_mcrec"))).unwrap();
    let verified =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    assert!(verified.status.success() && said(&verified).is_empty(), "{}", said(&verified));
    // Of 100, the less the better; 13 when this was written.
    let security = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=15"])
        .arg(&unit)
        .output()
        .unwrap();
    assert!(security.status.success(), "{}", said(&security));
}
