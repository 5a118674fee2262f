//! Records one memcached after the other: whatever runs under a name, as it is
//! restarted or upgraded.
//!
//! Each is recorded by a process of its own, which gives up its privileges as ever;
//! this one keeps them, to begin with the next, and touches nothing that a client
//! of memcached could have sent.

use std::{
    env,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitCode},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGINT, SIGUSR1},
    iterator::Signals,
};

use crate::{cli::Record, report::say, stop, target};

/// How often the next memcached is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Records whatever runs under `name`, until a signal, `--duration`, or a recording
/// that ends although its memcached goes on. Returns the worst of their exit codes.
///
/// # Errors
///
/// When processes cannot be looked for, or none can be started to record.
pub(crate) fn follow(options: &Record, name: &str) -> Result<ExitCode> {
    let signals = watch_signals()?;
    let end = options.duration.and_then(|duration| Instant::now().checked_add(duration));
    let mut worst = 0;
    let mut waiting = false;
    while end.is_none_or(|end| Instant::now() < end) {
        if let Some(pid) = target::running(name)?.first().map(|candidate| candidate.pid) {
            waiting = false;
            let (how, asked) = record_one(pid, &signals, end, &mut Others::of(name, pid))?;
            // One that came and went before it could be recorded keeps nobody from the next.
            let gone = how == Ok(2) && !asked && !target::runs(pid);
            worst = worst.max(if gone { 1 } else { how.unwrap_or(1) });
            if asked || how.is_ok() && target::runs(pid) {
                break;
            }
            if let Err(signal) = how {
                say(&format!(
                    "mcrec: the recording of process {pid} was killed by signal {signal}: its \
                     capture ends with its last commit (mcanalyze reads it; see mcrec repair)"
                ));
                // What killed it, as a lack of memory, may still be there.
                thread::sleep(Duration::from_secs(1));
            }
            continue;
        }
        if !waiting && !options.quiet {
            say(&format!("mcrec: waiting for a {name} to start{}", target::where_looked_for()));
        }
        waiting = true;
        match signals.recv_timeout(LOOK) {
            Ok(SIGUSR1) | Err(RecvTimeoutError::Timeout) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(ExitCode::from(worst))
}

fn watch_signals() -> Result<Receiver<i32>> {
    let (sender, signals) = mpsc::channel();
    let mut caught = Signals::new(stop::handled()).context("cannot handle signals")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || caught.forever().try_for_each(|signal| sender.send(signal)))
        .context("cannot start a thread")?;
    Ok(signals)
}

/// Those of the same name that are not recorded.
struct Others<'a> {
    name: &'a str,
    recorded: i32,
    /// That was said of them.
    known: Vec<i32>,
    looked: Option<Instant>,
}

impl<'a> Others<'a> {
    /// Beside process `recorded`.
    fn of(name: &'a str, recorded: i32) -> Self {
        Self { name, recorded, known: Vec::new(), looked: None }
    }

    /// Says which there are, once of each. Now and then: it means to look at all processes.
    fn tell(&mut self) {
        const LOOK: Duration = Duration::from_secs(5);
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        // That they cannot be listed now is no reason to end a recording.
        let Ok(mut there) = target::running(self.name) else { return };
        there.retain(|one| one.pid != self.recorded && !self.known.contains(&one.pid));
        if there.is_empty() {
            return;
        }
        self.known.extend(there.iter().map(|one| one.pid));
        let lines: Vec<String> = there.iter().map(|one| format!("\n{one}")).collect();
        say(&format!(
            "mcrec: of several called {}, process {} is recorded, and not{}\nmcrec: one is recorded \
             at a time; for another, run another mcrec with -p PID",
            self.name,
            self.recorded,
            lines.concat()
        ));
    }
}

/// Records process `pid` to its end or ours. Returns the exit code, or the signal that
/// ended the recording, and whether it was asked to end.
fn record_one(
    pid: i32,
    signals: &Receiver<i32>,
    end: Option<Instant>,
    others: &mut Others<'_>,
) -> Result<(Result<u8, i32>, bool)> {
    let mut recorder = spawn(pid)?;
    let mut asked = false;
    loop {
        others.tell();
        if let Some(status) = recorder.try_wait().context("cannot wait for a recording")? {
            let code = status.code().map(|code| u8::try_from(code).unwrap_or(1));
            return Ok((code.ok_or_else(|| status.signal().unwrap_or(0)), asked));
        }
        let signal = match signals.recv_timeout(LOOK) {
            Ok(signal) => signal,
            Err(_) if !asked && end.is_some_and(|end| Instant::now() >= end) => SIGINT,
            Err(_) => continue,
        };
        asked |= signal != SIGUSR1;
        let signal = Signal::from_named_raw(signal).context("not a signal")?;
        // It may have ended already.
        let _ = kill_process(Pid::from_child(&recorder), signal);
    }
}

fn spawn(pid: i32) -> Result<Child> {
    let program = env::current_exe().context("cannot find mcrec's own program file")?;
    // An upgrade may have removed that; what runs is still there.
    let program = if program.exists() { program } else { "/proc/self/exe".into() };
    let mut arguments = env::args_os();
    Command::new(program)
        .arg0(arguments.next().unwrap_or_else(|| "mcrec".into()))
        .args(arguments)
        .args(["--followed", &pid.to_string()])
        // Ctrl-C in a terminal is for us alone, to be passed on once.
        .process_group(0)
        .spawn()
        .context("cannot start a recording")
}
