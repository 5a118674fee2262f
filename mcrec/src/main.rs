//! mcrec records every operation of a running memcached into a Parquet capture.
//!
//! ```text
//! probes ─ring─▶ drain ─channel─▶ decode ▶ batch ▶ sink ─▶ capture
//! ```
//!
//! This file chooses what to do and says how it went. Each of the others uses only
//! those to its left: cli, host, kernel, target, counters, plan, sample, probe, privilege, raw, drain, decode,
//! batch, loss, account, sink, writer, report, guard, stop, recording, follow.

mod account;
mod batch;
mod cli;
mod counters;
mod decode;
mod drain;
mod follow;
mod guard;
mod host;
mod kernel;
mod loss;
mod plan;
mod privilege;
mod probe;
mod raw;
mod recording;
mod report;
mod sample;
mod sink;
mod stop;
mod target;
mod writer;

use std::{
    io::{ErrorKind, Write as _, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::Parser;
use mcrec_capture::{Durability, State};
use mcrec_schema::server::ServerCounters;

use cli::{Cli, Command, Record};
use host::Host;
use kernel::Kernel;
use plan::Plan;
use report::say;
use sink::Place;
use target::Target;
use writer::Outcome;

/// How long a memcached that was just started may take until it listens; with `-e`, it first
/// reads what it had before.
const BINDS_WITHIN: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Repair { file }) => repair(file),
        Some(Command::Completions { shell }) => print(&Cli::completions(*shell)),
        Some(Command::Manual { folder }) => Cli::write_manual(folder)
            .map(|()| ExitCode::SUCCESS)
            .with_context(|| format!("cannot write pages to {}", folder.display())),
        None => record(&cli.record),
    };
    done.unwrap_or_else(|error| {
        say(&format!("mcrec: {error:#}"));
        ExitCode::from(2)
    })
}

/// Prints something that is all there is to do.
fn print(text: &[u8]) -> Result<ExitCode> {
    match stdout().write_all(text) {
        // The reader has seen enough, as in `… | head`.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn repair(file: &Path) -> Result<ExitCode> {
    let repair = mcrec_capture::repair(file)?;
    say(&report::repaired(file, &repair));
    let known = repair.state != State::Salvaged;
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn record(options: &Record) -> Result<ExitCode> {
    stop::survive()?;
    if let (Some(name), None) = (&options.follow, options.followed) {
        return follow::follow(options, name);
    }
    if let Some(pid) = options.followed {
        stop::end_with_parent()?;
        target::wait_for_listener(pid, BINDS_WITHIN);
    }
    let host = Host::here();
    let pid = options.followed.or(options.pid).map_or_else(only_running, Ok);
    let target = pid.and_then(Target::of).map_err(|error| with_missing(&error, &host));
    let kernel = probe::find_features(&host).without(&options.without);
    if options.check {
        return check(options, (&host, &kernel), target);
    }
    let target = target?;
    let plan = Plan::new(options.source, &target, &kernel)?;
    require((&host, &kernel), &plan)?;
    let output = options.files.output.clone();
    let output = output.unwrap_or_else(|| default_output(options, &host, &target));
    let place = Place::open(
        &output,
        options.has_series(),
        options.files.force,
        if options.files.fsync { Durability::Disk } else { Durability::Process },
        options.files.keep.and_then(|keep| usize::try_from(keep).ok()),
    )?;
    let outcome = recording::record(options, &host, (&target, &kernel), &plan, place)?;
    Ok(conclude(options, &outcome))
}

/// Says all that can be said, and then, as an error, all that is to be changed; loads the
/// programs, to see whether that would work.
fn check(options: &Record, machine: (&Host, &Kernel), target: Result<Target>) -> Result<ExitCode> {
    let (_, kernel) = machine;
    let target = match target {
        Ok(target) => target,
        Err(error) => {
            print(report::check(machine, None, None, None).as_bytes())?;
            return Err(error);
        }
    };
    let plan = Plan::new(options.source, &target, kernel);
    let able = plan.as_ref().is_ok_and(|plan| require(machine, plan).is_ok());
    let loads =
        plan.as_ref().ok().filter(|_| able).map(|plan| probe::try_to_load(plan, &target, kernel));
    let loaded = loads.as_ref().map(Result::is_ok);
    print(report::check(machine, Some(&target), plan.as_ref().ok(), loaded).as_bytes())?;
    require(machine, &plan?)?;
    loads.transpose()?;
    Ok(ExitCode::SUCCESS)
}

/// # Errors
///
/// When something is missing here that recording by `plan` needs.
fn require((host, kernel): (&Host, &Kernel), plan: &Plan) -> Result<()> {
    host.require(&plan.source.name, plan.attaches_by_perf_events(kernel))
}

/// Who has to change something may change all of it at once.
fn with_missing(error: &Error, host: &Host) -> Error {
    let missing: String =
        host.missing(None).iter().map(|missing| format!("\n  {missing}")).collect();
    anyhow!("{error:#}{missing}")
}

fn only_running() -> Result<i32> {
    let running = target::running(target::NAME)?;
    match running.as_slice() {
        [] => bail!(target::none_running()),
        [only] => Ok(only.pid),
        several => {
            let list: Vec<String> = several.iter().map(ToString::to_string).collect();
            bail!("several memcached are running; choose one with -p PID:\n{}", list.join("\n"))
        }
    }
}

fn default_output(options: &Record, host: &Host, target: &Target) -> PathBuf {
    if options.followed.is_some() && options.has_series() {
        return format!("mcrec-{}.parquet", host.name).into();
    }
    if options.has_series() {
        return format!("mcrec-{}-{}.parquet", host.name, target.pid).into();
    }
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let now: String = now.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("mcrec-{}-{}-{now}.parquet", host.name, target.pid).into()
}

/// Says how it went, and with what exit status.
fn conclude(options: &Record, outcome: &Outcome) -> ExitCode {
    let loss = &outcome.footer.loss;
    let agrees = outcome.footer.server.as_ref().is_none_or(ServerCounters::agrees);
    let complete = loss.is_none() && agrees;
    if let Some(failure) = &outcome.failure {
        say(&format!("mcrec: {failure:#}"));
        if outcome.written.files == 0 || outcome.written.removed {
            if !options.quiet && loss.seen > 0 {
                say(&report::summary(outcome));
            }
            return ExitCode::from(2);
        }
        say("mcrec: the capture ends with the last commit before that");
    }
    if !options.quiet {
        say(&report::summary(outcome));
    } else if !complete {
        say(&format!("mcrec: lost {}", report::losses(&outcome.footer)));
    }
    if complete && outcome.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
