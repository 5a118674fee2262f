//! Reads the rows of a capture by several threads, a row group at a time each, so
//! that memory does not grow with the capture.

use std::{
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, types::Int32Type,
};
use arrow_buffer::NullBuffer;
use mcrec_capture::Batches;
use mcrec_schema::columns;

use crate::{
    by::{By, Grouper},
    capture::Capture,
    files::merge::Moved,
    filter::Sieve,
    panics::decoding,
    progress,
    sampling::Weights,
};

/// Each thread holds the dictionary of a row group and what it makes of it, some
/// tens of megabytes.
const THREADS_MAX: usize = 8;

/// Some rows of a capture, next to each other.
pub(crate) struct Rows {
    batch: RecordBatch,
    /// Number of the first of them in the whole capture.
    pub(crate) first: u64,
    /// How many operations each stands for, where not each for itself.
    weights: Option<Vec<i64>>,
    /// Which rows are operations that are asked for, where not all are.
    wanted: Option<Vec<bool>>,
    /// What they are grouped by.
    groups: Option<DictionaryArray<Int32Type>>,
    /// That is their keys.
    by_key: bool,
}

/// A column of integers, some of which may be null.
#[derive(Clone, Copy)]
pub(crate) struct Ints<'a> {
    values: &'a [i64],
    nulls: Option<&'a NullBuffer>,
}

/// A column of strings: for each row the number of a string, and the strings.
pub(crate) struct Strings<'a> {
    pub(crate) array: &'a DictionaryArray<Int32Type>,
    pub(crate) values: &'a StringArray,
}

/// Lets `visit` see all rows of the capture with these `columns` of theirs, in
/// several threads, each with a state of its own. Those are returned.
///
/// # Errors
///
/// The first of a thread, or of reading.
pub(crate) fn scan<S: Send>(
    capture: &Capture,
    columns: &[&str],
    state: impl Fn() -> S + Sync,
    visit: impl Fn(&mut S, &Rows) -> Result<()> + Sync,
) -> Result<Vec<S>> {
    scan_by(capture, None, columns, state, visit)
}

/// The same with [`Rows::groups`] of the rows by `by`.
///
/// # Errors
///
/// The first of a thread, or of reading.
pub(crate) fn scan_by<S: Send>(
    capture: &Capture,
    by: Option<&By>,
    columns: &[&str],
    state: impl Fn() -> S + Sync,
    visit: impl Fn(&mut S, &Rows) -> Result<()> + Sync,
) -> Result<Vec<S>> {
    let groups = groups(capture);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let bar = progress::bar(groups.len(), capture.shows_progress);
    let work = || {
        let mut state = state();
        let mut reader = Reader::new(capture, by, columns);
        while let Some(&place) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            reader.read(place, |rows| {
                if failed.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                visit(&mut state, rows).map(|()| true)
            })?;
            bar.inc(1);
        }
        Ok(state)
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = threads.min(THREADS_MAX).min(groups.len().max(1));
    let states = thread::scope(|scope| {
        let work = || work().inspect_err(|_| failed.store(true, Ordering::Relaxed));
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    bar.finish_and_clear();
    states
}

/// What all threads counted, of as many things each.
pub(crate) fn added(threads: Vec<Vec<i64>>) -> Vec<i64> {
    let sum = |mut sum: Vec<i64>, counts: Vec<i64>| {
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        sum
    };
    threads.into_iter().reduce(sum).unwrap_or_default()
}

/// A row group of a capture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Number of its file.
    pub(crate) file: usize,
    /// Number in that.
    pub(crate) group: usize,
    /// Number of its first row in the whole capture.
    first: u64,
}

/// The row groups of a capture, in order.
pub(crate) fn groups(capture: &Capture) -> Vec<Place> {
    let mut first = 0;
    let mut groups = Vec::new();
    for (file, opened) in capture.files.iter().enumerate() {
        for (group, metadata) in opened.row_groups().iter().enumerate() {
            groups.push(Place { file, group, first });
            first += u64::try_from(metadata.num_rows()).unwrap_or(0);
        }
    }
    groups
}

/// Reads row groups in one thread.
pub(crate) struct Reader<'a> {
    capture: &'a Capture,
    columns: Vec<&'a str>,
    sieve: Sieve,
    grouper: Option<Grouper<'a>>,
    by_key: bool,
}

