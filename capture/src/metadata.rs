//! The bytes after the last row group: Parquet's own metadata, with ours in it.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_schema::{DataType, Field, Schema};
use mcrec_schema::{columns, footer::Footer};
use parquet::{
    arrow::{ArrowSchemaConverter, parquet_to_arrow_schema},
    file::metadata::{
        FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter,
        RowGroupMetaData,
    },
    schema::types::{SchemaDescPtr, SchemaDescriptor},
};

/// The Parquet schema of a capture with this footer.
pub(crate) fn schema(footer: &Footer) -> Result<SchemaDescPtr> {
    let schema =
        if footer.parts().is_empty() { columns::schema() } else { columns::merged_schema() };
    let schema = ArrowSchemaConverter::new()
        .convert(&schema)
        .context("the schema of captures is no Parquet schema")?;
    Ok(Arc::new(schema))
}

/// The bytes from the end of the last row group to the end of the file. The row groups
/// are lent, and not copied: there may be thousands.
pub(crate) fn encode(
    schema: &SchemaDescPtr,
    groups: &mut Vec<RowGroupMetaData>,
    footer: &Footer,
) -> Result<Vec<u8>> {
    let entries = footer.to_entries();
    let entries = entries.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value));
    let file = FileMetaData::new(
        1,
        groups.iter().map(RowGroupMetaData::num_rows).sum(),
        Some(format!("mcrec {}", env!("CARGO_PKG_VERSION"))),
        Some(entries.collect()),
        Arc::clone(schema),
        None,
    );
    let lent = std::mem::take(groups);
    let metadata = ParquetMetaDataBuilder::new(file).set_row_groups(lent).build();
    let mut bytes = Vec::new();
    let written = ParquetMetaDataWriter::new(&mut bytes, &metadata).finish();
    *groups = metadata.into_builder().take_row_groups();
    written.context("cannot encode the footer")?;
    Ok(bytes)
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
