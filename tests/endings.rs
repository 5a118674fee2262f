//! However a recording ends, a whole capture is left.

mod support;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{
    capture,
    client::{Client, Protocol},
    now_us,
    recorder::Recorder,
    server::Server,
    until,
};

/// A place for a capture in a folder that goes with the test.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.parquet");
    (folder, path)
}

/// Gets and sets `operations` times.
fn work(client: &mut Client, operations: usize) {
    for number in 0..operations {
        let key = format!("key:{}", number % 50).into_bytes();
        if number % 2 == 0 {
            client.store("set", &key, b"value", "");
        } else {
            client.get("get", &[key]);
        }
    }
}

/// Gets and sets as long as it is `going`, but not for ever: a test that failed
/// has no one to stop it.
fn work_while(going: &AtomicBool, sent: &AtomicU64, address: SocketAddr) {
    let mut client = Client::connect(address, Protocol::Text);
    let end = Instant::now() + Duration::from_secs(120);
    while going.load(Ordering::Relaxed) && Instant::now() < end {
        work(&mut client, 10);
        sent.fetch_add(10, Ordering::Relaxed);
    }
}

/// Gets and sets until a recorder has ended by itself.
fn work_until_ended(client: &mut Client, recorder: &mut Child) {
    until("mcrec to end", || {
        work(client, 200);
        recorder.try_wait().unwrap()
    });
}

/// Only the capture is in its folder: no journal, nothing temporary.
fn assert_alone(path: &Path) {
    let folder = path.parent().unwrap().read_dir().unwrap();
    let names: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [path.file_name().unwrap()]);
}

#[test]
fn signals_end_a_recording_with_everything_in_it() {
    for (signal, reason) in
        [(Signal::INT, "interrupted"), (Signal::TERM, "terminated"), (Signal::HUP, "terminated")]
    {
        let server = Server::start("1.6.18", &[]);
        let (_folder, path) = place();
        // Where the tests were started so as to outlive their terminal, mcrec would, too.
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP").arg(support::recorder::mcrec().get_program());
        let mut recorder = Recorder::start_as(command, server.pid(), &path, &[]);
        let mut client = Client::connect(server.address, Protocol::Text);
        work(&mut client, 5_000);
        recorder.signal(signal);
        let (status, said) = recorder.wait();
        assert!(status.success(), "{said}");
        assert_eq!(capture::rows(&path).len(), 5_000);
        assert_eq!(capture::footer(&path).unwrap().capture.ended.as_deref(), Some(reason));
        assert!(said.contains("5,000 operations"), "{said}");
        assert_alone(&path);
    }
}

#[test]
fn a_recording_ends_by_itself_after_its_duration() {
    let server = Server::start("1.6.18", &[]);
    let (_folder, path) = place();
    let mut recorder = Recorder::start(server.pid(), &path, &["--duration", "1500ms"]);
    work(&mut Client::connect(server.address, Protocol::Text), 100);
    let (status, said) = recorder.wait();
    assert!(status.success(), "{said}");
    let footer = capture::footer(&path).unwrap();
    assert_eq!(footer.capture.ended.as_deref(), Some("duration"));
    assert_eq!(capture::rows(&path).len(), 100);
    let seconds =
        Duration::from_nanos(footer.capture.end_monotonic_ns - footer.capture.start_monotonic_ns)
            .as_secs_f64();
    assert!(seconds >= 1.5, "{seconds}");
}

#[test]
fn a_recording_ends_by_itself_after_so_many_operations() {
    let server = Server::start("1.6.18", &[]);
    let (_folder, path) = place();
    let mut recorder = Recorder::start(server.pid(), &path, &["--max-events", "777"]);
    let mut client = Client::connect(server.address, Protocol::Text);
    work_until_ended(&mut client, &mut recorder.process);
    let (status, said) = recorder.wait();
    // What came after is not wanted, and so not lost.
    assert!(status.success(), "{said}");
    let footer = capture::footer(&path).unwrap();
    assert_eq!(footer.capture.ended.as_deref(), Some("max-events"));
    // The row of the connection is none of them.
    assert_eq!((footer.loss.seen, footer.loss.written), (778, 778));
    let keys: Vec<_> = capture::rows(&path).into_iter().map(|row| row.key).collect();
    let first: Vec<_> = client.log.iter().take(777).map(|logged| logged.key.clone()).collect();
    assert_eq!(keys, first);
}

