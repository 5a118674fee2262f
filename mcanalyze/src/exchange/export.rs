//! A capture, or the operations of it that are asked for, in a form of another program.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
};

use anyhow::{Error, Result};

use super::{
    cache_trace, lines, oracle_general,
    requests::Passed,
    sink::{Sink, Spool, Target},
};
use crate::{capture::Capture, cli::exchange::Form};

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exported {
    /// Rows of the capture.
    pub(crate) rows: u64,
    /// Rows or requests that were written.
    pub(crate) written: u64,
    /// Size of the file, bytes, if it is one.
    pub(crate) bytes: Option<u64>,
    /// Operations that the form has no place for, by name, and how many.
    pub(crate) left_out: BTreeMap<&'static str, u64>,
    /// Requests that come after one of a later second.
    pub(crate) late: u64,
    /// What the requests are, if not all that the form has a place for.
    pub(crate) counts: Option<&'static str>,
    /// Whoever reads it had seen enough.
    pub(crate) stopped: bool,
}

/// Writes what is asked for of `capture` as `form`.
///
/// # Errors
///
/// When the capture cannot be read, or the target not be written.
pub(crate) fn export(capture: &Capture, form: Form, target: &Target) -> Result<Exported> {
    let rows = capture.files.iter().map(mcrec_capture::Capture::rows).sum();
    let exported = match form {
        Form::Csv => in_lines(capture, lines::Form::Csv, target),
        Form::Jsonl => in_lines(capture, lines::Form::Json, target),
        Form::CacheTrace => as_cache_trace(capture, target),
        Form::OracleGeneral => as_oracle_general(capture, target),
    };
    match exported {
        Err(error) if is_closed(&error) => {
            Ok(Exported { rows, stopped: true, ..Exported::default() })
        }
        exported => Ok(Exported { rows, ..exported? }),
    }
}

fn in_lines(capture: &Capture, form: lines::Form, target: &Target) -> Result<Exported> {
    let mut sink = Sink::open(target)?;
    let written = lines::write(capture, form, &mut sink)?;
    Ok(Exported { written, bytes: sink.finish()?, ..Exported::default() })
}

fn as_cache_trace(capture: &Capture, target: &Target) -> Result<Exported> {
    let mut sink = Sink::open(target)?;
    let passed = cache_trace::write(capture, &mut sink)?;
    Ok(of_requests(passed, sink.finish()?))
}

fn as_oracle_general(capture: &Capture, target: &Target) -> Result<Exported> {
    let spool = Spool::begin(target)?;
    let passed = oracle_general::write(capture, &spool)?;
    let exported = of_requests(passed, spool.deliver()?);
    Ok(Exported { counts: Some(ORACLE_COUNTS), ..exported })
}

/// What its requests are.
const ORACLE_COUNTS: &str = "its requests are reads, with sizes from all operations of the capture; \
    stores are requests only with --op, as in --op get,set";

fn of_requests(passed: Passed, bytes: Option<u64>) -> Exported {
    let Passed { requests, left_out, late } = passed;
    Exported { written: requests, bytes, left_out, late, ..Exported::default() }
}

/// Whether nobody reads any more, as in `mcanalyze export … | head`.
fn is_closed(error: &Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.map(io::Error::kind).any(|kind| kind == ErrorKind::BrokenPipe)
}
