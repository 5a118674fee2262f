//! Answers for people, in a terminal.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table as Grid};
use mcrec_schema::footer::{ANONYMISED_IN_TRACE, Capture, Footer, Source, Target};

use super::{rfc3339, system_time};
use crate::{
    query::{course::Course, heading::Heading, latency::ALL, summary::Summary},
    sampling::Sampling,
    table::{Column, Need, Section, Style, Table, Unit, Value},
};

/// Width of the longest bar of a histogram.
const BAR: usize = 40;
/// And of one at the end of a line.
const BAR_IN_LINE: usize = 20;
/// Keys get at least this width, where the lines must not be too long.
const KEY_MIN: u16 = 16;

/// Writes what must be known before any answer, with the totals if there are some.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn heading(
    heading: &Heading,
    summary: Option<&Summary>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut targets: Vec<String> = heading.footers.iter().flat_map(targets).collect();
    targets.dedup();
    for target in targets {
        line(out, "memcached", &target)?;
    }
    let until = format!("{} to {}", second(heading.start), second(heading.end));
    let files = match heading.footers.len() {
        1 => String::new(),
        files => format!(", in {files} files"),
    };
    let length = duration(heading.seconds);
    line(out, "recorded", &format!("{until} UTC ({length}{files})"))?;
    if let Some(asked) = &heading.asked {
        let outside = if heading.is_outside { ": nothing was recorded then" } else { "" };
        line(out, "asked for", &format!("{asked}{outside}"))?;
    }
    if let Some(sampling) = &heading.sampling {
        line(out, "SAMPLED", &sampled(sampling))?;
    }
    if let Some(summary) = summary {
        totals(summary, out)?;
    }
    caveats(heading, out)?;
    writeln!(out)
}

fn totals(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let heading = &summary.heading;
    // What was scaled is an estimate.
    let about = if heading.is_scaled { "~" } else { "" };
    let counted = heading.asked.is_none()
        && heading.sampling.as_ref().is_some_and(|sampling| sampling.sampled_out.is_some());
    let of_all = if counted { "" } else { about };
    let rate = summary.rate.map(|rate| format!(" ({}/s)", rate_text(rate))).unwrap_or_default();
    let of = match heading.asked {
        Some(_) => format!(" of {} recorded", grouped(summary.of_operations)),
        None => String::new(),
    };
    let (operations, keys) = (grouped(summary.operations), grouped(summary.distinct_keys));
    line(out, "operations", &format!("{of_all}{operations}{of}{rate}, {about}{keys} keys"))?;
    let (hits, misses) = (grouped(summary.hits), grouped(summary.misses));
    let ratio = summary.hit_ratio.map_or("-".to_owned(), percent);
    let within = summary.hit_ratio_within.map_or_else(String::new, |[least, most]| {
        let (least, most) = (percent(least), percent(most));
        format!(", {least} to {most} with what was lost")
    });
    let ratio = format!("{about}{ratio}{within} ({about}{hits} hits, {about}{misses} misses)");
    line(out, "hit ratio", &ratio)?;
    let kbps = summary.bandwidth_kbps.map(|kbps| format!(" ({about}{} kbps)", rate_text(kbps)));
    let returned = bytes(summary.bytes_returned);
    let stored = bytes(summary.bytes_stored);
    let values =
        format!("{about}{returned} returned, {about}{stored} stored{}", kbps.unwrap_or_default());
    line(out, "values", &values)?;
    summary.course.as_ref().map_or(Ok(()), |course| over_time(course, about, out))
}

/// Operations over time as a line, with a `!` under parts in which some were lost.
fn over_time(course: &Course, about: &str, out: &mut impl Write) -> io::Result<()> {
    let most = course.rates.iter().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        return Ok(());
    }
    let least = course.rates.iter().copied().fold(most, f64::min);
    let (low, high) = (rate_text(least), rate_text(most));
    let text = format!("{}  {about}{low}/s to {about}{high}/s", sparkline(&course.rates, most));
    line(out, "over time", &text)?;
    if course.lossy.contains(&true) {
        let marks: String = course.lossy.iter().map(|lost| if *lost { '!' } else { ' ' }).collect();
        line(out, "", marks.trim_end())?;
    }
    Ok(())
}

