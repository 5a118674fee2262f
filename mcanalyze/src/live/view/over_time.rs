//! Rate, hit ratio and bandwidth over time.

use ratatui::text::Line;

use super::{BOLD, at_left, chart, cut, width_of};
use crate::{
    live::model::Model,
    query::{kbps, ratio},
    render::text::{percent, rate_text, time_of_day},
};

/// A name, figures over time, and how people read one.
type Chart = (&'static str, Vec<Option<f64>>, fn(f64) -> String);

/// Charts one above the other, and when that was.
pub(super) fn lines(model: &Model, width: usize, height: usize) -> Vec<Line<'static>> {
    let (series, totals) = (&model.data.series, model.data.totals);
    let of_each: Vec<_> = series.sums.iter().zip(series.seconds()).collect();
    if of_each.is_empty() {
        return vec![Line::raw("no operations yet")];
    }
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let rates = of_each.iter().map(|(sums, seconds)| Some(sums.operations as f64 / seconds));
    let ratios = of_each.iter().map(|(sums, _)| ratio(sums.hits, sums.hits + sums.misses));
    let bandwidths = of_each.iter().map(|(sums, seconds)| kbps(sums.bytes, *seconds));
    let about = if model.about.is_sampled { "~" } else { "" };
    let charts: [Chart; 3] = [
        ("req/s", rates.collect(), rate_text),
        ("hit ratio", ratios.collect(), percent),
        ("kbps", bandwidths.collect(), rate_text),
    ];
    let lost = losses(model, width);
    // A line of each is its title; times, and losses if there are some, come below.
    let below = 1 + usize::from(lost.is_some());
    let of_chart = (height.saturating_sub(below) / charts.len()).max(2) - 1;
    let mut lines = Vec::new();
    for (name, values, text) in charts {
        let known = || values.iter().filter_map(|value| *value);
        let most = known().fold(0.0, f64::max);
        let last = known().next_back().map_or("-".to_owned(), text);
        // A ratio is a part of everything, whatever is the most.
        let (top, of_all) = match name {
            "hit ratio" => (1.0, ratio(totals.hits, totals.hits + totals.misses)),
            _ => (most, Some(most)),
        };
        let word = if name == "hit ratio" { "in all" } else { "at most" };
        let of_all = of_all.map_or("-".to_owned(), text);
        let title = format!("{name}  last {about}{last}, {word} {about}{of_all}");
        lines.push(Line::styled(cut(&title, width), BOLD));
        lines.extend(chart::columns(&values, top, width, of_chart).into_iter().map(Line::raw));
    }
    lines.extend(lost.map(Line::raw));
    lines.push(Line::raw(times(model, width)));
    lines
}

/// What the left and the right end of the charts are.
fn times(model: &Model, width: usize) -> String {
    let (from, to) = (time_of_day(model.data.series.intervals.origin), time_of_day(end(model)));
    at_left(&from, width.saturating_sub(width_of(&to))) + &to
}

/// Where the last interval ends.
fn end(model: &Model) -> i64 {
    let series = &model.data.series;
    let count = i64::try_from(series.sums.len()).unwrap_or(i64::MAX);
    series.intervals.origin.saturating_add(count.saturating_mul(series.intervals.length))
}

/// A mark wherever operations were lost.
fn losses(model: &Model, width: usize) -> Option<String> {
    let (from, to) = (model.data.series.intervals.origin, end(model));
    let length = i128::from(to) - i128::from(from);
    let mut marks = vec![' '; width];
    let mut any = false;
    for [begin, end, _] in &model.about.lossy {
        let column = |time: i64| {
            let after = (i128::from(time) - i128::from(from)).clamp(0, length);
            usize::try_from(after * width as i128 / length.max(1)).unwrap_or(0)
        };
        if *begin >= to || *end < from || width == 0 {
            continue;
        }
        any = true;
        marks[column(*begin).min(width - 1)..=column(*end).min(width - 1)].fill('!');
    }
    let name = "lost ";
    any.then(|| {
        let marks: String = marks.into_iter().collect();
        let is_free = marks.starts_with(&" ".repeat(name.len()));
        if is_free { format!("{name}{}", &marks[name.len()..]) } else { marks }
    })
}
