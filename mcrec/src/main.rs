//! mcrec records every operation of a running memcached into a Parquet capture.
//!
//! ```text
//! probes ─ring─▶ drain ─channel─▶ decode ▶ batch ▶ sink ─▶ capture
//! ```
//!
//! This file wires the others, each of which uses only those to its left: cli,
//! host, target, plan, probe, drain, decode, batch, sink, loss, writer, report,
//! stop.

mod batch;
mod cli;
mod decode;
mod drain;
mod host;
mod loss;
mod plan;
mod probe;
mod report;
mod sink;
mod stop;
mod target;
mod writer;

use std::{
    fmt::Write as _,
    io::Write as _,
    mem::MaybeUninit,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use mcrec_schema::footer::{self, Footer};

use cli::Cli;
use host::Host;
use loss::KernelCounts;
use plan::Plan;
use probe::Probes;
use report::{Progress, say};
use sink::Sink;
use stop::{Event, Running};
use target::Target;
use writer::{Ending, Live, Writer, Written, wall_us};

/// How often the progress line changes.
const TICK: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("mcrec: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let host = Host::here();
    let target = Target::of(match cli.pid {
        Some(pid) => pid,
        None => only_running()?,
    })?;
    if cli.check {
        return check(cli, &host, &target);
    }
    let plan = Plan::new(cli.source, &target)?;
    host.require()?;
    let output = cli.output.clone().unwrap_or_else(|| default_output(&host, &target));
    sink::check(&output, cli.force)?;
    let written = record(cli, &host, &target, &plan, &output)?;
    Ok(conclude(cli, &written, &output))
}

fn only_running() -> Result<i32> {
    let running = target::running()?;
    match running.as_slice() {
        [] => bail!("no memcached is running; if one is under another name, name it with -p PID"),
        [only] => Ok(only.pid),
        several => {
            let list: Vec<String> = several.iter().map(ToString::to_string).collect();
            bail!("several memcached are running; choose one with -p PID:\n{}", list.join("\n"))
        }
    }
}

fn default_output(host: &Host, target: &Target) -> PathBuf {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let now: String = now.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("mcrec-{}-{}-{now}.parquet", host.name, target.pid).into()
}

/// `--check`: what would be recorded, on stdout.
fn check(cli: &Cli, host: &Host, target: &Target) -> Result<ExitCode> {
    let mut text = String::new();
    let needs: Vec<String> = host.needs.iter().map(ToString::to_string).collect();
    writeln!(text, "target   {}", describe(target))?;
    writeln!(text, "         {} ({} workers)", target.path.display(), target.worker_threads)?;
    writeln!(text, "machine  kernel {}: {}", host.kernel, needs.join(", "))?;
    let plan = Plan::new(cli.source, target);
    if let Ok(plan) = &plan {
        let source = &plan.source;
        writeln!(text, "source   {}: {}", source.name, attached(source))?;
        for (index, sees) in source.sees.iter().enumerate() {
            writeln!(text, "{:<9}{sees}", if index == 0 { "sees" } else { "" })?;
        }
        for (index, blind) in source.cannot_see.iter().enumerate() {
            let name = if index == 0 { "blind to" } else { "" };
            writeln!(text, "{name:<9}{}: {}", blind.what, blind.why)?;
        }
        writeln!(text, "unknown  columns {}", source.columns_unknown.join(", "))?;
    }
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
    plan?;
    host.require()?;
    Ok(ExitCode::SUCCESS)
}

fn describe(target: &Target) -> String {
    let mut text = format!("memcached {}, pid {}", target.version(), target.pid);
    if !target.listening.is_empty() {
        text.push_str(", on ");
        text.push_str(&target.listening.join(" "));
    }
    text
}

fn attached(source: &footer::Source) -> String {
    let sites: usize = source.attached.iter().map(|attached| attached.sites).sum();
    format!("{} probes at {sites} sites", source.attached.len())
}

/// Records until something ends it.
fn record(cli: &Cli, host: &Host, target: &Target, plan: &Plan, output: &Path) -> Result<Written> {
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
    let kernel = KernelCounts::new(probes.counters()?, probes.statistics()?);

    let live = Arc::new(Live::default());
    let ending = Arc::new(Ending::default());
    let control = Arc::new(drain::Control::default());
    let writer = Writer {
        sink,
        kernel: KernelCounts::new(probes.counters()?, probes.statistics()?),
        footer,
        commit_every: cli.commit_every,
        max_events: cli.max_events,
        ring_bytes: cli.buffer_size,
        live: Arc::clone(&live),
        ending: Arc::clone(&ending),
    };
    let (batches_in, batches) = mpsc::sync_channel(drain::CHANNEL_BATCHES);
    let writer = spawn("writer", &events_in, {
        let events_in = events_in.clone();
        move || {
            writer.run(&batches, |notice| {
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
    let statistics = probes.statistics()?;
    let mut running = Running { probes, statistics, control, drain, ending, writer, events };
    running.probes.start();
    if !cli.quiet {
        say(&format!(
            "mcrec: recording {} through {} ({}) to {}; Ctrl-C ends",
            describe(target),
            plan.source.name,
            attached(&plan.source),
            output.display()
        ));
        say(&format!("mcrec: {}", plan.blind_line()));
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

/// Starts a thread that reports its own end, however it ends.
fn spawn<T: Send + 'static>(
    name: &str,
    events: &Sender<Event>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>> {
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
        cost: footer::Cost::default(),
        privacy: footer::Privacy::default(),
    }
}

/// Says how it went, and with what exit status.
fn conclude(cli: &Cli, written: &Written, output: &Path) -> ExitCode {
    let loss = &written.footer.loss;
    let complete = loss.losses.total() == 0 && loss.incomplete.total() == 0;
    if let Some(failure) = &written.failure {
        say(&format!("mcrec: {failure:#}"));
        if !output.exists() {
            return ExitCode::from(2);
        }
        say("mcrec: the capture ends with the last commit before that");
    }
    if !cli.quiet {
        say(&report::summary(&written.footer, output, written.bytes));
    } else if !complete {
        say(&format!("mcrec: lost {}", report::losses(&written.footer)));
    }
    if complete && written.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
