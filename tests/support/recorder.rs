//! mcrec under test.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// A recording that has begun.
pub struct Recorder {
    pub process: Child,
    pub path: PathBuf,
    lines: Receiver<String>,
    /// What it said so far, on stderr.
    pub said: Vec<String>,
}

/// The program under test; for tests of other programs, the one that was built beside
/// them.
///
/// # Panics
///
/// When it is not there.
pub fn mcrec() -> Command {
    let program = option_env!("CARGO_BIN_EXE_mcrec").map_or_else(beside, PathBuf::from);
    assert!(program.exists(), "{} is not there: cargo build -p mcrec", program.display());
    Command::new(program)
}

fn beside() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("mcrec")
}

/// Runs mcrec to its end.
pub fn run(arguments: &[&str]) -> Output {
    mcrec().args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// mcrec could not do it, said why, and nothing that is for programmers.
#[track_caller]
pub fn assert_refused(output: &Output, says: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for text in says {
        assert!(said.contains(text), "{text:?} is not in: {said}");
    }
    for never in ["panicked", "backtrace", "RUST_"] {
        assert!(!said.contains(never), "{never:?} is in: {said}");
    }
}

impl Recorder {
    /// Starts recording process `pid` to `path`, and returns once it records.
    pub fn start(pid: u32, path: &Path, arguments: &[&str]) -> Self {
        Self::start_as(mcrec(), pid, path, arguments)
    }

    /// The same of an mcrec that is run by `command`.
    pub fn start_as(mut command: Command, pid: u32, path: &Path, arguments: &[&str]) -> Self {
        command.args(["-p", &pid.to_string(), "-o"]).arg(path).args(arguments);
        Self::started(command, path)
    }

    /// The same of a `command` that says all of it, and records to `path`.
    pub fn started(mut command: Command, path: &Path) -> Self {
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut recorder = Self { process, path: path.to_owned(), lines, said: Vec::new() };
        while !recorder.said.last().is_some_and(|line| line.starts_with("mcrec: recording")) {
            match recorder.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => recorder.said.push(line),
                Err(error) => panic!("mcrec does not record ({error}): {:?}", recorder.said),
            }
        }
        recorder
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let status = self.process.wait().unwrap();
        self.said.extend(self.lines.iter());
        (status, self.said.join("\n"))
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(&mut self) -> (ExitStatus, String) {
        self.signal(Signal::INT);
        self.wait()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
