//! What mcrec cannot do it says clearly, with status 2, and leaves nothing behind.

mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use support::{
    process::Running,
    recorder::{assert_refused, mcrec, run},
    server::{Server, program},
    until,
};

#[test]
fn a_process_that_is_not_there_or_not_a_memcached() {
    assert_refused(&run(&["-p", "4194304"]), &["no process has pid 4194304"]);
    let sleep = Running::start(Command::new("sleep").arg("600"));
    assert_refused(&run(&["-p", &sleep.pid()]), &[&sleep.pid(), "not a memcached", "sleep"]);
    for pid in ["0", "-1", "memcached", ""] {
        assert_eq!(run(&["-p", pid]).status.code(), Some(2), "{pid:?}");
    }
}

#[test]
fn a_memcached_without_probes() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("memcached");
    let status = Command::new("objcopy")
        .args(["--remove-section", ".note.stapsdt"])
        .args([program("1.6.18"), plain.clone()])
        .status()
        .unwrap();
    assert!(status.success());
    let server = Server::start_program(&plain, &[]);
    let output = folder.path().join("capture.parquet");
    let pid = server.pid().to_string();
    let refused = run(&["-p", &pid, "--source", "usdt", "-o", output.to_str().unwrap()]);
    assert_refused(&refused, &["1.6.18", "without probes", "syscalls"]);
    assert!(!output.exists());
}

