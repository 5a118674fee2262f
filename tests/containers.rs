//! memcached in a container, and mcrec on the machine, in a container beside it, or in one
//! that shares its processes: what is recorded equals what clients did, and where something
//! keeps mcrec from it, it says what to change.

mod support;

use std::{
    fs,
    ops::Range,
    path::Path,
    process::{Command, Output},
    sync::LazyLock,
    thread,
};

use support::{
    capture,
    client::{Client, Protocol},
    commands::Keys,
    container::{
        Bundle, Config, Memcached, NEEDED, PORT, Pids, Root, Runtime, USUAL, output, record,
    },
    probes::{self, shown},
    random::Random,
    recorder::{Recorder, assert_refused, mcrec},
    rows::assert_recorded,
    server::{Address, Server, program},
    wire::{Log, Wire},
};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

const NOBODY: u32 = 65_534;

/// mcrec's, for all tests.
static MCREC: LazyLock<Root> = LazyLock::new(|| Root::of(Path::new(mcrec().get_program())));

/// Where mcrec runs.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// On the machine, in no container.
    Machine,
    /// In a container with the machine's processes.
    Beside,
    /// In a container with memcached's processes alone.
    Within,
}

const PLACES: [Place; 3] = [Place::Machine, Place::Beside, Place::Within];

/// What a container that records, or looks at, `memcached` begins with.
fn container<'a>(place: Place, memcached: &Memcached, arguments: &[&str]) -> Config<'a> {
    let (pids, pid) = match place {
        Place::Within => (Pids::Of(memcached.pid), memcached.own_pid()),
        _ => (Pids::Machines, memcached.pid),
    };
    let pid = pid.to_string();
    let arguments = [&["-p", &pid], arguments].concat();
    Config::new(&MCREC, &arguments).capabilities(&NEEDED).pids(pids)
}

/// Records `memcached` to `path` from `place` while `work` is done, to its end.
fn recorded(
    (place, runtime): (Place, Runtime),
    memcached: &Memcached,
    path: &Path,
    source: &str,
    work: impl FnOnce(),
) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    let inside = format!("/data/{name}");
    let arguments = ["--source", source, "-o", &inside];
    let folder = path.parent().unwrap();
    let config = container(place, memcached, &arguments).data(folder).runtime(runtime);
    let bundle = Bundle::new(&config);
    let mut recorder = match place {
        Place::Machine => Recorder::start(memcached.pid, path, &arguments[..2]),
        _ => record(&bundle, path),
    };
    work();
    memcached.settle();
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{place:?}: {said}");
    said
}

/// Connections one after the other, each with pipelines of its protocol.
fn client(address: &Address, number: u64, keys: &Keys) -> Vec<Log> {
    let mut random = Random(number);
    let connection = |at| {
        let binary = random.chance(40);
        let mut wire = Wire::connect(address);
        wire.begin(&format!("client-{number}-{at}"), binary);
        for _ in 0..12 {
            if binary {
                wire.binary_batch(&mut random, keys, 30);
            } else {
                wire.text_batch(&mut random, keys, 30);
            }
        }
        wire.close()
    };
    (0..4).map(connection).collect()
}

