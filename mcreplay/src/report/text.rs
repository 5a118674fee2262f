//! The report for people.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use hdrhistogram::Histogram;

use super::Report;
use crate::tally::Ratio;

/// Writes the report.
///
/// # Errors
///
/// When `out` cannot be written to.
pub(crate) fn write(report: &Report<'_>, out: &mut String) -> fmt::Result {
    let tally = &report.played.tally;
    head(report, out)?;
    let seconds = report.played.seconds;
    let operations = tally.operations();
    #[expect(clippy::cast_precision_loss, reason = "it is a rate")]
    let rate = operations as f64 / seconds.max(1e-9);
    writeln!(out, "sent       {operations} operations in {seconds:.1} s, {rate:.0}/s")?;
    let (recorded, now) = tally.ratios();
    if let (Some(was), Some(is)) = (recorded.ratio(), now.ratio()) {
        writeln!(
            out,
            "hit ratio  {} (recorded {}; {:+.2} points)",
            ratio(is, now),
            ratio(was, recorded),
            (is - was) * 100.0
        )?;
    }
    let (same, other) = tally.agreement();
    if same + other > 0 {
        writeln!(out, "outcomes   {same} as recorded, {other} not")?;
    }
    if !tally.lateness.is_empty() {
        let at = |q: f64| time(tally.lateness.value_at_quantile(q));
        writeln!(
            out,
            "lateness   p50 {}, p99 {}, max {} behind the schedule",
            at(0.5),
            at(0.99),
            time(tally.lateness.max())
        )?;
    }
    let connections = tally.connections;
    writeln!(
        out,
        "wire       {} connections, {} bytes sent, {} received",
        connections.opened, tally.bytes_sent, tally.bytes_received
    )?;
    commands(report, out)?;
    differences(report, out)?;
    let mut altered = report.limits.altered().peekable();
    if altered.peek().is_some() {
        writeln!(out, "\nNot as it was; of the operations")?;
    }
    for (what, count) in altered {
        writeln!(out, "{count:>10} {}", what.words())?;
    }
    if report.interrupted {
        writeln!(out, "\nIt was interrupted before its end.")?;
    }
    for remark in report.remarks() {
        writeln!(out, "! {remark}")?;
    }
    if let Some(why) = &report.gone {
        writeln!(out, "! the target is gone ({why}): the replay ended there")?;
    }
    if let Some(error) = &report.played.failed {
        writeln!(out, "! the capture could not be read to its end: {error:#}")?;
    }
    Ok(())
}

fn head(report: &Report<'_>, out: &mut String) -> fmt::Result {
    let paths: Vec<String> = report.trace.paths().map(|path| path.display().to_string()).collect();
    let span = report.trace.end_us().saturating_sub(report.trace.start_us());
    let span = Duration::from_micros(span.unsigned_abs()).as_secs_f64();
    writeln!(out, "replayed   {} ({} rows, {span:.1} s)", paths.join(", "), report.trace.rows())?;
    writeln!(out, "to         {}, {}", report.plan.target, report.pace())?;
    if report.trace.footers().any(|footer| footer.privacy.keys_hashed.is_some()) {
        writeln!(out, "keys       hashed: the pseudonyms were the keys")?;
    }
    if let Some(loaded) = &report.loaded {
        let tally = &loaded.played.tally;
        writeln!(
            out,
            "warmed     {} keys, {} bytes, in {:.1} s",
            loaded.keys, tally.bytes_sent, loaded.played.seconds
        )?;
    }
    Ok(())
}

/// What each command did.
fn commands(report: &Report<'_>, out: &mut String) -> fmt::Result {
    if report.played.tally.operations() == 0 {
        return Ok(());
    }
    let from = if report.plan.pace.depth().is_some() { "sending" } else { "the intended time" };
    writeln!(out, "\nLatency from {from} to the reply; beside it what the recorded server took")?;
    writeln!(
        out,
        "{:<10} {:>10} {:>10} {:>10} {:>10} {:>10}   {:>10} {:>10}",
        "command", "sent", "p50", "p99", "p99.9", "max", "recorded", "p99"
    )?;
    for (op, of) in report.played.tally.by_op() {
        let (now, was) = (&of.latency, &of.recorded);
        writeln!(
            out,
            "{:<10} {:>10} {:>10} {:>10} {:>10} {:>10}   {:>10} {:>10}",
            op.as_str(),
            of.sent,
            quantile(now, 0.5),
            quantile(now, 0.99),
            quantile(now, 0.999),
            quantile(now, 1.0),
            quantile(was, 0.5),
            quantile(was, 0.99)
        )?;
    }
    Ok(())
}

/// Outcomes that are not the recorded ones.
fn differences(report: &Report<'_>, out: &mut String) -> fmt::Result {
    let mut all: Vec<_> = report
        .played
        .tally
        .by_op()
        .flat_map(|(op, of)| of.outcomes().map(move |(was, is, count)| (op, was, is, count)))
        .filter(|(_, was, is, _)| was != is)
        .collect();
    all.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nOutcomes that differ")?;
    for (op, was, is, count) in all.iter().take(20) {
        let (op, was, is) = (op.as_str(), was.as_str(), is.as_str());
        writeln!(out, "{op:<10} {count:>10} {was} then, {is} now")?;
    }
    if all.len() > 20 {
        writeln!(out, "and {} kinds more; --format json has them", all.len() - 20)?;
    }
    Ok(())
}

fn ratio(ratio: f64, of: Ratio) -> String {
    format!("{:.2} % ({} hits, {} misses)", ratio * 100.0, of.hits, of.misses)
}

fn quantile(histogram: &Histogram<u64>, quantile: f64) -> String {
    if histogram.is_empty() {
        return "-".to_owned();
    }
    time(histogram.value_at_quantile(quantile))
}

/// A time of so many ns, with three digits or so.
fn time(ns: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let ns = ns as f64;
    match ns {
        _ if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        _ if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}
