//! Opening captures, whole ones and what is left of others.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use arrow_array::{RecordBatch, new_null_array};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use mcrec_schema::{columns, footer::Footer};
use parquet::{
    arrow::arrow_reader::ArrowReaderOptions,
    file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
};
use rustix::fs::OFlags;

use crate::{
    decode::Decoder,
    head::MAGIC,
    journal::{self, Journal, journal_name},
    lock,
    metadata::FOOTER_MAX,
    salvage,
    source::Source,
    verify::verify,
    view::View,
};

/// How much of a capture is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All that was committed; a whole Parquet file.
    Whole,
    /// All that was committed; the last commit was cut off, and its journal tells
    /// how the file was before.
    CutOff,
    /// What could be found without a footer: the row groups that are complete.
    Salvaged,
}

/// An open capture.
#[derive(Debug)]
pub struct Capture {
    path: PathBuf,
    source: Source,
    metadata: Arc<ParquetMetaData>,
    footer: Footer,
    state: State,
}

impl Capture {
    /// Opens the capture at `path`, as far as it is there.
    ///
    /// # Errors
    ///
    /// When it is not a capture, one of a newer version, or damaged beyond what can
    /// be read.
    pub fn open(path: &Path) -> Result<Self> {
        /// A commit takes no longer, as a rule.
        const COMMIT: Duration = Duration::from_millis(50);
        let opened = Self::open_now(path);
        match &opened {
            Ok(capture) if capture.state == State::Whole => opened,
            _ if is_being_recorded(path) => {
                thread::sleep(COMMIT);
                Self::open_now(path)
            }
            _ => opened,
        }
    }

    fn open_now(path: &Path) -> Result<Self> {
        let name = path.display();
        let file = open_file(path)?;
        let length = file.metadata().with_context(|| format!("cannot read {name}"))?.len();
        let Tail { data_end, footer, metadata, state, .. } = tail(path, &file, length)?;
        let entries = metadata.file_metadata().key_value_metadata();
        let entries = entries.map(Vec::as_slice).unwrap_or_default();
        let mut described = Footer::from_entries(|key| {
            entries.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.as_deref())
        })
        .map_err(|error| anyhow!("cannot read {name}: {error}"))?;
        if state == State::Salvaged {
            // How it ended, the end would say.
            described.capture.ended = None;
        }
        verify(&file, &metadata, data_end)
            .with_context(|| format!("cannot read {name}: it is damaged"))?;
        let source = Source::new(file, data_end, footer);
        Ok(Self {
            path: path.to_owned(),
            source,
            metadata: metadata.into(),
            footer: described,
            state,
        })
    }

    /// Where it is, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much of it is there.
    pub fn state(&self) -> State {
        self.state
    }

    /// What it says of itself.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Its row groups.
    pub fn row_groups(&self) -> &[RowGroupMetaData] {
        self.metadata.row_groups()
    }

    /// Number of its rows.
    pub fn rows(&self) -> u64 {
        self.row_groups().iter().map(|g| u64::try_from(g.num_rows()).unwrap_or(0)).sum()
    }

    /// Whether its rows have the column: older files have fewer.
    pub fn has_column(&self, name: &str) -> bool {
        let schema = self.metadata.file_metadata().schema_descr();
        schema.columns().iter().any(|column| column.name() == name)
    }

    /// Where its data ends and its footer begins, bytes.
    pub fn data_end(&self) -> u64 {
        self.source.data_end()
    }

    /// Reads the rows of row group `group`, all columns or only those named.
    ///
    /// # Errors
    ///
    /// When there is no such row group or column, or it is damaged.
    pub fn batches(&self, group: usize, columns: Option<&[&str]>) -> Result<Batches> {
        self.read(group, columns, ArrowReaderOptions::new(), false)
    }

    /// Reads the rows of row group `group`, only the columns named, with strings as
    /// dictionaries (`Dictionary(Int32, Utf8)`): one for all batches where the file
    /// has it so, which is a fraction of the work.
    ///
    /// # Errors
    ///
    /// When there is no such row group or column, or it is damaged.
    pub fn dictionaries(&self, group: usize, columns: &[&str]) -> Result<Batches> {
        let schema = self.metadata.file_metadata().schema_descr();
        let schema = crate::metadata::with_dictionaries(schema)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        self.read(group, Some(columns), ArrowReaderOptions::new().with_schema(schema.into()), true)
    }

    fn read(
        &self,
        group: usize,
        columns: Option<&[&str]>,
        options: ArrowReaderOptions,
        coded: bool,
    ) -> Result<Batches> {
        let groups = self.row_groups().get(group).context("there is no such row group")?;
        let schema = self.metadata.file_metadata().schema_descr_ptr();
        let metadata = crate::metadata::of_groups(&schema, vec![groups.clone()]);
        let decoder = Decoder::new(self.source.clone(), Arc::new(metadata), columns, options)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        let lacks = |name: &&str| {
            columns.is_none_or(|wanted| wanted.contains(name)) && !self.has_column(name)
        };
        let lacking = columns::SINCE_MINOR_1.into_iter().filter(lacks).collect();
        Ok(Batches { path: self.path.clone(), decoder, lacking, coded })
    }

    /// The capture as one slice of bytes, a whole Parquet file: for readers that
    /// know no better, where the file on disk is not whole.
    ///
    /// # Errors
    ///
    /// When it cannot be mapped into memory.
    pub fn view(&self) -> Result<View> {
        View::of(&self.source).with_context(|| format!("cannot map {}", self.path.display()))
    }
}

