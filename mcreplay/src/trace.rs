//! The captures, as requests in the order of time.
//!
//! ```text
//! files ▶ rows (filtered) ▶ assembly (requests, pipelines, connections) ▶ order ▶ groups
//! ```

mod assembly;
pub(crate) mod filter;
mod order;
mod rows;

use std::path::{Path, PathBuf};

use anyhow::Result;
use mcrec_capture::{Capture, State};
use mcrec_schema::footer::Footer;

pub(crate) use assembly::{Assembly, Shape};
use filter::{Filter, Sieve};
use order::Order;

use crate::{request::Group, tally::Tally};

/// Captures that are replayed together.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Each with the number of its recording, from 0, in the order in which they begin.
    files: Vec<(usize, Capture)>,
    recordings: usize,
}

impl Trace {
    /// Opens what `paths` name: files, directories of `*.parquet`, or globs.
    ///
    /// # Errors
    ///
    /// When there is nothing there, or something that is not a capture.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut captures = Vec::new();
        for path in mcrec_capture::files(paths)? {
            captures.push(Capture::open(&path)?);
        }
        captures.sort_by_key(|capture| capture.footer().capture.start_us);
        captures.dedup_by_key(|capture| {
            let about = &capture.footer().capture;
            (about.id.clone(), about.start_us)
        });
        let mut ids: Vec<String> = Vec::new();
        let mut files = Vec::with_capacity(captures.len());
        for capture in captures {
            let id = &capture.footer().capture.id;
            let number = ids.iter().position(|other| other == id).unwrap_or(ids.len());
            if number == ids.len() {
                ids.push(id.clone());
            }
            files.push((number, capture));
        }
        Ok(Self { files, recordings: ids.len() })
    }

    /// What each file says of itself.
    pub(crate) fn footers(&self) -> impl Iterator<Item = &Footer> {
        self.files.iter().map(|(_, capture)| capture.footer())
    }

    /// Where each file is.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, capture)| capture.path())
    }

    /// All rows of all files.
    pub(crate) fn rows(&self) -> u64 {
        self.files.iter().map(|(_, capture)| capture.rows()).sum()
    }

    /// Whether any file was cut off, or is still being recorded.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.files.iter().any(|(_, capture)| {
            capture.state() != State::Whole || capture.footer().capture.ended.is_none()
        })
    }

    /// When the first recording began, µs since the epoch, UTC.
    pub(crate) fn start_us(&self) -> i64 {
        self.footers().map(|footer| footer.capture.start_us).min().unwrap_or(0)
    }

    /// When the last ended, µs since the epoch, UTC.
    pub(crate) fn end_us(&self) -> i64 {
        self.footers().map(|footer| footer.capture.end_us).max().unwrap_or(0)
    }

    /// Hands what `filter` asks for to `each`, in the order of time, until that returns
    /// false. What cannot be sent is counted in `tally`.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or the first of `each`.
    pub(crate) fn read(
        &self,
        filter: &Filter,
        assembly: &mut Assembly,
        tally: &mut Tally,
        each: &mut impl FnMut(Group) -> Result<bool>,
    ) -> Result<()> {
        let mut inputs: Vec<rows::Input<'_>> = (0..self.recordings)
            .map(|number| {
                let files = self.files.iter().filter(|(of, _)| *of == number);
                rows::Input::new(number, files.map(|(_, capture)| capture), filter)
            })
            .collect();
        let mut sieve = Sieve::default();
        let mut order = Order::default();
        for input in &mut inputs {
            input.advance()?;
        }
        loop {
            // The one whose time is least advanced.
            let next = inputs.iter_mut().filter(|input| !input.is_done());
            let Some(input) = next.min_by_key(|input| input.time()) else { break };
            let batch = input.take();
            let wanted = sieve.wanted(filter, &batch)?;
            for row in 0..batch.rows() {
                if wanted.as_ref().is_none_or(|wanted| wanted[row]) {
                    assembly.take(input.recording(), &batch.row(row)?, &mut order, tally);
                }
            }
            input.advance()?;
            while let Some(group) = order.next_beyond() {
                if !each(group)? {
                    return Ok(());
                }
            }
        }
        while let Some(group) = order.next() {
            if !each(group)? {
                return Ok(());
            }
        }
        for group in assembly.ends() {
            if !each(group)? {
                return Ok(());
            }
        }
        Ok(())
    }
}
