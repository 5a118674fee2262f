//! What stands above and below: what is looked at, and what must be known of it.

use ratatui::text::Line;

use super::{BOLD, at_left, cut, width_of};
use crate::{
    live::{
        feed::Progress,
        model::{Model, View},
    },
    query::{per_second, ratio},
    render::text::{grouped, inert, percent, rate_text, seconds_text},
};

/// The capture, and its totals as far as there is room.
pub(super) fn title(model: &Model, width: usize) -> Line<'static> {
    let (totals, seconds) = (model.data.totals, model.seconds());
    let about = if model.about.is_sampled { "~" } else { "" };
    let over = if model.data.dropped > 0 { "over " } else { "" };
    let rate = per_second(totals.operations, seconds).map_or("-".to_owned(), rate_text);
    let hits = ratio(totals.hits, totals.hits + totals.misses).map_or("-".to_owned(), percent);
    let pieces = [
        format!("{about}{} operations", grouped(totals.operations)),
        format!("{about}{rate}/s"),
        format!("hit ratio {about}{hits}"),
        format!(
            "{over}{} keys{}",
            grouped(model.data.keys.len()),
            if model.about.is_sampled { " recorded" } else { "" }
        ),
        seconds_text(seconds),
    ];
    let mut text = cut(&model.about.name, (width / 3).max(12));
    for piece in pieces {
        if width_of(&text) + 2 + width_of(&piece) <= width {
            text += &format!("  {piece}");
        }
    }
    Line::styled(text, BOLD)
}

/// The views, and where in the one that is seen.
pub(super) fn views(model: &Model, width: usize) -> Line<'static> {
    let title = |view: View| match view == model.view {
        true => format!("[{}]", view.title()),
        false => format!(" {} ", view.title()),
    };
    let views: String = View::ALL.map(title).concat();
    let mut place = String::new();
    if model.view != View::OverTime && model.len() > 0 {
        place = format!("{} of {}", grouped(model.cursor + 1), grouped(model.len()));
    }
    if !model.filter.text.is_empty() && model.view != View::OverTime {
        let room = width.saturating_sub(width_of(&views) + width_of(&place) + 4);
        let filter = format!("/{}", inert(&model.filter.text));
        place = format!("{}  {place}", cut(&filter, room));
    }
    let left = at_left(&views, width.saturating_sub(width_of(&place) + 1).max(1));
    Line::raw(cut(&format!("{left} {place}"), width))
}

/// Warnings, if there are some, and how it goes.
pub(super) fn lines(model: &Model, width: usize) -> Vec<Line<'static>> {
    let mut warnings: Vec<String> = Vec::new();
    if let Some(trouble) = &model.trouble {
        warnings.push(inert(trouble));
    }
    warnings.extend(model.about.warnings.iter().cloned());
    if model.data.dropped > 0 {
        warnings.push("RARE KEYS DROPPED: their counts are lower bounds".to_owned());
    }
    let mut lines: Vec<String> = Vec::new();
    for warning in warnings {
        match lines.last_mut() {
            Some(line) if width_of(line) + 2 + width_of(&warning) <= width => {
                *line += &format!("; {warning}");
            }
            _ => lines.push(warning),
        }
    }
    let style = BOLD;
    let mut lines: Vec<Line<'static>> =
        lines.into_iter().map(|line| Line::styled(cut(&line, width), style)).collect();
    lines.push(if model.typing { typing(model, width) } else { progress(model, width) });
    lines
}

fn typing(model: &Model, width: usize) -> Line<'static> {
    let filter = format!("/{}", inert(&model.filter.text));
    let help = "Enter: done  Esc: clear";
    let left = at_left(&filter, width.saturating_sub(width_of(help) + 1));
    Line::raw(cut(&format!("{left} {help}"), width))
}

/// In which column typing goes on.
pub(super) fn typed(model: &Model, width: usize) -> usize {
    (1 + width_of(&inert(&model.filter.text))).min(width.saturating_sub(1))
}

fn progress(model: &Model, width: usize) -> Line<'static> {
    let text = match model.progress {
        Progress::Reading => {
            let (read, rows) = (model.data.rows, model.about.rows.max(1));
            format!("reading {} %", read.saturating_mul(100) / rows.max(read))
        }
        Progress::UpToDate => "up to date".to_owned(),
        Progress::Playing { at, speed, paused, ended } => {
            #[expect(clippy::cast_precision_loss, reason = "for display")]
            let seconds = |until: i64| until.saturating_sub(model.about.start).max(0) as f64 / 1e6;
            let state = match (paused, ended) {
                (true, _) => "PAUSED",
                (_, true) => "PLAYED to the end",
                _ => "PLAYING",
            };
            let (at, end) = (seconds_text(seconds(at)), seconds_text(seconds(model.about.end)));
            format!("{state}  {at} of {end}  {speed} x")
        }
    };
    let help = match (model.help || model.opened.is_some(), model.progress) {
        (true, _) => "j k: down, up  Esc: back",
        (_, Progress::Playing { .. }) => "space: pause  + -: speed  p: all  ?: help  q: quit",
        _ => "/: filter  Enter: open  Tab: view  p: play  ?: help  q: quit",
    };
    let room = width.saturating_sub(width_of(&text) + 2);
    // Of what does not fit, that comes first which is needed least.
    let help =
        std::iter::successors(Some(help), |help| help.split_once("  ").map(|(_, rest)| rest));
    let help = help.into_iter().find(|help| width_of(help) <= room).unwrap_or("");
    let left = at_left(&text, width.saturating_sub(width_of(help)));
    Line::raw(format!("{left}{help}"))
}
