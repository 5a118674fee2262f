//! mcreplay drives a memcached with the traffic that mcrec recorded.
//!
//! ```text
//! captures ▶ trace ▶ schedule ▶ workers (connections, wire, reply) ▶ tally ▶ report
//! ```
#![forbid(unsafe_code)]

mod check;
mod cli;
mod connection;
mod flags;
mod limits;
mod progress;
mod reply;
mod report;
mod request;
mod run;
mod schedule;
mod tally;
mod target;
mod trace;
mod uniques;
mod value;
mod warm;
mod wire;
mod worker;

use std::{
    io::{self, ErrorKind, Write, stderr, stdout},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use anyhow::{Context, Result};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use cli::{Cli, Format};
use limits::Limits;
use progress::Progress;
use report::{Report, Verdict};
use tally::Live;
use target::Target;
use trace::Trace;
use worker::Ending;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let done = match &cli.page {
        Some(page) => page.make::<Cli>().map(|()| Verdict::Done),
        None => replay(&cli),
    };
    match done {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::Remarks) => ExitCode::from(1),
        Ok(Verdict::Failed) => ExitCode::from(2),
        Err(error) => {
            remark(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Replays, and prints the report.
fn replay(cli: &Cli) -> Result<Verdict> {
    let trace = Trace::open(&cli.files)?;
    let target = Target::find(cli.to.as_deref().unwrap_or_default())?;
    check::check(&target, trace.footers(), cli.yes_really)?;
    let plan = cli.plan(&trace, target)?;
    let ending = Ending { interrupted: interrupted()?, gone: AtomicBool::new(false) };
    many_files();
    try_target(&plan.target)?;
    let looked = (Arc::<Live>::default(), Progress::new("looking through", !cli.quiet));
    let (live, mut progress) = looked;
    let limits = Limits::of(&trace, &plan, &live, &ending, || progress.show(&live))?;
    progress.end();
    for sentence in limits.sentences() {
        remark(&format!("of the operations, {sentence}"));
    }
    let loaded = match cli.how.warm {
        true => {
            let (live, mut progress) = (Arc::default(), Progress::new("warming", !cli.quiet));
            let loaded = run::warm(&trace, &plan, &live, &ending, || progress.show(&live))?;
            progress.end();
            Some(loaded)
        }
        false => None,
    };
    let (live, mut progress) = (Arc::<Live>::default(), Progress::new("replaying", !cli.quiet));
    let played = run::play(&trace, &plan, &live, &ending, || progress.show(&live))?;
    progress.end();
    let gone = ending
        .gone
        .load(Relaxed)
        .then(|| played.last_error.clone().unwrap_or_else(|| "it does not answer".to_owned()));
    let interrupted = ending.interrupted.load(Relaxed);
    let report = Report { trace: &trace, plan: &plan, limits, loaded, played, interrupted, gone };
    print(&report, cli.format)?;
    Ok(report.verdict())
}

/// Lets there be as many connections as may be.
fn many_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused, what cannot be opened is counted.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Sees whether anybody listens there, before anything is done.
fn try_target(target: &Target) -> Result<()> {
    match target {
        Target::Tcp(address) => {
            const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
            std::net::TcpStream::connect_timeout(address, PATIENCE).map(drop)
        }
        Target::Unix(path) => std::os::unix::net::UnixStream::connect(path).map(drop),
    }
    .with_context(|| format!("cannot connect to {target}: start a memcached there first"))
}

/// Becomes true when the user wants no more; a second wish is a command.
fn interrupted() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))
            .and_then(|_| flag::register(signal, Arc::clone(&flag)))
            .context("cannot wait for signals")?;
    }
    Ok(flag)
}

fn print(report: &Report<'_>, format: Format) -> Result<()> {
    let text = match format {
        Format::Text => {
            let mut text = String::new();
            report::text(report, &mut text).context("cannot write the report")?;
            text
        }
        Format::Json => format!("{:#}\n", report::json(report)),
    };
    match stdout().write_all(inert(&text).as_bytes()) {
        // The reader has seen enough, as in `… | head`.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(cannot_write(error)),
        _ => Ok(()),
    }
}

fn cannot_write(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot write the report")
}

/// Says what is wrong with the command line, or the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    let _ = write!(stderr(), "{}", inert(&error.to_string()));
    ExitCode::from(2)
}

/// Without what would do something to a terminal: names and words may come from a capture.
fn inert(text: &str) -> String {
    let harmless = |c: char| c == '\n' || !(c.is_control() || is_direction(c));
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// Characters that turn what follows around.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Says something on stderr, if anybody listens there.
fn remark(text: &str) {
    let _ = writeln!(stderr(), "mcreplay: {}", inert(text));
}
