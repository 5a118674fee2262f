//! A recording from beginning to end: attaches, runs the threads, waits, stops.

use std::{
    borrow::Cow,
    io::{self, ErrorKind},
    mem::MaybeUninit,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use mcrec_capture::key_file;
use mcrec_schema::{
    FORMAT_MINOR_VERSION,
    footer::{self, Footer},
    pseudonym,
};
use rustix::process::{geteuid, getppid};

use crate::{
    account::{Account, Ending, wall_us},
    batch::Batch,
    cli::Record,
    counters::{Recorded, Server},
    decode::{Decoder, SyscallsDecoder, UsdtDecoder},
    drain::{self, Control},
    guard::Sampling,
    host::{self, Host, OwnCost},
    kernel::Kernel,
    loss::KernelCounts,
    plan::{Kind, Plan},
    privilege,
    probe::{Probes, Storage},
    raw,
    report::{self, Progress, say},
    sink::{Keep, Kept, Place, Rotation, Sink},
    stop::{self, Event, Running},
    target::Target,
    writer::{Limits, Live, Notice, Outcome, Rows, Writer},
};

/// How often the progress line changes.
const TICK: Duration = Duration::from_millis(200);

/// Records `target` to `place` until something ends it.
///
/// # Errors
///
/// When it cannot begin, and then nothing is left behind, or when the draining
/// or the writing fails; a file that cannot be written any more is no error but
/// part of what is returned.
pub(crate) fn record(
    options: &Record,
    host: &Host,
    (target, kernel): (&Target, &Kernel),
    plan: &Plan,
    place: Place,
) -> Result<Outcome> {
    let pseudonyms = options.hash_keys.as_deref().map(key_file::pseudonyms).transpose()?;
    let mut server =
        options.verify_with_stats.then(|| Server::connect(target, plan.dialect)).transpose()?;
    let process = stop::hold(target.pid)?;
    // `/proc` will be out of reach.
    let signals = stop::handled();
    let own_cost = OwnCost::open();
    let mut storage = [const { MaybeUninit::uninit() }; 2];
    let (mut probes, plan) = attach(&mut storage, plan, (target, kernel), options.buffer_size)?;
    let plan = &*plan;
    let footer = begin_footer(options, host, target, plan)?;
    let clock_offset = footer.capture.clock_offset_ns;
    let counts = Arc::new(KernelCounts::new(probes.counters()?, probes.statistics()?)?);
    // What needs more than to write captures was done above. Threads are begun, and
    // files created, below.
    let confined = drop_privileges(options, host, &place)?;
    let (events_in, events) = mpsc::channel();
    stop::watch(&signals, process, &events_in)?;
    let ending = Arc::new(Ending::default());
    let mut sampling = Sampling::new(options, &footer.capture);
    probes.sample(sampling.one_in());
    let counters = (Arc::clone(&counts), Arc::clone(&ending));
    let control = Arc::new(Control::default());
    let account = Account::new(footer, counters, sampling.rates(), own_cost, Arc::clone(&control));
    let sink = Sink::create(place, kept(options), options.files.commit_every, &account).map_err(
        |error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(ErrorKind::PermissionDenied) => {
                error.context(format!("as uid {}, without capabilities", geteuid().as_raw()))
            }
            _ => error,
        },
    )?;
    let live = Arc::new(Live::default());
    let limits = Limits {
        events: options.max_events,
        bytes: options.max_size.filter(|_| options.files.keep_last.is_none()),
    };
    let beginning = report::beginning(target, plan, &sink.describe());
    let writer = Writer { sink, account, limits, live: Arc::clone(&live), control };
    let decoder = match plan.kind {
        Kind::Usdt => Decoder::Usdt(UsdtDecoder::default()),
        Kind::Syscalls => Decoder::Syscalls(Box::new(SyscallsDecoder::new(plan.dialect))),
    };
    let batch = Batch::new(clock_offset, pseudonyms);
    let recorded = server.is_some().then(Recorded::default);
    let rows = Rows::new(decoder, batch, limits.events, (sampling.rates(), clock_offset), recorded);
    let kernel_counts = Arc::clone(&counts);
    let launch = || launch(probes, rows, writer, (counts, ending), events_in, events);
    let mut running = match &mut server {
        Some(server) => server.begin(launch)?,
        None => launch()?,
    };
    if !options.quiet {
        say(&beginning);
        if let Some(blind) = plan.blind_line() {
            say(&format!("mcrec: {blind}"));
        }
        if let Some(skips) = plan.skips(kernel) {
            say(&format!("mcrec: {skips}"));
        }
        if !confined {
            say("mcrec: stays root, without any capability, but with root's files in reach: the \
                 kernel has no Landlock. In a folder of somebody else's it would not stay root");
        }
    }
    let mut progress = Progress::start(options.quiet);
    let reason = wait(options, &running.events, &live, &mut progress, |progress| {
        let used = running.control.ring_used.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a ring has at most 1 GiB")]
        let full = used as f64 / f64::from(options.buffer_size);
        let lost = kernel_counts.read().map_or((0, 0), |seen| seen.lost());
        if let Some(remark) = sampling.tick(&mut running.probes, kernel_counts.statistics()) {
            progress.remark(&remark);
        }
        progress.show(&live, full, lost, sampling.one_in());
    });
    progress.finish();
    stop::stop(running, server, reason)
}

