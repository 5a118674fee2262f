//! mcanalyze answers questions about captures that mcrec made.
//!
//! ```text
//! capture (opens files) ▶ query (one file a question) ▶ Table ▶ render
//! ```
#![forbid(unsafe_code)]

mod capture;
mod cli;
mod query;
mod render;
mod table;

use std::{
    io::{self, BufWriter, ErrorKind, IsTerminal, Write, stdout},
    process::ExitCode,
};

use anyhow::Result;
use clap::Parser;

use capture::Capture;
use cli::{Cli, Format};
use query::{
    latency::{Latency, latency},
    summary::{Summary, summary},
    top::{self, top},
};
use table::Table;

/// What was asked, answered.
struct Answers {
    summary: Summary,
    top: Table,
    latency: Option<Latency>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let answers = match answer(&cli) {
        Ok(answers) => answers,
        Err(error) => {
            eprintln!("mcanalyze: {}", render::text::inert(&format!("{error:#}")));
            return ExitCode::from(2);
        }
    };
    match print(&cli, &answers) {
        Ok(()) => {}
        // The reader has seen enough, as in `mcanalyze … | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => {
            eprintln!("mcanalyze: cannot write: {error}");
            return ExitCode::from(2);
        }
    }
    if answers.summary.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn answer(cli: &Cli) -> Result<Answers> {
    let capture = Capture::open(&cli.files)?;
    let key = cli.key.as_deref();
    let summary = summary(&capture)?;
    let parameters = top::Parameters {
        top: cli.top,
        sort: cli.sort,
        reverse: cli.reverse,
        key,
        operations: summary.operations,
    };
    let top = top(&capture, &parameters)?;
    let latency = if cli.latency { Some(latency(&capture, key)?) } else { None };
    Ok(Answers { summary, top, latency })
}

fn print(cli: &Cli, answers: &Answers) -> io::Result<()> {
    let Answers { summary, top, latency } = answers;
    let mut out = BufWriter::new(stdout().lock());
    match cli.format {
        Format::Text => print_text(cli, answers, &mut out)?,
        Format::Json => render::json::write(summary, top, latency.as_ref(), &mut out)?,
        Format::Csv => {
            let table = latency.as_ref().map_or(top, |latency| &latency.percentiles);
            render::csv::write(table, &mut out)?;
            if !summary.is_complete() {
                eprintln!(
                    "mcanalyze: the capture is incomplete; --format text says what is missing"
                );
            }
        }
    }
    out.flush()
}

fn print_text(cli: &Cli, answers: &Answers, out: &mut impl Write) -> io::Result<()> {
    let width = if stdout().is_terminal() {
        terminal_size::terminal_size().map(|(width, _)| width.0)
    } else {
        None
    };
    render::text::summary(&answers.summary, out)?;
    match &cli.key {
        Some(key) if answers.top.rows.is_empty() => {
            writeln!(out, "no operation on key {}", render::text::inert(key))?;
        }
        None if answers.top.rows.is_empty() => writeln!(out, "no operations on keys")?,
        _ => render::text::table(&answers.top, width, out)?,
    }
    match &answers.latency {
        Some(latency) => render::text::latency(latency, width, out),
        None => Ok(()),
    }
}
