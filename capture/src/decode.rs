//! Rows out of row groups, whatever is in their pages.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Once},
};

use anyhow::{Result, anyhow};
use arrow_array::RecordBatch;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder,
        },
    },
    file::metadata::ParquetMetaData,
};

use crate::source::Source;

/// Rows to a batch.
const BATCH_ROWS: usize = 8192;

/// Decodes rows in batches; ends after the first error.
pub(crate) struct Decoder {
    reader: Option<ParquetRecordBatchReader>,
}

impl Decoder {
    /// For the rows of `source` that `metadata` speaks of, all columns or only those
    /// named.
    ///
    /// # Errors
    ///
    /// When they are not what the metadata says, as far as that shows at once.
    pub(crate) fn new(
        source: Source,
        metadata: Arc<ParquetMetaData>,
        columns: Option<&[&str]>,
        options: ArrowReaderOptions,
    ) -> Result<Self> {
        let reader = without_panic(|| {
            let schema = metadata.file_metadata().schema_descr_ptr();
            let metadata = ArrowReaderMetadata::try_new(metadata, options)?;
            let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source, metadata);
            if let Some(names) = columns {
                let columns = ProjectionMask::columns(&schema, names.iter().copied());
                builder = builder.with_projection(columns);
            }
            Ok(builder.with_batch_size(BATCH_ROWS).build()?)
        })?;
        Ok(Self { reader: Some(reader) })
    }
}

impl Iterator for Decoder {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let batch = without_panic(|| Ok(reader.next().transpose()?)).transpose()?;
        if batch.is_err() {
            self.reader = None;
        }
        Some(batch)
    }
}

/// Does `work`, and takes a panic for an error, without a word on stderr: decoders have
/// some where the inside of a page is not what it should be.
fn without_panic<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    thread_local! {
        static AT_WORK: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !AT_WORK.get() {
                others(panic);
            }
        }));
    });
    AT_WORK.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    AT_WORK.set(false);
    done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("a page cannot be decoded: {}", text.unwrap_or("it makes no sense")))
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::without_panic;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let lengths: Vec<u8> = Vec::new();
        let error = without_panic(|| Ok(lengths[3])).unwrap_err().to_string();
        assert!(error.starts_with("a page cannot be decoded: index out of bounds"), "{error}");
        let sum: Result<u8> = without_panic(|| Ok(1));
        assert_eq!(sum.unwrap(), 1);
    }
}