/// A character for each value, as high as it is against `most`; a space for none.
fn sparkline(values: &[f64], most: f64) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |value: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
        let height = (value / most * 8.0).ceil() as usize;
        height.checked_sub(1).map_or(' ', |height| HEIGHTS[height.min(7)])
    };
    values.iter().map(|value| height(*value)).collect()
}

/// What a sample says, and what it does not.
pub(crate) fn sampled(sampling: &Sampling) -> String {
    let Sampling { sampled_out, densest, sparsest, .. } = sampling;
    let left_out = match sampled_out {
        Some(count) => format!("{} operations left out on purpose", grouped(count)),
        None => "it is not known how many operations were left out".to_owned(),
    };
    let means = "~ is scaled to all keys, and so an estimate; figures of a key are its own";
    if !sampling.changes() {
        return format!("1/{densest} of the keys, {left_out}; {means}");
    }
    format!(
        "1/{densest} to 1/{sparsest} of the keys, as it changed, {left_out}; {means}, but those of keys recorded partly are too low"
    )
}

fn caveats(heading: &Heading, out: &mut impl Write) -> io::Result<()> {
    caveat_lines(heading).iter().try_for_each(|(name, text)| line(out, name, text))
}

/// What must be known before any number is believed: a name, and what it is.
pub(crate) fn caveat_lines(heading: &Heading) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let counted = |reasons: &mut dyn Iterator<Item = (&'static str, u64)>| {
        let reasons = reasons.filter(|(_, count)| *count > 0);
        let named = reasons.map(|(name, n)| format!("{} {}", name.replace('_', " "), grouped(n)));
        named.collect::<Vec<_>>().join(", ")
    };
    let lost = heading.losses.total();
    if lost > 0 {
        let reasons = counted(&mut heading.losses.by_reason());
        let (lost, seen) = (grouped(lost), grouped(heading.seen));
        let text = match heading.lost_at_most() {
            Some(_) => format!(
                "{lost} of {seen} operations are missing ({reasons}): a count is at least what \
                 stands here, and at most so many more"
            ),
            None => format!(
                "at least {lost} of {seen} operations are missing ({reasons}): a count is at \
                 least what stands here; how many more is not known, as it is reads that were \
                 lost, each with one operation or more"
            ),
        };
        lines.push(("LOST", text));
    }
    if heading.incomplete.total() > 0 {
        let text = counted(&mut heading.incomplete.by_reason());
        let unknown = "some latencies or keys, and which keys of a multi-get belong together";
        lines.push(("INCOMPLETE", format!("{text}; unknown: {unknown}")));
    }
    if heading.unended > 0 {
        let text = "its recorder was cut off, or is still at work: operations after the last \
                    commit are missing";
        lines.push(("UNFINISHED", text.to_owned()));
    }
    let hashed = |footer: &Footer| footer.privacy.keys_hashed.clone();
    match heading.footers.iter().find_map(hashed) {
        None => {}
        Some(how) if how == ANONYMISED_IN_TRACE => lines.push(("keys", how)),
        Some(_) => {
            let text = "hashed: each segment between : / . has a pseudonym";
            lines.push(("keys", text.to_owned()));
        }
    }
    let mut blind: Vec<&str> = Vec::new();
    for footer in &heading.footers {
        for what in footer.source.cannot_see.iter().map(|blind| blind.what.as_str()) {
            if !blind.contains(&what) {
                blind.push(what);
            }
        }
    }
    if !blind.is_empty() {
        lines.push(("not seen", blind.join("; ")));
    }
    if heading.requests_without_operation > 0 {
        let count = grouped(heading.requests_without_operation);
        lines.push(("", format!("{count} requests were of those")));
    }
    lines
}

