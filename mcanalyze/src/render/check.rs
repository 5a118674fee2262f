//! Whether a capture keeps its promises, for people and programs.

use std::{
    io::{self, Write},
    path::Path,
};

use serde_json::json;

use super::{
    json,
    text::{bytes, grouped, inert},
};
use crate::files::check::Findings;

/// Writes it for people: a line for each promise, and where it was broken first.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn text(file: &Path, findings: &Findings, out: &mut impl Write) -> io::Result<()> {
    for kept in &findings.promises {
        let verdict = if kept.failures == 0 { "ok" } else { "FAIL" };
        writeln!(out, "{verdict:<5}{}", kept.rule.promise())?;
        if let Some(first) = &kept.first {
            writeln!(out, "     {}", inert(first))?;
            if kept.failures > 1 {
                writeln!(out, "     and {} times more", grouped(kept.failures - 1))?;
            }
        }
    }
    for remark in &findings.remarks {
        writeln!(out, "note {}", inert(remark))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let a_row = findings.bytes as f64 / findings.rows.max(1) as f64;
    let size = bytes(i64::try_from(findings.bytes).unwrap_or(i64::MAX));
    let verdict = match findings.promises.iter().filter(|kept| kept.failures > 0).count() {
        0 => "sound".to_owned(),
        broken => format!("{broken} of {} promises are broken", findings.promises.len()),
    };
    let file = inert(&file.display().to_string());
    writeln!(
        out,
        "\n{file}: {verdict}; {} rows, {size}, {a_row:.1} bytes a row",
        grouped(findings.rows)
    )
}

/// Writes it for programs.
///
/// # Errors
///
/// When `out` fails.
pub(crate) fn json(file: &Path, findings: &Findings, out: &mut impl Write) -> io::Result<()> {
    let promises = findings.promises.iter().map(|kept| {
        json!({
            "name": kept.rule.name(),
            "promise": kept.rule.promise(),
            "kept": kept.failures == 0,
            "failures": kept.failures,
            "first": kept.first,
        })
    });
    json::write_object(
        &json!({
            "file": file.display().to_string(),
            "sound": findings.sound(),
            "rows": findings.rows,
            "bytes": findings.bytes,
            "promises": promises.collect::<Vec<_>>(),
            "remarks": findings.remarks,
        }),
        out,
    )
}
