//! Recordings that go on: into the next file, into memory, with the next memcached.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};
use support::{
    capture::{self, Row},
    recorder::{Recorder, mcrec},
    sequence::{self, Load},
    server::{Server, program},
    until,
};

/// Each of these tests wants the machine for itself.
static ALONE: Mutex<()> = Mutex::new(());

/// The captures in a folder, in the order of their names.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "parquet")).collect();
    paths.sort();
    paths
}

/// Checks that each file answers for its own part of one recording, and returns
/// all operations.
fn rows_of_all(paths: &[PathBuf]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut before: Option<mcrec_schema::footer::Footer> = None;
    for (number, path) in paths.iter().enumerate() {
        let footer = capture::footer(path).unwrap();
        assert_eq!(footer.loss.losses.total(), 0, "{path:?}");
        assert_eq!(footer.loss.written, capture::all_rows(path).len() as u64, "{path:?}");
        let last = number + 1 == paths.len();
        let ended = if last { "interrupted" } else { "rotated" };
        assert_eq!(footer.capture.ended.as_deref(), Some(ended), "{path:?}");
        if let Some(before) = before {
            assert_eq!(footer.capture.id, before.capture.id);
            assert_eq!(footer.capture.start_us, before.capture.end_us, "no time is left out");
        }
        let of_file = capture::rows(path);
        assert!(of_file.iter().all(|row| row.ts <= footer.capture.end_us), "{path:?}");
        // What was under way when the file began, of each connection.
        let early = of_file.iter().filter(|row| row.ts < footer.capture.start_us).count();
        assert!(early <= 4, "{path:?}: {early}");
        before = Some(footer);
        rows.extend(of_file);
    }
    rows
}

#[test]
fn rotated_every_second_the_files_hold_every_operation_once() {
    let _alone = ALONE.lock();
    let server = Server::start("debian-1.6.18", &["-m", "2048"]);
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--rotate-every", "1s", "--buffer-size", "256MiB"];
    let mut recorder = Recorder::start(server.pid(), &folder.path().join("c.parquet"), &arguments);
    let load = Load::start(server.address, 4);
    for files in [20, 40, 60] {
        until("files", || (captures(folder.path()).len() > files).then_some(()));
    }
    let sent = load.stop();
    let (status, said) = recorder.interrupt();
    assert!(status.success(), "{said}");
    let paths = captures(folder.path());
    let rows = rows_of_all(&paths);
    let shown = sequence::check(&rows);
    assert_eq!((shown.rows, shown.missing), (sent, 0), "{said}");
    assert!(shown.ranges.values().all(|(first, _)| *first == 0));
    // Numbers go on over all files.
    let ids: Vec<_> = rows.iter().map(|row| row.request_id).collect();
    let mut once = ids.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), ids.len());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), paths.len(), "no journals");
}

