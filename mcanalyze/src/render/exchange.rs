//! What there is to say of captures that went to other programs, or came from them.

use std::path::{Path, PathBuf};

use super::{
    repeated,
    text::{bytes, grouped},
};
use crate::{
    exchange::{Exported, Imported, Skipped},
    query::heading::Heading,
};

/// Of what was exported to `path`, or to stdout.
pub(crate) fn exported(
    path: Option<&Path>,
    heading: &Heading,
    left_out_files: &[PathBuf],
    exported: &Exported,
) -> Vec<String> {
    if exported.stopped {
        return Vec::new();
    }
    let mut remarks: Vec<String> = left_out_files.iter().map(|path| repeated(path)).collect();
    if let (Some(path), Some(size)) = (path, exported.bytes) {
        let size = bytes(i64::try_from(size).unwrap_or(i64::MAX));
        let (written, rows) = (grouped(exported.written), grouped(exported.rows));
        remarks.push(format!("wrote {written} of {rows} rows to {}, {size}", path.display()));
    }
    if !exported.left_out.is_empty() {
        let sum: u64 = exported.left_out.values().sum();
        let each =
            exported.left_out.iter().map(|(name, count)| format!("{} {name}", grouped(count)));
        let each = each.collect::<Vec<_>>().join(", ");
        remarks.push(format!("{} operations are no requests in it: {each}", grouped(sum)));
    }
    remarks.extend(exported.counts.map(str::to_owned));
    if exported.late > 0 {
        let late = grouped(exported.late);
        remarks
            .push(format!("{late} requests come after one of a later second, as in the capture"));
    }
    if heading.sampling.is_some() {
        remarks.push("the capture is of a sample of the keys".to_owned());
    }
    if !heading.is_complete() {
        remarks.push("the capture is incomplete; mcanalyze info says what is missing".to_owned());
    }
    remarks
}

/// Of the capture at `path`.
pub(crate) fn imported(path: &Path, imported: &Imported) -> Vec<String> {
    let Imported { made, skipped: Skipped { lines, first } } = imported;
    let size = bytes(i64::try_from(made.bytes).unwrap_or(i64::MAX));
    let mut remarks =
        vec![format!("wrote {} rows to {}, {size}", grouped(made.written), path.display())];
    if *lines > 0 {
        remarks.push(format!("skipped {} lines that are none of a trace:", grouped(lines)));
        remarks.extend(first.iter().map(|(number, wrong)| format!("line {number}: {wrong}")));
    }
    remarks
}