impl<'a> Reader<'a> {
    /// With these columns, and those that the filter and `by` take.
    pub(crate) fn new(capture: &'a Capture, by: Option<&'a By>, columns: &[&'a str]) -> Self {
        let mut columns = columns.to_vec();
        columns.push(columns::OP);
        columns.extend(capture.filter.columns());
        columns.extend(by.map(By::column));
        if capture.is_scaled() {
            columns.extend([columns::TS, columns::KEY]);
        }
        let by_key = by.is_some_and(By::is_key);
        Self { capture, columns, sieve: Sieve::default(), grouper: by.map(By::grouper), by_key }
    }

    /// Lets `visit` see the rows of a row group, some at a time, until it says that
    /// it has seen enough.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or `visit` fails.
    pub(crate) fn read(
        &mut self,
        place: Place,
        mut visit: impl FnMut(&Rows) -> Result<bool>,
    ) -> Result<()> {
        let mut group = self.begin(place)?;
        while let Some(rows) = self.next(&mut group)? {
            if !visit(&rows)? {
                break;
            }
        }
        Ok(())
    }

    /// Begins with a row group.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn begin(&self, place: Place) -> Result<Begun> {
        let file = &self.capture.files[place.file];
        let batches = decoding(file.path(), || file.dictionaries(place.group, &self.columns))?;
        Ok(Begun { place, batches })
    }

    /// The next rows of a row group, if there are more.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub(crate) fn next(&mut self, group: &mut Begun) -> Result<Option<Rows>> {
        let Place { file, first, .. } = group.place;
        let path = self.capture.files[file].path();
        let batch = decoding(path, || group.batches.next().transpose())?;
        let Some(batch) = batch else { return Ok(None) };
        let batch = moved(batch, &self.capture.moved[file])?;
        let (weights, wanted, groups) = (None, None, None);
        let by_key = self.by_key;
        let mut rows = Rows { batch, first, weights, wanted, groups, by_key };
        if self.capture.is_scaled() {
            rows.weights = Some(rows.weigh(&self.capture.weights[file])?);
        }
        rows.wanted = self.sieve.wanted(&self.capture.filter, &rows)?;
        if let Some(grouper) = &mut self.grouper {
            rows.groups = Some(grouper.groups(&rows)?);
        }
        group.place.first += rows.batch.num_rows() as u64;
        Ok(Some(rows))
    }
}

/// The rows with the numbers that their connections and requests have beside those of other
/// files.
fn moved(batch: RecordBatch, moved: &Moved) -> Result<RecordBatch> {
    if !moved.moves() {
        return Ok(batch);
    }
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let by = match field.name().as_str() {
            columns::CONN_ID => moved.conn_ids_moved_by,
            columns::REQUEST_ID => moved.request_ids_moved_by,
            _ => return Arc::clone(column),
        };
        match column.as_any().downcast_ref::<Int64Array>() {
            Some(numbers) => {
                let numbers = numbers.iter().map(|number| number.map(|n| n.saturating_add(by)));
                Arc::new(numbers.collect::<Int64Array>()) as ArrayRef
            }
            // What it is, is found out where it is looked at.
            None => Arc::clone(column),
        }
    });
    let columns = columns.collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// A row group that is being read.
pub(crate) struct Begun {
    place: Place,
    batches: Batches,
}

impl Rows {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether a row is an operation that is asked for.
    pub(crate) fn is_wanted(&self, row: usize) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted[row])
    }

    /// How many operations a row stands for.
    pub(crate) fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |weights| weights[row])
    }

    /// How many of its group: where those are keys only itself, for what is recorded of a
    /// key is all there was.
    pub(crate) fn weight_in_group(&self, row: usize) -> i64 {
        if self.by_key { 1 } else { self.weight(row) }
    }

    /// Whether they are grouped by their keys.
    pub(crate) fn are_by_key(&self) -> bool {
        self.by_key
    }

    fn weigh(&self, weights: &Weights) -> Result<Vec<i64>> {
        let (keys, times) = (self.strings(columns::KEY)?, self.times()?);
        let rows = keys.ids().zip(times);
        Ok(rows.map(|(key, time)| weights.of_row(*time, key.is_some())).collect())
    }

    /// What the rows are grouped by.
    ///
    /// # Errors
    ///
    /// When nobody asked for groups.
    pub(crate) fn groups(&self) -> Result<Strings<'_>> {
        Strings::of(self.groups.as_ref().context("rows were not grouped")?)
    }

    /// A column of strings.
    pub(crate) fn strings(&self, name: &str) -> Result<Strings<'_>> {
        Strings::of(self.typed(name)?)
    }

    /// A column of integers.
    pub(crate) fn ints(&self, name: &str) -> Result<Ints<'_>> {
        let array: &Int64Array = self.typed(name)?;
        Ok(Ints { values: array.values(), nulls: array.nulls() })
    }

    /// A column of integers of 32 bits, none of which is null.
    pub(crate) fn short_ints(&self, name: &str) -> Result<&[i32]> {
        let array: &Int32Array = self.typed(name)?;
        Ok(array.values())
    }

    /// A column of truths, none of which is null.
    pub(crate) fn truths(&self, name: &str) -> Result<&BooleanArray> {
        self.typed(name)
    }

    /// Whether there is such a column.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.batch.column_by_name(name).is_some()
    }

    /// The latencies, none of which is below zero.
    pub(crate) fn latencies(&self) -> Result<Ints<'_>> {
        let latencies = self.ints(columns::LATENCY_NS)?;
        if (0..self.len()).any(|row| latencies.get(row).is_some_and(|latency| latency < 0)) {
            bail!("cannot read the capture: it is damaged (a latency below zero)");
        }
        Ok(latencies)
    }

    /// When each was: µs since the epoch, UTC.
    pub(crate) fn times(&self) -> Result<&[i64]> {
        let times: &TimestampMicrosecondArray = self.typed(columns::TS)?;
        Ok(times.values())
    }

    fn typed<T: 'static>(&self, name: &str) -> Result<&T> {
        self.batch
            .column_by_name(name)
            .and_then(|column| column.as_any().downcast_ref())
            .with_context(|| format!("column {name} is not what it should be"))
    }
}

