//! All that can be said of a capture, in one page that opens anywhere.

mod page;

use std::{
    io::{ErrorKind, Write, stdout},
    path::Path,
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use crate::{
    by::By,
    capture::Capture,
    cli::{Dimension, SortBy},
    files::{Destination, partial::Partial},
    keys::{Question, keys},
    query::{
        clients::clients,
        heading::Heading,
        heatmap::{Heatmap, heatmap},
        latency::latency,
        memory::memory,
        popularity::popularity,
        prefixes::prefixes,
        series,
        sizes::sizes,
        slow::slow,
        summary::{Summary, summary},
        top::top,
    },
    render::{heading as above, json, rfc3339, text},
    table::{Section, Value},
};

/// Keys, prefixes and clients that a page has room for.
const KEYS: usize = 200;
const PREFIXES: usize = 300;
const CLIENTS: usize = 100;
const SLOWEST: usize = 50;
/// Intervals of a plot over time.
const INTERVALS: i64 = 300;
/// What is asked of the capture, one after the other.
const QUESTIONS: u64 = 9;

/// The report on a capture, as HTML, and what stands above it.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn report(capture: &Capture) -> Result<(String, Heading)> {
    let bar = progress();
    let next = |what: &'static str| {
        bar.inc(1);
        bar.set_message(what);
    };
    next("keys");
    let by = &By::KEY;
    let found = keys(capture, &Question { top: KEYS, sort: SortBy::Calls, reverse: false, by })?;
    let summary = summary(capture, found.distinct)?;
    let operations = summary.operations;
    let keys = top(capture, Dimension::Key, operations, found.top);
    next("time");
    let step = series::step(capture, None, INTERVALS);
    let series = series::series(capture, step, true)?;
    let heatmap = heatmap(capture, step)?;
    next("latency");
    let [percentiles, histogram] = latency(capture)?;
    next("prefixes");
    let prefixes = prefixes(capture, PREFIXES, usize::from(u8::MAX))?;
    next("sizes");
    let [sizes, ttls] = sizes(capture)?;
    next("popularity");
    let [popularity, ranks] = popularity(capture)?;
    next("memory");
    let [memory, curve] = memory(capture)?;
    next("clients");
    let clients = clients(capture, operations, CLIENTS)?;
    next("slowest operations");
    let slow = slow(capture, SLOWEST, 0)?.swap_remove(0);
    bar.finish_and_clear();
    let rows = |section: &Section| json::rows(&section.table);
    let data = json!({
        "mcanalyze": env!("CARGO_PKG_VERSION"),
        "capture": json::capture(&summary.heading, Some(&summary)),
        "asked": summary.heading.asked,
        "caveats": caveats(&summary.heading, &[&series, &prefixes]),
        "lossy": summary.heading.lossy.iter().map(|[from, to, lost]| {
            json!({ "from": rfc3339(*from), "to": rfc3339(*to), "lost": lost })
        }).collect::<Vec<_>>(),
        "series": { "step_s": seconds(step), "rows": rows(&series) },
        "heatmap": spread(&heatmap),
        "latency": rows(&percentiles),
        "histogram": rows(&histogram),
        "keys": rows(&keys),
        "prefixes": rows(&prefixes),
        "sizes": rows(&sizes),
        "sizes_notes": sizes.notes,
        "ttls": rows(&ttls),
        "popularity": {
            "ranks": rows(&ranks),
            "zipf_exponent": figure(&popularity, 3),
            "r2": figure(&popularity, 4),
            "one_hit_wonders": figure(&popularity, 1),
            "one_hit_share": figure(&popularity, 2),
        },
        "memory": {
            "curve": rows(&curve),
            "working_set_keys": figure(&memory, 0),
            "working_set_bytes": figure(&memory, 1),
            "recorded_hit_ratio": figure(&memory, 2),
            "notes": curve.notes.iter().chain(&memory.notes).collect::<Vec<_>>(),
        },
        "clients": rows(&clients),
        "slow": rows(&slow),
    });
    Ok((page::fill(&title(&summary), &data), summary.heading))
}

/// Writes a report; to stdout, where that is `-`.
///
/// # Errors
///
/// When there is something already that is not to be replaced, or it cannot be written.
pub(crate) fn write(html: &str, destination: &Destination) -> Result<()> {
    if destination.path == Path::new("-") {
        return match stdout().lock().write_all(html.as_bytes()) {
            // The reader has seen enough.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        };
    }
    let cannot_write = || format!("cannot write {}", destination.path.display());
    let (partial, mut file) =
        Partial::begin(destination, |folder, name| folder.create(name).with_context(cannot_write))?;
    file.write_all(html.as_bytes()).and_then(|()| file.sync_all()).with_context(cannot_write)?;
    partial.finish()
}

fn progress() -> ProgressBar {
    let bar = ProgressBar::new(QUESTIONS);
    // Not a terminal: nothing is drawn.
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len} {msg}, {elapsed}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn title(summary: &Summary) -> String {
    let heading = &summary.heading;
    let host = heading.footers.first().map_or("", |footer| footer.capture.host.as_str());
    format!("memcached on {}, {}", text::inert(host), text::second(heading.start))
}

/// What must be known before any number is believed.
fn caveats(heading: &Heading, sections: &[&Section]) -> Vec<String> {
    let lines = above::caveat_lines(heading).into_iter().map(|(name, text)| match name {
        "" => text,
        name => format!("{name}: {text}"),
    });
    let sampled = heading.sampling.as_ref().map(|sampling| {
        let sampled = above::sampled(sampling);
        format!("SAMPLED: {sampled}. Tables and plots are scaled as well, but not latencies.")
    });
    let notes = sections.iter().flat_map(|section| section.notes.iter().cloned());
    lines.chain(sampled).chain(notes).collect()
}

fn seconds(step: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 285 years")]
    let micros = step as f64;
    micros / 1e6
}

fn spread(heatmap: &Heatmap) -> Json {
    json!({
        "times": heatmap.times.iter().map(|time| rfc3339(*time)).collect::<Vec<_>>(),
        "from_ns": heatmap.from_ns,
        "counts": heatmap.counts,
    })
}

/// The figure in a line of a section of figures.
fn figure(section: &Section, line: usize) -> Json {
    match section.table.rows.get(line).and_then(|row| row.get(1)) {
        Some(Value::Int(number)) => json!(number),
        Some(Value::Float(number)) => json!(number),
        _ => Json::Null,
    }
}
