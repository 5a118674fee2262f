//! A column of a row group that is being built: rows into pages.

use anyhow::{Result, bail, ensure};
use arrow_array::Array;
use arrow_schema::{DataType, Field, TimeUnit};
use mcrec_schema::columns;
use parquet::{
    file::{metadata::ColumnChunkMetaData, writer::TrackedWrite},
    schema::types::ColumnDescPtr,
};
use zstd::bulk::Compressor;

use super::{
    booleans::Booleans, chunk::Chunk, hash::Hash, levels::DefinitionLevels, numbers::Numbers,
    texts::Texts, values::Values,
};

/// Rows to a page, as other writers have it.
const PAGE_ROWS: usize = 20_000;
/// Key dictionaries are kept up to this size. The usual 1 MiB makes keys plain, which
/// takes 3 bytes a row more.
const KEY_DICTIONARY_BYTES: usize = 16 << 20;
/// Other dictionaries, of few words and some addresses.
const DICTIONARY_BYTES: usize = 1 << 20;
/// Rising, or the same again and again: half the time of a dictionary, and no larger.
pub(super) const OF_DIFFERENCES: [&str; 7] = [
    columns::TS,
    columns::LATENCY_NS,
    columns::CAS,
    columns::REQUEST_ID,
    columns::KEY_LEN,
    columns::KEY_INDEX,
    columns::THREAD_ID,
];

pub(super) struct Column {
    data_type: DataType,
    nullable: bool,
    levels: DefinitionLevels,
    values: Box<dyn Values>,
    chunk: Chunk,
    nulls: u64,
    /// A page before it is compressed: here to be allocated once.
    page: Vec<u8>,
}

impl Column {
    /// A column of this field of the Arrow schema, which Parquet's has as `column`.
    ///
    /// # Errors
    ///
    /// When captures have no columns of its type.
    pub(super) fn new(field: &Field, column: &ColumnDescPtr, hash: Hash) -> Result<Self> {
        Ok(Self {
            data_type: field.data_type().clone(),
            nullable: column.max_def_level() > 0,
            levels: DefinitionLevels::new(),
            values: values(field, hash)?,
            chunk: Chunk::new(ColumnDescPtr::clone(column)),
            nulls: 0,
            page: Vec::new(),
        })
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// When they are not of the column's type, or cannot be encoded.
    pub(super) fn append(
        &mut self,
        rows: &dyn Array,
        compressor: &mut Compressor<'static>,
    ) -> Result<()> {
        let (given, expected) = (rows.data_type(), &self.data_type);
        // Strings may have codes in one batch and none in the next.
        let fits = given == expected || is_text(given) && is_text(expected);
        ensure!(fits, "rows are {given}, and the column is {expected}");
        let nulls = rows.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        ensure!(self.nullable || nulls.is_none(), "there are nulls where none may be");
        let mut from = 0;
        while from < rows.len() {
            let count = (rows.len() - from).min(PAGE_ROWS - self.levels.rows());
            let piece = rows.slice(from, count);
            let of = |count| nulls.as_ref().map(|nulls| nulls.slice(from, count));
            let piece_nulls = of(count).filter(|nulls| nulls.null_count() > 0);
            let taken = self.values.append(&piece, piece_nulls.as_ref())?;
            self.levels.append(taken, of(taken).as_ref());
            if taken < count || self.levels.rows() == PAGE_ROWS {
                self.end_page(compressor)?;
            }
            from += taken;
        }
        Ok(())
    }

    fn end_page(&mut self, compressor: &mut Compressor<'static>) -> Result<()> {
        let (rows, nulls) = (self.levels.rows(), self.levels.nulls());
        self.page.clear();
        if self.nullable {
            self.levels.end_page(&mut self.page);
        } else {
            self.levels.clear();
        }
        let encoding = self.values.end_page(&mut self.page);
        self.nulls += nulls as u64;
        self.chunk.push(&self.page, rows, encoding, compressor)
    }

    /// About how many bytes it will have: rather more than fewer.
    pub(super) fn size(&self) -> usize {
        self.chunk.size() + self.levels.size() + self.values.size()
    }

    /// Appends the column to a row group.
    pub(super) fn finish(
        mut self,
        group: &mut TrackedWrite<Vec<u8>>,
        compressor: &mut Compressor<'static>,
    ) -> Result<ColumnChunkMetaData> {
        if self.levels.rows() > 0 {
            self.end_page(compressor)?;
        }
        let statistics = self.values.statistics(self.nulls);
        self.chunk.finish(self.values.take_dictionary(), statistics, group, compressor)
    }
}

/// The values of a column.
fn values(field: &Field, hash: Hash) -> Result<Box<dyn Values>> {
    let name = field.name().as_str();
    let bits = match field.data_type() {
        DataType::Int32 => 32,
        DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) => 64,
        DataType::Boolean => return Ok(Box::new(Booleans::new())),
        other if is_text(other) => {
            let limit = if name == columns::KEY { KEY_DICTIONARY_BYTES } else { DICTIONARY_BYTES };
            return Ok(Box::new(Texts::new(hash, limit)));
        }
        other => bail!("column {name} is {other}, which captures do not have"),
    };
    Ok(Box::new(match OF_DIFFERENCES.contains(&name) {
        true => Numbers::of_differences(bits),
        false => Numbers::of_dictionary(bits, hash),
    }))
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => **values == DataType::Utf8,
        other => *other == DataType::Utf8,
    }
}
