//! Reads captures in the order of time: files that were recorded one after another one
//! after another, and files that were recorded side by side side by side.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    iter::Peekable,
};

use anyhow::Result;
use mcrec_schema::footer::Footer;

use super::batch::{Batch, COLUMNS};
use crate::{
    capture::Capture,
    scan::{Begun, Place, Reader, groups},
};

/// How many row groups of each file were read; a file is known by its recording.
#[derive(Clone, Debug, Default)]
pub(super) struct Done(HashMap<(String, i64), usize>);

impl Done {
    fn of(&self, capture: &Capture, file: usize) -> usize {
        self.0.get(&recording(capture, file)).copied().unwrap_or(0)
    }

    /// What those files said of themselves that were read and are no longer there.
    pub(super) fn gone(&self, before: &Capture, now: &Capture) -> Vec<Footer> {
        let is_there: HashSet<_> = now.footers.iter().map(key).collect();
        let before = before.footers.iter().map(|footer| (key(footer), footer));
        let gone = before.filter(|(key, _)| self.0.contains_key(key) && !is_there.contains(key));
        gone.map(|(_, footer)| footer.clone()).collect()
    }
}

fn recording(capture: &Capture, file: usize) -> (String, i64) {
    key(&capture.footers[file])
}

fn key(footer: &Footer) -> (String, i64) {
    (footer.capture.id.clone(), footer.capture.start_us)
}

/// A file, as far as it was read.
struct Lane<'a> {
    file: usize,
    reader: Reader<'a>,
    left: Peekable<std::vec::IntoIter<Place>>,
    begun: Option<Begun>,
    /// What comes next, once the file was begun.
    next: Option<Batch>,
    /// When that was, or when the file begins: µs since the epoch.
    at: i64,
}

/// Files that are read side by side.
pub(super) struct Lanes<'a> {
    capture: &'a Capture,
    lanes: VecDeque<Lane<'a>>,
}

impl<'a> Lanes<'a> {
    /// Of what is not `done`.
    pub(super) fn of(capture: &'a Capture, done: &Done) -> Self {
        let places = groups(capture);
        let lanes = (0..capture.files.len()).map(|file| {
            let done = done.of(capture, file);
            let left = places.iter().filter(|place| place.file == file && place.group >= done);
            Lane {
                file,
                reader: Reader::new(capture, None, &COLUMNS),
                left: left.copied().collect::<Vec<_>>().into_iter().peekable(),
                begun: None,
                next: None,
                at: capture.footers[file].capture.start_us,
            }
        });
        Self { capture, lanes: lanes.collect() }
    }

    /// The next operations in the order of time, as far as files are in that order.
    ///
    /// # Errors
    ///
    /// When they cannot be read. What comes after can be, perhaps.
    pub(super) fn next(&mut self, done: &mut Done) -> Result<Option<Batch>> {
        loop {
            let earliest = self.lanes.iter().enumerate().min_by_key(|(_, lane)| lane.at);
            let Some((earliest, _)) = earliest else { return Ok(None) };
            let lane = &mut self.lanes[earliest];
            let batch = lane.next.take();
            let more = lane.advance(self.capture, done);
            if matches!(more, Ok(false)) {
                self.lanes.remove(earliest);
            }
            match (batch, more) {
                (Some(batch), _) => return Ok(Some(batch)),
                (None, Err(error)) => return Err(error),
                (None, Ok(_)) => {}
            }
        }
    }
}

impl Lane<'_> {
    /// Reads what comes next, and says whether there is something.
    fn advance(&mut self, capture: &Capture, done: &mut Done) -> Result<bool> {
        loop {
            if let Some(begun) = &mut self.begun {
                // What cannot be read is left out, and not tried again.
                match self
                    .reader
                    .next(begun)
                    .and_then(|rows| rows.map(|r| Batch::of(&r)).transpose())
                {
                    Ok(Some(batch)) => {
                        self.at = batch.operations.first().map_or(self.at, |first| first.ts);
                        self.next = Some(batch);
                        return Ok(true);
                    }
                    Ok(None) => self.begun = None,
                    Err(error) => {
                        self.begun = None;
                        return Err(error);
                    }
                }
            }
            let Some(place) = self.left.next() else { return Ok(false) };
            done.0.insert(recording(capture, self.file), place.group + 1);
            self.begun = Some(self.reader.begin(place)?);
        }
    }
}
