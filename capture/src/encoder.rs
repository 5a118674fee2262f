//! Rows into row groups, each encoded by itself, wherever it will stand.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use bytes::Bytes;
use mcrec_schema::columns;
use parquet::{
    arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions},
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::{ColumnChunkMetaData, RowGroupMetaData},
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::{ColumnDescPtr, ColumnPath, SchemaDescPtr},
};

use crate::head::MAGIC;

/// Rows to a row group, at most: with it the memory of what is not yet encoded
/// is bounded. Half a million rows cost 4 % more bytes than a million, and half
/// the memory.
pub const ROW_GROUP_ROWS: usize = 1 << 19;

/// Key dictionaries are kept up to this size. The usual 1 MiB makes the writer
/// fall back to plain keys, which takes 3 bytes a row more.
const KEY_DICTIONARY_BYTES: usize = 16 << 20;

/// Builds one row group after the other.
pub struct Encoder {
    schema: SchemaRef,
    properties: WriterProperties,
    writer: Option<ArrowWriter<Vec<u8>>>,
}

/// An encoded row group that has no place in a file yet.
#[derive(Clone, Debug)]
pub struct RowGroup {
    bytes: Bytes,
    /// With offsets in a file of it alone, where the magic comes first.
    metadata: RowGroupMetaData,
}

impl Encoder {
    /// For batches of this Arrow schema, which is `columns::schema()` or one whose
    /// Parquet types are the same.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, properties: properties(), writer: None }
    }

    /// Adds rows to the row group that is being built.
    ///
    /// # Errors
    ///
    /// When they cannot be encoded.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(begin(&self.schema, &self.properties)?),
        };
        writer.write(batch).context("cannot encode operations")
    }

    /// Rows in the row group that is being built.
    pub fn rows(&self) -> usize {
        self.writer.as_ref().map_or(0, ArrowWriter::in_progress_rows)
    }

    /// About how many bytes the row group that is being built will have: rather
    /// more than fewer.
    pub fn bytes(&self) -> usize {
        self.writer.as_ref().map_or(0, ArrowWriter::in_progress_size)
    }

    /// Ends the row group; `None` if there are no rows.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded.
    pub fn finish(&mut self) -> Result<Option<RowGroup>> {
        let Some(mut writer) = self.writer.take().filter(|writer| writer.in_progress_rows() > 0)
        else {
            return Ok(None);
        };
        writer.flush().context("cannot encode a row group")?;
        writer.sync().context("cannot encode a row group")?;
        let bytes = Bytes::from(std::mem::take(writer.inner_mut())).slice(MAGIC.len()..);
        let metadata =
            writer.flushed_row_groups().first().context("a row group was not encoded")?;
        Ok(Some(RowGroup { bytes, metadata: metadata.clone() }))
    }
}

impl RowGroup {
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
        moved(&self.metadata, offset(place) - offset(MAGIC.len() as u64), schema)
    }
}

fn begin(schema: &SchemaRef, properties: &WriterProperties) -> Result<ArrowWriter<Vec<u8>>> {
    // Without the Arrow schema in the file, every reader sees plain strings.
    let options = ArrowWriterOptions::new()
        .with_properties(properties.clone())
        .with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(Vec::new(), SchemaRef::clone(schema), options)
        .context("cannot begin a row group")
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

fn offset(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The format's guarantee 4: 11 to 14 bytes a row on a Zipf workload.
fn properties() -> WriterProperties {
    let column = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        // Level 3 was measured to be slower and no smaller.
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        // Whole row groups can be skipped by time; page statistics cost 10 %.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None)
        .set_column_dictionary_page_size_limit(column(columns::KEY), KEY_DICTIONARY_BYTES);
    // Rising, or the same again and again: half the time of a dictionary, and no larger.
    let rising = [columns::TS, columns::LATENCY_NS, columns::CAS, columns::REQUEST_ID];
    let steady = [columns::KEY_LEN, columns::KEY_INDEX, columns::THREAD_ID];
    for name in rising.into_iter().chain(steady) {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    // Nobody looks for a key between two others, and the footer has them all.
    for field in columns::merged_schema().fields() {
        if !matches!(field.data_type(), DataType::Int64 | DataType::Int32 | DataType::Timestamp(..))
        {
            properties = properties
                .set_column_statistics_enabled(column(field.name()), EnabledStatistics::None);
        }
    }
    properties.build()
}
