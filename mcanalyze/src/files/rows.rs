//! The rows of a capture, in batches, by the names and types of the format.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    cast::AsArray,
    types::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use mcrec_capture::{Batches, Capture};
use mcrec_schema::columns;
use parquet::file::{metadata::RowGroupMetaData, statistics::Statistics};

use crate::panics::decoding;

/// Where rows come from: number of the row group and of the first row in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) group: usize,
    /// In the whole capture, from 0.
    pub(super) row: u64,
}

/// Hands the rows of the row groups that `wanted` asks for to `each`, in order.
pub(super) fn each(
    capture: &Capture,
    wanted: impl Fn(&RowGroupMetaData) -> bool,
    mut each: impl FnMut(Place, RecordBatch) -> Result<()>,
) -> Result<()> {
    let mut row = 0;
    for (group, metadata) in capture.row_groups().iter().enumerate() {
        let mut at = row;
        row += u64::try_from(metadata.num_rows()).unwrap_or(0);
        if !wanted(metadata) {
            continue;
        }
        for batch in batches(capture, group, None)? {
            let batch = plain(&batch?).with_context(|| damaged(capture))?;
            let rows = batch.num_rows() as u64;
            each(Place { group, row: at }, batch)?;
            at += rows;
        }
    }
    Ok(())
}

/// The rows of a row group, all columns of them or those named.
pub(super) fn batches<'a>(
    capture: &'a Capture,
    group: usize,
    columns: Option<&[&str]>,
) -> Result<Decoded<'a>> {
    let batches = decoding(capture.path(), || capture.batches(group, columns))?;
    Ok(Decoded { path: capture.path(), batches })
}

/// Rows that are being decoded.
pub(super) struct Decoded<'a> {
    path: &'a Path,
    batches: Batches,
}

impl Iterator for Decoded<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        decoding(self.path, || self.batches.next().transpose()).transpose()
    }
}

pub(super) fn damaged(capture: &Capture) -> String {
    format!("cannot read {}: it is damaged", capture.path().display())
}

/// The columns of the format alone, in its order: a capture may have more.
pub(super) fn plain(batch: &RecordBatch) -> Result<RecordBatch> {
    let index = |name: &str| batch.schema_ref().index_of(name);
    let names = columns::schema();
    let mut at = names.fields().iter().map(|field| index(field.name())).collect::<Result<_, _>>();
    if let (Ok(at), Ok(host)) = (&mut at, index(columns::HOST)) {
        Vec::push(at, host);
    }
    Ok(batch.project(&at?)?)
}

/// The rows with the host that they are of, where they do not say it yet.
pub(super) fn with_host(batch: &RecordBatch, host: &str) -> Result<RecordBatch> {
    if batch.column_by_name(columns::HOST).is_some() {
        return Ok(batch.clone());
    }
    let hosts: ArrayRef =
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(host, batch.num_rows())));
    let named = batch.schema_ref().fields().iter().map(|field| field.name().clone());
    let named = named.zip(batch.columns().iter().cloned());
    let nullable = batch.schema_ref().fields().iter().map(|field| field.is_nullable());
    let all = named.zip(nullable).map(|((name, column), nullable)| (name, column, nullable));
    Ok(RecordBatch::try_from_iter_with_nullable(all.chain([(
        columns::HOST.to_owned(),
        hosts,
        true,
    )]))?)
}

/// The same rows with another column in the place of the one of that name.
pub(super) fn with_column(
    batch: &RecordBatch,
    name: &str,
    column: ArrayRef,
) -> Result<RecordBatch> {
    let mut all = batch.columns().to_vec();
    all[batch.schema_ref().index_of(name)?] = column;
    Ok(RecordBatch::try_new(batch.schema(), all)?)
}

/// A column of words or keys.
pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    column(batch, name)?.as_string_opt::<i32>().with_context(|| format!("{name} is not a string"))
}

/// A column of 64-bit integers.
pub(super) fn longs<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array> {
    column(batch, name)?
        .as_primitive_opt::<Int64Type>()
        .with_context(|| format!("{name} is not a number of 64 bits"))
}

/// A column of 32-bit integers.
pub(super) fn ints<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int32Array> {
    column(batch, name)?
        .as_primitive_opt::<Int32Type>()
        .with_context(|| format!("{name} is not a number of 32 bits"))
}

/// The times of the rows, µs since the epoch, UTC.
pub(super) fn times(batch: &RecordBatch) -> Result<&TimestampMicrosecondArray> {
    column(batch, columns::TS)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .with_context(|| format!("{} is not a time in microseconds", columns::TS))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Arc<dyn Array>> {
    batch.column_by_name(name).with_context(|| format!("column {name} is missing"))
}

/// The smallest and largest of a column of a row group, where that is known without
/// reading it: numbers and times.
pub(super) fn range(group: &RowGroupMetaData, name: &str) -> Option<(i64, i64)> {
    let column = group.columns().iter().find(|column| column.column_path().string() == name)?;
    match column.statistics()? {
        Statistics::Int64(known) if known.min_is_exact() && known.max_is_exact() => {
            Some((*known.min_opt()?, *known.max_opt()?))
        }
        _ => None,
    }
}

/// The largest in a column of numbers of the capture, 0 if there is none: from what
/// its row groups say, or else by reading it.
pub(super) fn largest(capture: &Capture, name: &str) -> Result<i64> {
    let mut largest = 0;
    for (number, group) in capture.row_groups().iter().enumerate() {
        if let Some((_, max)) = range(group, name) {
            largest = largest.max(max);
            continue;
        }
        for batch in batches(capture, number, Some(&[name]))? {
            let batch = batch?;
            let max = longs(&batch, name)?.iter().flatten().max();
            largest = largest.max(max.unwrap_or(0));
        }
    }
    Ok(largest)
}

/// All rows of a capture, batch by batch.
pub(super) struct All<'a> {
    capture: &'a Capture,
    /// The next row group.
    group: usize,
    batches: Option<Decoded<'a>>,
}

/// All rows of `capture`, batch by batch.
pub(super) fn all(capture: &Capture) -> All<'_> {
    All { capture, group: 0, batches: None }
}

impl Iterator for All<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.batches.as_mut().and_then(Iterator::next) {
                let batch = batch.and_then(|batch| plain(&batch));
                return Some(batch.with_context(|| damaged(self.capture)));
            }
            if self.group == self.capture.row_groups().len() {
                return None;
            }
            match batches(self.capture, self.group, None) {
                Ok(batches) => self.batches = Some(batches),
                Err(error) => return Some(Err(error)),
            }
            self.group += 1;
        }
    }
}