#[test]
fn without_permission_it_says_which_capability() {
    let server = Server::start("1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("mcrec");
    fs::copy(env!("CARGO_BIN_EXE_mcrec"), &copy).unwrap();
    let pid = server.pid().to_string();
    let output = folder.path().join("open/capture.parquet");
    fs::create_dir(output.parent().unwrap()).unwrap();
    fs::set_permissions(output.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    let with = |capabilities: &str, more: &[&str]| {
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args([
                &format!("--inh-caps={capabilities}"),
                &format!("--ambient-caps={capabilities}"),
            ])
            .arg(&copy)
            .args(["-p", &pid, "--duration", "100ms", "-o"])
            .arg(&output)
            .args(more)
            .output()
            .unwrap()
    };
    let as_nobody = |capabilities: &str| with(capabilities, &[]);
    assert_refused(&as_nobody("-all"), &[&pid, "CAP_SYS_PTRACE"]);
    assert_refused(&as_nobody("-all,+sys_ptrace"), &["CAP_BPF", "CAP_PERFMON", "run as root"]);
    assert!(!output.exists());

    // And these three are enough, also to know what recording costs.
    let enough = "-all,+sys_ptrace,+bpf,+perfmon";
    let recorded = with(enough, &["--max-overhead", "5%"]);
    let said = String::from_utf8_lossy(&recorded.stderr);
    assert!(recorded.status.success(), "{said}");
    assert!(said.contains("s of CPU in") && said.contains("BPF runs"), "{said}");
}

#[test]
fn an_output_that_cannot_be_written() {
    let server = Server::start("1.6.18", &[]);
    let pid = server.pid().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();

    fs::write(path("precious"), "precious").unwrap();
    let exists = run(&["-p", &pid, "-o", &path("precious")]);
    assert_refused(&exists, &["precious", "exists", "--force"]);
    assert_eq!(fs::read_to_string(path("precious")).unwrap(), "precious");

    let missing = run(&["-p", &pid, "-o", &path("no/such/folder.parquet")]);
    assert_refused(&missing, &["no folder", "no/such"]);
    let not_folder = run(&["-p", &pid, "-o", &path("precious/x.parquet")]);
    assert_refused(&not_folder, &["precious", "cannot write"]);
    let is_folder = run(&["-p", &pid, "--force", "-o", folder.path().to_str().unwrap()]);
    assert_refused(&is_folder, &["not a regular file"]);
    let special = run(&["-p", &pid, "-o", "/proc/capture.parquet"]);
    assert_refused(&special, &["/proc/capture.parquet"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-made");
}

#[test]
fn force_replaces_a_capture_only_once_it_records() {
    let server = Server::start("1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    fs::write(&path, "an old capture").unwrap();
    let path = path.to_str().unwrap();
    let refused = run(&["-p", "4194304", "--force", "-o", path]);
    assert_refused(&refused, &["no process"]);
    assert_eq!(fs::read_to_string(path).unwrap(), "an old capture");
    let pid = server.pid().to_string();
    let recorded = run(&["-p", &pid, "--force", "-o", path, "--duration", "100ms", "-q"]);
    assert!(recorded.status.success());
    assert!(recorded.stderr.is_empty(), "quiet: {}", String::from_utf8_lossy(&recorded.stderr));
    assert!(support::capture::footer(Path::new(path)).is_some());
}

#[test]
fn without_a_pid_it_records_the_only_memcached_or_lists_them() {
    let one = Server::start("1.6.18", &[]);
    let other = Server::start("1.6.38", &[]);
    // What has its name in front of its own is no memcached.
    let named = tempfile::tempdir().unwrap();
    let _others = ["memcached_exporter", "memcached-sleep"].map(|name| {
        fs::copy("/bin/sleep", named.path().join(name)).unwrap();
        Running::start(Command::new(named.path().join(name)).arg("600"))
    });
    // Other tests have theirs running too, so there are always several.
    let listed = until("both to be listed", || {
        let listed = run(&["--check"]);
        let said = String::from_utf8_lossy(&listed.stderr).into_owned();
        let both = [&one, &other].iter().all(|server| said.contains(&server.pid().to_string()));
        both.then_some(listed)
    });
    assert_refused(&listed, &["-p PID", "memcached-1.6.18", "memcached-1.6.38"]);
    let said = String::from_utf8_lossy(&listed.stderr);
    assert!(!said.contains("exporter") && !said.contains("memcached-sleep"), "{said}");
    drop(one);

    // In a pid namespace of its own there is but one.
    let script = format!(
        "mount -t proc proc /proc && {} -u root -U 0 -l 127.0.0.1 -p 0 -s $1/socket & \
         until [ -S $1/socket ]; do :; done; {} --check",
        program("1.6.38").display(),
        env!("CARGO_BIN_EXE_mcrec")
    );
    let folder = tempfile::tempdir().unwrap();
    let alone = Command::new("unshare")
        .args(["--pid", "--fork", "--mount", "--kill-child", "sh", "-c", &script, "sh"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(said.contains("memcached 1.6.38"), "{said}{}", String::from_utf8_lossy(&alone.stderr));
}

#[test]
fn check_says_what_would_be_recorded_and_records_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (release, blind) in [("1.6.18", "misses of delete, incr, decr"), ("1.6.38", "incr, decr:")]
    {
        let server = Server::start(release, &[]);
        let output = mcrec()
            .args(["--check", "-p", &server.pid().to_string()])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        for text in [
            release,
            "source   syscalls",
            "--source usdt",
            "hits of meta get",
            "text touch",
            blind,
            "BTF yes",
            "drops    once attached, every capability; root becomes",
        ] {
            assert!(said.contains(text), "{text:?} is not in: {said}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_memcached_in_a_container_is_found_through_its_process() {
    // Its own mount namespace, with its own file system at the root, and the
    // program's file gone since it started, as after an upgrade.
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    let script = format!(
        "mount --bind / $1 && mount -t tmpfs tmpfs $1/opt && cp {} $1/opt/memcached && \
         mkdir $1/opt/run && exec chroot $1 /bin/sh -c \
         'exec /opt/memcached -u root -p 0 -U 0 -s /opt/run/socket'",
        program("1.6.18").display()
    );
    let container = Running::start(
        Command::new("unshare").args(["--mount", "sh", "-c", &script, "sh"]).arg(&root),
    );
    let inside = format!("/proc/{}/root/opt", container.pid());
    until("memcached in its container", || {
        Path::new(&format!("{inside}/run/socket")).exists().then_some(())
    });
    fs::remove_file(format!("{inside}/memcached")).unwrap();
    let capture = folder.path().join("capture.parquet");
    let mut recorder =
        support::recorder::Recorder::start(container.0.id(), &capture, &["--max-events", "1"]);
    let mut stream =
        std::os::unix::net::UnixStream::connect(format!("{inside}/run/socket")).unwrap();
    std::io::Write::write_all(&mut stream, b"get key\r\n").unwrap();
    let (status, said) = recorder.wait();
    assert!(status.success(), "{said}");
    let rows = support::capture::rows(&capture);
    assert_eq!((rows.len(), rows[0].key.as_slice()), (1, b"key".as_slice()));
    let target = support::capture::footer(&capture).unwrap().target;
    assert_eq!(target.listening, ["unix:/opt/run/socket"]);
}

#[test]
fn a_memcached_that_encrypts_everything() {
    let keys = program("full-1.6.38").with_file_name("suite-1.6.38/t");
    let options =
        format!("ssl_chain_cert={0}/server_crt.pem,ssl_key={0}/server_key.pem", keys.display());
    let server = Server::start("full-1.6.38", &["-Z", "-o", &options]);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("capture.parquet");
    let pid = server.pid().to_string();
    for source in ["auto", "syscalls"] {
        let refused = run(&["-p", &pid, "--source", source, "-o", output.to_str().unwrap()]);
        assert_refused(&refused, &["TLS", "ciphertext", "notls"]);
        assert!(!output.exists());
    }
}
