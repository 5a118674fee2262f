//! Whether a file is what its metadata says, before anything is decoded.
//!
//! Readers of Parquet take sizes and counts on trust: a forged one can make them
//! allocate what is not there, or panic. So all that is declared is compared here
//! with the headers of the pages, which takes as long as reading some hundred bytes
//! for each of them. What is inside of the pages is left to the decoder, which
//! checks that itself. Minima and maxima are not looked at: no answer depends on
//! them.

use std::fs::File;

use anyhow::{Context, Result, bail, ensure};
use arrow_schema::{DataType, Schema};
use mcrec_schema::columns;
use parquet::{
    arrow::parquet_to_arrow_schema,
    basic::{Compression, Encoding},
    file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
};

use crate::page::{Kind, PageHeader};

/// What mcrec writes has 1 MiB, key dictionaries have 16 MiB and a key.
const PAGE_MAX: usize = 64 << 20;
/// There are not that many, with room for those of later versions.
const COLUMNS_MAX: usize = 256;
/// Each value of a dictionary takes this many bytes at least.
const DICTIONARY_VALUE_MIN: usize = 4;

/// Checks a file whose data ends at `data_end`.
///
/// # Errors
///
/// When it is not what `metadata` says, or not what a recorder writes.
pub(crate) fn verify(file: &File, metadata: &ParquetMetaData, data_end: u64) -> Result<()> {
    types(metadata)?;
    let mut rows = 0_i64;
    let mut chunks = Vec::new();
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let within = || format!("row group {number}");
        ensure!(group.num_rows() >= 0, "{} has less than no rows", within());
        rows = rows.checked_add(group.num_rows()).with_context(within)?;
        for column in group.columns() {
            let name = || format!("row group {number}, column {}", column.column_path().string());
            chunks.push(chunk(file, group, column, data_end).with_context(name)?);
        }
    }
    let said = metadata.file_metadata().num_rows();
    ensure!(rows == said, "there are {rows} rows in its row groups and {said} in all");
    chunks.sort_unstable();
    let overlap = chunks.windows(2).any(|pair| pair[1].0 < pair[0].1);
    ensure!(!overlap, "columns lie over each other");
    Ok(())
}

/// Checks that all columns are there, of the types they should have.
fn types(metadata: &ParquetMetaData) -> Result<()> {
    let schema = metadata.file_metadata().schema_descr();
    ensure!(schema.num_columns() <= COLUMNS_MAX, "it has {} columns", schema.num_columns());
    let there: Schema = parquet_to_arrow_schema(schema, None)?;
    for column in columns::schema().fields() {
        let name = column.name();
        let mut of_name = there.fields().iter().filter(|field| field.name() == name);
        let Some(field) = of_name.next() else {
            // Of a recording older than the column.
            if columns::SINCE_MINOR_1.contains(&name.as_str()) {
                continue;
            }
            bail!("column {name} is missing");
        };
        ensure!(of_name.next().is_none(), "column {name} is there twice");
        let expected = match column.data_type() {
            DataType::Dictionary(_, strings) => strings,
            other => other,
        };
        let found = field.data_type();
        ensure!(found == expected, "column {name} is {found} and not {expected}");
        let may_be_null = column.is_nullable() || !field.is_nullable();
        ensure!(may_be_null, "column {name} may have nulls, and must not");
    }
    Ok(())
}

/// Checks a column of a row group, and returns where it begins and ends.
fn chunk(
    file: &File,
    group: &RowGroupMetaData,
    column: &ColumnChunkMetaData,
    data_end: u64,
) -> Result<(u64, u64)> {
    if group.num_rows() == 0 && column.num_values() == 0 && column.compressed_size() == 0 {
        return Ok((data_end, data_end));
    }
    let dictionary = column.dictionary_page_offset();
    let data = unsigned(column.data_page_offset())?;
    let start = dictionary.map_or(Ok(data), unsigned)?;
    let end = start.checked_add(unsigned(column.compressed_size())?);
    let end =
        end.filter(|end| start >= 4 && *end <= data_end).context("lies outside of the file")?;
    ensure!(data <= end && start <= data, "its pages lie outside of it");
    ensure!(column.file_path().is_none(), "lies in another file");
    let known = matches!(column.compression(), Compression::UNCOMPRESSED | Compression::ZSTD(_));
    ensure!(known, "is compressed with {}", column.compression());
    let rows = unsigned(group.num_rows())?;
    let said = column.num_values();
    ensure!(said == group.num_rows(), "has {said} rows of {rows}");
    let (mut at, mut values, mut in_dictionary) = (start, 0_u64, None);
    while at < end {
        let header = PageHeader::read(file, at, end).context("a page is not one")?;
        page(&header)?;
        match header.kind {
            Kind::Dictionary => {
                ensure!(at == start && dictionary.is_some(), "a dictionary is out of place");
                in_dictionary = Some(header.values);
            }
            Kind::Data => {
                let by_number = [Encoding::RLE_DICTIONARY as i32, PLAIN_DICTIONARY];
                let needs_dictionary = by_number.contains(&header.encoding);
                ensure!(!needs_dictionary || in_dictionary.is_some(), "a dictionary is missing");
                values += header.values as u64;
            }
        }
        at += (header.length + header.compressed) as u64;
    }
    ensure!(values == rows, "there are {values} rows of {rows} in its pages");
    Ok((start, end))
}

/// The older number of [`Encoding::RLE_DICTIONARY`].
const PLAIN_DICTIONARY: i32 = 2;

/// Checks what is declared of a page by itself.
fn page(header: &PageHeader) -> Result<()> {
    ensure!(
        header.uncompressed <= PAGE_MAX && header.compressed <= PAGE_MAX,
        "a page of {} bytes is declared",
        header.uncompressed.max(header.compressed)
    );
    let (known, fits) = match header.kind {
        Kind::Dictionary => (
            [Encoding::PLAIN as i32, PLAIN_DICTIONARY].contains(&header.encoding),
            header.values <= header.uncompressed / DICTIONARY_VALUE_MIN,
        ),
        Kind::Data => {
            let plain = [Encoding::PLAIN, Encoding::RLE, Encoding::DELTA_BINARY_PACKED];
            let dictionary = [Encoding::RLE_DICTIONARY as i32, PLAIN_DICTIONARY];
            let known = plain.map(|encoding| encoding as i32).contains(&header.encoding)
                || dictionary.contains(&header.encoding);
            (known, true)
        }
    };
    ensure!(known, "a page has encoding {}", header.encoding);
    ensure!(fits, "a dictionary of {} values is declared", header.values);
    Ok(())
}

fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).ok().context("a number is below zero")
}