#[test]
fn rotated_by_size_files_have_about_that_and_the_oldest_go() {
    let _alone = ALONE.lock();
    let server = Server::start("debian-1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    // What an earlier recording left is counted, what is not its own is not.
    fs::write(folder.path().join("c-20200101T000000Z-000007.parquet"), "old").unwrap();
    fs::write(folder.path().join("c-other.parquet"), "other").unwrap();
    // Nor does what another recorder is still writing go.
    let others = fs::File::create(folder.path().join("c-20200101T000000Z-000008.parquet")).unwrap();
    flock(&others, FlockOperation::LockExclusive).unwrap();
    let arguments = ["--rotate-size", "64KiB", "--keep", "3"];
    let mut recorder = Recorder::start(server.pid(), &path, &arguments);
    let load = Load::start(server.address, 2);
    let sixth = |path: &PathBuf| path.to_str().unwrap().ends_with("-000006.parquet");
    until("six files", || captures(folder.path()).iter().any(sixth).then_some(()));
    load.stop();
    let (status, said) = recorder.interrupt();
    assert!(status.success() && said.contains("files "), "{said}");
    let paths = captures(folder.path());
    let of_others = ["c-other.parquet", "c-20200101T000000Z-000008.parquet"];
    let (other, ours): (Vec<_>, Vec<_>) =
        paths.into_iter().partition(|path| of_others.iter().any(|name| path.ends_with(name)));
    assert_eq!((other.len(), ours.len()), (2, 3));
    for path in &ours[..2] {
        let size = fs::metadata(path).unwrap().len();
        assert!((30_000..90_000).contains(&size), "{size}");
    }
    assert_eq!(sequence::check(&rows_of_all(&ours)).missing, 0);
}

#[test]
fn a_recording_ends_when_enough_is_on_disk() {
    let _alone = ALONE.lock();
    let server = Server::start("debian-1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let mut recorder = Recorder::start(server.pid(), &path, &["--max-size", "100KiB"]);
    let load = Load::start(server.address, 2);
    let (status, said) = recorder.wait();
    load.stop();
    assert!(status.success(), "what came after is not wanted, and so not lost: {said}");
    let size = fs::metadata(&path).unwrap().len();
    assert!((50_000..=102_400).contains(&size), "{size}");
    let footer = capture::footer(&path).unwrap();
    assert_eq!(footer.capture.ended.as_deref(), Some("max-size"));
    assert_eq!(footer.loss.losses.total(), 0);
    assert_eq!(sequence::check(&capture::rows(&path)).missing, 0);
}

#[test]
fn the_last_of_a_recording_is_written_when_asked_for_and_at_the_end() {
    let _alone = ALONE.lock();
    let server = Server::start("debian-1.6.18", &[]);
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--keep-last", "1s", "--commit-every", "50ms"];
    let mut recorder = Recorder::start(server.pid(), &folder.path().join("c.parquet"), &arguments);
    let load = Load::start(server.address, 2);
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written until then");
    recorder.signal(Signal::USR1);
    let whole = |path: &PathBuf| capture::footer(path).is_some_and(|f| f.capture.ended.is_some());
    until("the first file", || captures(folder.path()).first().filter(|p| whole(p)).map(drop));
    let sent = load.stop();
    let (status, said) = recorder.interrupt();
    assert!(status.success() && said.contains("files      2, from"), "{said}");
    let paths = captures(folder.path());
    assert_eq!(paths.len(), 2);
    for (path, ended) in paths.iter().zip(["asked for", "interrupted"]) {
        let footer = capture::footer(path).unwrap();
        assert_eq!(footer.capture.ended.as_deref(), Some(ended));
        assert_eq!(footer.loss.written, capture::all_rows(path).len() as u64);
        assert_eq!(footer.loss.seen, footer.loss.written + footer.loss.losses.total());
        let rows = capture::rows(path);
        let shown = sequence::check(&rows);
        assert_eq!(shown.missing, 0);
        // The window, not what was before it: but all that was in it.
        let length = footer.capture.end_us - footer.capture.start_us;
        assert!((1_000_000..5_000_000).contains(&length), "{length} µs");
        assert!(shown.ranges.values().all(|(first, _)| *first > 0));
        assert!(rows.iter().all(|row| row.ts <= footer.capture.end_us));
    }
    let last = sequence::check(&capture::rows(&paths[1]));
    let in_all: u64 = last.ranges.values().map(|(_, last)| last + 1).sum();
    assert_eq!(in_all, sent, "up to the end");
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A memcached that has a name of its own.
fn start_named(folder: &Path, name: &str, release: &str, run: u32) -> (Process, SocketAddr) {
    let named = folder.join(name);
    fs::copy(program(release), &named).unwrap();
    let port_file = folder.join(format!("port-{run}"));
    let process = Command::new(&named)
        .args(["-u", "root", "-l", "127.0.0.1", "-p", "-1"])
        .env("MEMCACHED_PORT_FILENAME", &port_file)
        .stdin(Stdio::null())
        .spawn();
    let mut process = Process(process.unwrap());
    let port = until("memcached to listen", || {
        assert!(process.0.try_wait().unwrap().is_none(), "memcached did not start");
        let text = fs::read_to_string(&port_file).ok()?;
        text.lines().find_map(|line| line.strip_prefix("TCP INET: ")?.trim().parse().ok())
    });
    (process, SocketAddr::from(([127, 0, 0, 1], port)))
}

#[test]
fn of_several_that_could_be_followed_it_is_said_which_is_and_which_are_not() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().unwrap();
    let name = format!("mo{}", std::process::id());
    let (one, _) = start_named(folder.path(), &name, "debian-1.6.18", 0);
    let start_another = |run: u32| {
        // What runs cannot be written over.
        let elsewhere = folder.path().join(format!("elsewhere-{run}"));
        fs::create_dir(&elsewhere).unwrap();
        start_named(&elsewhere, &name, "debian-1.6.18", run).0
    };
    let two = start_another(1);
    let mut pids = [one.0.id(), two.0.id()];
    pids.sort_unstable();
    let follower = mcrec()
        .args(["--follow", &name, "-q", "-o"])
        .arg(folder.path().join("c.parquet"))
        .stderr(Stdio::piped())
        .spawn();
    let mut follower = Process(follower.unwrap());
    let mut said = BufReader::new(follower.0.stderr.take().unwrap()).lines();
    let mut hear = |what: &str, pid: u32| {
        let line = said.find(|line| line.as_ref().unwrap().contains(what)).unwrap().unwrap();
        assert!(line.contains(&pid.to_string()), "{line}");
        let others: Vec<String> = said
            .by_ref()
            .map(|line| line.unwrap())
            .take_while(|line| !line.contains("one is recorded at a time"))
            .collect();
        others.iter().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    let others: Vec<String> = hear(" is recorded, and not", pids[0]);
    assert_eq!(others, [pids[1].to_string()]);
    // One that comes later is told of too, and by itself.
    let three = start_another(2);
    let others: Vec<String> = hear(" is recorded, and not", pids[0]);
    assert_eq!(others, [three.0.id().to_string()]);
    kill_process(Pid::from_child(&follower.0), Signal::INT).unwrap();
    assert!(follower.0.wait().unwrap().success());
}

#[test]
fn a_memcached_that_is_restarted_and_upgraded_is_recorded_on() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().unwrap();
    let captures_in = folder.path().join("captures");
    fs::create_dir(&captures_in).unwrap();
    // Before there is anything to record.
    let name = format!("mc{}", std::process::id());
    // Something else of that name is none.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy("/bin/sleep", elsewhere.path().join(&name)).unwrap();
    let other = Command::new(elsewhere.path().join(&name)).arg("600").spawn();
    let _other = Process(other.unwrap());
    let follower = mcrec()
        .args(["--follow", &name, "--commit-every", "50ms", "-o"])
        .arg(captures_in.join("c.parquet"))
        .stderr(Stdio::piped())
        .spawn();
    let mut follower = Process(follower.unwrap());
    let mut said = BufReader::new(follower.0.stderr.take().unwrap()).lines();
    let (mut sent, mut servers) = (Vec::new(), Vec::new());
    let releases = ["debian-1.6.18", "plain-1.6.45", "plain-1.6.45"];
    for (run, release) in (0..).zip(releases) {
        let (mut server, address) = start_named(folder.path(), &name, release, run);
        let begun = said.any(|line| line.unwrap().starts_with("mcrec: recording"));
        assert!(begun, "mcrec ended");
        let load = Load::start(address, 1);
        let path = captures(&captures_in).pop().unwrap();
        until("rows", || (capture::footer(&path)?.loss.written > 500).then_some(()));
        sent.push(load.stop());
        // The last recording is ended by us.
        if run < 2 {
            server.0.kill().unwrap();
            server.0.wait().unwrap();
            until("its end", || capture::footer(&path)?.capture.ended);
        }
        servers.push(server);
    }
    kill_process(Pid::from_child(&follower.0), Signal::INT).unwrap();
    assert!(follower.0.wait().unwrap().success());
    let paths = captures(&captures_in);
    assert_eq!(paths.len(), 3);
    let ends = ["target exited", "target exited", "interrupted"];
    for ((path, sent), ended) in paths.iter().zip(sent).zip(ends) {
        let footer = capture::footer(path).unwrap();
        assert_eq!(footer.capture.ended.as_deref(), Some(ended));
        let shown = sequence::check(&capture::rows(path));
        assert_eq!((shown.rows, shown.missing), (sent, 0));
    }
    let versions: Vec<_> =
        paths.iter().map(|path| capture::footer(path).unwrap().target.version.unwrap()).collect();
    assert_eq!(versions, ["1.6.18", "1.6.45", "1.6.45"]);
}