impl Ints<'_> {
    pub(crate) fn get(&self, row: usize) -> Option<i64> {
        self.nulls.is_none_or(|nulls| nulls.is_valid(row)).then(|| self.values[row])
    }
}

/// What holds of each row, by its string.
pub(crate) struct Each<'a> {
    ids: &'a [i32],
    by_string: Vec<bool>,
}

impl Each<'_> {
    pub(crate) fn of(&self, row: usize) -> bool {
        usize::try_from(self.ids[row]).is_ok_and(|id| self.by_string.get(id) == Some(&true))
    }
}

impl<'a> Strings<'a> {
    /// What holds of each row whose string is not null, by `is`.
    pub(crate) fn each(&self, is: impl Fn(&str) -> bool) -> Each<'a> {
        let by_string = self.values.iter().map(|value| value.is_some_and(&is)).collect();
        Each { ids: self.array.keys().values(), by_string }
    }

    /// The string of a row.
    pub(crate) fn get(&self, row: usize) -> Option<&'a str> {
        let id = usize::try_from(*self.array.keys().values().get(row)?).ok()?;
        self.is_some(row).then(|| self.values.value(id))
    }

    /// Whether a row has a string.
    pub(crate) fn is_some(&self, row: usize) -> bool {
        self.array.keys().is_valid(row)
    }

    fn of(array: &'a DictionaryArray<Int32Type>) -> Result<Self> {
        let values = array.values().as_any().downcast_ref().context("a column is no text")?;
        Ok(Self { array, values })
    }

    /// For each row the number of its string, null as `None`.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Option<usize>> + use<'a> {
        let nulls = self.array.keys().nulls();
        self.array.keys().values().iter().enumerate().map(move |(row, &id)| {
            let valid = nulls.is_none_or(|nulls| nulls.is_valid(row));
            valid.then(|| usize::try_from(id).unwrap_or(usize::MAX))
        })
    }

    /// The number of a string as rows have it, if it is there.
    pub(crate) fn number(&self, word: &str) -> Option<i32> {
        self.find(word).and_then(|number| i32::try_from(number).ok())
    }

    /// The number of a string, if it is there.
    pub(crate) fn find(&self, word: &str) -> Option<usize> {
        self.values.iter().position(|value| value == Some(word))
    }
}

/// What was made of the strings of one dictionary, and until when it holds.
pub(crate) struct OfDictionary<T> {
    /// Kept, so that another one cannot come to stand in its place.
    values: Option<ArrayRef>,
    pub(crate) made: Vec<T>,
}

impl<T> Default for OfDictionary<T> {
    fn default() -> Self {
        Self { values: None, made: Vec::new() }
    }
}

impl<T> OfDictionary<T> {
    /// Whether this is of the dictionary of `strings`.
    pub(crate) fn is_of(&self, strings: &Strings<'_>) -> bool {
        self.values.as_ref().is_some_and(|values| same(values, strings.values))
    }

    /// Begins with the dictionary of `strings`, and an answer for each of them.
    pub(crate) fn begin(&mut self, strings: &Strings<'_>, made: impl Iterator<Item = T>) {
        self.values = Some(ArrayRef::clone(strings.array.values()));
        self.made.clear();
        self.made.extend(made);
    }

    /// The strings that this is of.
    pub(crate) fn values(&self) -> Option<&StringArray> {
        self.values.as_ref()?.as_any().downcast_ref()
    }
}

/// Whether two arrays are one in memory.
fn same(one: &ArrayRef, other: &StringArray) -> bool {
    one.as_any().downcast_ref::<StringArray>().is_some_and(|one| {
        one.len() == other.len()
            && one.value_offsets().as_ptr() == other.value_offsets().as_ptr()
            && one.value_data().as_ptr() == other.value_data().as_ptr()
    })
}