/// The servers of a capture: of a merged one there are several.
fn targets(footer: &Footer) -> Vec<String> {
    match footer.parts() {
        [] => vec![target(&footer.capture, &footer.target, &footer.source)],
        parts => parts.iter().map(|p| target(&p.capture, &p.target, &p.source)).collect(),
    }
}

fn target(capture: &Capture, target: &Target, source: &Source) -> String {
    let version = target.version.as_deref().unwrap_or("of unknown version");
    if target.pid == 0 {
        return format!("{version}, from a trace: {}", source.name);
    }
    let mut text = format!("{version}, pid {} on {}", target.pid, capture.host);
    if !target.listening.is_empty() {
        text = format!("{text}, {}", target.listening.join(" "));
    }
    format!("{text}, seen through {}", source.name)
}

/// A line of the summary. Host names and command lines are not ours: made safe.
pub(super) fn line(out: &mut impl Write, name: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{name:<11}{}", inert(text))
}

/// Writes a table, with bars for the values of a column if one is named. Where a width
/// is known, its lines are no wider: columns that are needed least give way, the last
/// first, and then keys are wrapped.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn table(
    table: &Table,
    bar: Option<&str>,
    width: Option<u16>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut shown: Vec<(Column, Vec<String>)> = table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.need != Need::Program)
        .map(|(at, column)| {
            let days = column.unit == Unit::Time && are_of_several_days(table, at);
            let cell = |row: &Vec<Value>| match &row[at] {
                Value::Int(micros) if days => day_and_time(*micros),
                value => cell(column.unit, value),
            };
            (*column, table.rows.iter().map(cell).collect())
        })
        .collect();
    if let Some(at) = bar.and_then(|bar| table.columns.iter().position(|c| c.name == bar)) {
        let column = Column::new("bar", "", Unit::Word).if_room();
        shown.push((column, bars_of(table.rows.iter().map(|row| &row[at]))));
    }
    let fits = |shown: &[(Column, Vec<String>)]| {
        let room = width.map_or(usize::MAX, usize::from);
        shown.iter().map(|(column, cells)| needed(*column, cells)).sum::<usize>() <= room
    };
    while !fits(&shown) {
        let Some(least) = shown.iter().rposition(|(column, _)| column.need == Need::Room) else {
            break;
        };
        shown.remove(least);
    }
    // Where even that is too wide, what stands first is worth most.
    while !fits(&shown) && shown.len() > 2 {
        shown.pop();
    }
    for text in grid(&shown, table.rows.len(), width).lines() {
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// Whether times in a column are of more than one day.
fn are_of_several_days(table: &Table, at: usize) -> bool {
    /// µs.
    const DAY: i64 = 86_400_000_000;
    let mut days = table.rows.iter().filter_map(|row| match row[at] {
        Value::Int(micros) => Some(micros.div_euclid(DAY)),
        _ => None,
    });
    days.next().is_some_and(|first| days.any(|day| day != first))
}

/// A bar for each value: the longest for the largest.
fn bars_of<'a>(values: impl Iterator<Item = &'a Value> + Clone) -> Vec<String> {
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let number = |value: &Value| match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        _ => 0.0,
    };
    let most = values.clone().map(number).fold(0.0, f64::max);
    let bar = |value: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for display")]
        let length =
            if most > 0.0 { (value / most * BAR_IN_LINE as f64).round() as usize } else { 0 };
        // What is there is seen, however little.
        "█".repeat(length.max(usize::from(value > 0.0)))
    };
    values.map(|value| bar(number(value))).collect()
}

/// The width that a column needs, with the space around it.
fn needed(column: Column, cells: &[String]) -> usize {
    let longest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    let longest = if column.unit == Unit::Key { longest.min(KEY_MIN.into()) } else { longest };
    longest.max(column.heading().chars().count()) + 2
}

