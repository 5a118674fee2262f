//! The Parquet file: row groups in, and a complete file on disk after every commit.

mod file;
mod schedule;

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, bail};
use arrow_array::RecordBatch;
use mcrec_schema::{columns, footer::Footer};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowWriter, ArrowWriterOptions},
    },
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::{
            FileMetaData, KeyValue, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
        },
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::{ColumnPath, SchemaDescPtr},
};

use file::{CommittedFile, journal_path, remove_if_there};
pub(crate) use schedule::Schedule;

/// Rows to a row group, at most: with it the memory of what is not yet written
/// is bounded. Half a million rows cost 4 % more bytes than a million, and half
/// the memory.
const ROW_GROUP_ROWS: usize = 1 << 19;

/// Key dictionaries are kept up to this size. The usual 1 MiB makes the writer
/// fall back to plain keys, which takes 3 bytes a row more.
const KEY_DICTIONARY_BYTES: usize = 16 << 20;

/// A capture that is being written.
pub(crate) struct Sink {
    path: PathBuf,
    writer: ArrowWriter<Vec<u8>>,
    schema: SchemaDescPtr,
    file: CommittedFile,
    committed_rows: u64,
}

/// Checks that a capture can be created at `path`, without creating it.
///
/// # Errors
///
/// When it exists and is not to be replaced, or its folder is not a writable one.
pub(crate) fn check(path: &Path, force: bool) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            bail!("output {} exists and is not a regular file", path.display())
        }
        Ok(_) if !force => {
            bail!(
                "output {} exists; choose another name, or replace it with --force",
                path.display()
            )
        }
        _ => {}
    }
    if path == Path::new("-") {
        bail!("a capture cannot go to stdout: it is a file that is written in place");
    }
    let journal = journal_path(path);
    if !force && fs::metadata(&journal).is_ok_and(|metadata| metadata.len() > 0) {
        bail!(
            "{} belongs to an interrupted recording to {}; move it away, or replace both with \
             --force",
            journal.display(),
            path.display()
        );
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => bail!("cannot write {}: {} is not a folder", path.display(), folder.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("cannot write {}: there is no folder {}", path.display(), folder.display())
        }
        Err(error) => bail!("cannot write {}: {error}", path.display()),
    }
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).map_err(
        |error| anyhow!("cannot write {}: folder {}: {error}", path.display(), folder.display()),
    )
}

impl Sink {
    /// Creates the capture, complete and without rows.
    ///
    /// # Errors
    ///
    /// When the file cannot be created; then nothing is left behind.
    pub(crate) fn create(path: &Path, force: bool, footer: &Footer) -> Result<Self> {
        let arrow_schema = Arc::new(columns::schema());
        let schema = ArrowSchemaConverter::new()
            .convert(&arrow_schema)
            .context("the schema of captures is no Parquet schema")?;
        let options =
            ArrowWriterOptions::new().with_properties(properties()).with_skip_arrow_metadata(true);
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), arrow_schema, options)
            .context("cannot begin a Parquet file")?;
        writer.sync().context("cannot begin a Parquet file")?;
        let schema = Arc::new(schema);
        let begin = std::mem::take(writer.inner_mut());
        let footer = footer_bytes(&schema, &[], footer)?;
        if force {
            // Readers that have the old one open keep it.
            for old in [path.to_owned(), journal_path(path)] {
                remove_if_there(&old)
                    .with_context(|| format!("cannot replace {}", old.display()))?;
            }
        }
        let file = CommittedFile::create(path, &begin, footer)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path: path.to_owned(), writer, schema, file, committed_rows: 0 })
    }

    /// Adds rows to the row group that is being built.
    ///
    /// # Errors
    ///
    /// When they cannot be encoded.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).context("cannot encode operations")?;
        if self.writer.in_progress_rows() >= ROW_GROUP_ROWS {
            self.writer.flush().context("cannot encode a row group")?;
        }
        Ok(())
    }

    /// Rows that are not committed yet.
    pub(crate) fn uncommitted_rows(&self) -> u64 {
        let rows = total_rows(self.writer.flushed_row_groups());
        rows - self.committed_rows + self.writer.in_progress_rows() as u64
    }

    /// Bytes of complete row groups that are not committed yet.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.writer.inner().len()
    }

    /// Rows in the file on disk.
    pub(crate) fn committed_rows(&self) -> u64 {
        self.committed_rows
    }

    /// Size of the file on disk, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.len()
    }

    /// Makes the file on disk a complete capture of all rows so far. Returns the
    /// size of its footer, bytes.
    ///
    /// # Errors
    ///
    /// When it cannot be written; the file then is as the last commit left it.
    pub(crate) fn commit(&mut self, footer: &Footer) -> Result<usize> {
        self.writer.flush().context("cannot encode a row group")?;
        self.writer.sync().context("cannot encode a row group")?;
        let row_group = std::mem::take(self.writer.inner_mut());
        let groups = self.writer.flushed_row_groups();
        let rows = total_rows(groups);
        let footer = footer_bytes(&self.schema, groups, footer)?;
        let footer_size = footer.len();
        self.file
            .commit(&row_group, footer)
            .with_context(|| format!("cannot write to {}", self.path.display()))?;
        self.committed_rows = rows;
        Ok(footer_size)
    }

    /// Replaces the footer of what was last committed, without the rows since.
    /// For when a commit failed: the footer then says what is missing.
    ///
    /// # Errors
    ///
    /// When even that cannot be written.
    pub(crate) fn amend(&mut self, footer: &Footer) -> Result<()> {
        let committed = i64::try_from(self.committed_rows).unwrap_or(i64::MAX);
        let groups = self.writer.flushed_row_groups();
        let kept = groups
            .iter()
            .scan(0, |rows, group| {
                *rows += group.num_rows();
                Some(*rows)
            })
            .take_while(|rows| *rows <= committed)
            .count();
        let footer = footer_bytes(&self.schema, &groups[..kept], footer)?;
        self.file.amend(footer).with_context(|| format!("cannot write to {}", self.path.display()))
    }

    /// Ends the capture after its last commit.
    ///
    /// # Errors
    ///
    /// When the disk reports that the file did not reach it.
    pub(crate) fn close(self) -> Result<()> {
        let path = self.path;
        self.file.close().with_context(|| format!("cannot finish {}", path.display()))
    }
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
    for rising in [columns::TS, columns::LATENCY_NS, columns::CAS, columns::REQUEST_ID] {
        properties = properties
            .set_column_dictionary_enabled(column(rising), false)
            .set_column_encoding(column(rising), Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}

fn total_rows(groups: &[RowGroupMetaData]) -> u64 {
    groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum()
}

/// The bytes from the end of the last row group to the end of the file.
fn footer_bytes(
    schema: &SchemaDescPtr,
    groups: &[RowGroupMetaData],
    footer: &Footer,
) -> Result<Vec<u8>> {
    let entries = footer.to_entries();
    let entries = entries.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value));
    let file = FileMetaData::new(
        1,
        i64::try_from(total_rows(groups)).unwrap_or(i64::MAX),
        Some(format!("mcrec {}", env!("CARGO_PKG_VERSION"))),
        Some(entries.collect()),
        Arc::clone(schema),
        None,
    );
    let metadata = ParquetMetaDataBuilder::new(file).set_row_groups(groups.to_vec()).build();
    let mut bytes = Vec::new();
    ParquetMetaDataWriter::new(&mut bytes, &metadata)
        .finish()
        .context("cannot encode the footer")?;
    Ok(bytes)
}
