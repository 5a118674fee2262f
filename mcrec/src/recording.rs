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

use anyhow::{Context, Result, anyhow, bail};
use mcrec_schema::footer::{self, Footer};

use crate::{
    cli::Cli,
    decode::{Decoder, SyscallsDecoder, UsdtDecoder},
    drain,
    host::{self, Host},
    loss::KernelCounts,
    plan::{Kind, Plan},
    probe::{Probes, Statistics},
    report::{self, Progress, say},
    sample::{self, Guard, OneIn, Rates, Verdict},
    sink::Sink,
    stop::{self, Event, Running},
    target::Target,
    writer::{Ending, Live, SharedRates, Writer, Written, wall_us},
};

/// For the capture.
const HOW_SAMPLED: &str = "A key is recorded, with all of its operations, when the upper 32 bits \
     of its hash are below 2^32 / N, rounded down, where N is the one_in of the series. The hash is \
     FNV-1a with 64 bits of the key's bytes as the client sent them, and then the finalizer of \
     MurmurHash3 for 64 bits. Operations without a key are always recorded.";

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
    let (events_in, events) = mpsc::channel();
    stop::watch(target.pid, &events_in)?;
    let mut storage = MaybeUninit::uninit();
    let mut probes =
        Probes::attach(&mut storage, plan, target, cli.buffer_size).map_err(|error| {
            if target.is_running() {
                error
            } else {
                anyhow!("memcached (pid {}) exited while mcrec attached to it", target.pid)
            }
        })?;
    let kernel = Arc::new(KernelCounts::new(probes.counters()?, probes.statistics()?));
    if cli.max_overhead.is_some() && !kernel.statistics().are_timed() {
        bail!(
            "--max-overhead needs the kernel's run-time statistics of BPF programs, and those \
             need CAP_SYS_ADMIN: run mcrec as root, or choose a rate with --sample"
        );
    }
    let footer = begin_footer(cli, host, target, plan);
    let sink = Sink::create(output, cli.force, &footer)?;
    let live = Arc::new(Live::default());
    let mut sampling = Sampling::new(cli, &footer.capture);
    probes.sample(sampling.one_in());
    let writer = Writer {
        sink,
        kernel: Arc::clone(&kernel),
        footer,
        commit_every: cli.commit_every,
        max_events: cli.max_events,
        ring_bytes: cli.buffer_size,
        live: Arc::clone(&live),
        ending: Arc::new(Ending::default()),
        rates: Arc::clone(&sampling.rates),
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
        if let Some(remark) = sampling.tick(&mut running.probes, kernel.statistics()) {
            progress.remark(&remark);
        }
        progress.show(&live, full, lost, sampling.one_in());
    });
    progress.finish();
    stop::stop(running, reason)
}

/// How often the guard looks at what recording costs.
const GUARD_EVERY: Duration = Duration::from_secs(1);

/// The sample, and the guard that makes it sparser where recording costs too much.
struct Sampling {
    rates: Arc<SharedRates>,
    clock_offset_ns: i64,
    /// With its budget.
    guard: Option<(Guard, f64)>,
    /// Time and run time of the programs, ns, when it last looked.
    before: Option<(Instant, u64)>,
}

impl Sampling {
    fn new(cli: &Cli, capture: &footer::Capture) -> Self {
        let densest = cli.sample.unwrap_or(1);
        Self {
            rates: Arc::new(SharedRates::new(Rates::new(capture.start_us, densest))),
            clock_offset_ns: capture.clock_offset_ns,
            guard: cli.max_overhead.map(|budget| (Guard::new(budget, densest), budget)),
            before: None,
        }
    }

    fn one_in(&self) -> OneIn {
        self.rates.lock().now()
    }

    /// Does what the guard wants, now and then. Returns what there is to say of it.
    fn tick(&mut self, probes: &mut Probes<'_>, statistics: &Statistics) -> Option<String> {
        let (guard, budget) = self.guard.as_mut()?;
        let now = Instant::now();
        if self.before.is_some_and(|(before, _)| now - before < GUARD_EVERY) {
            return None;
        }
        let run_time = statistics.cost().iter().map(|program| program.run_time_ns).sum();
        let (before, run_time_before) = self.before.replace((now, run_time))?;
        let spent = Duration::from_nanos(run_time.saturating_sub(run_time_before));
        let cost = spent.as_secs_f64() / (now - before).as_secs_f64();
        match guard.judge(cost) {
            Verdict::Stay => None,
            Verdict::Helpless => Some(report::helpless(cost, *budget)),
            Verdict::Change(to) => {
                let from = self.one_in();
                self.change(from, to, probes);
                Some(report::sampling_changed(from, to, cost, self.guard.as_ref()?.1))
            }
        }
    }

    fn change(&self, from: OneIn, to: OneIn, probes: &mut Probes<'_>) {
        let now = || wall_us(host::monotonic_ns(), self.clock_offset_ns);
        let fix = || {
            // Looked at with the rates in hand: whoever judged by those before did so
            // earlier.
            let mut rates = self.rates.lock();
            sample::fix(&mut rates, now(), to)
        };
        sample::change(from, to, fix, now, |one_in| probes.sample(one_in));
    }
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
        sampling: footer::Sampling { how: HOW_SAMPLED.to_owned(), ..footer::Sampling::default() },
        cost: footer::Cost::default(),
        privacy: footer::Privacy::default(),
    }
}
