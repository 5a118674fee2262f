//! When a recording ends, and how: the written sequence of stopping.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ},
    flag,
    iterator::Signals,
};

use crate::{
    account::{Ending, Halt},
    counters::Server,
    drain::Control,
    host,
    loss::KernelCounts,
    probe::Probes,
    report::{self, say},
    writer::{Notice, Outcome},
};

/// What happens while a recording goes on. Most of it ends it, or hurries its end.
#[derive(Debug)]
pub(crate) enum Event {
    /// One of SIGINT, SIGTERM and SIGHUP.
    Signal(i32),
    /// SIGUSR1.
    DumpWanted,
    /// memcached is gone.
    TargetExited,
    /// From the writer.
    Notice(Notice),
    /// A thread of the recording ended, which it does only when something failed.
    ThreadEnded,
}

/// Lets signals do nothing that end a process unless it handles them: what is asked for
/// before there is a recording, and that a file may not become longer, which its writer is
/// told as of a full disk.
///
/// # Errors
///
/// When they cannot be handled.
pub(crate) fn survive() -> Result<()> {
    for signal in [SIGUSR1, SIGXFSZ] {
        flag::register(signal, Arc::default()).context("cannot handle signals")?;
    }
    Ok(())
}

/// The signals that a recording handles: SIGHUP, too, unless mcrec was started so as to
/// outlive its terminal, as by nohup.
pub(crate) fn handled() -> Vec<i32> {
    let outlives = host::ignores(SIGHUP);
    let all = [SIGINT, SIGTERM, SIGHUP, SIGUSR1].into_iter();
    all.filter(|signal| *signal != SIGHUP || !outlives).collect()
}

/// Holds on to process `pid`: to it, and to no other that gets its id when it is gone.
///
/// # Errors
///
/// When there is no such process any more.
pub(crate) fn hold(pid: i32) -> Result<OwnedFd> {
    let process = Pid::from_raw(pid).context("a process id is positive")?;
    match pidfd_open(process, PidfdFlags::empty()) {
        Err(Errno::SRCH) => bail!("memcached (pid {pid}) exited before it could be recorded"),
        held => held.with_context(|| format!("cannot watch process {pid}")),
    }
}

/// From now on this process ends when its parent does, however that ends.
///
/// # Errors
///
/// When the kernel refuses.
pub(crate) fn end_with_parent() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::INT)).context("cannot watch the parent process")
}

/// Reports these signals, and the end of `process`, to `events` from now on.
///
/// # Errors
///
/// When no thread or handler can be had.
pub(crate) fn watch(signals: &[i32], process: OwnedFd, events: &Sender<Event>) -> Result<()> {
    let mut signals = Signals::new(signals).context("cannot handle signals")?;
    let on_signal = events.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let event =
                    if signal == SIGUSR1 { Event::DumpWanted } else { Event::Signal(signal) };
                if on_signal.send(event).is_err() {
                    return;
                }
            }
        })
        .context("cannot start a thread")?;
    let on_exit = events.clone();
    thread::Builder::new()
        .name("target".to_owned())
        .spawn(move || {
            let mut exited = [PollFd::new(&process, PollFlags::IN)];
            while poll(&mut exited, None) == Err(Errno::INTR) {}
            // Nobody listens when the recording is over already.
            let _ = on_exit.send(Event::TargetExited);
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// Why the recording ends, as the capture will say it; `None` if it goes on.
pub(crate) fn reason(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::Signal(SIGINT) => "interrupted",
        Event::Signal(_) => "terminated",
        Event::TargetExited => "target exited",
        Event::Notice(Notice::LimitReached(limit)) => limit,
        Event::Notice(Notice::Failed) => "cannot write",
        Event::ThreadEnded => "recorder failed",
        Event::DumpWanted | Event::Notice(Notice::Dumped(_) | Notice::GoesOn(_)) => return None,
    })
}

/// The threads of a recording and what they share.
pub(crate) struct Running<'a> {
    pub(crate) probes: Probes<'a>,
    pub(crate) kernel: Arc<KernelCounts>,
    pub(crate) control: Arc<Control>,
    pub(crate) drain: JoinHandle<Result<()>>,
    pub(crate) ending: Arc<Ending>,
    pub(crate) writer: JoinHandle<Outcome>,
    pub(crate) events: Receiver<Event>,
}

/// Stops: probes off, ring drained to empty, last batch handed over, channel
/// closed, final commit, threads joined.
///
/// # Errors
///
/// When a thread failed.
pub(crate) fn stop(
    mut running: Running<'_>,
    server: Option<Server>,
    reason: &str,
) -> Result<Outcome> {
    // The first reason counts; it is set before the writer can look at it.
    let _ = running.ending.reason.set(reason.to_owned());
    match server {
        Some(server) => {
            let counted = server.end(|| running.probes.pause());
            let _ = running.ending.counted.set(counted);
        }
        None => running.probes.pause(),
    }
    let at = host::monotonic_ns();
    let cost = running.kernel.statistics().cost();
    let _ = running.ending.halt.set(Halt { at, cost });
    running.probes.detach();
    running.control.end_when_empty.store(true, Ordering::Release);
    running.drain.thread().unpark();
    let hear = |event| match event {
        // Impatience: leave the ring as it is and make the final commit.
        Event::Signal(_) => {
            running.control.end_now.store(true, Ordering::Release);
            running.drain.thread().unpark();
        }
        Event::Notice(Notice::Dumped(dumped)) => say(&report::dumped(&dumped)),
        Event::Notice(Notice::GoesOn(files)) => say(&report::goes_on(&files)),
        _ => {}
    };
    while !running.writer.is_finished() {
        running.events.recv_timeout(Duration::from_millis(5)).into_iter().for_each(&hear);
    }
    running.events.try_iter().for_each(hear);
    let drained = running.drain.join().map_err(|_| anyhow!("the draining thread failed"))?;
    let written = running.writer.join().map_err(|_| anyhow!("the writing thread failed"))?;
    drained.map(|()| written)
}
