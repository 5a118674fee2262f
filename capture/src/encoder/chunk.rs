//! A column chunk: pages one after the other, and what a footer says of them.

use std::io::Write;

use anyhow::{Context, Result};
use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding, EncodingMask, PageType, ZstdLevel},
    column::page::{CompressedPage, Page, PageWriter},
    file::{
        metadata::{ColumnChunkMetaData, PageEncodingStats},
        statistics::Statistics,
        writer::{SerializedPageWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};
use zstd::bulk::Compressor;

use super::values::Dictionary;

/// Level 3 was measured to be slower and no smaller.
const ZSTD_LEVEL: i32 = 1;

/// What compresses pages: one for all columns, as it has some hundreds of KiB.
pub(super) fn compressor() -> Result<Compressor<'static>> {
    Compressor::new(ZSTD_LEVEL).context("cannot begin to compress")
}

/// The pages of a column chunk that is being built.
pub(super) struct Chunk {
    column: ColumnDescPtr,
    pages: TrackedWrite<Vec<u8>>,
    rows: i64,
    uncompressed: usize,
    /// Pages of each kind, in the order in which they are in the file.
    encodings: Vec<PageEncodingStats>,
}

impl Chunk {
    pub(super) fn new(column: ColumnDescPtr) -> Self {
        Self {
            column,
            pages: TrackedWrite::new(Vec::new()),
            rows: 0,
            uncompressed: 0,
            encodings: Vec::new(),
        }
    }

    /// Bytes of the pages so far.
    pub(super) fn size(&self) -> usize {
        self.pages.bytes_written()
    }

    /// Adds a data page of so many rows: their levels and values.
    pub(super) fn push(
        &mut self,
        page: &[u8],
        rows: usize,
        encoding: Encoding,
        compressor: &mut Compressor<'static>,
    ) -> Result<()> {
        let compressed = Page::DataPage {
            buf: compress(page, compressor)?,
            num_values: u32::try_from(rows)?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.uncompressed += write(compressed, page.len(), &mut self.pages)?;
        self.rows += i64::try_from(rows)?;
        match self.encodings.last_mut().filter(|last| last.encoding == encoding) {
            Some(last) => last.count += 1,
            None => self.encodings.push(of_page(PageType::DATA_PAGE, encoding)),
        }
        Ok(())
    }

    /// Appends the chunk to a row group: the dictionary, then the data pages.
    pub(super) fn finish(
        mut self,
        dictionary: Option<Dictionary>,
        statistics: Option<Statistics>,
        group: &mut TrackedWrite<Vec<u8>>,
        compressor: &mut Compressor<'static>,
    ) -> Result<ColumnChunkMetaData> {
        let start = group.bytes_written();
        let mut dictionary_offset = None;
        if let Some(Dictionary { values, page }) = dictionary {
            let compressed = Page::DictionaryPage {
                buf: compress(&page, compressor)?,
                num_values: u32::try_from(values)?,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            self.uncompressed += write(compressed, page.len(), group)?;
            self.encodings.insert(0, of_page(PageType::DICTIONARY_PAGE, Encoding::PLAIN));
            dictionary_offset = Some(i64::try_from(start)?);
        }
        let data_offset = i64::try_from(group.bytes_written())?;
        group.write_all(&self.pages.into_inner()?)?;
        // Levels have an encoding of their own.
        let encodings = self.encodings.iter().map(|pages| pages.encoding).chain([Encoding::RLE]);
        let encodings: Vec<Encoding> = encodings.collect();
        let mut chunk = ColumnChunkMetaData::builder(self.column)
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_encodings_mask(EncodingMask::new_from_encodings(encodings.iter()))
            .set_page_encoding_stats(self.encodings)
            .set_num_values(self.rows)
            .set_total_compressed_size(i64::try_from(group.bytes_written() - start)?)
            .set_total_uncompressed_size(i64::try_from(self.uncompressed)?)
            .set_data_page_offset(data_offset)
            .set_dictionary_page_offset(dictionary_offset);
        if let Some(statistics) = statistics {
            chunk = chunk.set_statistics(statistics);
        }
        chunk.build().context("cannot describe a column")
    }
}

fn of_page(page_type: PageType, encoding: Encoding) -> PageEncodingStats {
    PageEncodingStats { page_type, encoding, count: 1 }
}

fn compress(page: &[u8], compressor: &mut Compressor<'static>) -> Result<Bytes> {
    Ok(compressor.compress(page).context("cannot compress a page")?.into())
}

/// Writes a page after its header, and returns the bytes that both have when the page,
/// of `length` bytes, is not compressed.
fn write(page: Page, length: usize, to: &mut TrackedWrite<Vec<u8>>) -> Result<usize> {
    let page = CompressedPage::new(page, length);
    let written = SerializedPageWriter::new(to).write_page(page);
    Ok(written.context("cannot write a page")?.uncompressed_size)
}
