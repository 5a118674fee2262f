//! mcrec records every operation of a running memcached into a Parquet capture.
//!
//! ```text
//! probes ─ring─▶ drain ─channel─▶ decode ▶ batch ▶ sink ─▶ capture
//! ```
//!
//! This file chooses what to do and says how it went. Each of the others uses only
//! those to its left: cli, host, target, plan, sample, probe, drain, decode, batch, sink,
//! loss, writer, report, stop, recording.

mod batch;
mod cli;
mod decode;
mod drain;
mod host;
mod loss;
mod plan;
mod probe;
mod recording;
mod report;
mod sample;
mod sink;
mod stop;
mod target;
mod writer;

use std::{
    io::{Write as _, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, Result, bail};
use clap::Parser;

use cli::Cli;
use host::Host;
use plan::Plan;
use report::say;
use target::Target;
use writer::Written;

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
        let plan = Plan::new(cli.source, &target);
        let found = report::check(&host, &target, plan.as_ref().ok());
        stdout().write_all(found.as_bytes()).context("cannot write to stdout")?;
        plan?;
        host.require()?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan::new(cli.source, &target)?;
    host.require()?;
    let output = cli.output.clone().unwrap_or_else(|| default_output(&host, &target));
    sink::check(&output, cli.force)?;
    let written = recording::record(cli, &host, &target, &plan, &output)?;
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
        say(&report::summary(written, output));
    } else if !complete {
        say(&format!("mcrec: lost {}", report::losses(&written.footer)));
    }
    if complete && written.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
