//! Answers for people, in a terminal.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table as Grid};

use super::{rfc3339, system_time};
use crate::{
    query::latency::ALL,
    table::{Column, Need, Section, Style, Table, Unit, Value},
};

/// Width of the longest bar of a histogram.
const BAR: usize = 40;
/// And of one at the end of a line.
const BAR_IN_LINE: usize = 20;
/// Keys get at least this width, where the lines must not be too long.
const KEY_MIN: u16 = 16;

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
    let mut shown = for_people(table);
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

/// The columns that people see, with their cells.
pub(super) fn for_people(table: &Table) -> Vec<(Column, Vec<String>)> {
    let columns = table.columns.iter().enumerate();
    columns
        .filter(|(_, column)| column.need != Need::Program)
        .map(|(at, column)| {
            let days = column.unit == Unit::Time && are_of_several_days(table, at);
            let cell = |row: &Vec<Value>| match &row[at] {
                Value::Int(micros) if days => day_and_time(*micros),
                value => cell(column.unit, value),
            };
            (*column, table.rows.iter().map(cell).collect())
        })
        .collect()
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
    while let Some(first) = rest.first().map(|row| &row[0]) {
        let end = rest.iter().position(|row| row[0] != *first);
        let (buckets, others) = rest.split_at(end.unwrap_or(rest.len()));
        if rest.len() < rows.len() {
            writeln!(out)?;
        }
        let name = cell(Unit::Word, first);
        writeln!(out, "{}", if name == ALL { "all commands" } else { name.as_str() })?;
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
        // What is a name is no quantity.
        (Unit::Word, Value::Int(number)) => number.to_string(),
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
