//! The bytes after the last row group: Parquet's own metadata, with ours in it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow_schema::{DataType, Field, Schema};
use mcrec_schema::{columns, footer::Footer};
use parquet::{
    arrow::{ArrowSchemaConverter, parquet_to_arrow_schema},
    file::metadata::{
        ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder,
        ParquetMetaDataWriter, RowGroupMetaData,
    },
    schema::types::{SchemaDescPtr, SchemaDescriptor},
};

use crate::head::MAGIC;

/// What a footer has at most, bytes, with its length and the magic: nobody writes a longer
/// one, or reads it.
pub(crate) const FOOTER_MAX: usize = 64 << 20;
/// What row groups take of it before a file has enough of them, some 32,000: the rest is
/// for those of the last commit, and for what else there is to say.
const ROW_GROUPS_ENOUGH: usize = FOOTER_MAX / 8 * 7;

/// The Parquet schema of a capture with this footer.
pub(crate) fn schema(footer: &Footer) -> Result<SchemaDescPtr> {
    let now = if footer.parts().is_empty() { columns::schema() } else { columns::merged_schema() };
    // Of an older file that is repaired it is the older one.
    let fields = now.fields().iter().filter(|it| columns::of_minor(it.name(), footer.minor));
    let schema = Schema::new(fields.cloned().collect::<Vec<_>>());
    let schema = ArrowSchemaConverter::new()
        .convert(&schema)
        .context("the schema of captures is no Parquet schema")?;
    Ok(Arc::new(schema))
}

/// What a footer says of the row groups of a file, as its bytes: there may be
/// thousands of them, and as the values that those stand for they would take seven
/// times as much memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowGroups {
    bytes: Vec<u8>,
    count: usize,
    rows: i64,
}

/// How many row groups there were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    bytes: usize,
    count: usize,
    rows: i64,
}

impl RowGroups {
    /// Adds a row group, whose offsets are those in the file.
    pub(crate) fn push(&mut self, schema: &SchemaDescPtr, group: RowGroupMetaData) -> Result<()> {
        let rows = group.num_rows();
        let Frame { bytes, list, end } = Frame::around(schema, None, group)?;
        let group = &bytes[list + 1..end];
        // Not twice as much each time: they stay for as long as the file is written.
        if self.bytes.capacity() - self.bytes.len() < group.len() {
            self.bytes.reserve_exact(group.len().max(ROOM));
        }
        self.bytes.extend_from_slice(group);
        self.count += 1;
        self.rows += rows;
        Ok(())
    }

    /// Whether there are as many as one file should have.
    pub(crate) fn are_enough(&self) -> bool {
        self.bytes.len() >= ROW_GROUPS_ENOUGH
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), count: self.count, rows: self.rows }
    }

    /// Forgets what was added after `mark`.
    pub(crate) fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        (self.count, self.rows) = (mark.count, mark.rows);
    }
}

/// The bytes from the end of the last row group to the end of the file.
///
/// # Errors
///
/// When they are more than anyone would read.
pub(crate) fn encode(
    schema: &SchemaDescPtr,
    groups: &RowGroups,
    footer: &Footer,
) -> Result<Vec<u8>> {
    let entries = footer.to_entries();
    let entries = entries.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value));
    // In the place of all row groups one that has all rows, which the library counts.
    let all = row_group(schema, groups.rows)?;
    let frame = Frame::around(schema, Some(entries.collect()), all)?;
    let mut bytes = Vec::with_capacity(frame.bytes.len() + groups.bytes.len() + TAIL);
    bytes.extend_from_slice(&frame.bytes[..frame.list]);
    push_list_header(&mut bytes, groups.count);
    bytes.extend_from_slice(&groups.bytes);
    bytes.extend_from_slice(&frame.bytes[frame.end..]);
    let length = u32::try_from(bytes.len()).context("the footer is too long for Parquet")?;
    ensure!(
        bytes.len() + TAIL <= FOOTER_MAX,
        "{} row groups are more than a capture can have: its footer would have {length} bytes of \
         {FOOTER_MAX}",
        groups.count
    );
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(MAGIC);
    Ok(bytes)
}

/// Room that is made for more row groups, bytes.
const ROOM: usize = 1 << 18;
/// The length of the metadata, 4 bytes, and the magic.
const TAIL: usize = 8;
/// In Thrift's compact protocol, the type of a list's structs.
const LIST_OF_STRUCTS: u8 = 0x0c;

/// A footer with one row group.
struct Frame {
    /// Without the tail.
    bytes: Vec<u8>,
    /// Where the list of row groups begins, with one byte that tells how many they are.
    list: usize,
    /// Where it ends.
    end: usize,
}