/// Attaches to `target` by `plan`, or where that is impossible as the plan has it for then.
fn attach<'a, 'p>(
    [first, second]: &'a mut [Storage; 2],
    plan: &'p Plan,
    (target, kernel): (&Target, &Kernel),
    ring_bytes: u32,
) -> Result<(Probes<'a>, Cow<'p, Plan>)> {
    let error = match Probes::attach(first, plan, target, kernel, ring_bytes) {
        Ok(probes) => return Ok((probes, Cow::Borrowed(plan))),
        Err(error) => error,
    };
    if !target.is_running() {
        bail!("memcached (pid {}) exited while mcrec attached to it", target.pid);
    }
    // What follows the first line is what libbpf said, for who writes such programs.
    let why = format!("{error:#}");
    let why = why.lines().next().unwrap_or_default();
    let Some(plan) = plan.fallback(why, kernel) else { return Err(error) };
    let probes = Probes::attach(second, &plan, target, kernel, ring_bytes).map_err(|_| error)?;
    Ok((probes, Cow::Owned(plan)))
}

/// Whether what is not a capture is out of reach now.
fn drop_privileges(options: &Record, host: &Host, place: &Place) -> Result<bool> {
    let parent = getppid();
    let confined = privilege::drop(place.folder().as_fd(), host)?;
    if options.followed.is_some() {
        // Who changes who it is, is forgotten by its parent.
        stop::end_with_parent()?;
        ensure!(getppid() == parent, "the mcrec that follows has ended");
    }
    Ok(confined)
}

fn kept(options: &Record) -> Kept {
    /// What a window may hold, bytes, where nothing else is asked for.
    const HELD: u64 = 1 << 30;
    match options.files.keep_last {
        Some(last) => Kept::Last(Keep { last, bytes: options.max_size.unwrap_or(HELD) }),
        None => Kept::All(Rotation {
            every: options.files.rotate_every,
            size: options.files.rotate_size,
        }),
    }
}

/// Starts the two threads, with the channel between them, and then the recording.
fn launch<'a>(
    mut probes: Probes<'a>,
    rows: Rows,
    mut writer: Writer,
    (kernel, ending): (Arc<KernelCounts>, Arc<Ending>),
    events_in: Sender<Event>,
    events: Receiver<Event>,
) -> Result<Running<'a>> {
    let (filled, batches) = raw::way();
    let (started, start) = mpsc::channel();
    let control = Arc::clone(&writer.control);
    let writer = spawn("writer", &events_in, {
        let events_in = events_in.clone();
        move || {
            // It has nothing to do before.
            if let Ok(at) = start.recv() {
                writer.begin(at);
            }
            writer.run(rows, &batches, |notice| {
                // Nobody listens when the recording is over already.
                let _ = events_in.send(Event::Notice(notice));
            })
        }
    })?;
    let ring = probes.ring()?;
    let drain = spawn("drain", &events_in, {
        let (control, ending) = (Arc::clone(&control), Arc::clone(&ending));
        move || {
            if drain::run(&ring, &filled, &control)? {
                // Before the writer can see that nothing comes any more.
                let _ = ending.abandoned.set(());
            }
            Ok(())
        }
    })?;
    let at = host::monotonic_ns();
    probes.start();
    // The writer waits for it.
    let _ = started.send(at);
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
fn wait(
    options: &Record,
    events: &Receiver<Event>,
    live: &Live,
    progress: &mut Progress,
    mut tick: impl FnMut(&mut Progress),
) -> &'static str {
    // Who follows keeps the time, over all recordings.
    let duration = options.duration.filter(|_| options.followed.is_none());
    let end = duration.and_then(|duration| Instant::now().checked_add(duration));
    loop {
        tick(progress);
        let left = end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return "duration";
        }
        let event = match events.recv_timeout(left.min(TICK)) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return "recorder failed",
        };
        if let Some(reason) = stop::reason(&event) {
            return reason;
        }
        match event {
            Event::DumpWanted if options.files.keep_last.is_some() => {
                live.dump_wanted.store(true, Ordering::Relaxed);
            }
            Event::DumpWanted => progress.remark("mcrec: SIGUSR1 is for --keep-last: ignored"),
            Event::Notice(Notice::Dumped(dumped)) => progress.remark(&report::dumped(&dumped)),
            Event::Notice(Notice::GoesOn(files)) => progress.remark(&report::goes_on(&files)),
            _ => {}
        }
    }
}

fn begin_footer(options: &Record, host: &Host, target: &Target, plan: &Plan) -> Result<Footer> {
    let clock_offset_ns = host::clock_offset_ns();
    let start_monotonic_ns = host::monotonic_ns();
    let start_us = wall_us(start_monotonic_ns, clock_offset_ns);
    Ok(Footer {
        minor: FORMAT_MINOR_VERSION,
        capture: footer::Capture {
            id: mcrec_capture::uuid()?,
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
            commit_interval_s: options.files.commit_every.as_secs_f64(),
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
        sampling: footer::Sampling::default(),
        cost: footer::Cost::default(),
        privacy: footer::Privacy {
            keys_hashed: options.hash_keys.as_ref().map(|_| pseudonym::METHOD.to_owned()),
        },
        server: None,
        derived: Vec::new(),
    })
}
