//! Rows as lines: CSV with a header, or a JSON object each.

use std::fmt::Write as _;

use anyhow::Result;
use mcrec_schema::columns::{self, HOST, KEY_INDEX, QUIET, THREAD_ID, TS};

use super::sink::Sink;
use crate::{
    capture::Capture,
    render::{csv, json, rfc3339, text::inert},
    scan::{OfDictionary, Reader, Rows, groups},
};

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Csv,
    Json,
}

/// A column, and what its texts are in a line.
struct Column {
    name: &'static str,
    texts: OfDictionary<String>,
}

/// Writes the rows that are asked for, in order, and returns how many they are. If
/// none in particular are, those of connections coming and going are among them.
///
/// # Errors
///
/// When they cannot be read or written.
pub(super) fn write(capture: &Capture, form: Form, sink: &mut Sink) -> Result<u64> {
    let names = names(capture);
    if form == Form::Csv {
        sink.write(format!("{}\n", names.join(",")).as_bytes())?;
    }
    let mut columns: Vec<Column> =
        names.iter().map(|&name| Column { name, texts: OfDictionary::default() }).collect();
    let all = !capture.filter.is_narrow();
    let mut reader = Reader::new(capture, None, &names);
    let (mut written, mut lines) = (0, String::new());
    for place in groups(capture) {
        // Of a file that was not merged, all rows are of one host.
        let host = form.text(&capture.footers[place.file].capture.host);
        reader.read(place, |rows| {
            lines.clear();
            let fields: Vec<Field<'_>> = columns
                .iter_mut()
                .map(|column| column.fields(form, rows, &host))
                .collect::<Result<_>>()?;
            for row in (0..rows.len()).filter(|&row| all || rows.is_wanted(row)) {
                form.append(&names, &fields, row, &mut lines);
                written += 1;
            }
            sink.write(lines.as_bytes())?;
            Ok(true)
        })?;
    }
    Ok(written)
}

/// The columns of the format, and the host where captures were merged.
fn names(capture: &Capture) -> Vec<&'static str> {
    let merged = capture.footers.iter().any(|footer| !footer.parts().is_empty());
    let schema = if merged { columns::merged_schema() } else { columns::schema() };
    // They are a few, and the same each time: for as long as we run.
    schema.fields().iter().map(|field| &*field.name().clone().leak()).collect()
}

impl Form {
    /// A text as a field.
    fn text(self, text: &str) -> String {
        match self {
            Self::Csv => csv::field(&inert(text)),
            Self::Json => json::escaped(&serde_json::Value::from(text).to_string()),
        }
    }

    fn append(self, names: &[&str], fields: &[Field<'_>], row: usize, lines: &mut String) {
        for (number, (name, field)) in names.iter().zip(fields).enumerate() {
            match (self, number) {
                (Self::Csv, 0) => {}
                (Self::Csv, _) => lines.push(','),
                (Self::Json, 0) => write_to(lines, format_args!("{{\"{name}\":")),
                (Self::Json, _) => write_to(lines, format_args!(",\"{name}\":")),
            }
            let before = lines.len();
            field.append(self, row, lines);
            if self == Self::Json && lines.len() == before {
                lines.push_str("null");
            }
        }
        lines.push_str(if self == Self::Csv { "\n" } else { "}\n" });
    }
}

/// What a column has in some rows.
enum Field<'a> {
    Times(&'a [i64]),
    Texts(Vec<Option<usize>>, &'a [String]),
    /// The same in all rows.
    Text(&'a str),
    Ints(crate::scan::Ints<'a>),
    ShortInts(&'a [i32]),
    Truths(Vec<bool>),
}

impl Column {
    fn fields<'a>(&'a mut self, form: Form, rows: &'a Rows, host: &'a str) -> Result<Field<'a>> {
        use columns::{CLIENT, KEY, META_FLAGS, META_RETURNED, OP, PROTOCOL, STATUS};
        Ok(match self.name {
            TS => Field::Times(rows.times()?),
            HOST if !rows.has(HOST) => Field::Text(host),
            OP | PROTOCOL | KEY | STATUS | CLIENT | META_FLAGS | META_RETURNED | HOST => {
                let column = rows.strings(self.name)?;
                if !self.texts.is_of(&column) {
                    let made = column.values.iter().map(|text| form.text(text.unwrap_or_default()));
                    self.texts.begin(&column, made);
                }
                Field::Texts(column.ids().collect(), &self.texts.made)
            }
            KEY_INDEX | THREAD_ID => Field::ShortInts(rows.short_ints(self.name)?),
            QUIET => Field::Truths(rows.truths(QUIET)?.values().iter().collect()),
            _ => Field::Ints(rows.ints(self.name)?),
        })
    }
}

impl Field<'_> {
    /// Appends what a row has; nothing if that is null.
    fn append(&self, form: Form, row: usize, lines: &mut String) {
        match self {
            Self::Times(times) if form == Form::Csv => lines.push_str(&rfc3339(times[row])),
            Self::Times(times) => write_to(lines, format_args!("\"{}\"", rfc3339(times[row]))),
            Self::Texts(ids, texts) => {
                lines.push_str(ids[row].map_or("", |id| &texts[id]));
            }
            Self::Text(text) => lines.push_str(text),
            Self::Ints(ints) => {
                if let Some(number) = ints.get(row) {
                    write_to(lines, format_args!("{number}"));
                }
            }
            Self::ShortInts(ints) => write_to(lines, format_args!("{}", ints[row])),
            Self::Truths(truths) => lines.push_str(if truths[row] { "true" } else { "false" }),
        }
    }
}

fn write_to(lines: &mut String, what: std::fmt::Arguments<'_>) {
    lines.write_fmt(what).expect("writing to a String cannot fail");
}
