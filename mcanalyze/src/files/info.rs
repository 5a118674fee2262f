//! All that a capture says of itself.

use std::path::{Path, PathBuf};

use anyhow::Result;
use mcrec_capture::{Capture, State};
use mcrec_schema::{columns, footer::Footer};
use parquet::file::{
    metadata::{ColumnChunkMetaData, RowGroupMetaData},
    statistics::Statistics,
};

use super::{is_complete, rows::range};
use crate::{
    panics::decoding,
    table::{Column, Table, Unit, Value},
};

/// A capture as a file.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) path: PathBuf,
    /// Size of the file, bytes.
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    /// How much of it is there, where that is not all.
    pub(crate) damage: Option<&'static str>,
    pub(crate) footer: Footer,
    pub(crate) row_groups: Table,
    pub(crate) columns: Table,
    /// Losses over time.
    pub(crate) losses: Table,
}

impl Info {
    /// Whether it is all that there was to record.
    pub(crate) fn is_complete(&self) -> bool {
        self.damage.is_none() && is_complete(&self.footer)
    }
}

const ROW_GROUPS: [Column; 6] = [
    Column::new("row_group", "row group", Unit::Count),
    Column::new("rows", "rows", Unit::Count),
    Column::new("bytes", "bytes", Unit::Bytes),
    Column::new("bytes_a_row", "a row", Unit::Bytes).if_room(),
    Column::new("first", "first", Unit::Time),
    Column::new("last", "last", Unit::Time),
];

const COLUMNS: [Column; 9] = [
    Column::new("column", "column", Unit::Word),
    Column::new("type", "type", Unit::Word),
    Column::new("encoding", "encoding", Unit::Word).if_room(),
    Column::new("compression", "compression", Unit::Word).for_programs(),
    Column::new("nulls", "nulls", Unit::Count).if_room(),
    Column::new("bytes_raw", "encoded", Unit::Bytes).if_room(),
    Column::new("bytes", "compressed", Unit::Bytes),
    Column::new("bytes_a_row", "a row", Unit::Bytes),
    Column::new("share", "share", Unit::Ratio),
];

const LOSSES: [Column; 3] = [
    Column::new("from", "from", Unit::Time),
    Column::new("to", "to", Unit::Time),
    Column::new("lost", "lost", Unit::Count),
];

/// Looks at the capture at `path`.
///
/// # Errors
///
/// When it cannot be opened.
pub(crate) fn info(path: &Path) -> Result<Info> {
    let capture = decoding(path, || Capture::open(path))?;
    let groups = capture.row_groups();
    let losses = capture.footer().loss.series.iter();
    let losses = losses.map(|entry| entry.map(Value::Int).to_vec()).collect();
    Ok(Info {
        path: path.to_owned(),
        bytes: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        rows: capture.rows(),
        damage: match capture.state() {
            State::Whole => None,
            State::CutOff => Some("cut off in the middle of a commit"),
            State::Salvaged => Some("without its footer"),
        },
        footer: capture.footer().clone(),
        row_groups: row_groups(groups),
        columns: of_columns(groups, capture.rows()),
        losses: Table { columns: LOSSES.to_vec(), rows: losses },
    })
}

fn row_groups(groups: &[RowGroupMetaData]) -> Table {
    let rows = groups.iter().enumerate().map(|(number, group)| {
        let times = range(group, columns::TS);
        vec![
            count(number),
            Value::Int(group.num_rows()),
            Value::Int(group.compressed_size()),
            average(group.compressed_size(), group.num_rows()),
            times.map(|(first, _)| first).into(),
            times.map(|(_, last)| last).into(),
        ]
    });
    Table { columns: ROW_GROUPS.to_vec(), rows: rows.collect() }
}

fn of_columns(groups: &[RowGroupMetaData], total_rows: u64) -> Table {
    let total_rows = i64::try_from(total_rows).unwrap_or(i64::MAX);
    let total: i64 = groups.iter().map(RowGroupMetaData::compressed_size).sum();
    let number = groups.first().map_or(0, RowGroupMetaData::num_columns);
    let rows = (0..number).map(|at| {
        let chunks: Vec<&ColumnChunkMetaData> =
            groups.iter().filter_map(|group| group.columns().get(at)).collect();
        let bytes: i64 = chunks.iter().map(|chunk| chunk.compressed_size()).sum();
        let raw = chunks.iter().map(|chunk| chunk.uncompressed_size()).sum();
        let nulls: Option<u64> = chunks
            .iter()
            .map(|chunk| chunk.statistics().and_then(Statistics::null_count_opt))
            .sum();
        let column = chunks[0].column_descr();
        let kind = column
            .logical_type_ref()
            .map_or_else(|| column.physical_type().to_string(), |logical| format!("{logical:?}"));
        vec![
            Value::Text(column.path().string()),
            Value::Text(kind_in_words(&kind)),
            Value::Text(encodings(&chunks)),
            Value::Text(format!("{:?}", chunks[0].compression())),
            nulls.and_then(|nulls| i64::try_from(nulls).ok()).into(),
            Value::Int(raw),
            Value::Int(bytes),
            average(bytes, total_rows),
            ratio(bytes, total),
        ]
    });
    Table { columns: COLUMNS.to_vec(), rows: rows.collect() }
}

/// `Timestamp { is_adjusted_to_u_t_c: true, … }` is for programmers.
fn kind_in_words(kind: &str) -> String {
    let word = kind.split([' ', '(', '{']).next().unwrap_or(kind);
    word.to_uppercase()
}

/// How values are encoded in any of the chunks; levels always are RLE.
fn encodings(chunks: &[&ColumnChunkMetaData]) -> String {
    let mut names: Vec<String> = Vec::new();
    for encoding in chunks.iter().flat_map(|chunk| chunk.encodings()) {
        let name = encoding.to_string();
        if name != "RLE" && !names.contains(&name) {
            names.push(name);
        }
    }
    // The dictionary itself is plain.
    if names.iter().any(|name| name == "RLE_DICTIONARY") {
        names.retain(|name| name != "PLAIN");
    }
    if names.is_empty() { "RLE".to_owned() } else { names.join(" ") }
}

fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn average(sum: i64, count: i64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let (sum, of) = (sum as f64, count as f64);
    (count > 0).then(|| sum / of).into()
}

fn ratio(part: i64, whole: i64) -> Value {
    average(part, whole)
}
