//! A row group that is encoded and has no place in a file yet.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use parquet::{
    file::metadata::{ColumnChunkMetaData, RowGroupMetaData},
    schema::types::{ColumnDescPtr, SchemaDescPtr},
};

/// An encoded row group that has no place in a file yet.
#[derive(Clone, Debug)]
pub struct RowGroup {
    bytes: Bytes,
    /// With offsets from where it begins.
    pub(super) metadata: RowGroupMetaData,
}

impl RowGroup {
    /// Of `rows` rows, whose columns are described with offsets in `bytes`.
    pub(super) fn new(
        bytes: Vec<u8>,
        rows: usize,
        columns: Vec<ColumnChunkMetaData>,
        schema: &SchemaDescPtr,
    ) -> Result<Self> {
        let metadata = RowGroupMetaData::builder(Arc::clone(schema))
            .set_num_rows(i64::try_from(rows)?)
            .set_total_byte_size(columns.iter().map(ColumnChunkMetaData::uncompressed_size).sum())
            .set_column_metadata(columns)
            .build()
            .context("cannot describe a row group")?;
        Ok(Self { bytes: bytes.into(), metadata })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of its rows.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata.num_rows()).unwrap_or(0)
    }

    /// What a footer says of it when it stands at `place`, bytes from the beginning
    /// of the file, in terms of the file's `schema`.
    pub(crate) fn at(&self, place: u64, schema: &SchemaDescPtr) -> Result<RowGroupMetaData> {
        let place = i64::try_from(place).context("the file is too large for Parquet")?;
        moved(&self.metadata, place, schema)
    }
}

/// The same row group, `by` bytes further on. Its number is left out: it is not
/// needed, and has 16 bits. It has the `schema` that is given, and none of its own:
/// a file has thousands of row groups.
fn moved(group: &RowGroupMetaData, by: i64, schema: &SchemaDescPtr) -> Result<RowGroupMetaData> {
    let described = group.columns().iter().zip(schema.columns());
    let columns = described.map(|(column, described)| moved_column(column, by, described));
    RowGroupMetaData::builder(Arc::clone(schema))
        .set_num_rows(group.num_rows())
        .set_total_byte_size(group.total_byte_size())
        .set_column_metadata(columns.collect::<Result<_>>()?)
        .build()
        .context("cannot describe a row group")
}

fn moved_column(
    column: &ColumnChunkMetaData,
    by: i64,
    described: &ColumnDescPtr,
) -> Result<ColumnChunkMetaData> {
    let moved = ColumnChunkMetaData::builder(Arc::clone(described))
        .set_encodings_mask(*column.encodings_mask())
        .set_num_values(column.num_values())
        .set_compression_codec(column.compression_codec())
        .set_total_compressed_size(column.compressed_size())
        .set_total_uncompressed_size(column.uncompressed_size())
        .set_data_page_offset(column.data_page_offset() + by)
        .set_dictionary_page_offset(column.dictionary_page_offset().map(|offset| offset + by));
    let moved = match column.page_encoding_stats() {
        Some(pages) => moved.set_page_encoding_stats(pages.clone()),
        None => moved,
    };
    let moved = match column.statistics() {
        Some(statistics) => moved.set_statistics(statistics.clone()),
        None => moved,
    };
    moved.build().context("cannot describe a column")
}
