//! What a file still holds that has lost its footer and has no journal.
//!
//! Row groups are found by walking over the headers of their pages: columns stand
//! in the order of the schema, each with its dictionary page first if it has one,
//! and all with the same number of rows. How many those are is told by the first
//! column, which has no dictionary and is followed by one that has. A row group
//! counts only if all of it can be decoded.

use std::{fs::File, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use mcrec_schema::{
    columns,
    footer::{FooterError, Loss},
};
use parquet::{
    arrow::arrow_reader::ArrowReaderOptions,
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::{ColumnChunkMetaData, RowGroupMetaData},
        statistics::Statistics,
    },
    schema::types::{ColumnDescPtr, SchemaDescPtr},
};

use crate::{
    decode::Decoder,
    head,
    metadata::{self, RowGroups},
    page::{Kind, PageHeader},
    source::Source,
};

/// A file's whole row groups, and a footer for them.
pub(crate) struct Salvaged {
    /// Where the last of them ends.
    pub(crate) data_end: u64,
    pub(crate) footer: Vec<u8>,
}

/// Looks for row groups in a file of `length` bytes; `None` if it has no head that
/// would say what they are.
///
/// # Errors
///
/// When its head is that of a capture this version does not read, or the file
/// cannot be read.
pub(crate) fn salvage(file: &File, length: u64) -> Result<Option<Salvaged>> {
    let Some((mut footer, mut end)) = head::read(file).map_err(|error: FooterError| error)? else {
        return Ok(None);
    };
    let schema = metadata::schema(&footer)?;
    let (mut groups, mut found) = (RowGroups::default(), 0);
    let mut rows = 0;
    while let Some((group, after)) = group_at(file, end, length, &schema) {
        let Some((first, last)) = times(file, &group, after, &schema) else { break };
        footer.capture.end_us = footer.capture.end_us.max(last);
        rows += u64::try_from(group.num_rows()).unwrap_or(0);
        groups.push(&schema, with_times(group, first, last)?)?;
        found += 1;
        end = after;
    }
    let lasted_us = footer.capture.end_us.saturating_sub(footer.capture.start_us);
    let lasted_ns = u64::try_from(lasted_us).unwrap_or(0).saturating_mul(1000);
    footer.capture.end_monotonic_ns = footer.capture.start_monotonic_ns.saturating_add(lasted_ns);
    footer.capture.recovered = Some(format!(
        "the file had lost its footer; {found} row groups were found without it. How much was \
         lost, before and after, is not known"
    ));
    footer.loss = Loss { seen: rows, written: rows, ..Loss::default() };
    Ok(Some(Salvaged { data_end: end, footer: metadata::encode(&schema, &groups, &footer)? }))
}

/// The row group that begins at `start`, and where it ends.
fn group_at(
    file: &File,
    start: u64,
    length: u64,
    schema: &SchemaDescPtr,
) -> Option<(RowGroupMetaData, u64)> {
    let mut at = start;
    let mut rows = None;
    let mut columns = Vec::with_capacity(schema.num_columns());
    for column in schema.columns() {
        let (chunk, end) = chunk_at(file, at, length, rows, column)?;
        rows = Some(chunk.num_values());
        columns.push(chunk);
        at = end;
    }
    let bytes = columns.iter().map(ColumnChunkMetaData::uncompressed_size).sum();
    let group = RowGroupMetaData::builder(Arc::clone(schema))
        .set_num_rows(rows?)
        .set_total_byte_size(bytes)
        .set_column_metadata(columns);
    Some((group.build().ok()?, at))
}

/// The column that begins at `start` and has as many `rows` as the others, and where
/// it ends.
fn chunk_at(
    file: &File,
    start: u64,
    length: u64,
    rows: Option<i64>,
    column: &ColumnDescPtr,
) -> Option<(ColumnChunkMetaData, u64)> {
    let mut at = start;
    let mut dictionary = None;
    let (mut values, mut compressed, mut uncompressed) = (0, 0, 0);
    let mut encodings = vec![Encoding::RLE];
    loop {
        let header = PageHeader::read(file, at, length)?;
        match header.kind {
            Kind::Dictionary if at == start => dictionary = Some(at),
            Kind::Dictionary if rows.is_none() && values > 0 => break,
            Kind::Dictionary => return None,
            Kind::Data => values += i64::try_from(header.values).ok()?,
        }
        encodings.push(encoding(header.encoding)?);
        let size = (header.length + header.compressed) as u64;
        compressed += size;
        uncompressed += (header.length + header.uncompressed) as u64;
        at += size;
        if at > length || rows.is_some_and(|rows| values > rows) {
            return None;
        }
        if Some(values) == rows {
            break;
        }
    }
    let data = match dictionary {
        Some(offset) => {
            let header = PageHeader::read(file, offset, length)?;
            offset + (header.length + header.compressed) as u64
        }
        None => start,
    };
    let signed = |bytes: u64| i64::try_from(bytes).ok();
    let chunk = ColumnChunkMetaData::builder(Arc::clone(column))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_encodings(encodings)
        .set_num_values(values)
        .set_total_compressed_size(signed(compressed)?)
        .set_total_uncompressed_size(signed(uncompressed)?)
        .set_data_page_offset(signed(data)?)
        .set_dictionary_page_offset(dictionary.and_then(signed));
    Some((chunk.build().ok()?, at))
}

/// Decodes all of a row group, and returns its first and last time; `None` if it
/// cannot be decoded.
fn times(
    file: &File,
    group: &RowGroupMetaData,
    end: u64,
    schema: &SchemaDescPtr,
) -> Option<(i64, i64)> {
    let metadata = metadata::of_groups(schema, vec![group.clone()]);
    let source = Source::new(file.try_clone().ok()?, end, Bytes::new());
    let mut times: Option<(i64, i64)> = None;
    for batch in Decoder::new(source, Arc::new(metadata), None, ArrowReaderOptions::new()).ok()? {
        let batch = batch.ok()?;
        let ts = batch.column_by_name(columns::TS)?;
        let ts = ts.as_any().downcast_ref::<arrow_array::TimestampMicrosecondArray>()?;
        for &ts in ts.values() {
            let (first, last) = times.unwrap_or((ts, ts));
            times = Some((first.min(ts), last.max(ts)));
        }
    }
    times
}

/// Guarantee 3 of the format: the first and last time of a row group are known.
fn with_times(group: RowGroupMetaData, first: i64, last: i64) -> Result<RowGroupMetaData> {
    let mut columns = group.columns().to_vec();
    let at = columns.iter().position(|column| column.column_path().string() == columns::TS);
    if let Some(at) = at {
        let statistics = Statistics::new::<i64>(Some(first), Some(last), None, Some(0), false);
        let ts = columns.swap_remove(at).into_builder().set_statistics(statistics);
        columns.push(ts.build().context("cannot describe a column")?);
        let last = columns.len() - 1;
        columns.swap(at, last);
    }
    group.into_builder().set_column_metadata(columns).build().context("cannot describe a row group")
}

/// Encodings by Parquet's numbers, of those that the writer uses.
fn encoding(number: i32) -> Option<Encoding> {
    Some(match number {
        0 => Encoding::PLAIN,
        3 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        8 => Encoding::RLE_DICTIONARY,
        _ => return None,
    })
}