/// The rows of a row group, in batches.
pub struct Batches {
    path: PathBuf,
    decoder: Decoder,
    /// Columns that the file is too old to have.
    lacking: Vec<&'static str>,
    /// Strings are dictionaries.
    coded: bool,
}

impl Batches {
    /// The rows with a null for each column that the file is too old to have.
    fn completed(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if self.lacking.is_empty() {
            return Ok(batch);
        }
        let (mut fields, mut arrays) =
            (batch.schema_ref().fields().to_vec(), batch.columns().to_vec());
        for field in columns::schema().fields() {
            if !self.lacking.contains(&field.name().as_str()) {
                continue;
            }
            let kind = match field.data_type() {
                DataType::Dictionary(_, strings) if !self.coded => strings.as_ref().clone(),
                kind => kind.clone(),
            };
            arrays.push(new_null_array(&kind, batch.num_rows()));
            fields.push(Arc::new(Field::clone(field).with_data_type(kind)));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.decoder.next()?.and_then(|batch| self.completed(batch));
        Some(batch.with_context(|| format!("cannot read {}: it is damaged", self.path.display())))
    }
}

fn open_file(path: &Path) -> Result<File> {
    let name = path.display();
    // A pipe of that name must not make us wait for its other end.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| anyhow!("cannot open {name}: {error}"))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        bail!("{name} is not a file");
    }
    Ok(file)
}

/// Whether a recorder has the capture at `path` locked.
pub fn is_being_recorded(path: &Path) -> bool {
    open_file(path).is_ok_and(|file| lock::is_taken(&file))
}

/// Where the data of a capture ends, and what belongs there.
pub(crate) struct Tail {
    /// Bytes from the beginning of the file.
    pub(crate) data_end: u64,
    pub(crate) footer: Bytes,
    /// What the footer says.
    metadata: ParquetMetaData,
    /// How all of this is known.
    pub(crate) state: State,
    /// There is a footer at the end of the file that speaks of more than the file has.
    pub(crate) has_other_footer: bool,
}

impl Tail {
    fn new(data_end: u64, footer: Vec<u8>, state: State) -> Result<Self> {
        let metadata = parse(&footer).context("its footer is damaged")?;
        within(&metadata, data_end).context("its footer is damaged")?;
        let footer = footer.into();
        Ok(Self { data_end, footer, metadata, state, has_other_footer: false })
    }
}

