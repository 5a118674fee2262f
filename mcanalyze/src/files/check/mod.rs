//! Whether a capture is what the format says it is: each guarantee, and where it is
//! first broken. What is kept in memory grows with the connections alone.

mod footer;
mod rows;

use std::path::{Path, PathBuf};

use anyhow::Result;
use mcrec_capture::{Capture, State, journal_name};

use crate::panics::decoding;

/// What a capture promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Whole,
    Journal,
    Columns,
    Span,
    Seen,
    Series,
    Statistics,
    Rows,
    Written,
    Words,
    Statuses,
    Keys,
    KeyLengths,
    Numbers,
    Connections,
    Time,
    Requests,
}

impl Rule {
    /// All, in the order in which they are told.
    const ALL: [Self; 17] = [
        Self::Whole,
        Self::Journal,
        Self::Columns,
        Self::Span,
        Self::Seen,
        Self::Series,
        Self::Statistics,
        Self::Rows,
        Self::Written,
        Self::Words,
        Self::Statuses,
        Self::Keys,
        Self::KeyLengths,
        Self::Numbers,
        Self::Connections,
        Self::Time,
        Self::Requests,
    ];

    /// For programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Journal => "journal",
            Self::Columns => "columns",
            Self::Span => "span",
            Self::Seen => "seen",
            Self::Series => "series",
            Self::Statistics => "statistics",
            Self::Rows => "rows",
            Self::Written => "written",
            Self::Words => "words",
            Self::Statuses => "statuses",
            Self::Keys => "keys",
            Self::KeyLengths => "key_lengths",
            Self::Numbers => "numbers",
            Self::Connections => "connections",
            Self::Time => "time",
            Self::Requests => "requests",
        }
    }

    /// For people.
    pub(crate) fn promise(self) -> &'static str {
        match self {
            Self::Whole => "the file is whole: any Parquet reader can open it",
            Self::Journal => "no journal of an interrupted commit is left beside it",
            Self::Columns => "columns have the names, types and nulls of the format",
            Self::Span => "the recording ends no earlier than it starts",
            Self::Seen => "seen = written + losses",
            Self::Series => "the loss series lies within the recording and adds up to the losses",
            Self::Statistics => "row groups know their first and last time",
            Self::Rows => "every row can be read",
            Self::Written => "there are as many rows as were written",
            Self::Words => "op, protocol and status have no words but those of the format",
            Self::Statuses => "each operation has a status that it can have",
            Self::Keys => "keys are escaped, or hashed, as the footer says",
            Self::KeyLengths => "key_len is the length of the key",
            Self::Numbers => "sizes and latencies are not negative",
            Self::Connections => "connections are numbered from 1",
            Self::Time => "within a connection, time never goes backwards",
            Self::Requests => "requests are numbered from 1, and their keys in order",
        }
    }
}

/// How a promise was kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) rule: Rule,
    /// How often it was broken.
    pub(crate) failures: u64,
    /// How it was broken first.
    pub(crate) first: Option<String>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) promises: Vec<Kept>,
    pub(crate) rows: u64,
    /// Of row groups and footer, bytes.
    pub(crate) bytes: u64,
    /// What is no fault but should be known.
    pub(crate) remarks: Vec<String>,
}

impl Findings {
    /// Whether all promises were kept.
    pub(crate) fn sound(&self) -> bool {
        self.promises.iter().all(|kept| kept.failures == 0)
    }

    /// A promise was broken; `how` says how, if it is the first time.
    fn broken(&mut self, rule: Rule, how: impl FnOnce() -> String) {
        if let Some(kept) = self.promises.iter_mut().find(|kept| kept.rule == rule) {
            kept.failures += 1;
            kept.first.get_or_insert_with(how);
        }
    }
}

/// Checks the capture at `path`.
///
/// # Errors
///
/// When it cannot be opened at all.
pub(crate) fn check(path: &Path) -> Result<Findings> {
    let capture = decoding(path, || Capture::open(path))?;
    let kept = |rule: &Rule| Kept { rule: *rule, failures: 0, first: None };
    let mut findings = Findings {
        promises: Rule::ALL.iter().map(kept).collect(),
        rows: capture.rows(),
        bytes: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        remarks: Vec::new(),
    };
    whole(&capture, &mut findings);
    footer::check(&capture, &mut findings);
    rows::check(&capture, &mut findings);
    Ok(findings)
}

fn whole(capture: &Capture, findings: &mut Findings) {
    let name = capture.path().display();
    match capture.state() {
        State::Whole => {}
        State::CutOff => findings.broken(Rule::Whole, || {
            format!("cut off in the middle of a commit; finish it with: mcrec repair {name}")
        }),
        State::Salvaged => findings.broken(Rule::Whole, || {
            format!("its footer is lost; make one with: mcrec repair {name}")
        }),
    }
    let journal = PathBuf::from(journal_name(capture.path().as_os_str()));
    let left = std::fs::metadata(&journal).is_ok_and(|metadata| metadata.len() > 0);
    if left {
        findings.broken(Rule::Journal, || format!("{} is there", journal.display()));
    }
}
