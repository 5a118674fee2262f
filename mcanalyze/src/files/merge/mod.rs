//! Several captures as one, ordered by time.
//!
//! Files of one recording keep the numbers of their connections and requests;
//! those of other recordings are moved to where there are none yet, so that a
//! connection or a request is always of one recording.

mod footer;
mod order;

use anyhow::{Result, bail};
use mcrec_capture::Capture;
use mcrec_schema::{
    columns,
    derived::{MERGE, Part},
    footer::Sampling,
};

use super::{Destination, Made, is_complete, output::Output, rows, step};
use crate::sampling;
use order::{Input, Order};

/// Makes one capture of several.
///
/// # Errors
///
/// When they do not go together or cannot be read, or the new one not be written.
pub(crate) fn merge(captures: &[Capture], destination: &Destination) -> Result<Made> {
    check(captures)?;
    let mut in_order: Vec<&Capture> = captures.iter().collect();
    in_order.sort_by_key(|capture| capture.footer().capture.start_us);
    let parts = parts(&in_order)?;
    let mut footer = footer::combined(&parts, in_order[0].footer());
    let samples: Vec<&Sampling> =
        in_order.iter().map(|capture| &capture.footer().sampling).collect();
    footer.sampling = footer::sampling(&samples);
    let footers = in_order.iter().map(|capture| capture.footer());
    footer.derived.push(step(MERGE, footers));
    if let Some(step) = footer.derived.last_mut() {
        step.parts.clone_from(&parts);
    }
    let mut output = Output::create(destination, &footer)?;
    let inputs = in_order.iter().zip(&parts).map(|(capture, part)| {
        Input::new(capture, &part.capture.id, part.conn_ids_moved_by, part.request_ids_moved_by)
    });
    let mut order = Order::new(inputs.collect());
    order.run(&mut |batch| output.write(batch))?;
    let written = output.rows();
    let incomplete = !is_complete(&footer);
    let bytes = output.finish(footer)?;
    let read = captures.iter().map(Capture::rows).sum();
    Ok(Made { read, written, bytes, late: order.late(), incomplete })
}

/// What must not be mixed.
fn check(captures: &[Capture]) -> Result<()> {
    let hashed = |capture: &&Capture| capture.footer().privacy.keys_hashed.is_some();
    let (first, other) = (captures.iter().find(hashed), captures.iter().find(|c| !hashed(c)));
    if let (Some(hashed), Some(plain)) = (first, other) {
        bail!(
            "the keys of {} are not as clients wrote them and those of {} are: hash them too, \
             with mcanalyze anonymise and the same key file",
            hashed.path().display(),
            plain.path().display()
        );
    }
    let how = |capture: &Capture| capture.footer().privacy.keys_hashed.clone();
    if let Some(other) = captures.iter().find(|capture| how(capture) != how(&captures[0])) {
        bail!(
            "the keys of {} are not written as those of {} are",
            other.path().display(),
            captures[0].path().display()
        );
    }
    let rate = |capture: &Capture| sampling::only_rate(capture.footer());
    if captures.iter().any(|capture| capture.footer().sampling.is_sampled())
        && captures
            .iter()
            .any(|capture| rate(capture).is_none_or(|it| Some(it) != rate(&captures[0])))
    {
        bail!(
            "of these captures some are of another sample of the keys than others, which cannot \
             be said in one file: give them to mcanalyze as they are, which takes several"
        );
    }
    Ok(())
}

/// What the numbers of connections and requests of a file are moved by, where it stands
/// beside others, and the largest of its connections before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) conn_ids_moved_by: i64,
    pub(crate) request_ids_moved_by: i64,
    connections: i64,
}

impl Moved {
    /// Whether it moves any.
    pub(crate) fn moves(&self) -> bool {
        self.conn_ids_moved_by != 0 || self.request_ids_moved_by != 0
    }
}

/// The numbers that connections and requests get: files of one recording keep theirs, and
/// those of others come after them.
///
/// # Errors
///
/// When a capture cannot be read.
pub(crate) fn numbering(captures: &[&Capture]) -> Result<Vec<Moved>> {
    let mut recordings: Vec<(&str, i64, i64)> = Vec::new();
    for capture in captures {
        let largest = |name| rows::largest(capture, name);
        let (connections, requests) = (largest(columns::CONN_ID)?, largest(columns::REQUEST_ID)?);
        let id = capture.footer().capture.id.as_str();
        match recordings.iter_mut().find(|(other, ..)| *other == id) {
            Some(recording) => {
                recording.1 = recording.1.max(connections);
                recording.2 = recording.2.max(requests);
            }
            None => recordings.push((id, connections, requests)),
        }
    }
    let moved = |capture: &&Capture| {
        let id = &capture.footer().capture.id;
        let at = recordings.iter().position(|(other, ..)| other == id).unwrap_or(0);
        let (before, own) = (&recordings[..at], &recordings[at]);
        Moved {
            conn_ids_moved_by: before.iter().map(|recording| recording.1).sum(),
            request_ids_moved_by: before.iter().map(|recording| recording.2).sum(),
            connections: own.1,
        }
    };
    Ok(captures.iter().map(moved).collect())
}

/// The captures as they describe themselves, with the numbers that they get.
fn parts(captures: &[&Capture]) -> Result<Vec<Part>> {
    let part = |(capture, moved): (&&Capture, Moved)| {
        let footer = capture.footer();
        let Moved { conn_ids_moved_by, request_ids_moved_by, connections } = moved;
        Part {
            capture: footer.capture.clone(),
            target: footer.target.clone(),
            source: footer.source.clone(),
            loss: footer.loss.clone(),
            cost: footer.cost.clone(),
            derived: footer.derived.clone(),
            rows: capture.rows(),
            conn_ids: [conn_ids_moved_by + 1, conn_ids_moved_by + connections],
            conn_ids_moved_by,
            request_ids_moved_by,
        }
    };
    Ok(captures.iter().zip(numbering(captures)?).map(part).collect())
}
