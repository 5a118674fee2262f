//! One key, or whatever line was opened, with all that is known of it.

use ratatui::text::Line;

use super::{BOLD, chart, cut, width_of, wrapped};
use crate::{
    live::{
        batch,
        figures::{Figures, OTHERS},
        model::{Model, View},
    },
    query::{kbps, per_second, ratio},
    render::text::{bytes, grouped, inert, nanoseconds, percent, rate_text, time_of_day},
};

/// Text before what belongs to it.
const NAMES: usize = 10;

/// All of it, some of which may be below the screen.
pub(super) fn lines(model: &Model, width: usize) -> Vec<Line<'static>> {
    let Some((name, figures)) = model.figures() else { return Vec::new() };
    let name = format!("{} {}", model.view.one(), inert(name));
    let mut lines: Vec<Line<'static>> =
        wrapped(&name, width).into_iter().map(|line| Line::styled(line, BOLD)).collect();
    let Some(figures) = figures else {
        lines.push(Line::raw("not seen yet, or dropped"));
        return lines;
    };
    lines.push(Line::raw(""));
    let rows = counted(model, figures);
    for (name, pieces) in rows.into_iter().filter(|(_, pieces)| !pieces.is_empty()) {
        for (at, line) in flowing(&pieces, width.saturating_sub(NAMES)).into_iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            lines.push(Line::raw(cut(&format!("{name:<NAMES$}{line}"), width)));
        }
    }
    lines.push(Line::raw(""));
    lines.extend(over_time(model, figures, width));
    lines.push(Line::raw(""));
    lines.extend(latencies(figures, width));
    lines
}

/// Names, each with what belongs to it.
fn counted(model: &Model, figures: &Figures) -> Vec<(&'static str, Vec<String>)> {
    let seconds = model.seconds();
    let rate = |rate: Option<f64>| rate.map_or("-".to_owned(), rate_text);
    let hit_ratio = ratio(figures.hits, figures.hits + figures.misses);
    let of_client = |(client, calls): (u16, i64)| {
        let name = match client {
            OTHERS => "others".to_owned(),
            client => inert(&model.data.clients.at(client.into()).0),
        };
        (name, calls)
    };
    let commands = figures.commands.iter().map(|(n, calls)| (batch::command(n).to_owned(), calls));
    let sizes = figures.sizes.map_or_else(Vec::new, |sizes| {
        let (name, none) = match model.view {
            View::Keys => ("now", "gone or unknown"),
            _ => ("last", "unknown"),
        };
        vec![
            format!("{name} {}", figures.size.size().map_or(none.to_owned(), bytes)),
            format!("least {}", bytes(sizes.min)),
            format!("most {}", bytes(sizes.max)),
        ]
    });
    let mut rows = vec![
        (
            "calls",
            vec![
                format!(
                    "{} ({}/s)",
                    grouped(figures.calls),
                    rate(per_second(figures.calls, seconds))
                ),
                format!("{} hits", grouped(figures.hits)),
                format!("{} misses", grouped(figures.misses)),
                format!("hit ratio {}", hit_ratio.map_or("-".to_owned(), percent)),
            ],
        ),
        (
            "values",
            vec![format!(
                "{} in all ({} kbps)",
                bytes(figures.bytes),
                rate(kbps(figures.bytes, seconds))
            )],
        ),
        ("size", sizes),
        (
            "seen",
            figures.seen.map_or_else(Vec::new, |(first, last)| {
                vec![format!("first {}", time_of_day(first)), format!("last {}", time_of_day(last))]
            }),
        ),
        ("commands", most_first(commands)),
    ];
    if model.view != View::Clients {
        rows.push(("clients", most_first(figures.clients.iter().map(of_client))));
    }
    rows
}

fn most_first(counts: impl Iterator<Item = (String, i64)>) -> Vec<String> {
    let mut counts: Vec<(String, i64)> = counts.collect();
    counts.sort_by_key(|(_, count)| -count);
    counts.into_iter().map(|(name, count)| format!("{name} {}", grouped(count))).collect()
}

/// Pieces in lines of so many columns.
fn flowing(pieces: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if width_of(line) + 2 + width_of(piece) <= width => {
                *line += &format!(", {piece}");
            }
            _ => lines.push(piece.clone()),
        }
    }
    lines
}

/// How often it was asked for over time.
fn over_time(model: &Model, figures: &Figures, width: usize) -> Vec<Line<'static>> {
    let intervals = model.data.intervals;
    let last = model.data.series.last.saturating_sub(intervals.origin) / intervals.length;
    let count = usize::try_from(last.clamp(0, 64)).unwrap_or(0) + 1;
    let mut calls = vec![Some(0.0); count];
    for (interval, seen) in figures.over_time.iter() {
        if let Some(calls) = calls.get_mut(usize::from(interval)) {
            #[expect(clippy::cast_precision_loss, reason = "for display")]
            let seen = seen as f64;
            *calls = Some(seen);
        }
    }
    let most = calls.iter().flatten().copied().fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let seconds = intervals.length as f64 / 1e6;
    let title = format!(
        "{:<NAMES$}at most {}/s, in intervals of {}",
        "over time",
        rate_text(most / seconds),
        nanoseconds(intervals.length.saturating_mul(1_000))
    );
    let mut lines = vec![Line::raw(cut(&title, width))];
    let chart = chart::columns(&calls, most, width.saturating_sub(NAMES), 2);
    lines.extend(chart.into_iter().map(|line| Line::raw(format!("{:<NAMES$}{line}", ""))));
    lines
}

/// Percentiles, and a histogram.
fn latencies(figures: &Figures, width: usize) -> Vec<Line<'static>> {
    let percentile = |part| figures.latencies.percentile(part).map(nanoseconds);
    let (Some(p50), Some(p99)) = (percentile(50), percentile(99)) else {
        return vec![Line::raw(format!("{:<NAMES$}not known", "latency"))];
    };
    let mut lines = vec![Line::raw(format!("{:<NAMES$}~p50 {p50}, ~p99 {p99}", "latency"))];
    let powers = figures.latencies.by_power();
    let most = powers.iter().map(|(_, count)| *count).max().unwrap_or(0);
    for (power, count) in powers {
        let from = nanoseconds(1_i64.checked_shl(power).unwrap_or(i64::MAX));
        let to = nanoseconds(1_i64.checked_shl(power + 1).filter(|to| *to > 0).unwrap_or(i64::MAX));
        let text = format!("{from:>9} to {to:>9} {:>12} ", grouped(count));
        let room = width.saturating_sub(width_of(&text));
        lines.push(Line::raw(cut(&format!("{text}{}", chart::bar(count, most, room)), width)));
    }
    lines
}
