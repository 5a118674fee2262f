//! A recording from beginning to end: attaches, runs the threads, waits, stops.

use std::{
    mem::MaybeUninit,
    path::Path,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use mcrec_capture::key_file;
use mcrec_schema::{
    footer::{self, Footer},
    pseudonym,
};

use crate::{
    cli::Cli,
    decode::{Decoder, SyscallsDecoder, UsdtDecoder},
    drain,
    host::{self, Host},
    loss::KernelCounts,
    plan::{Kind, Plan},
    probe::Probes,
    report::{self, Progress, say},
    sink::Sink,
    stop::{self, Event, Running},
    target::Target,
    writer::{Ending, Live, Writer, Written, wall_us},
};

/// How often the progress line changes.
const TICK: Duration = Duration::from_millis(200);

/// Records `target` to `output` until something ends it.
///
/// # Errors
///
/// When it cannot begin, and then nothing is left behind, or when the draining
/// or the writing fails; a file that cannot be written any more is no error but
/// part of what is returned.
pub(crate) fn record(
    cli: &Cli,
    host: &Host,
    target: &Target,
    plan: &Plan,
    output: &Path,
) -> Result<Written> {
    let pseudonyms = cli.hash_keys.as_deref().map(key_file::pseudonyms).transpose()?;
    let (events_in, events) = mpsc::channel();
    stop::watch(target.pid, &events_in)?;
    let mut storage = MaybeUninit::uninit();
    let probes = Probes::attach(&mut storage, plan, target, cli.buffer_size).map_err(|error| {
        if target.is_running() {
            error
        } else {
            anyhow!("memcached (pid {}) exited while mcrec attached to it", target.pid)
        }
    })?;
    let footer = begin_footer(cli, host, target, plan);
    let sink = Sink::create(output, cli.force, &footer)?;
    let kernel = Arc::new(KernelCounts::new(probes.counters()?, probes.statistics()?));
    let live = Arc::new(Live::default());
    let writer = Writer {
        sink,
        kernel: Arc::clone(&kernel),
        footer,
        commit_every: cli.commit_every,
        max_events: cli.max_events,
        pseudonyms,
        ring_bytes: cli.buffer_size,
        live: Arc::clone(&live),
        ending: Arc::new(Ending::default()),
    };
    let decoder = match plan.kind {
        Kind::Usdt => Decoder::Usdt(UsdtDecoder::default()),
        Kind::Syscalls => Decoder::Syscalls(SyscallsDecoder::new(plan.dialect)),
    };
    let mut running = launch(probes, decoder, writer, events_in, events)?;
    running.probes.start();
    if !cli.quiet {
        say(&report::beginning(target, plan, output));
        if let Some(blind) = plan.blind_line() {
            say(&format!("mcrec: {blind}"));
        }
    }
    let mut progress = Progress::start(cli.quiet);
    let reason = wait(cli, &running.events, || {
        let used = running.control.ring_used.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a ring has at most 1 GiB")]
        let full = used as f64 / f64::from(cli.buffer_size);
        let lost = kernel.read().map_or(0, |seen| seen.lost());
        progress.show(&live, full, lost);
    });
    progress.finish();
    stop::stop(running, reason)
}

/// Starts the two threads, with the channel between them.
fn launch<'a>(
    probes: Probes<'a>,
    decoder: Decoder,
    writer: Writer,
    events_in: Sender<Event>,
    events: Receiver<Event>,
) -> Result<Running<'a>> {
    let (batches_in, batches) = mpsc::sync_channel(drain::CHANNEL_BATCHES);
    let control = Arc::new(drain::Control::default());
    let (kernel, ending) = (Arc::clone(&writer.kernel), Arc::clone(&writer.ending));
    let writer = spawn("writer", &events_in, {
        let events_in = events_in.clone();
        move || {
            writer.run(decoder, &batches, |notice| {
                // Nobody listens when the recording is over already.
                let _ = events_in.send(Event::Notice(notice));
            })
        }
    })?;
    let ring = probes.ring()?;
    let drain = spawn("drain", &events_in, {
        let control = Arc::clone(&control);
        move || drain::run(&ring, &batches_in, &control)
    })?;
    Ok(Running { probes, kernel, control, drain, ending, writer, events })
}

/// Starts a thread that reports its own end, however it ends.
fn spawn<T: Send + 'static>(
    name: &str,
    events: &Sender<Event>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    struct Told(Sender<Event>);
    impl Drop for Told {
        fn drop(&mut self) {
            // Nobody listens when the recording is over already.
            let _ = self.0.send(Event::ThreadEnded);
        }
    }
    let told = Told(events.clone());
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _told = told;
            work()
        })
        .context("cannot start a thread")
}

/// Waits for the end of the recording and returns why.
fn wait(cli: &Cli, events: &Receiver<Event>, mut tick: impl FnMut()) -> &'static str {
    let end = cli.duration.and_then(|duration| Instant::now().checked_add(duration));
    loop {
        tick();
        let left = end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return "duration";
        }
        match events.recv_timeout(left.min(TICK)) {
            Ok(event) => return stop::reason(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return "recorder failed",
        }
    }
}

fn begin_footer(cli: &Cli, host: &Host, target: &Target, plan: &Plan) -> Footer {
    let clock_offset_ns = host::clock_offset_ns();
    let start_monotonic_ns = host::monotonic_ns();
    let start_us = wall_us(start_monotonic_ns, clock_offset_ns);
    Footer {
        capture: footer::Capture {
            id: host::uuid(),
            mcrec_version: env!("CARGO_PKG_VERSION").to_owned(),
            command_line: std::env::args_os()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
            host: host.name.clone(),
            kernel: host.kernel.clone(),
            start_us,
            end_us: start_us,
            start_monotonic_ns,
            end_monotonic_ns: start_monotonic_ns,
            clock_offset_ns,
            ended: None,
            commit_interval_s: cli.commit_every.as_secs_f64(),
            recovered: None,
        },
        target: footer::Target {
            pid: target.pid,
            executable: target.path.display().to_string(),
            build_id: target.executable.build_id.clone(),
            version: target.executable.version.as_ref().map(|version| version.text.clone()),
            command_line: target.command_line.clone(),
            listening: target.listening.clone(),
            worker_threads: target.worker_threads,
        },
        source: plan.source.clone(),
        loss: footer::Loss::default(),
        cost: footer::Cost::default(),
        privacy: footer::Privacy {
            keys_hashed: cli.hash_keys.as_ref().map(|_| pseudonym::METHOD.to_owned()),
        },
        derived: Vec::new(),
    }
}
