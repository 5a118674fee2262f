//! Rows of several captures in the order of time.
//!
//! A capture has its rows in the order in which requests were completed, which is
//! nearly that of their time. So they are taken from where time is least advanced,
//! and then sorted among [`ROWS`] neighbours, which is more than any request is late
//! unless a client leaves it waiting. Those that are later still stay where they
//! were, and are counted. Rows of equal time, as those of one request, and rows of
//! one connection, whose time never goes backwards, stay in the order they had.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use arrow_array::{Int64Array, RecordBatch};
use arrow_select::interleave::interleave_record_batch;
use mcrec_capture::Capture;
use mcrec_schema::columns;

use super::super::rows::{self, All};

/// Rows among which are sorted, at least.
const ROWS: usize = 1 << 17;
/// Rows that are handed on at a time.
const BATCH_ROWS: usize = 8192;

/// A capture that is being read.
pub(super) struct Input<'a> {
    capture: &'a Capture,
    /// Id of its recording.
    recording: &'a str,
    conn_ids_moved_by: i64,
    request_ids_moved_by: i64,
    batches: All<'a>,
    /// Number of the batch at hand among those that are held.
    batch: usize,
    times: Vec<i64>,
    /// The next row of the batch.
    row: usize,
    /// The latest time so far, with that of the next row.
    time: i64,
}

/// A row that is held: its time, its batch, its number there, and its input.
type Held = (i64, usize, usize, usize);

/// Puts the rows of captures in order.
pub(super) struct Order<'a> {
    inputs: Vec<Input<'a>>,
    batches: Vec<RecordBatch>,
    held: Vec<Held>,
    /// Two inputs are of one recording, and of times that overlap.
    overlap: bool,
    /// Requests and their keys at `latest`, where they could be there twice.
    seen: HashSet<(i64, i32)>,
    /// The latest time that was handed on.
    latest: i64,
    late: u64,
}

impl<'a> Input<'a> {
    pub(super) fn new(
        capture: &'a Capture,
        recording: &'a str,
        conn_ids_moved_by: i64,
        request_ids_moved_by: i64,
    ) -> Self {
        Self {
            capture,
            recording,
            conn_ids_moved_by,
            request_ids_moved_by,
            batches: rows::all(capture),
            batch: 0,
            times: Vec::new(),
            row: 0,
            time: i64::MIN,
        }
    }

    /// The next batch with rows, with the numbers that they get.
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(batch) = self.batches.next().transpose()? else {
                return Ok(None);
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let moved = moved(&batch, columns::CONN_ID, self.conn_ids_moved_by)
                .and_then(|batch| moved(&batch, columns::REQUEST_ID, self.request_ids_moved_by))
                .and_then(|batch| rows::with_host(&batch, &self.capture.footer().capture.host))
                .with_context(|| rows::damaged(self.capture))?;
            self.times = rows::times(&moved)?.values().to_vec();
            self.row = 0;
            self.time = self.time.max(self.times[0]);
            return Ok(Some(moved));
        }
    }
}

/// The batch with `by` added to a column.
fn moved(batch: &RecordBatch, name: &str, by: i64) -> Result<RecordBatch> {
    if by == 0 {
        return Ok(batch.clone());
    }
    let numbers: Int64Array = rows::longs(batch, name)?.unary(|number| number.saturating_add(by));
    rows::with_column(batch, name, std::sync::Arc::new(numbers))
}

