//! Answers as text, JSON, CSV or Markdown. Knows nothing of how they came about.

pub(crate) mod check;
pub(crate) mod csv;
pub(crate) mod exchange;
pub(crate) mod heading;
pub(crate) mod info;
pub(crate) mod json;
pub(crate) mod markdown;
pub(crate) mod text;

use std::{
    io::{self, Write},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    ask::Answer,
    cli::Format,
    files::Made,
    table::{Column, Section, Table, Unit},
};
use text::{bytes, grouped};

/// Prints an answer, and returns what there is to say beside it.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn print(
    answer: &Answer,
    width: Option<u16>,
    out: &mut impl Write,
) -> io::Result<Vec<String>> {
    match answer.format {
        Format::Text => {
            headings(answer, out)?;
            for (number, section) in answer.sections.iter().enumerate() {
                if number > 0 {
                    writeln!(out)?;
                }
                text::section(section, width, out)?;
            }
        }
        Format::Markdown => {
            let mut heading = Vec::new();
            headings(answer, &mut heading)?;
            // As it is: nothing in it is markup.
            let lines = String::from_utf8_lossy(&heading);
            for line in lines.lines().filter(|line| !line.is_empty()) {
                writeln!(out, "    {line}")?;
            }
            writeln!(out)?;
            for section in &answer.sections {
                markdown::write(section, out)?;
            }
        }
        Format::Json => json::write(answer, out)?,
        Format::Csv => {
            if let Some(section) = csv_section(answer) {
                let alike = alike(answer, section);
                match alike.len() {
                    1 => csv::write(&section.table, out)?,
                    _ => csv::write(&together(&alike), out)?,
                }
            }
            return Ok(csv_remarks(answer));
        }
    }
    Ok(Vec::new())
}

fn headings(answer: &Answer, out: &mut impl Write) -> io::Result<()> {
    for heading in &answer.headings {
        heading::heading(heading, answer.summary.as_ref(), out)?;
    }
    Ok(())
}

/// The one table of an answer that CSV has: the first, but for the latencies, which
/// nobody gets without asking.
fn csv_section(answer: &Answer) -> Option<&Section> {
    let latency = |section: &&Section| section.name.starts_with("latency");
    answer.sections.iter().find(latency).or_else(|| answer.sections.first())
}

/// The parts of an answer with the columns of one of them.
fn alike<'a>(answer: &'a Answer, section: &Section) -> Vec<&'a Section> {
    let columns = &section.table.columns;
    answer.sections.iter().filter(|other| other.table.columns == *columns).collect()
}

/// Tables of the same columns as one, in which a first column says which each row is of.
fn together(sections: &[&Section]) -> Table {
    let kind = Column::new("kind", "kind", Unit::Word);
    let columns = sections.first().map_or(&[][..], |section| &section.table.columns);
    let columns = [kind].into_iter().chain(columns.iter().copied()).collect();
    let rows = sections.iter().flat_map(|section| {
        let kind = section.name.split_once('.').map_or(section.name, |(_, part)| part);
        let rows = section.table.rows.iter();
        rows.map(move |row| [kind.into()].into_iter().chain(row.iter().cloned()).collect())
    });
    Table { columns, rows: rows.collect() }
}

fn csv_remarks(answer: &Answer) -> Vec<String> {
    let mut remarks = Vec::new();
    if answer.headings.iter().any(|heading| heading.sampling.is_some()) {
        remarks.push("the capture is of a sample of the keys; --format text says of which");
    }
    if !answer.is_complete() {
        remarks.push("the capture is incomplete; --format text says what is missing");
    }
    let shown = csv_section(answer).map_or(0, |section| alike(answer, section).len());
    if answer.sections.len() > shown {
        remarks.push("csv is one table; --format json has all of the answer");
    }
    remarks.extend(answer.notes());
    remarks.into_iter().map(str::to_owned).collect()
}

/// What there is to say of a file that was left out.
pub(crate) fn repeated(path: &Path) -> String {
    format!(
        "{} is of a recording, from the same moment on, that was read already: left out",
        path.display()
    )
}

/// What there is to say of a capture that was made at `path`.
pub(crate) fn made(path: &Path, made: &Made) -> Vec<String> {
    let size = bytes(i64::try_from(made.bytes).unwrap_or(i64::MAX));
    let (written, read) = (grouped(made.written), grouped(made.read));
    let mut remarks = vec![format!("wrote {written} of {read} rows to {}, {size}", path.display())];
    if made.late > 0 {
        let late = grouped(made.late);
        remarks.push(format!("{late} rows come after rows of a later time: they were too late"));
    }
    if made.incomplete {
        remarks.push("the recording is incomplete; mcanalyze info says what is missing".to_owned());
    }
    remarks
}

/// A point in time, µs since the epoch, as RFC 3339 with microseconds.
pub(crate) fn rfc3339(micros: i64) -> String {
    humantime::format_rfc3339_micros(system_time(micros)).to_string()
}

fn system_time(micros: i64) -> SystemTime {
    /// The last moment that RFC 3339 can write: the end of the year 9999.
    const MAX: u64 = 253_402_300_799_999_999;
    let micros = u64::try_from(micros).unwrap_or(0).min(MAX);
    UNIX_EPOCH + Duration::from_micros(micros)
}
