//! A table as CSV (RFC 4180).

use std::io::{self, Write};

use super::{rfc3339, text::inert};
use crate::table::{Table, Unit, Value};

/// Writes `table` with a header line.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn write(table: &Table, out: &mut impl Write) -> io::Result<()> {
    let header: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    writeln!(out, "{}", header.join(","))?;
    for row in &table.rows {
        let fields = table.columns.iter().zip(row).map(|(column, value)| match value {
            Value::Null => String::new(),
            Value::Text(text) => field(&inert(text)),
            Value::Int(time) if column.unit == Unit::Time => rfc3339(*time),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
        });
        writeln!(out, "{}", fields.collect::<Vec<_>>().join(","))?;
    }
    Ok(())
}

/// Spreadsheets, of one kind or another, take a field that begins with one of these
/// for a formula or a command, with blanks before it too. It gets an apostrophe
/// before it, which makes it text. Where commas are for decimals, fields end at
/// semicolons, so those are quoted as well.
pub(crate) fn field(text: &str) -> String {
    const BEGINNINGS: [char; 10] = ['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠'];
    let formula = text.trim_start().starts_with(BEGINNINGS);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', ';', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_quoted_and_formulas_are_not_formulas() {
        for (text, written) in [
            ("user:1", "user:1"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=cmd()", "'=cmd()"),
            ("@SUM(A1,A2)", "\"'@SUM(A1,A2)\""),
            ("-1", "'-1"),
            (" =1", "' =1"),
            ("＝cmd()", "'＝cmd()"),
            ("a;=cmd()", "\"a;=cmd()\""),
        ] {
            assert_eq!(field(text), written);
        }
    }
}