impl<'a> Order<'a> {
    pub(super) fn new(inputs: Vec<Input<'a>>) -> Self {
        let overlap = inputs.iter().enumerate().any(|(at, input)| {
            let span = |input: &Input<'_>| {
                let capture = &input.capture.footer().capture;
                (capture.start_us, capture.end_us)
            };
            let (start, end) = span(input);
            inputs[..at].iter().any(|other| {
                let (other_start, other_end) = span(other);
                other.recording == input.recording && other_start < end && start < other_end
            })
        });
        Self {
            inputs,
            batches: Vec::new(),
            held: Vec::new(),
            overlap,
            seen: HashSet::new(),
            latest: i64::MIN,
            late: 0,
        }
    }

    /// Rows that were handed on after others of a later time.
    pub(super) fn late(&self) -> u64 {
        self.late
    }

    /// Hands on all rows.
    ///
    /// # Errors
    ///
    /// When a capture cannot be read, two hold the same rows, or `out` fails.
    pub(super) fn run(&mut self, out: &mut impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        let mut reading: Vec<usize> = Vec::new();
        for input in 0..self.inputs.len() {
            if self.advance(input)? {
                reading.push(input);
            }
        }
        while let Some(&first) = reading.iter().min_by_key(|&&input| self.inputs[input].time) {
            let others = reading.iter().filter(|&&input| input != first);
            let until = others.map(|&input| self.inputs[input].time).min().unwrap_or(i64::MAX);
            if !self.take(first, until)? {
                reading.retain(|&input| input != first);
            }
            if self.held.len() >= 2 * ROWS {
                self.hand_on(ROWS, out)?;
            }
        }
        self.hand_on(self.held.len(), out)
    }

    /// Takes rows of an input as long as its time is not beyond `until`, and at most
    /// to the end of the batch. Returns whether there are more.
    fn take(&mut self, number: usize, until: i64) -> Result<bool> {
        let input = &mut self.inputs[number];
        while let Some(&time) = input.times.get(input.row) {
            input.time = input.time.max(time);
            if input.time > until {
                return Ok(true);
            }
            self.held.push((time, input.batch, input.row, number));
            input.row += 1;
        }
        self.advance(number)
    }

    /// Holds the next batch of an input. Returns whether there is one.
    fn advance(&mut self, number: usize) -> Result<bool> {
        let Some(batch) = self.inputs[number].next()? else {
            return Ok(false);
        };
        self.inputs[number].batch = self.batches.len();
        self.batches.push(batch);
        Ok(true)
    }

    /// Sorts what is held, hands on the first `count` rows, and lets go of batches
    /// that are done with.
    fn hand_on(
        &mut self,
        count: usize,
        out: &mut impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        self.held.sort_by_key(|held| held.0);
        let rest = self.held.split_off(count);
        let ready = std::mem::replace(&mut self.held, rest);
        for held in &ready {
            self.late += u64::from(held.0 < self.latest);
            self.refuse_twice(*held)?;
            self.latest = self.latest.max(held.0);
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        for rows in ready.chunks(BATCH_ROWS) {
            let rows: Vec<(usize, usize)> = rows.iter().map(|held| (held.1, held.2)).collect();
            out(&interleave_record_batch(&batches, &rows)?)?;
        }
        self.let_go();
        Ok(())
    }

    fn let_go(&mut self) {
        let mut needed = vec![false; self.batches.len()];
        for batch in self.held.iter().map(|held| held.1) {
            needed[batch] = true;
        }
        for input in self.inputs.iter().filter(|input| input.row < input.times.len()) {
            needed[input.batch] = true;
        }
        let mut kept = 0;
        let renumbered: Vec<usize> = needed
            .iter()
            .map(|&needed| {
                kept += usize::from(needed);
                kept.saturating_sub(1)
            })
            .collect();
        let mut is_needed = needed.iter();
        self.batches.retain(|_| *is_needed.next().unwrap_or(&true));
        for held in &mut self.held {
            held.1 = renumbered[held.1];
        }
        for input in &mut self.inputs {
            input.batch = renumbered.get(input.batch).copied().unwrap_or(0);
        }
    }

    /// A row that two files of one recording hold would be counted twice.
    fn refuse_twice(&mut self, (time, batch, row, input): Held) -> Result<()> {
        if !self.overlap {
            return Ok(());
        }
        if time != self.latest {
            self.seen.clear();
        }
        let batch = &self.batches[batch];
        let request = rows::longs(batch, columns::REQUEST_ID)?.value(row);
        let key_index = rows::ints(batch, columns::KEY_INDEX)?.value(row);
        if !self.seen.insert((request, key_index)) {
            bail!(
                "{} holds operations that another of the captures holds too: they are of one \
                 recording and would count twice",
                self.inputs[input].capture.path().display()
            );
        }
        Ok(())
    }
}