#[test]
fn a_recording_ends_with_its_memcached() {
    for signal in [Signal::TERM, Signal::KILL] {
        let server = Server::start("1.6.38", &[]);
        let (_folder, path) = place();
        let mut recorder = Recorder::start(server.pid(), &path, &[]);
        work(&mut Client::connect(server.address, Protocol::Text), 1_000);
        let pid = rustix::process::Pid::from_child(&server.process);
        rustix::process::kill_process(pid, signal).unwrap();
        let (status, said) = recorder.wait();
        assert!(status.success(), "{said}");
        let footer = capture::footer(&path).unwrap();
        assert_eq!(footer.capture.ended.as_deref(), Some("target exited"));
        assert_eq!(capture::rows(&path).len(), 1_000);
        assert_alone(&path);
    }
}

#[test]
fn a_second_interrupt_ends_at_once_with_a_valid_capture() {
    let server = Server::start("1.6.18", &[]);
    let (_folder, path) = place();
    let mut recorder = Recorder::start(server.pid(), &path, &[]);
    let going = AtomicBool::new(true);
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| work_while(&going, &sent, server.address));
        // A recorder that stands still collects a full ring, and both signals.
        recorder.signal(Signal::STOP);
        until("operations on the ring", || (sent.load(Ordering::Relaxed) > 5_000).then_some(()));
        recorder.signal(Signal::INT);
        recorder.signal(Signal::TERM);
        recorder.signal(Signal::CONT);
        let (status, said) = recorder.wait();
        going.store(false, Ordering::Relaxed);
        let lost = capture::footer(&path).unwrap().loss.losses.total();
        assert_eq!(status.code(), Some(i32::from(lost > 0)), "{said}");
    });
    let footer = capture::footer(&path).unwrap();
    assert_eq!(footer.loss.written, capture::all_rows(&path).len() as u64);
    assert_eq!(footer.loss.seen, footer.loss.written + footer.loss.losses.total());
    assert!(footer.loss.seen <= sent.load(Ordering::Relaxed));
    assert_eq!(footer.loss.losses.unaccounted, 0);
    assert!(footer.capture.ended.is_some());
    assert_alone(&path);
}

#[test]
fn after_kill_9_everything_up_to_the_last_commit_is_there() {
    let server = Server::start("1.6.18", &[]);
    let (_folder, path) = place();
    let mut recorder = Recorder::start(server.pid(), &path, &["--commit-every", "500ms"]);
    let going = AtomicBool::new(true);
    let sent = AtomicU64::new(0);
    let killed = thread::scope(|scope| {
        scope.spawn(|| work_while(&going, &sent, server.address));
        // While it records, the file on disk is complete again and again.
        let mut commits = std::collections::BTreeSet::new();
        until("five commits", || {
            commits.extend(capture::footer(&path).map(|footer| footer.loss.written));
            (commits.len() > 5).then_some(())
        });
        let now = now_us();
        recorder.signal(Signal::KILL);
        recorder.wait();
        going.store(false, Ordering::Relaxed);
        now
    });
    let rows = capture::rows(&path);
    let footer = capture::footer(&path).unwrap();
    assert_eq!(footer.loss.written, capture::all_rows(&path).len() as u64);
    assert!(rows.len() as u64 <= sent.load(Ordering::Relaxed));
    assert_eq!(footer.capture.ended, None, "it did not end: it was killed");
    // What is missing is at most the interval, and the time that the last
    // commit took: much, on a busy machine.
    let missing = Duration::from_micros((killed - rows.last().unwrap().ts).unsigned_abs());
    assert!(missing < Duration::from_millis(500) + Duration::from_secs(5), "{missing:?}");
    let order: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    for (at, key) in order.iter().enumerate() {
        assert_eq!(*key, format!("key:{}", at % 10).into_bytes(), "row {at}");
    }
}

