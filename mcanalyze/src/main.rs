//! mcanalyze answers questions about captures that mcrec made.
//!
//! ```text
//! capture (opens files) ▶ filter ▶ query (one file a question) ▶ Table ▶ render
//! ```
#![forbid(unsafe_code)]

mod ask;
mod bits;
mod by;
mod capture;
mod cli;
mod distinct;
mod exchange;
mod files;
mod filter;
mod grouping;
mod in_order;
mod item;
mod keys;
mod live;
mod panics;
mod percentile;
mod prefix;
mod progress;
mod query;
mod render;
mod report;
mod reuse;
mod sampling;
mod scan;
mod table;
mod tools;

use std::{
    io::{self, BufWriter, ErrorKind, IsTerminal, Write, stderr, stdout},
    path::Path,
    process::ExitCode,
};

use anyhow::Result;
use clap::Parser;

use ask::Answer;
use cli::{
    Cli, Command,
    live::{Live, TopArgs},
    questions::ReportArgs,
    tools::Tool,
};

fn main() -> ExitCode {
    panics::remember();
    panics::caught(run).unwrap_or_else(|place| {
        remark(&panics::bug(&place));
        ExitCode::from(2)
    })
}

fn run() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match cli.command.take() {
        Some(Command::Tool(tool)) => use_tool(tool),
        Some(Command::Question(question)) => ask(|| ask::answer(&question)),
        Some(Command::Report(args)) => report(&args),
        Some(Command::Page(page)) => match page.make::<Cli>() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                remark(&format!("{error:#}"));
                ExitCode::from(2)
            }
        },
        Some(Command::Live(Live::Top(args))) => look(&args),
        None => ask(|| ask::overview(&cli)),
    }
}

/// Writes a report.
fn report(args: &ReportArgs) -> ExitCode {
    match ask::report(args) {
        Ok(heading) => {
            if args.output != Path::new("-") {
                remark(&format!("wrote {}", args.output.display()));
            }
            conclude(Ok(()), heading.is_complete())
        }
        Err(error) => {
            remark(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Asks, and prints the answer.
fn ask(question: impl FnOnce() -> Result<Answer>) -> ExitCode {
    let answer = match question() {
        Ok(answer) => answer,
        Err(error) => {
            remark(&format!("{error:#}"));
            return ExitCode::from(2);
        }
    };
    for path in &answer.repeated {
        remark(&render::repeated(path));
    }
    let mut out = BufWriter::new(stdout().lock());
    let printed = render::print(&answer, width(), &mut out);
    let printed = printed.and_then(|remarks| {
        out.flush()?;
        remarks.iter().for_each(|text| remark(text));
        Ok(())
    });
    conclude(printed, answer.is_complete())
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

/// Looks at captures until it is told to end. A signal that ends it is its status, as
/// in a shell.
fn look(args: &TopArgs) -> ExitCode {
    match live::top(args) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        Err(error) => {
            remark(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Does what a tool does, and says what it found or made.
fn use_tool(tool: Tool) -> ExitCode {
    let answer = match tools::answer(tool) {
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
