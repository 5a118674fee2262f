//! What was committed is never lost: not when mcrec is killed, not on a full disk.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::Duration,
};

use mcrec_capture::{Capture, State};
use rustix::process::Signal;
use support::{
    capture::{self, Row},
    now_us,
    random::Random,
    recorder::{Recorder, mcrec},
    sequence::{self, Load},
    server::Server,
    until,
};

/// Each of these tests wants the machine for itself.
static ALONE: Mutex<()> = Mutex::new(());

/// Repairs a capture, and returns the exit code and what was said.
fn repair(path: &Path) -> (i32, String) {
    let output = mcrec().arg("repair").arg(path).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The rows of a capture as it is, whole or not, through the file that `mcanalyze`
/// would be given.
fn rows_as_it_is(path: &Path, folder: &Path) -> (State, Vec<Row>) {
    let opened = Capture::open(path).unwrap();
    let view = folder.join("view.parquet");
    fs::write(&view, opened.view().unwrap()).unwrap();
    (opened.state(), capture::rows(&view))
}

#[test]
fn killed_at_any_moment_a_capture_keeps_what_was_committed() {
    const ROUNDS: u32 = 200;
    let _alone = ALONE.lock();
    let server = Server::start("debian-1.6.18", &[]);
    // On a busy machine, too, as long as all rounds take.
    let load = Load::start_for(server.address, 3, 1, Duration::from_secs(1_200));
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(20);
    let (mut cut_off, mut rows_in_all) = (0, 0);
    for round in 0..ROUNDS {
        let path = folder.path().join(format!("{round}.parquet"));
        let mut recorder = Recorder::start(server.pid(), &path, &["--commit-every", "10ms"]);
        // Commits of a few hundred rows to some ten thousand, and before the first.
        let operations = load.sent() + random.below(12_000) as u64;
        until("operations", || (load.sent() >= operations).then_some(()));
        std::thread::sleep(Duration::from_micros(random.below(10_000) as u64));
        let killed = now_us();
        recorder.signal(Signal::KILL);
        recorder.wait();

        let (state, as_it_is) = rows_as_it_is(&path, folder.path());
        assert!(matches!(state, State::Whole | State::CutOff), "{state:?}");
        cut_off += u32::from(state == State::CutOff);
        let (code, said) = repair(&path);
        assert_eq!(code, 0, "{said}");
        assert!(!path.with_extension("parquet.journal").exists());
        let rows = capture::rows(&path);
        assert!(rows == as_it_is, "round {round}: repair loses nothing and adds nothing");
        let shown = sequence::check(&rows);
        assert_eq!(shown.missing, 0, "round {round}");
        let footer = capture::footer(&path).unwrap();
        assert_eq!(footer.loss.written, capture::all_rows(&path).len() as u64);
        assert_eq!(footer.capture.ended, None);
        // Everything older than the interval, and than a commit on a busy machine takes.
        let old = killed - i64::try_from(Duration::from_secs(5).as_micros()).unwrap();
        assert!(footer.capture.end_us >= old, "round {round}");
        if let Some(last) = rows.last() {
            assert!(last.ts <= footer.capture.end_us);
        }
        rows_in_all += shown.rows;
        fs::remove_file(&path).unwrap();
    }
    load.stop();
    eprintln!("{rows_in_all} rows in {ROUNDS} captures, of which {cut_off} were cut off");
    assert!(rows_in_all > u64::from(ROUNDS) * 1_000, "there was a load: {rows_in_all}");
}

/// A file system of 8 MiB, unmounted with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "cannot mount a file system to fill");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Fills it so that `left` bytes are left.
    fn fill(&self, left: u64) {
        let _ = fs::remove_file(self.path("filler"));
        let stat = rustix::fs::statvfs(self.0.path()).unwrap();
        let size = (stat.f_bavail * stat.f_bsize).saturating_sub(left);
        let filler = fs::File::create(self.path("filler")).unwrap();
        rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, size).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = self.0.path().read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn wherever_the_disk_is_full_a_whole_capture_is_left_or_none() {
    let _alone = ALONE.lock();
    let server = Server::start("debian-1.6.18", &[]);
    let disk = SmallDisk::mount();
    let path = disk.path("c.parquet");
    let (mut refused, mut ended) = (0, 0);
    let load = Load::start(server.address, 2);
    // From no room for the header to some commits, a page at a time at first.
    let pages = (0..24).chain((24..80).step_by(5)).chain((80..2_000).step_by(400));
    for left in pages.map(|pages| pages * 4096) {
        disk.fill(left);
        let output = mcrec()
            .args(["-p", &server.pid().to_string(), "--commit-every", "20ms", "-o"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("No space left on device"), "{left}: {said}");
        if output.status.code() == Some(2) {
            refused += 1;
            assert_eq!(disk.names(), ["filler"], "{left}: nothing half-made");
            continue;
        }
        assert_eq!(output.status.code(), Some(1), "{left}: {said}");
        ended += 1;
        let rows = capture::rows(&path);
        assert_eq!(sequence::check(&rows).missing, 0, "{left}");
        let footer = capture::footer(&path).unwrap();
        assert_eq!(footer.loss.written, capture::all_rows(&path).len() as u64, "{left}");
        assert_eq!(footer.loss.seen, footer.loss.written + footer.loss.losses.total());
        // Where there was no room for a longer footer, the last one stands.
        match footer.capture.ended.as_deref() {
            Some("cannot write") => assert!(footer.loss.losses.write_failed > 0),
            other => assert_eq!(other, None),
        }
        let (code, said) = repair(&path);
        assert_eq!(code, 0, "{left}: {said}");
        fs::remove_file(&path).unwrap();
        assert_eq!(disk.names(), ["filler"], "{left}");
    }
    load.stop();
    assert!(refused > 0 && ended > 30, "{refused} {ended}");
}

#[test]
fn what_was_held_in_memory_and_is_on_no_disk_is_counted_once() {
    let _alone = ALONE.lock();
    let server = Server::start("debian-1.6.18", &[]);
    let disk = SmallDisk::mount();
    let arguments = ["--keep-last", "10m", "--commit-every", "50ms"];
    let mut recorder = Recorder::start(server.pid(), &disk.path("c.parquet"), &arguments);
    let load = Load::start(server.address, 2);
    let whole = |names: Vec<String>| {
        let paths = names.into_iter().filter(|name| name != "filler").map(|name| disk.path(&name));
        let ended =
            |path: &PathBuf| capture::footer(path).is_some_and(|f| f.capture.ended.is_some());
        let mut paths: Vec<_> = paths.filter(ended).collect();
        paths.sort();
        paths
    };
    // Each holds all that the one before it did. That one may not be closed yet when the
    // next is asked for.
    for files in 1..=2 {
        until("rows", || (load.sent() > 1_000 * files as u64).then_some(()));
        recorder.signal(Signal::USR1);
        until("a file", || (whole(disk.names()).len() == files).then_some(()));
    }
    disk.fill(0);
    let sent = load.stop();
    let (status, said) = recorder.interrupt();
    assert_eq!(status.code(), Some(1), "{said}");
    let last = sequence::check(&capture::rows(whole(disk.names()).last().unwrap()));
    let missing = sent - last.rows;
    let lost = said.lines().find_map(|line| line.strip_prefix("lost ")).unwrap().trim();
    let lost: u64 = lost.split(' ').next().unwrap().replace(',', "").parse().unwrap();
    // And the ends of its connections.
    assert!((missing..missing + 8).contains(&lost), "{missing}: {said}");
}

#[test]
fn a_repair_on_a_full_disk_loses_nothing_and_can_be_done_again() {
    let _alone = ALONE.lock();
    let server = Server::start("debian-1.6.18", &[]);
    let disk = SmallDisk::mount();
    let path = disk.path("c.parquet");
    let load = Load::start(server.address, 2);
    let mut recorder = Recorder::start(server.pid(), &path, &["--commit-every", "50ms"]);
    until("commits", || (capture::footer(&path)?.loss.written > 3_000).then_some(()));
    recorder.signal(Signal::KILL);
    recorder.wait();
    load.stop();
    repair(&path);
    let whole = fs::read(&path).unwrap();
    let rows = capture::rows(&path);
    let data_end = usize::try_from(Capture::open(&path).unwrap().data_end()).unwrap();
    let journal =
        [b"mcrecj01", &(data_end as u64).to_le_bytes()[..], &whole[data_end..], b"10jcercm"]
            .concat();
    // Cut off right after the data, so that its footer needs room; and further on.
    for (cut, left) in [(data_end, 0), (data_end, 4096), (data_end, 8192), (whole.len() - 1, 0)] {
        let _ = fs::remove_file(disk.path("filler"));
        fs::write(&path, &whole[..cut]).unwrap();
        fs::write(disk.path("c.parquet.journal"), &journal).unwrap();
        disk.fill(left);
        let (code, said) = repair(&path);
        if code != 0 {
            assert!(
                code == 2 && said.contains("No space left") && said.contains("again"),
                "{said}"
            );
            assert_eq!(Capture::open(&path).unwrap().state(), State::CutOff);
            disk.fill(1 << 20);
            assert_eq!(repair(&path).0, 0);
        }
        assert!(fs::read(&path).unwrap() == whole, "{cut} {left}");
        assert!(capture::rows(&path) == rows);
    }
}
