//! The report for programs: one object. Times are in ns.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::{Report, Verdict};
use crate::tally::{OfOp, Ratio};

/// The report as an object.
pub(crate) fn write(report: &Report<'_>) -> Value {
    let tally = &report.played.tally;
    let (recorded, now) = tally.ratios();
    let (same, other) = tally.agreement();
    let connections = tally.connections;
    let by_op = tally.by_op().map(|(op, of)| (op.as_str().to_owned(), command(of)));
    let unsent = tally.by_unsent().map(|(why, count)| (why.name().to_owned(), json!(count)));
    let unanswered = tally.by_unanswered();
    let unanswered = unanswered.map(|(why, count)| (why.name().to_owned(), json!(count)));
    let altered = report.limits.altered();
    let altered = altered.map(|(what, count)| (what.name().to_owned(), json!(count)));
    json!({
        "captures": captures(report),
        "target": report.plan.target.to_string(),
        "pace": report.pace(),
        "not_as_it_was": Value::Object(altered.collect()),
        "warmed": report.loaded.as_ref().map(|loaded| json!({
            "keys": loaded.keys,
            "of_unknown_size": loaded.of_unknown_size,
            "bytes": loaded.played.tally.bytes_sent,
            "seconds": loaded.played.seconds,
        })),
        "seconds": report.played.seconds,
        "operations": tally.operations(),
        "hit_ratio": {"recorded": ratio(recorded), "now": ratio(now)},
        "outcomes": {"as_recorded": same, "other": other},
        "lateness_ns": percentiles(&tally.lateness),
        "commands": Value::Object(by_op.collect()),
        "not_sent": Value::Object(unsent.collect()),
        "not_answered": Value::Object(unanswered.collect()),
        "connections": {
            "opened": connections.opened,
            "refused": connections.refused,
            "closed_by_target": connections.closed,
            "given_up": connections.given_up,
        },
        "cas_unknown": tally.cas_unknown,
        "stray_replies": tally.stray,
        "bytes_sent": tally.bytes_sent,
        "bytes_received": tally.bytes_received,
        "interrupted": report.interrupted,
        "gone": report.gone,
        "failed": report.played.failed.as_ref().map(|error| format!("{error:#}")),
        "remarks": report.remarks(),
        "complete": report.verdict() == Verdict::Done,
    })
}

fn captures(report: &Report<'_>) -> Vec<Value> {
    let both = report.trace.paths().zip(report.trace.footers());
    both.map(|(path, footer)| {
        json!({
            "path": path.display().to_string(),
            "id": footer.capture.id,
            "lost": footer.loss.losses.total(),
            "gaps_us": footer.loss.series.iter().filter(|it| it[2] > 0).collect::<Vec<_>>(),
            "sampled": footer.sampling.is_sampled(),
            "sampling": footer.sampling.series,
            "keys_hashed": footer.privacy.keys_hashed.is_some(),
        })
    })
    .collect()
}

fn command(of: &OfOp) -> Value {
    let outcomes = of.outcomes().map(
        |(was, is, count)| json!({"recorded": was.as_str(), "now": is.as_str(), "count": count}),
    );
    json!({
        "sent": of.sent,
        "latency_ns": percentiles(&of.latency),
        "recorded_latency_ns": percentiles(&of.recorded),
        "outcomes": outcomes.collect::<Vec<_>>(),
    })
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let names = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];
    let mut all: Map<String, Value> = names
        .into_iter()
        .map(|(name, quantile)| (name.to_owned(), json!(histogram.value_at_quantile(quantile))))
        .collect();
    all.insert("max".to_owned(), json!(histogram.max()));
    all.insert("count".to_owned(), json!(histogram.len()));
    Value::Object(all)
}

fn ratio(of: Ratio) -> Value {
    json!({"hits": of.hits, "misses": of.misses, "ratio": of.ratio()})
}