/// The tail of the capture at `path`, from its footer, its journal or its pages.
///
/// # Errors
///
/// When none of them tells it, or there is a footer that is longer than any that is read.
pub(crate) fn tail(path: &Path, file: &File, length: u64) -> Result<Tail> {
    let cannot_read = || format!("cannot read {}", path.display());
    let at_end = AtEnd::of(file, length);
    if let AtEnd::Whole(tail) = at_end {
        return Ok(*tail);
    }
    if let AtEnd::TooLong(size) = at_end {
        // Anything else would be less than what it says.
        return Err(anyhow!(
            "its footer has {size} bytes, and {FOOTER_MAX} are the most that is read"
        ))
        .with_context(cannot_read);
    }
    let has_other_footer = matches!(at_end, AtEnd::Beyond);
    if let Some(journal) = journal_of(path, file)
        && journal.data_end <= length
        && let Ok(tail) = Tail::new(journal.data_end, journal.footer, State::CutOff)
    {
        return Ok(Tail { has_other_footer, ..tail });
    }
    let salvaged = salvage::salvage(file, length)
        .with_context(cannot_read)?
        .ok_or_else(|| anyhow!("{} is not a Parquet file, or not a whole one", path.display()))?;
    let tail = Tail::new(salvaged.data_end, salvaged.footer, State::Salvaged);
    Ok(Tail { has_other_footer, ..tail.with_context(cannot_read)? })
}

/// What a file ends with.
enum AtEnd {
    /// A footer, after all that it speaks of.
    Whole(Box<Tail>),
    /// A footer that speaks of more than is before it.
    Beyond,
    /// A footer of so many bytes, which is not read.
    TooLong(u64),
    Other,
}

impl AtEnd {
    fn of(file: &File, length: u64) -> Self {
        Self::footer_of(file, length).unwrap_or(Self::Other)
    }

    fn footer_of(file: &File, length: u64) -> Option<Self> {
        /// What Parquet's metadata begins with, its version and its schema.
        const BEGINNINGS: [[u8; 3]; 2] = [[0x15, 0x02, 0x19], [0x15, 0x04, 0x19]];
        let mut end = [0; 8];
        file.read_exact_at(&mut end, length.checked_sub(8)?).ok()?;
        let (size, magic) = end.split_first_chunk()?;
        let size = u64::from(u32::from_le_bytes(*size)) + 8;
        let data_end = length.checked_sub(size).filter(|_| magic == MAGIC)?;
        if size > FOOTER_MAX as u64 {
            let mut beginning = [0; 3];
            file.read_exact_at(&mut beginning, data_end).ok()?;
            return BEGINNINGS.contains(&beginning).then_some(Self::TooLong(size));
        }
        let mut footer = vec![0; usize::try_from(size).ok()?];
        file.read_exact_at(&mut footer, data_end).ok()?;
        let metadata = parse(&footer).ok()?;
        if within(&metadata, data_end).is_err() {
            return Some(Self::Beyond);
        }
        let (footer, state) = (footer.into(), State::Whole);
        let tail = Tail { data_end, footer, metadata, state, has_other_footer: false };
        Some(Self::Whole(tail.into()))
    }
}

/// Parquet's metadata from the bytes of a footer.
fn parse(footer: &[u8]) -> Result<ParquetMetaData> {
    let metadata = footer.get(..footer.len().saturating_sub(8)).unwrap_or_default();
    Ok(ParquetMetaDataReader::decode_metadata(metadata)?)
}

/// Checks that all that `metadata` speaks of lies before `data_end`.
fn within(metadata: &ParquetMetaData, data_end: u64) -> Result<()> {
    let within = |offset: i64| u64::try_from(offset).is_ok_and(|offset| offset <= data_end);
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        // Other writers say nothing of where a column without rows is.
        if column.compressed_size() == 0 && column.num_values() == 0 {
            continue;
        }
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        if start < 4 || column.compressed_size() < 0 || !end.is_some_and(within) {
            bail!("a column lies outside of the file");
        }
    }
    Ok(())
}

/// The finished journal beside a capture, if there is one. One that belongs to
/// someone else than the capture does not count.
fn journal_of(path: &Path, capture: &File) -> Option<Journal> {
    let path = fs::canonicalize(path).ok()?;
    let name = journal_name(path.file_name().unwrap_or(OsStr::new("")));
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let options = OpenOptions::new().read(true).custom_flags(flags).to_owned();
    let journal = options.open(path.with_file_name(name)).ok()?;
    let (of_journal, of_capture) = (journal.metadata().ok()?, capture.metadata().ok()?);
    if !of_journal.is_file() || of_journal.uid() != of_capture.uid() {
        return None;
    }
    let mut bytes = Vec::new();
    journal.take(journal::MAX as u64).read_to_end(&mut bytes).ok()?;
    Journal::parse(&bytes)
}
