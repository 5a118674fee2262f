//! Rows into row groups, each encoded by itself, wherever it will stand.
//!
//! ```text
//! batch ▶ column ▶ levels + values ▶ page ▶ zstd ▶ column chunk ▶ row group
//! ```
//!
//! The columns of captures are known, and so is which encoding fits each of them. What
//! a general writer of Parquet finds out for every value, that it is a word which was
//! there before, is told here by the codes of Arrow dictionaries once for each batch;
//! and values are packed by the page.

mod bit_pack;
mod booleans;
mod chunk;
mod column;
mod delta;
mod hash;
mod hybrid;
mod levels;
mod number_dictionary;
mod numbers;
mod plain;
mod row_group;
#[cfg(test)]
mod tests;
mod text_dictionary;
mod texts;
mod values;
mod varint;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::{
    arrow::ArrowSchemaConverter, file::writer::TrackedWrite, schema::types::SchemaDescPtr,
};
use zstd::bulk::Compressor;

use column::Column;
use hash::Hash;
pub use row_group::RowGroup;

/// Rows to a row group, at most: with it the memory of what is not yet encoded
/// is bounded. Half a million rows cost 4 % more bytes than a million, and half
/// the memory.
pub const ROW_GROUP_ROWS: usize = 1 << 19;

/// Builds one row group after the other. What it makes of rows is the format's
/// guarantee 4: 11 to 14 bytes a row on a Zipf workload.
pub struct Encoder {
    schema: SchemaRef,
    building: Option<Building>,
}

/// A row group that is being built.
struct Building {
    schema: SchemaDescPtr,
    columns: Vec<Column>,
    rows: usize,
    compressor: Compressor<'static>,
}

impl Encoder {
    /// For batches of this Arrow schema, which is `columns::schema()` or one whose
    /// Parquet types are the same.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, building: None }
    }

    /// Adds rows to the row group that is being built.
    ///
    /// # Errors
    ///
    /// When they cannot be encoded. The row group is lost then.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut building = match self.building.take() {
            Some(building) => building,
            None => Building::new(&self.schema).context("cannot begin a row group")?,
        };
        building.append(batch).context("cannot encode operations")?;
        self.building = Some(building);
        Ok(())
    }

    /// Rows in the row group that is being built.
    pub fn rows(&self) -> usize {
        self.building.as_ref().map_or(0, |building| building.rows)
    }

    /// About how many bytes the row group that is being built will have: rather
    /// more than fewer.
    pub fn bytes(&self) -> usize {
        let columns = self.building.iter().flat_map(|building| &building.columns);
        columns.map(Column::size).sum()
    }

    /// Ends the row group; `None` if there are no rows.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded.
    pub fn finish(&mut self) -> Result<Option<RowGroup>> {
        let building = self.building.take().filter(|building| building.rows > 0);
        building.map(Building::finish).transpose().context("cannot encode a row group")
    }
}

impl Building {
    fn new(schema: &SchemaRef) -> Result<Self> {
        let described = ArrowSchemaConverter::new().convert(schema)?;
        let (fields, leaves) = (schema.fields(), described.columns());
        ensure!(fields.len() == leaves.len(), "a column consists of several");
        let hash = Hash::new();
        let columns = fields.iter().zip(leaves);
        let columns = columns.map(|(field, leaf)| Column::new(field, leaf, hash));
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            schema: Arc::new(described),
            rows: 0,
            compressor: chunk::compressor()?,
        })
    }

    fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let (there, expected) = (batch.num_columns(), self.columns.len());
        ensure!(there == expected, "there are {there} columns instead of {expected}");
        for (at, (column, rows)) in self.columns.iter_mut().zip(batch.columns()).enumerate() {
            let name = || format!("column {}", batch.schema_ref().field(at).name());
            column.append(rows, &mut self.compressor).with_context(name)?;
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    fn finish(mut self) -> Result<RowGroup> {
        let mut bytes = TrackedWrite::new(Vec::new());
        let columns = self.columns.into_iter();
        let columns = columns.map(|column| column.finish(&mut bytes, &mut self.compressor));
        let columns = columns.collect::<Result<_>>()?;
        RowGroup::new(bytes.into_inner()?, self.rows, columns, &self.schema)
    }
}
