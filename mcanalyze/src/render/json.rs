//! Answers as one JSON object.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use mcrec_schema::footer::Footer;
use serde_json::{Map, Value as Json, json};

use super::{rfc3339, text::harmful};
use crate::{
    ask::Answer,
    query::{heading::Heading, summary::Summary},
    sampling::Sampling,
    table::{Table, Unit, Value},
};

/// Writes `{"capture": …}` (and `"after"`, the other of two), and then the parts of the answer under their names.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn write(answer: &Answer, out: &mut impl Write) -> io::Result<()> {
    let mut object = Map::new();
    for (heading, name) in answer.headings.iter().zip(["capture", "after"]) {
        object.insert(name.to_owned(), capture(heading, answer.summary.as_ref()));
    }
    for section in &answer.sections {
        let rows = rows(&section.table);
        match section.name.split_once('.') {
            None => {
                object.insert(section.name.to_owned(), rows);
            }
            Some((name, part)) => {
                let parts = object.entry(name).or_insert_with(|| json!({}));
                parts[part] = rows;
            }
        }
    }
    let notes: Vec<&str> = answer.notes().collect();
    if !notes.is_empty() {
        object.insert("notes".to_owned(), json!(notes));
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
pub(crate) fn escaped(json: &str) -> String {
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

/// What stands above every answer, with the totals if there are some.
pub(crate) fn capture(heading: &Heading, summary: Option<&Summary>) -> Json {
    let mut object = json!({
        "start": rfc3339(heading.start),
        "end": rfc3339(heading.end),
        "duration_s": heading.seconds,
        "asked": heading.asked,
    });
    if let (Json::Object(object), Some(summary)) = (&mut object, summary) {
        let Json::Object(totals) = totals(summary) else { unreachable!("it is written as one") };
        object.extend(totals);
    }
    let caveats = json!({
        "complete": heading.is_complete(),
        "seen": heading.seen,
        "lost": heading.losses.total(),
        "lost_at_most": heading.lost_at_most(),
        "losses": heading.losses,
        "possible": heading.possible,
        "lossy": heading.lossy.iter().map(|[from, to, lost]| {
            json!({ "from": rfc3339(*from), "to": rfc3339(*to), "lost": lost })
        }).collect::<Vec<_>>(),
        "incomplete": heading.incomplete,
        "requests_without_operation": heading.requests_without_operation,
        "sampling": heading.sampling.as_ref().map(|of| sampling(of, heading)),
        "percentiles": "nearest rank",
        "files": heading.footers.iter().map(file).collect::<Vec<_>>(),
    });
    if let (Json::Object(object), Json::Object(caveats)) = (&mut object, caveats) {
        object.extend(caveats);
    }
    object
}

fn totals(summary: &Summary) -> Json {
    json!({
        "operations": summary.operations,
        "of_operations": summary.of_operations,
        "rate": summary.rate,
        "hits": summary.hits,
        "misses": summary.misses,
        "hit_ratio": summary.hit_ratio,
        "hit_ratio_at_least": summary.hit_ratio_within.map(|[least, _]| least),
        "hit_ratio_at_most": summary.hit_ratio_within.map(|[_, most]| most),
        "hit_ratio_biased": summary.hit_ratio_biased,
        "distinct_keys": summary.distinct_keys,
        "bytes_returned": summary.bytes_returned,
        "bytes_stored": summary.bytes_stored,
        "bandwidth_kbps": summary.bandwidth_kbps,
    })
}

/// What a reader must know of a sample; null for a capture of all operations.
fn sampling(sampling: &Sampling, heading: &Heading) -> Json {
    let mut estimates = vec![
        "hits",
        "misses",
        "hit_ratio",
        "distinct_keys",
        "bytes_returned",
        "bytes_stored",
        "bandwidth_kbps",
    ];
    if sampling.sampled_out.is_none() || heading.asked.is_some() {
        estimates.extend(["operations", "rate"]);
    }
    if !heading.is_scaled {
        estimates.clear();
    }
    json!({
        "sampled_out": sampling.sampled_out,
        "densest_one_in": sampling.densest,
        "sparsest_one_in": sampling.sparsest,
        "estimates": estimates,
        "tables": "scaled to all keys, but for the figures of a key and for latencies",
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
pub(crate) fn rows(table: &Table) -> Json {
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
