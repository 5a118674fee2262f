//! Answers as Markdown: tables as forges and wikis know them.

use std::io::{self, Write};

use super::text::{for_people, inert};
use crate::table::{Section, Table, Unit};

/// Writes a part of an answer.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn write(section: &Section, out: &mut impl Write) -> io::Result<()> {
    if !section.title.is_empty() {
        writeln!(out, "## {}\n", escaped(&section.title))?;
    }
    if section.table.rows.is_empty() {
        writeln!(out, "{}\n", escaped(section.empty))?;
    } else {
        table(&section.table, out)?;
    }
    section.notes.iter().try_for_each(|note| writeln!(out, "{}\n", escaped(note)))
}

fn table(table: &Table, out: &mut impl Write) -> io::Result<()> {
    let columns = for_people(table);
    let titles: Vec<_> = columns.iter().map(|(column, _)| escaped(&column.heading())).collect();
    writeln!(out, "| {} |", titles.join(" | "))?;
    let rules = columns.iter().map(|(column, _)| match column.unit {
        Unit::Word | Unit::Key => "---",
        _ => "--:",
    });
    writeln!(out, "| {} |", rules.collect::<Vec<_>>().join(" | "))?;
    for row in 0..table.rows.len() {
        let cells = columns.iter().map(|(_, cells)| escaped(&cells[row]));
        writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
    }
    writeln!(out)
}

/// Text that is no markup, in Markdown or in the HTML that it may become.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in inert(text).chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            // An address must not become a link by itself either.
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '|' | '~' | '!'
            | '$' | '@' => {
                safe.push('\\');
                safe.push(c);
            }
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_is_markup() {
        assert_eq!(escaped("a|b*c_d"), "a\\|b\\*c\\_d");
        assert_eq!(escaped("<img src=x>"), "&lt;img src=x&gt;");
        assert_eq!(escaped("[x](javascript:1)"), "\\[x\\]\\(javascript:1\\)");
    }
}
