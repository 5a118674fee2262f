//! Rows in the order of time, for questions about what came before: those of one thread,
//! some at a time, so that memory does not grow with the capture.
//!
//! The order is that of a merge: files are read from where time is least advanced, and
//! rows are sorted among their neighbours, as a capture has them in the order in which
//! requests were completed.

use std::{collections::VecDeque, mem};

use anyhow::Result;

use crate::{
    capture::Capture,
    progress,
    scan::{Place, Reader, Rows, groups},
};

/// Rows among which are sorted, at least.
const ROWS: usize = 1 << 17;

/// A file that is being read.
struct Lane<'a, T> {
    reader: Reader<'a>,
    /// Its row groups that were not read yet.
    groups: VecDeque<Place>,
    /// What was made of the rows that were.
    ready: VecDeque<(i64, T)>,
    /// The latest time so far; before anything is read, that of the file's beginning.
    time: i64,
}

/// Lets `see` have what `make` makes of rows with these `columns`, in the order of time.
/// `make` is given some rows at a time, and pushes a time and a thing for each of them
/// that matters.
///
/// # Errors
///
/// When the capture cannot be read, or `make` fails.
pub(crate) fn in_order<T>(
    capture: &Capture,
    columns: &[&str],
    mut make: impl FnMut(&Rows, &mut VecDeque<(i64, T)>) -> Result<()>,
    mut see: impl FnMut(i64, T),
) -> Result<()> {
    let mut lanes: Vec<Lane<'_, T>> = lanes(capture, columns);
    let mut held: Vec<(i64, T)> = Vec::new();
    let steps = lanes.iter().map(|lane| lane.groups.len()).sum();
    let bar = progress::bar(steps, capture.shows_progress);
    while let Some(first) = least_advanced(&lanes) {
        if lanes[first].ready.is_empty() {
            bar.inc(1);
            if !lanes[first].read(&mut make)? {
                lanes.swap_remove(first);
                continue;
            }
        }
        let others = lanes.iter().enumerate().filter(|(number, _)| *number != first);
        let until = others.map(|(_, lane)| lane.time).min().unwrap_or(i64::MAX);
        lanes[first].take(until, &mut held);
        if held.len() >= 2 * ROWS {
            held.sort_by_key(|(time, _)| *time);
            let rest = held.split_off(held.len() - ROWS);
            mem::replace(&mut held, rest).into_iter().for_each(|(time, thing)| see(time, thing));
        }
    }
    held.sort_by_key(|(time, _)| *time);
    held.into_iter().for_each(|(time, thing)| see(time, thing));
    bar.finish_and_clear();
    Ok(())
}

fn lanes<'a, T>(capture: &'a Capture, columns: &[&'a str]) -> Vec<Lane<'a, T>> {
    let mut lanes: Vec<Lane<'a, T>> = capture
        .footers
        .iter()
        .map(|footer| Lane {
            reader: Reader::new(capture, None, columns),
            groups: VecDeque::new(),
            ready: VecDeque::new(),
            time: footer.capture.start_us,
        })
        .collect();
    groups(capture).into_iter().for_each(|place| lanes[place.file].groups.push_back(place));
    lanes
}

/// The first of the files whose time is the least.
fn least_advanced<T>(lanes: &[Lane<'_, T>]) -> Option<usize> {
    let times = lanes.iter().enumerate().map(|(number, lane)| (lane.time, number));
    times.min().map(|(_, number)| number)
}

impl<T> Lane<'_, T> {
    /// Reads row groups until there is something. Whether there is.
    fn read(
        &mut self,
        make: &mut impl FnMut(&Rows, &mut VecDeque<(i64, T)>) -> Result<()>,
    ) -> Result<bool> {
        while self.ready.is_empty() {
            let Some(place) = self.groups.pop_front() else { return Ok(false) };
            let ready = &mut self.ready;
            self.reader.read(place, |rows| make(rows, ready).map(|()| true))?;
        }
        Ok(true)
    }

    /// Takes things as long as their time is not beyond `until`, but at least one.
    fn take(&mut self, until: i64, held: &mut Vec<(i64, T)>) {
        while let Some((time, _)) = self.ready.front() {
            self.time = self.time.max(*time);
            held.extend(self.ready.pop_front());
            if self.time > until || held.len() >= 2 * ROWS {
                return;
            }
        }
    }
}
