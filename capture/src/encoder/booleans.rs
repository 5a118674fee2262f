//! Columns of truth values: a bit each.

use anyhow::{Context, Result};
use arrow_array::{Array, builder::BooleanBufferBuilder, cast::AsArray};
use arrow_buffer::NullBuffer;
use parquet::{basic::Encoding, file::statistics::Statistics};

use super::values::{Dictionary, Values};

/// The bits of the page at hand.
pub(super) struct Booleans(BooleanBufferBuilder);

impl Booleans {
    pub(super) fn new() -> Self {
        Self(BooleanBufferBuilder::new(0))
    }
}

impl Values for Booleans {
    fn append(&mut self, rows: &dyn Array, nulls: Option<&NullBuffer>) -> Result<usize> {
        let values = rows.as_boolean_opt().context("an array is not of truth values")?.values();
        match nulls {
            None => self.0.append_buffer(values),
            Some(nulls) => nulls.valid_indices().for_each(|row| self.0.append(values.value(row))),
        }
        Ok(rows.len())
    }

    fn end_page(&mut self, page: &mut Vec<u8>) -> Encoding {
        page.extend_from_slice(self.0.as_slice());
        self.0.truncate(0);
        Encoding::PLAIN
    }

    fn size(&self) -> usize {
        self.0.as_slice().len()
    }

    fn take_dictionary(&mut self) -> Option<Dictionary> {
        None
    }

    fn statistics(&self, _nulls: u64) -> Option<Statistics> {
        None
    }
}