fn grid(shown: &[(Column, Vec<String>)], rows: usize, width: Option<u16>) -> Grid {
    let mut grid = Grid::new();
    grid.load_style(comfy_table::presets::NOTHING);
    let header = shown.iter().map(|(column, _)| aligned(Cell::new(column.heading()), column.unit));
    grid.set_header(header);
    for row in 0..rows {
        let cells =
            shown.iter().map(|(column, cells)| aligned(Cell::new(&cells[row]), column.unit));
        grid.add_row(cells);
    }
    if let Some(width) = width {
        grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for (column, (shown, _)) in grid.column_iter_mut().zip(shown) {
        column.set_padding((u16::from(shown.unit != Unit::Key), 1));
        if shown.unit != Unit::Key {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    grid
}

/// Writes a part of an answer.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn section(
    section: &Section,
    width: Option<u16>,
    out: &mut impl Write,
) -> io::Result<()> {
    if !section.title.is_empty() {
        writeln!(out, "{}", inert(&section.title))?;
    }
    if section.table.rows.is_empty() {
        writeln!(out, "{}", inert(section.empty))?;
    } else {
        match section.style {
            Style::Lines(bar) => table(&section.table, bar, width, out)?,
            Style::Histograms => histograms(&section.table, out)?,
            Style::Figures => figures(&section.table, out)?,
        }
    }
    for note in &section.notes {
        writeln!(out, "{}", inert(note))?;
    }
    Ok(())
}

/// Each row as a name and its figure, in the unit that its third column names.
fn figures(table: &Table, out: &mut impl Write) -> io::Result<()> {
    let name = |row: &Vec<Value>| match &row[0] {
        Value::Text(name) => inert(name),
        _ => String::new(),
    };
    let longest = table.rows.iter().map(|row| name(row).chars().count()).max().unwrap_or(0);
    for row in &table.rows {
        let figure = cell(unit_of(row.get(2)), &row[1]);
        writeln!(out, "{:<longest$}  {figure}", name(row))?;
    }
    Ok(())
}

fn unit_of(value: Option<&Value>) -> Unit {
    match value {
        Some(Value::Text(name)) => Unit::named(name),
        _ => Unit::Number,
    }
}

/// A histogram for each name in the first column.
fn histograms(table: &Table, out: &mut impl Write) -> io::Result<()> {
    let rows = table.rows.as_slice();
    let unit = table.columns[1].unit;
    let mut rest = rows;
    while let Some(Value::Text(name)) = rest.first().map(|row| &row[0]) {
        let end = rest.iter().position(|row| row[0] != Value::Text(name.clone()));
        let (buckets, others) = rest.split_at(end.unwrap_or(rest.len()));
        if rest.len() < rows.len() {
            writeln!(out)?;
        }
        writeln!(out, "{}", inert(if name == ALL { "all commands" } else { name }))?;
        bars(buckets, unit, out)?;
        rest = others;
    }
    Ok(())
}

fn bars(buckets: &[Vec<Value>], unit: Unit, out: &mut impl Write) -> io::Result<()> {
    let number = |value: &Value| if let Value::Int(number) = value { *number } else { 0 };
    let most = buckets.iter().map(|bucket| number(&bucket[3])).max().unwrap_or(0).max(1);
    for bucket in buckets {
        let (from, to) = (cell(unit, &bucket[1]), cell(unit, &bucket[2]));
        let count = number(&bucket[3]);
        let length =
            usize::try_from(i128::from(count) * BAR as i128 / i128::from(most)).unwrap_or(0);
        // What is there is seen, however little.
        let bar = "█".repeat(length.max(usize::from(count > 0)));
        let text = format!("{from:>9} to {to:>9} {:>12} {bar}", grouped(count));
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

fn aligned(cell: Cell, unit: Unit) -> Cell {
    match unit {
        Unit::Word | Unit::Key => cell,
        _ => cell.set_alignment(CellAlignment::Right),
    }
}

pub(crate) fn cell(unit: Unit, value: &Value) -> String {
    match (unit, value) {
        (_, Value::Null) => "-".to_owned(),
        (_, Value::Text(text)) => inert(text),
        (Unit::Nanoseconds, Value::Int(ns)) => nanoseconds(*ns),
        (Unit::Bytes, Value::Int(number)) => bytes(*number),
        (Unit::Time, Value::Int(micros)) => time_of_day(*micros),
        (_, Value::Int(number)) => grouped(*number),
        (Unit::Ratio, Value::Float(ratio)) => percent(*ratio),
        (Unit::Seconds, Value::Float(seconds)) => seconds_text(*seconds),
        (Unit::Number, Value::Float(number)) => format!("{number:.3}"),
        (_, Value::Float(number)) => rate_text(*number),
    }
}

/// Text that cannot do anything to a terminal or mislead about its order: what
/// is [harmful] is in Rust's notation, which no key contains by itself.
pub(crate) fn inert(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if harmful(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Control characters (captures keep those beyond ASCII), ends of lines and
/// paragraphs, and characters that reverse the direction of text or are invisible:
/// those that Unicode has displays ignore, and a blank that is not one.
pub(crate) fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
            | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// `1,234,567`.
pub(crate) fn grouped(number: impl ToString) -> String {
    let digits = number.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    format!("{sign}{}", groups.join(","))
}

pub(crate) fn rate_text(rate: f64) -> String {
    if rate.abs() < 100.0 {
        return format!("{rate:.1}");
    }
    #[expect(clippy::cast_possible_truncation, reason = "for display")]
    let whole = rate.round() as i64;
    grouped(whole)
}

pub(crate) fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

pub(crate) fn seconds_text(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "for display")]
    let ns = (seconds * 1e9) as i64;
    if seconds < 60.0 { nanoseconds(ns) } else { duration(seconds) }
}

pub(crate) fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    scaled(bytes, 1024.0, "B", &UNITS)
}

pub(crate) fn nanoseconds(ns: i64) -> String {
    const UNITS: [&str; 3] = ["µs", "ms", "s"];
    scaled(ns, 1000.0, "ns", &UNITS)
}

/// Three digits or so, in the largest unit that leaves a whole part.
fn scaled(number: i64, step: f64, small: &str, units: &[&str]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let mut value = number as f64;
    let mut name = small;
    for unit in units {
        if value < step {
            break;
        }
        value /= step;
        name = unit;
    }
    if name == small { format!("{number} {small}") } else { format!("{value:.1} {name}") }
}

pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for display")]
    let seconds = seconds.max(0.0) as u64;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `2026-11-21 01:30:00`.
pub(crate) fn second(micros: i64) -> String {
    let text = humantime::format_rfc3339_seconds(system_time(micros)).to_string();
    text.replace('T', " ").trim_end_matches('Z').to_owned()
}

/// `01:30:00.123`; the summary says of which day.
pub(crate) fn time_of_day(micros: i64) -> String {
    rfc3339(micros).get(11..23).unwrap_or_default().to_owned()
}

/// `2026-11-24 01:30:00.123`.
fn day_and_time(micros: i64) -> String {
    let text = rfc3339(micros);
    let (day, time) = (text.get(..10).unwrap_or_default(), text.get(11..23).unwrap_or_default());
    format!("{day} {time}")
}

#[cfg(test)]
mod tests {
    use super::{bytes, grouped, inert, nanoseconds, time_of_day};

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(-1_000), "-1,000");
        assert_eq!(grouped(999), "999");
        assert_eq!((bytes(1023), bytes(1536)), ("1023 B".into(), "1.5 KiB".into()));
        assert_eq!(nanoseconds(999), "999 ns");
        assert_eq!(nanoseconds(12_345_678), "12.3 ms");
        assert_eq!(time_of_day(1_700_000_000_123_456), "22:13:20.123");
    }

    #[test]
    fn nothing_a_client_chose_reaches_the_terminal_as_a_command() {
        assert_eq!(inert("\u{1b}[31m\u{9b}2J"), "\\u{1b}[31m\\u{9b}2J");
        assert_eq!(inert("user\u{202e}1:resu\u{200b}"), "user\\u{202e}1:resu\\u{200b}");
        assert_eq!(inert("zażółć \\x0a 日本"), "zażółć \\x0a 日本");
    }
}
