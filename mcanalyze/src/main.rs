//! mcanalyze answers questions about captures that mcrec made.
//!
//! ```text
//! capture (opens files) ▶ query (one file a question) ▶ Table ▶ render
//! ```
#![forbid(unsafe_code)]

mod capture;
mod cli;
mod files;
mod keys;
mod percentile;
mod query;
mod render;
mod sampling;
mod scan;
mod table;
mod tools;

use std::{
    io::{self, BufWriter, ErrorKind, IsTerminal, Write, stderr, stdout},
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    process::ExitCode,
    sync::OnceLock,
};

use anyhow::{Result, bail};
use clap::Parser;

use capture::Capture;
use cli::{Cli, Format, tools::Tool};
use keys::{Question, keys};
use query::{
    latency::{Latency, latency},
    summary::{Summary, summary},
    top::top,
};
use table::Table;

/// What was asked, answered.
struct Answers {
    repeated: Vec<PathBuf>,
    summary: Summary,
    top: Table,
    latency: Option<Latency>,
}

fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    if let Some(tool) = cli.tool.take() {
        return use_tool(tool);
    }
    let answers = match unless_damaged(|| answer(&cli)) {
        Ok(answers) => answers,
        Err(error) => {
            remark(&format!("{error:#}"));
            return ExitCode::from(2);
        }
    };
    for path in &answers.repeated {
        remark(&format!("{} holds a recording that was read already: left out", path.display()));
    }
    conclude(print(&cli, &answers), answers.summary.is_complete())
}

/// Says what is wrong with the command line, or the help that was asked for. What
/// is quoted of the command line may have come from a capture.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    for line in error.to_string().lines() {
        let _ = writeln!(stderr(), "{}", render::text::inert(line));
    }
    ExitCode::from(2)
}

/// Does what a tool does, and says what it found or made.
fn use_tool(tool: Tool) -> ExitCode {
    let answer = match unless_damaged(|| tools::answer(tool)) {
        Ok(answer) => answer,
        Err(error) => {
            remark(&format!("{error:#}"));
            return ExitCode::from(2);
        }
    };
    let mut out = BufWriter::new(stdout().lock());
    let printed = answer.print(width(), &mut out).and_then(|()| out.flush());
    for text in answer.remarks() {
        remark(&text);
    }
    conclude(printed, answer.is_complete())
}

/// With what status to end.
fn conclude(printed: io::Result<()>, complete: bool) -> ExitCode {
    match printed {
        // The reader has seen enough, as in `mcanalyze … | head`.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            remark(&format!("cannot write: {error}"));
            ExitCode::from(2)
        }
        _ if complete => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    }
}

/// Columns of the terminal, if it is one that is printed to.
fn width() -> Option<u16> {
    if !stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| width.0)
}

/// Says something on stderr, if anybody listens there.
fn remark(text: &str) {
    let _ = writeln!(stderr(), "mcanalyze: {}", render::text::inert(text));
}

/// Does `work`, and takes a panic for a damaged file: decoders, of polars too and on
/// its threads, have some where the inside of a page is not what it should be.
fn unless_damaged<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    static FIRST: OnceLock<String> = OnceLock::new();
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        let _ = FIRST.set(place.unwrap_or_default());
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let _ = panic::take_hook();
    result.unwrap_or_else(|_| {
        let first = FIRST.get().map_or("", String::as_str);
        bail!("cannot read the capture: it is damaged ({first})")
    })
}

fn answer(cli: &Cli) -> Result<Answers> {
    let capture = Capture::open(&cli.files)?;
    let key = cli.key.as_deref();
    let top_keys = usize::try_from(cli.top).unwrap_or(usize::MAX);
    let question = Question { top: top_keys, sort: cli.sort, reverse: cli.reverse, key };
    let keys = keys(&capture, &question)?;
    let summary = summary(&capture, keys.distinct)?;
    let top = top(&capture, summary.operations, keys.top);
    let latency = if cli.latency { Some(latency(&capture, key)?) } else { None };
    Ok(Answers { repeated: capture.repeated, summary, top, latency })
}

fn print(cli: &Cli, answers: &Answers) -> io::Result<()> {
    let Answers { summary, top, latency, .. } = answers;
    let mut out = BufWriter::new(stdout().lock());
    match cli.format {
        Format::Text => print_text(cli, answers, &mut out)?,
        Format::Json => render::json::write(summary, top, latency.as_ref(), &mut out)?,
        Format::Csv => {
            let table = latency.as_ref().map_or(top, |latency| &latency.percentiles);
            render::csv::write(table, &mut out)?;
            if summary.sampling.is_some() {
                remark("the capture is of a sample of the keys; --format text says of which");
            }
            if !summary.is_complete() {
                remark("the capture is incomplete; --format text says what is missing");
            }
        }
    }
    out.flush()
}

fn print_text(cli: &Cli, answers: &Answers, out: &mut impl Write) -> io::Result<()> {
    let width = width();
    render::text::summary(&answers.summary, out)?;
    match &cli.key {
        Some(key) if answers.top.rows.is_empty() => {
            let sampling = answers.summary.sampling.as_ref();
            let why = match sampling.is_some_and(|sampling| sampling.lacks(key)) {
                true => ": it is not in the sample, so that it was not recorded",
                false => "",
            };
            writeln!(out, "no operation on key {}{why}", render::text::inert(key))?;
        }
        None if answers.top.rows.is_empty() => writeln!(out, "no operations on keys")?,
        _ => render::text::table(&answers.top, width, out)?,
    }
    match &answers.latency {
        Some(latency) => render::text::latency(latency, width, out),
        None => Ok(()),
    }
}