impl Frame {
    /// Finds the list by comparing footers that differ in its length alone: the library
    /// encodes whole footers only.
    fn around(
        schema: &SchemaDescPtr,
        entries: Option<Vec<KeyValue>>,
        group: RowGroupMetaData,
    ) -> Result<Self> {
        let encode =
            |groups: Vec<RowGroupMetaData>| parquet_footer(schema, entries.clone(), groups);
        let differ = |one: &[u8], other: &[u8], length: [u8; 2]| {
            let list = one.iter().zip(other).position(|(one, other)| one != other);
            list.filter(|&list| [one[list], other[list]] == length.map(list_header))
                .context("the footer has no list of row groups")
        };
        let empty = row_group(schema, 0)?;
        let none = encode(Vec::new())?;
        let after = none.len() - 1 - differ(&none, &encode(vec![empty.clone()])?, [0, 1])?;
        let bytes = encode(vec![group.clone()])?;
        let list = differ(&bytes, &encode(vec![group, empty])?, [1, 2])?;
        let end = bytes.len() - after;
        Ok(Self { bytes, list, end })
    }
}

/// Parquet's metadata as the library writes it, without the tail.
fn parquet_footer(
    schema: &SchemaDescPtr,
    entries: Option<Vec<KeyValue>>,
    groups: Vec<RowGroupMetaData>,
) -> Result<Vec<u8>> {
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    let by = Some(format!("mcrec {}", env!("CARGO_PKG_VERSION")));
    let file = FileMetaData::new(1, rows, by, entries, Arc::clone(schema), None);
    let metadata = ParquetMetaDataBuilder::new(file).set_row_groups(groups).build();
    let mut bytes = Vec::new();
    let written = ParquetMetaDataWriter::new(&mut bytes, &metadata).finish();
    written.context("cannot encode the footer")?;
    bytes.truncate(bytes.len().saturating_sub(TAIL));
    Ok(bytes)
}

/// In Thrift's compact protocol, what a list of so few structs begins with.
fn list_header(count: u8) -> u8 {
    count << 4 | LIST_OF_STRUCTS
}

/// The header of a list of `count` structs: lengths below 15 have a place in its first
/// byte, others follow it, seven bits to a byte.
fn push_list_header(bytes: &mut Vec<u8>, count: usize) {
    if let Some(short) = u8::try_from(count).ok().filter(|short| *short < 15) {
        bytes.push(list_header(short));
        return;
    }
    bytes.push(0xf0 | LIST_OF_STRUCTS);
    let mut rest = count;
    while rest >= 0x80 {
        bytes.push(0x80 | u8::try_from(rest & 0x7f).unwrap_or(0));
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap_or(0));
}

/// A row group of so many rows that is nowhere.
fn row_group(schema: &SchemaDescPtr, rows: i64) -> Result<RowGroupMetaData> {
    let columns = schema.columns().iter();
    let columns = columns.map(|column| ColumnChunkMetaData::builder(Arc::clone(column)).build());
    RowGroupMetaData::builder(Arc::clone(schema))
        .set_num_rows(rows)
        .set_column_metadata(columns.collect::<Result<_, _>>()?)
        .build()
        .context("cannot describe a row group")
}

/// Metadata of these row groups alone, as decoding them needs it.
pub(crate) fn of_groups(schema: &SchemaDescPtr, groups: Vec<RowGroupMetaData>) -> ParquetMetaData {
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    let file = FileMetaData::new(1, rows, None, None, Arc::clone(schema), None);
    ParquetMetaData::new(file, groups)
}

/// The Arrow schema of a file, with its strings as dictionaries.
pub(crate) fn with_dictionaries(schema: &SchemaDescriptor) -> Result<Schema> {
    let schema = parquet_to_arrow_schema(schema, None)?;
    let fields = schema.fields().iter().map(|field| {
        let field = Field::clone(field);
        match field.data_type() {
            DataType::Utf8 => {
                let strings = Box::new(DataType::Utf8);
                field.with_data_type(DataType::Dictionary(Box::new(DataType::Int32), strings))
            }
            _ => field,
        }
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use parquet::file::metadata::ParquetMetaDataReader;

    use super::{RowGroups, encode, row_group, schema};

    #[test]
    fn a_footer_is_what_the_library_reads_however_many_row_groups_it_has() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data/empty.parquet");
        let footer = crate::Capture::open(&sample).unwrap().footer().clone();
        let schema = schema(&footer).unwrap();
        let mut groups = RowGroups::default();
        for count in 0..300 {
            let bytes = encode(&schema, &groups, &footer).unwrap();
            let read = ParquetMetaDataReader::decode_metadata(&bytes[..bytes.len() - 8]).unwrap();
            assert_eq!(read.num_row_groups(), count);
            assert_eq!(read.file_metadata().num_rows(), 7 * i64::try_from(count).unwrap());
            assert!(read.row_groups().iter().all(|group| group.num_rows() == 7));
            assert!(read.file_metadata().key_value_metadata().is_some_and(|all| all.len() > 5));
            groups.push(&schema, row_group(&schema, 7).unwrap()).unwrap();
        }
        let mark = groups.mark();
        let before = encode(&schema, &groups, &footer).unwrap();
        groups.push(&schema, row_group(&schema, 7).unwrap()).unwrap();
        groups.truncate(mark);
        assert_eq!(encode(&schema, &groups, &footer).unwrap(), before);
    }
}
