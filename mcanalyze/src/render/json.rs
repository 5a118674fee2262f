//! Answers as one JSON object.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use mcrec_schema::footer::Footer;
use serde_json::{Map, Value as Json, json};

use super::{rfc3339, text::harmful};
use crate::{
    query::{latency::Latency, summary::Summary},
    sampling::Sampling,
    table::{Table, Unit, Value},
};

/// Writes `{"capture": …, "top": […], "latency": …}`, the last only if asked for.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn write(
    summary: &Summary,
    top: &Table,
    latency: Option<&Latency>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut object = Map::new();
    object.insert("capture".to_owned(), capture(summary));
    object.insert("top".to_owned(), rows(top));
    if let Some(latency) = latency {
        let parts = json!({
            "percentiles": rows(&latency.percentiles),
            "histogram": rows(&latency.histogram),
        });
        object.insert("latency".to_owned(), parts);
    }
    write_object(&Json::Object(object), out)
}

/// Writes an object, and nothing in it that could do something to a terminal.
///
/// # Errors
///
/// When `out` fails.
pub(super) fn write_object(object: &Json, out: &mut impl Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(object)?;
    writeln!(out, "{}", escaped(&text))
}

/// The same JSON, with what could do something to a terminal in it as `\uNNNN`:
/// such characters are only ever inside of strings.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && harmful(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(text, "\\u{unit:04x}").expect("writing to a String cannot fail");
            }
        } else {
            text.push(c);
        }
    }
    text
}

fn capture(summary: &Summary) -> Json {
    let lost = summary.losses.total();
    json!({
        "start": rfc3339(summary.start),
        "end": rfc3339(summary.end),
        "duration_s": summary.seconds,
        "operations": summary.operations,
        "rate": summary.rate,
        "hits": summary.hits,
        "misses": summary.misses,
        "hit_ratio": summary.hit_ratio,
        "distinct_keys": summary.distinct_keys,
        "bytes_returned": summary.bytes_returned,
        "bytes_stored": summary.bytes_stored,
        "bandwidth_kbps": summary.bandwidth_kbps,
        "complete": summary.is_complete(),
        "seen": summary.seen,
        "lost": lost,
        "losses": summary.losses,
        "incomplete": summary.incomplete,
        "requests_without_operation": summary.requests_without_operation,
        "sampling": summary.sampling.as_ref().map(sampling),
        "percentiles": "nearest rank",
        "files": summary.footers.iter().map(file).collect::<Vec<_>>(),
    })
}

/// What a reader must know of a sample; null for a capture of all operations.
fn sampling(sampling: &Sampling) -> Json {
    let mut estimates = vec![
        "hits",
        "misses",
        "hit_ratio",
        "distinct_keys",
        "bytes_returned",
        "bytes_stored",
        "bandwidth_kbps",
    ];
    if sampling.sampled_out.is_none() {
        estimates.extend(["operations", "rate"]);
    }
    json!({
        "sampled_out": sampling.sampled_out,
        "densest_one_in": sampling.densest,
        "sparsest_one_in": sampling.sparsest,
        "estimates": estimates,
        "percentiles": "of the sample",
    })
}

fn file(footer: &Footer) -> Json {
    json!({
        "capture": footer.capture,
        "target": footer.target,
        "source": footer.source,
        "sampling": footer.sampling,
        "cost": footer.cost,
        "privacy": footer.privacy,
    })
}

/// A table as a list of objects.
pub(super) fn rows(table: &Table) -> Json {
    let row = |row: &Vec<Value>| {
        let fields = table.columns.iter().zip(row).map(|(column, value)| {
            let value = match value {
                Value::Null => Json::Null,
                Value::Text(text) => Json::from(text.as_str()),
                Value::Int(time) if column.unit == Unit::Time => Json::from(rfc3339(*time)),
                Value::Int(number) => Json::from(*number),
                Value::Float(number) => Json::from(*number),
            };
            (column.name.to_owned(), value)
        });
        Json::Object(fields.collect())
    };
    Json::Array(table.rows.iter().map(row).collect())
}
