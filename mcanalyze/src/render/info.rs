//! A capture as a file, for people and programs.

use std::io::{self, Write};

use mcrec_schema::{
    derived::Step,
    footer::{ANONYMISED_IN_TRACE, Footer},
};
use serde_json::json;

use super::{
    heading::line,
    json, rfc3339,
    text::{bytes, duration, grouped, inert, second, table},
};
use crate::{
    files::info::Info,
    table::{Table, Value},
};

/// Rows of a long table that people are shown.
const SHOWN: usize = 20;

/// Writes it for people.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn text(info: &Info, width: Option<u16>, out: &mut impl Write) -> io::Result<()> {
    let Footer {
        minor: _,
        capture,
        target,
        source,
        loss,
        sampling,
        cost,
        privacy,
        server,
        derived,
    } = &info.footer;
    let mut say = |name: &str, text: &str| wrapped(name, text, width, out);
    let state = info.damage.map(|damage| format!(", {damage}")).unwrap_or_default();
    let size = grouped_bytes(info.bytes);
    say("file", &format!("{}, {size}{state}", info.path.display()))?;
    say("capture", &format!("{}, by mcrec {}", capture.id, capture.mcrec_version))?;
    say("  command", &capture.command_line.join(" "))?;
    say("host", &format!("{}, Linux {}", capture.host, capture.kernel))?;
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let seconds = (capture.end_us - capture.start_us) as f64 / 1e6;
    let (from, to) = (second(capture.start_us), second(capture.end_us));
    let ended = capture.ended.as_deref().unwrap_or("not yet, or its recorder was cut off");
    say("recorded", &format!("{from} to {to} UTC ({}); ended: {ended}", duration(seconds)))?;
    say("  commits", &format!("every {} s", capture.commit_interval_s))?;
    if let Some(how) = &capture.recovered {
        say("RECOVERED", how)?;
    }
    let version = target.version.as_deref().unwrap_or("of unknown version");
    let build = target.build_id.as_deref().unwrap_or("unknown");
    let pid = match target.pid {
        0 if info.footer.parts().is_empty() => "pid not known".to_owned(),
        0 => "several pids".to_owned(),
        pid => format!("pid {pid}"),
    };
    say("memcached", &format!("{version}, {pid}, {}", target.executable))?;
    say("  build", build)?;
    say("  command", &target.command_line.join(" "))?;
    let threads = target.worker_threads;
    say("  listens", &format!("{}; {threads} worker threads", target.listening.join(" ")))?;
    let attached = source.attached.iter().map(|probe| match probe.sites {
        0 | 1 => probe.probe.clone(),
        sites => format!("{} ({sites} sites)", probe.probe),
    });
    say("source", &format!("{}: {}", source.name, listed(attached)))?;
    say("  latency", &source.latency)?;
    say("  sees", &listed(source.sees.iter().cloned()))?;
    for blind in &source.cannot_see {
        say("  not seen", &format!("{}: {}", blind.what, blind.why))?;
    }
    if !source.columns_unknown.is_empty() {
        say("  unknown", &format!("columns {}", source.columns_unknown.join(", ")))?;
    }
    if source.requests_without_operation > 0 {
        let count = grouped(source.requests_without_operation);
        say("  unseen", &format!("{count} requests were of those that are not seen"))?;
    }
    if source.connections_encrypted > 0 {
        say("  TLS", &format!("{} connections", grouped(source.connections_encrypted)))?;
    }
    let lost = loss.losses.total();
    let rows = format!("{} of {} seen", grouped(loss.written), grouped(loss.seen));
    let some = match (lost, &capture.recovered) {
        (0, None) if loss.possible.total() > 0 => "nothing lost that is known of",
        (0, None) => "nothing lost",
        (0, Some(_)) => "how many were lost is not known",
        _ => "some lost:",
    };
    say("rows", &format!("{rows}, {some}"))?;
    for (reason, count) in loss.losses.by_reason().filter(|(_, count)| *count > 0) {
        say("  LOST", &format!("{} {}", grouped(count), reason.replace('_', " ")))?;
    }
    if loss.possible.total() > 0 {
        let count = grouped(loss.possible.total());
        say(
            "  MAY LACK",
            &format!("up to {count} reads or replies more: the kernel skipped programs"),
        )?;
    }
    for [from, to, one_in] in sampling.series.iter().filter(|_| sampling.is_sampled()) {
        let (from, to) = (second(*from), second(*to));
        say("  SAMPLED", &format!("1/{one_in} of the keys, {from} to {to} UTC"))?;
    }
    if let Some(count) = sampling.sampled_out.filter(|count| *count > 0) {
        say("  left out", &format!("{} operations, on purpose", grouped(count)))?;
    }
    for (what, count) in loss.incomplete.by_reason().filter(|(_, count)| *count > 0) {
        say("  INCOMPLETE ", &format!("{} {}", grouped(count), what.replace('_', " ")))?;
    }
    if let Some(server) = server {
        say("  server", &server.describe())?;
        say("  asked", &format!("at {}", server.asked))?;
    }
    let runs = grouped(cost.run_count());
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let (run_time, peak) = (cost.run_time_ns() as f64 / 1e9, grouped_bytes(cost.peak_memory));
    let programs = format!("in memcached {run_time:.2} s of CPU in {runs} BPF runs");
    say("cost", &format!("{programs}; mcrec {:.2} s of CPU, {peak} of memory", cost.cpu_s))?;
    let keys = match privacy.keys_hashed.as_deref() {
        None => "as the clients sent them".to_owned(),
        Some(ANONYMISED_IN_TRACE) => ANONYMISED_IN_TRACE.to_owned(),
        Some(how) => format!("hashed: {how}"),
    };
    say("keys", &keys)?;
    for step in derived {
        said_of_step(step, &mut say)?;
    }
    tables(info, width, out)
}

