//! Lines of a table: keys, prefixes, clients or commands.

use ratatui::text::Line;

use super::{BOLD, CHOSEN, at_left, at_right, width_of};
use crate::{
    live::{
        figures::Figures,
        model::{Model, Sort},
    },
    query::{kbps, per_second, ratio},
    render::text::{cell, inert},
    table::{Unit, Value},
};

/// A column: what it is called, what it is sorted by, and a figure of it. `f64` is for
/// how many seconds was looked at.
struct Column {
    title: &'static str,
    sort: Option<Sort>,
    unit: Unit,
    value: fn(&Figures, f64) -> Value,
    /// Where there is not enough room, the largest goes first.
    place: u8,
}

const fn column(
    title: &'static str,
    sort: Option<Sort>,
    unit: Unit,
    value: fn(&Figures, f64) -> Value,
    place: u8,
) -> Column {
    Column { title, sort, unit, value, place }
}

/// From left to right.
const COLUMNS: [Column; 10] = [
    column("calls", Some(Sort::Calls), Unit::Count, |f, _| f.calls.into(), 0),
    column("misses", Some(Sort::Misses), Unit::Count, |f, _| f.misses.into(), 8),
    column("hit ratio", None, Unit::Ratio, |f, _| ratio(f.hits, f.hits + f.misses).into(), 2),
    column("size", Some(Sort::Size), Unit::Bytes, |f, _| f.size.size().into(), 4),
    column("req/s", Some(Sort::Rate), Unit::Rate, |f, s| per_second(f.calls, s).into(), 1),
    column("kbps", Some(Sort::Bytes), Unit::Kbps, |f, s| kbps(f.bytes, s).into(), 5),
    column("bytes", None, Unit::Bytes, |f, _| f.bytes.into(), 9),
    column("~p50", None, Unit::Nanoseconds, |f, _| f.latencies.percentile(50).into(), 6),
    column(
        "~p99",
        Some(Sort::Latency),
        Unit::Nanoseconds,
        |f, _| f.latencies.percentile(99).into(),
        3,
    ),
    column("last", None, Unit::Time, |f, _| f.seen.map(|(_, last)| last).into(), 7),
];

/// Names get as much room as they need, if it is not more than this.
const NAME_MIN: usize = 24;
/// Between columns.
const GAP: usize = 2;

/// The header, and the lines that fit.
pub(super) fn lines(model: &Model, width: usize) -> Vec<Line<'static>> {
    let groups: Vec<_> = (model.first..).map_while(|at| model.line(at)).take(200).collect();
    let names: Vec<String> = groups.iter().map(|(name, _)| inert(name)).collect();
    let mut columns: Vec<(&Column, Vec<String>, usize)> = COLUMNS
        .iter()
        .map(|column| {
            let value = |figures| cell(column.unit, &(column.value)(figures, model.seconds()));
            let cells: Vec<String> = groups.iter().map(|(_, figures)| value(figures)).collect();
            let longest = cells.iter().map(|cell| width_of(cell)).max().unwrap_or(0);
            // Room for the arrow, so that nothing moves when the order does.
            let width = longest.max(width_of(column.title) + usize::from(column.sort.is_some()));
            (column, cells, width)
        })
        .collect();
    let longest = names.iter().map(|name| width_of(name)).max().unwrap_or(0);
    let wanted = longest.clamp(width_of(model.view.one()), NAME_MIN);
    let needed = |columns: &[(&Column, Vec<String>, usize)]| -> usize {
        columns.iter().map(|(.., width)| width + GAP).sum()
    };
    while needed(&columns) + wanted > width {
        let given_up = columns
            .iter()
            .enumerate()
            .filter(|(_, (column, ..))| column.place > 0 && column.sort != Some(model.sort))
            .max_by_key(|(_, (column, ..))| column.place);
        let Some((at, _)) = given_up else { break };
        columns.remove(at);
    }
    let of_name = width.saturating_sub(needed(&columns));
    let mut header = at_left(model.view.one(), of_name);
    for (column, _, width) in &columns {
        let arrow = if model.ascending { "↑" } else { "↓" };
        let arrow = if column.sort == Some(model.sort) { arrow } else { "" };
        header += &at_right(&format!("{}{arrow}", column.title), width + GAP);
    }
    let mut lines = vec![Line::styled(header, BOLD)];
    for (at, name) in names.iter().enumerate() {
        let mut text = at_left(name, of_name);
        for (_, cells, width) in &columns {
            text += &at_right(&cells[at], width + GAP);
        }
        let is_chosen = model.first + at == model.cursor;
        lines.push(if is_chosen { Line::styled(text, CHOSEN) } else { Line::raw(text) });
    }
    if groups.is_empty() {
        lines.push(Line::raw(match model.filter.text.is_empty() {
            true => format!("no {} yet", model.view.title()),
            false => format!("none of {} {} matches", model.of(), model.view.title()),
        }));
    }
    lines
}