/// Clients of `address`, which are called by such `numbers`, in the network of this thread.
fn clients(address: &Address, numbers: Range<u64>, keys: &Keys) -> Vec<Log> {
    // A thread is in the network namespace of who started it.
    thread::scope(|scope| {
        let clients: Vec<_> =
            numbers.map(|number| scope.spawn(move || client(address, number, keys))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn what_a_memcached_in_a_container_does_equals_its_clients_log() {
    let root = Root::of(&program("debian-1.6.18"));
    let memcached = Memcached::start(&root, &["-t", "3"]);
    // On the same port of another network, which belongs to no recording.
    let other = Memcached::start(&root, &[]);
    let (outside, keys) = (memcached.connect_network(), Keys::new(&mut Random(5)));
    let folder = tempfile::tempdir().unwrap();
    let places = PLACES.map(|place| (place, Runtime::Runc));
    let by_another = [(Place::Beside, Runtime::Crun), (Place::Within, Runtime::Crun)];
    for place in places.into_iter().chain(by_another) {
        let path = folder.path().join(format!("{place:?}.parquet"));
        let mut logs = Vec::new();
        let said = recorded(place, &memcached, &path, "auto", || {
            let of_other = || other.within(|| clients(&other.address(), 0..2, &keys));
            let inside = || memcached.within(|| clients(&memcached.address(), 2..5, &keys));
            thread::scope(|scope| {
                let clients = [scope.spawn(inside), scope.spawn(|| clients(&outside, 5..8, &keys))];
                scope.spawn(of_other);
                logs = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
            });
        });
        assert_recorded(&path, &logs);
        let footer = capture::footer(&path).unwrap();
        // The C library's functions were found where the container has them.
        let attached = footer.source.attached.iter().map(|attached| &*attached.probe);
        let attached: Vec<&str> = attached.collect();
        assert!(attached.contains(&"uprobe:close"), "{place:?}: {attached:?}: {said}");
        let listening = [format!("0.0.0.0:{PORT}"), format!("[::]:{PORT}")];
        assert_eq!(footer.target.listening, listening, "{place:?}");
        // Threads are called by their numbers on the machine, wherever mcrec is.
        let workers = memcached.workers();
        let rows = capture::rows(&path);
        assert!(rows.iter().all(|row| workers.contains(&row.thread_id)), "{place:?}");
        assert!(rows.len() > 2000, "the log is not of nothing: {}", rows.len());
    }
}

#[test]
fn what_the_probes_of_a_memcached_in_a_container_show_equals_its_clients_log() {
    let root = Root::of(&program("1.6.18"));
    let memcached = Memcached::start(&root, &[]);
    let folder = tempfile::tempdir().unwrap();
    for place in PLACES {
        let path = folder.path().join(format!("{place:?}.parquet"));
        let mut log = Vec::new();
        recorded((place, Runtime::Runc), &memcached, &path, "usdt", || {
            log = memcached.within(|| {
                let Address::Tcp(address) = memcached.address() else { unreachable!("by TCP") };
                let mut client = Client::connect(address, Protocol::Text);
                for number in 0..200 {
                    let key = format!("key:{}", number % 70).into_bytes();
                    match number % 4 {
                        0 => client.store("set", &key, &vec![b'v'; number], ""),
                        1 => client.store("add", &key, b"value", ""),
                        2 => client.on_key("delete", &key, ""),
                        _ => client.get("get", &[key]),
                    }
                }
                client.log
            });
        });
        let expected: Vec<_> = log.iter().filter_map(|logged| shown(logged, 18)).collect();
        let rows = capture::rows(&path);
        let recorded: Vec<_> = rows.iter().map(probes::of_row).collect();
        assert_eq!(recorded, expected, "{place:?}");
        let workers = memcached.workers();
        assert!(rows.iter().all(|row| workers.contains(&row.thread_id)), "{place:?}");
    }
}

/// What `--check` says on its standard output, and on the other.
fn said(output: &Output) -> (String, String) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_check_in_a_container_that_may_record_says_so() {
    let memcached = Memcached::start(&Root::of(&program("1.6.18")), &[]);
    for place in [Place::Beside, Place::Within] {
        let checked = output(&container(place, &memcached, &["--check"]));
        let (found, error) = said(&checked);
        assert!(checked.status.success(), "{place:?}: {found}{error}");
        let confined = found.contains("within   another pid namespace than the machine's");
        assert_eq!(confined, matches!(place, Place::Within), "{found}");
        for text in ["memcached 1.6.18", "use of bpf(2) yes", "BTF yes", "source   syscalls"] {
            assert!(found.contains(text), "{text:?} is not in: {found}");
        }
    }
}

#[test]
fn a_capability_that_is_missing_is_named() {
    let memcached = Memcached::start(&Root::of(&program("1.6.18")), &[]);
    for missing in NEEDED {
        let others: Vec<&str> = NEEDED.into_iter().filter(|one| *one != missing).collect();
        let others = [&USUAL[..], &others].concat();
        for place in [Place::Beside, Place::Within] {
            for arguments in [&["--check"][..], &["-o", "/tmp/capture.parquet"]] {
                let config = container(place, &memcached, arguments).capabilities(&others);
                let refused = output(&config);
                let name = format!("CAP_{missing}");
                assert_refused(&refused, &[&name, &format!("--cap-add {missing}"), "capabilities"]);
                let (_, error) = said(&refused);
                assert_eq!(error.matches("--cap-add").count(), 1, "that alone, once: {error}");
            }
        }
    }
    let nothing = container(Place::Within, &memcached, &["--check"]).capabilities(&[]);
    let refused = output(&nothing);
    assert_refused(
        &refused,
        &NEEDED.map(|name| format!("capability CAP_{name} (")).each_ref().map(String::as_str),
    );
}

#[test]
fn seccomp_that_refuses_bpf_is_told_from_a_missing_capability() {
    let memcached = Memcached::start(&Root::of(&program("1.6.18")), &[]);
    for error in [EPERM, ENOSYS] {
        for arguments in [&["--check"][..], &["-o", "/tmp/capture.parquet"]] {
            let config = container(Place::Beside, &memcached, arguments).refuse("bpf", error);
            let refused = output(&config);
            assert_refused(&refused, &["seccomp refuses it", "allow bpf in", "seccomp=unconfined"]);
            let (_, error) = said(&refused);
            assert!(!error.contains("--cap-add"), "no capability is missing: {error}");
        }
    }
}

/// As on a kernel that may preempt programs at its raw tracepoints: then perf's are used, where
/// there is tracefs.
const PREEMPTED: &str = "--without=raw-tracepoints";

#[test]
fn by_perfs_tracepoints_what_is_recorded_in_a_container_is_the_same() {
    let memcached = Memcached::start(&Root::of(&program("debian-1.6.18")), &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    let arguments = [PREEMPTED, "-o", "/data/capture.parquet"];
    let config = container(Place::Beside, &memcached, &arguments).data(folder.path()).tracing();
    let bundle = Bundle::new(&config);
    let mut recorder = record(&bundle, &path);
    let keys = Keys::new(&mut Random(7));
    let logs = memcached.within(|| clients(&memcached.address(), 0..3, &keys));
    memcached.settle();
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    assert!(said.contains("through syscalls (tp:"), "{said}");
    assert_recorded(&path, &logs);
}

/// What recording through the probes attaches to has links of its own from Linux 6.6 on.
fn probes_need_perf_events() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) < (Some(6), Some(6))
}

#[test]
fn seccomp_that_refuses_perf_event_open_matters_where_that_is_needed() {
    let memcached = Memcached::start(&Root::of(&program("1.6.18")), &[]);
    let cases: [(&[&str], bool); 3] = [
        (&["--source=syscalls"], false),
        (&["--source=syscalls", PREEMPTED], true),
        (&["--source=usdt"], probes_need_perf_events()),
    ];
    for (options, needs) in cases {
        let arguments = [options, &["--duration", "100ms", "-o", "/tmp/capture.parquet"]].concat();
        let config = container(Place::Beside, &memcached, &arguments);
        let config = config.refuse("perf_event_open", EPERM);
        // Without tracefs there would be none of perf's tracepoints to attach to.
        let ended = output(&if options.contains(&PREEMPTED) { config.tracing() } else { config });
        if needs {
            assert_refused(&ended, &["seccomp refuses it", "allow perf_event_open in"]);
        } else {
            assert!(ended.status.success(), "{options:?}: {:?}", said(&ended));
        }
    }
}

#[test]
fn seccomp_that_refuses_copies_of_descriptors_is_named_unless_another_way_is_open() {
    let memcached = Memcached::start(&Root::of(&program("1.6.18")), &[]);
    let config = || container(Place::Within, &memcached, &["--check"]).refuse("pidfd_getfd", EPERM);
    let says = ["sockets", "seccomp refuses pidfd_open or pidfd_getfd", "CAP_DAC_READ_SEARCH"];
    assert_refused(&output(&config()), &says);
    let capabilities = [&NEEDED[..], &["DAC_READ_SEARCH"]].concat();
    let (found, error) = said(&output(&config().capabilities(&capabilities)));
    assert!(found.contains(&format!("on 0.0.0.0:{PORT}")), "{found}{error}");
}

#[test]
fn seccomp_that_refuses_landlock_leaves_root_in_reach_of_its_files() {
    let memcached = Memcached::start(&Root::of(&program("1.6.18")), &[]);
    for error in [EPERM, ENOSYS] {
        let arguments = ["--duration", "100ms", "-o", "/tmp/capture.parquet"];
        let config = container(Place::Beside, &memcached, &arguments);
        let ended = output(&config.refuse("landlock_create_ruleset", error));
        let (_, error) = said(&ended);
        assert!(ended.status.success(), "{error}");
        assert!(error.contains("stays root"), "{error}");
    }
}

#[test]
fn in_a_pid_namespace_of_its_own_mcrec_says_how_to_leave_it() {
    let memcached = Memcached::start(&Root::of(&program("1.6.18")), &[]);
    let pid = memcached.pid.to_string();
    let ways = ["which is not the machine's", "--pid=host", "hostPID", "--pid=container:NAME"];
    for arguments in [&["--check", "-p", &pid][..], &["--check"], &["-p", &pid], &[]] {
        let config = Config::new(&MCREC, arguments).capabilities(&NEEDED);
        assert_refused(&output(&config), &ways);
    }
    // And none of that where mcrec is not in one.
    let refused = mcrec().args(["-p", "4194304"]).output().unwrap();
    let (_, error) = said(&refused);
    assert!(error.trim_end().ends_with("no process has pid 4194304"), "{error}");
}

#[test]
fn a_process_that_proc_hides_is_told_from_one_that_is_not_there() {
    let memcached = Memcached::start(&Root::of(&program("1.6.18")), &[]);
    // The group of root may see all, whatever its capabilities.
    let config = container(Place::Beside, &memcached, &["--check"]).user(NOBODY).hide_processes();
    let says = ["runs, but /proc does not show it", "hidepid", "run as root", "SYS_PTRACE"];
    assert_refused(&output(&config), &says);
}

#[test]
fn a_sidecar_follows_the_memcached_that_shares_its_processes_with_it() {
    let memcached = Memcached::start(&Root::of(&program("debian-1.6.18")), &[]);
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--follow", "memcached", "-o", "/data/capture.parquet"];
    let config = Config::new(&MCREC, &arguments).capabilities(&NEEDED);
    let bundle = Bundle::new(&config.pids(Pids::Of(memcached.pid)).data(folder.path()));
    let mut recorder = record(&bundle, folder.path());
    let keys = Keys::new(&mut Random(6));
    let logs = memcached.within(|| clients(&memcached.address(), 0..3, &keys));
    memcached.settle();
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    let captures = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let captures: Vec<_> = captures.collect();
    let [capture] = captures.as_slice() else { panic!("one capture: {captures:?}") };
    assert_recorded(capture, &logs);
}

#[test]
fn in_a_user_namespace_capabilities_are_of_no_use() {
    let server = Server::start("1.6.18", &[]);
    let pid = server.pid().to_string();
    let as_root = ["--user", "--map-root-user"];
    let ended = Command::new("unshare")
        .args(as_root)
        .arg(mcrec().get_program())
        .args(["--check", "-p", &pid])
        .output()
        .unwrap();
    let (found, error) = said(&ended);
    assert!(found.contains("CAP_BPF yes, CAP_PERFMON yes, use of bpf(2) NO"), "{found}{error}");
    assert!(found.contains("within   another user namespace than the machine's"), "{found}");
    assert_refused(
        &ended,
        &["user namespace", "rootless or remapped", "start the container as root"],
    );
}

#[test]
fn what_is_not_mounted_is_named() {
    let memcached = Memcached::start(&Root::of(&program("1.6.18")), &[]);
    let check = container(Place::Beside, &memcached, &["--check"]).without_sys();
    assert_refused(&output(&check), &["no BTF", "/sys is not mounted"]);
    // No runtime starts a container without /proc; it may go later.
    let script = r#"umount -l /proc && exec "$0" --check -p "$1""#;
    let missing = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(mcrec().get_program())
        .arg(memcached.pid.to_string())
        .output()
        .unwrap();
    assert_refused(&missing, &["/proc is not mounted"]);
    // One of other processes than mcrec's.
    let foreign = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child"])
        .arg(mcrec().get_program())
        .args(["--check", "-p", &memcached.pid.to_string()])
        .output()
        .unwrap();
    assert_refused(&foreign, &["/proc is of another pid namespace than mcrec"]);
}

#[test]
fn in_containers_within_a_container_memcached_has_another_number_than_mcrec_knows() {
    let folder = tempfile::tempdir().unwrap();
    // A pid namespace that is not the machine's, for mcrec, and one below it for memcached,
    // whose process is the first of it and has some number above.
    let script = r#"
        mcrec=$0 memcached=$1 folder=$2; shift 2
        unshare --pid --fork --kill-child "$memcached" -u root -p 0 -s "$folder/socket" &
        until [ -S "$folder/socket" ]; do :; done
        read -r pid < /proc/$!/task/$!/children
        exec "$mcrec" -p "$pid" -o "$folder/capture.parquet" "$@"
    "#;
    for options in [&[][..], &["--without=sockets"]] {
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script])
            .arg(mcrec().get_program())
            .arg(program("debian-1.6.18"))
            .arg(folder.path())
            .args(["--force", "--max-events", "300"])
            .args(options);
        let path = folder.path().join("capture.parquet");
        let mut recorder = Recorder::started(command, &path);
        let mut wire = Wire::connect(&Address::Unix(folder.path().join("socket")));
        for number in 0..300 {
            wire.store("set", format!("key:{number}").as_bytes(), 0, b"value", None, false);
            wire.run_whole();
        }
        let (status, said) = recorder.wait();
        assert!(status.success(), "{said}");
        let rows = capture::rows(&path);
        let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
        let sent = wire.log.done.iter().map(|done| done.key.clone());
        assert_eq!(keys, sent.take(keys.len()).collect::<Vec<_>>(), "{said}");
        assert!(keys.len() >= 290, "{}: {said}", keys.len());
        drop(wire);
        fs::remove_file(folder.path().join("socket")).unwrap();
    }
}