fn said_of_step(step: &Step, say: &mut impl FnMut(&str, &str) -> io::Result<()>) -> io::Result<()> {
    let from = listed(step.from.iter().cloned());
    say("derived", &format!("{} of {from}, by mcanalyze {}", step.how, step.mcanalyze_version))?;
    if let Some(slice) = &step.slice {
        let mut parts = Vec::new();
        parts.extend(slice.from_us.map(|time| format!("from {}", rfc3339(time))));
        parts.extend(slice.to_us.map(|time| format!("to {}", rfc3339(time))));
        parts.extend(slice.key.as_ref().map(|key| format!("key {key}")));
        parts.extend(slice.prefix.as_ref().map(|prefix| format!("prefix {prefix}")));
        if !slice.ops.is_empty() {
            parts.push(format!("op {}", slice.ops.join(",")));
        }
        if !slice.conn_ids.is_empty() {
            let ids = slice.conn_ids.iter().map(ToString::to_string);
            parts.push(format!("conn {}", ids.collect::<Vec<_>>().join(",")));
        }
        let left = grouped(slice.left_out);
        say("  rows", &format!("{}; {left} more are in its window", parts.join(", ")))?;
    }
    for part in &step.parts {
        let [first, last] = part.conn_ids;
        let text = format!(
            "conn_id {first} to {last}, {} rows: memcached pid {} on {}",
            grouped(part.rows),
            part.target.pid,
            part.capture.host
        );
        say("  part", &text)?;
    }
    Ok(())
}

fn tables(info: &Info, width: Option<u16>, out: &mut impl Write) -> io::Result<()> {
    let mut losses = info.losses.clone();
    losses.rows.retain(|entry| entry[2] != Value::Int(0));
    for (part, shown) in
        [("columns", &info.columns), ("row groups", &info.row_groups), ("losses", &losses)]
    {
        if shown.rows.is_empty() {
            continue;
        }
        writeln!(out)?;
        let most = if part == "columns" { usize::MAX } else { SHOWN };
        let rows = shown.rows.iter().take(most).cloned().collect();
        table(&Table { columns: shown.columns.clone(), rows }, None, width, out)?;
        if let Some(more @ 1..) = shown.rows.len().checked_sub(most) {
            writeln!(out, "… and {} {part} more; --format json has all", grouped(more))?;
        }
    }
    Ok(())
}

/// Writes it for programs: `{"file": …, "footer": {…}, "row_groups": […], …}`, with
/// the entries of the footer as they are.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn json(info: &Info, out: &mut impl Write) -> io::Result<()> {
    let entry = |(name, value): (&str, String)| {
        let name = name.trim_start_matches("mcrec.").to_owned();
        (name, serde_json::from_str(&value).unwrap_or(serde_json::Value::Null))
    };
    let footer = info.footer.to_entries().into_iter().map(entry);
    let footer: serde_json::Map<_, _> = footer.collect();
    json::write_object(
        &json!({
            "file": info.path.display().to_string(),
            "bytes": info.bytes,
            "rows": info.rows,
            "whole": info.damage.is_none(),
            "complete": info.is_complete(),
            "footer": footer,
            "columns": json::rows(&info.columns),
            "row_groups": json::rows(&info.row_groups),
            "losses": json::rows(&info.losses),
        }),
        out,
    )
}

/// A line, or several where it is long, each but the first under the text.
fn wrapped(name: &str, text: &str, width: Option<u16>, out: &mut impl Write) -> io::Result<()> {
    /// Width of the names.
    const INDENT: usize = 11;
    let room = usize::from(width.unwrap_or(100)).saturating_sub(INDENT).max(20);
    let text = inert(text);
    let (mut name, mut at) = (name, String::new());
    for word in text.split(' ') {
        if !at.is_empty() && at.chars().count() + 1 + word.chars().count() > room {
            line(out, name, &at)?;
            (name, at) = ("", String::new());
        }
        if !at.is_empty() {
            at.push(' ');
        }
        at.push_str(word);
    }
    line(out, name, &at)
}

fn listed(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
}

fn grouped_bytes(number: u64) -> String {
    bytes(i64::try_from(number).unwrap_or(i64::MAX))
}