/// A file system of `size`, unmounted with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "cannot mount a file system to fill");
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// mcrec, as a shell runs it that has done something before.
fn mcrec_after(what: &str) -> Command {
    let mut shell = Command::new("sh");
    let run = format!("{what}; exec \"$@\"");
    shell.args(["-c", &run, "sh"]).arg(support::recorder::mcrec().get_program());
    shell
}

/// The recording ended because `path` could not be written: what was committed is there, and
/// how much is not.
fn assert_cut_off(mut recorder: Recorder, path: &Path, client: &Client, why: &str) {
    let (status, said) = recorder.wait();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(why) && said.contains("write failed"), "{said}");
    // A whole capture that says what is not in it.
    let rows = capture::rows(path);
    let footer = capture::footer(path).unwrap();
    assert!(!rows.is_empty());
    assert_eq!(footer.loss.written, capture::all_rows(path).len() as u64);
    assert!(footer.loss.losses.write_failed > 0);
    assert_eq!(footer.loss.seen, footer.loss.written + footer.loss.losses.write_failed);
    assert_eq!(footer.capture.ended.as_deref(), Some("cannot write"));
    let keys = rows.iter().map(|row| &row.key);
    assert!(keys.eq(client.log.iter().take(rows.len()).map(|logged| &logged.key)), "a prefix");
    assert_alone(path);
}

#[test]
fn a_full_disk_ends_the_recording_with_everything_that_was_committed() {
    let server = Server::start("1.6.18", &[]);
    let disk = SmallDisk::mount("256k");
    let path = disk.0.path().join("capture.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &["--commit-every", "200ms"]);
    let mut client = Client::connect(server.address, Protocol::Text);
    work_until_ended(&mut client, &mut recorder.process);
    assert_cut_off(recorder, &path, &client, "No space left on device");
}

#[test]
fn a_file_that_may_not_become_longer_is_as_a_full_disk() {
    let server = Server::start("1.6.18", &[]);
    let (_folder, path) = place();
    // Blocks of 512 bytes.
    let command = mcrec_after("ulimit -f 256");
    let arguments = ["--commit-every", "200ms"];
    let mut recorder = Recorder::start_as(command, server.pid(), &path, &arguments);
    let mut client = Client::connect(server.address, Protocol::Text);
    work_until_ended(&mut client, &mut recorder.process);
    assert_cut_off(recorder, &path, &client, "File too large");
}

#[test]
fn a_recording_outlives_its_terminal_where_it_was_started_so() {
    let server = Server::start("1.6.18", &[]);
    let (_folder, path) = place();
    let command = mcrec_after("trap '' HUP");
    let mut recorder = Recorder::start_as(command, server.pid(), &path, &[]);
    recorder.signal(Signal::HUP);
    let mut client = Client::connect(server.address, Protocol::Text);
    work(&mut client, 100);
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    assert_eq!(capture::rows(&path).len(), 100);
    let ended = capture::footer(&path).unwrap().capture.ended;
    assert_eq!(ended.as_deref(), Some("interrupted"));
}

#[test]
fn a_capture_that_is_removed_is_not_called_complete() {
    let server = Server::start("1.6.18", &[]);
    let (_folder, path) = place();
    let mut recorder = Recorder::start(server.pid(), &path, &["--commit-every", "100ms"]);
    let mut client = Client::connect(server.address, Protocol::Text);
    work(&mut client, 100);
    std::fs::remove_file(&path).unwrap();
    // It ends by itself, at the next commit.
    work_until_ended(&mut client, &mut recorder.process);
    let (status, said) = recorder.wait();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("was removed") && !said.contains("lost       nothing"), "{said}");
}

#[test]
fn a_recording_goes_on_when_nobody_listens_to_what_it_says() {
    let server = Server::start("1.6.18", &[]);
    let (_folder, path) = place();
    let deaf = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut recorder = support::recorder::mcrec()
        .args(["-p", &server.pid().to_string(), "--max-events", "100", "-o"])
        .arg(&path)
        .stderr(deaf)
        .spawn()
        .unwrap();
    let mut client = Client::connect(server.address, Protocol::Text);
    work_until_ended(&mut client, &mut recorder);
    assert!(recorder.wait().unwrap().success());
    assert_eq!(capture::rows(&path).len(), 100);
    assert_alone(&path);
}
