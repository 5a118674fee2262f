//! A new capture.

use std::path::Path;

use anyhow::{Context, Result, bail};
use arrow_array::RecordBatch;
use mcrec_capture::{Durability, Encoder, ROW_GROUP_ROWS, RowGroup, Writer, journal_name};
use mcrec_schema::{FORMAT_MINOR_VERSION, footer::Footer};

use super::partial::{Destination, Partial};

/// A capture that is being made. Dropping it removes it.
pub(crate) struct Output {
    // Before its name, so that it is closed when that is removed.
    writer: Option<Writer>,
    partial: Partial,
    encoder: Option<Encoder>,
    /// As far as it is known before the end.
    footer: Footer,
}

impl Output {
    /// Begins a capture. `footer` says of it what is known by now.
    ///
    /// # Errors
    ///
    /// When there is something at the destination that is not to be replaced, or it
    /// cannot be written to.
    pub(crate) fn create(destination: &Destination, footer: &Footer) -> Result<Self> {
        if destination.path == Path::new("-") {
            bail!("a capture cannot go to stdout: it is a file that is written in place");
        }
        // While it is being made it is not what it will be.
        let mut begun = Footer { minor: FORMAT_MINOR_VERSION, ..footer.clone() };
        begun.capture.ended = None;
        let (partial, writer) = Partial::begin(destination, |folder, name| {
            Writer::create(folder, name, &begun, Durability::Process)
        })?;
        Ok(Self { writer: Some(writer), partial, encoder: None, footer: begun })
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// When they cannot be encoded or written.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut rest = batch.clone();
        while rest.num_rows() > 0 {
            let encoder = self.encoder.get_or_insert_with(|| Encoder::new(batch.schema()));
            let room = ROW_GROUP_ROWS - encoder.rows();
            let taken = room.min(rest.num_rows());
            encoder.write(&rest.slice(0, taken))?;
            rest = rest.slice(taken, rest.num_rows() - taken);
            if taken == room {
                self.commit()?;
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let group = self.encoder.as_mut().map(Encoder::finish).transpose()?.flatten();
        if let (Some(group), Some(writer)) = (group, &mut self.writer) {
            self.footer.loss.written = writer.rows() + group.rows();
            self.footer.loss.seen = self.footer.loss.written + self.footer.loss.losses.total();
            writer.commit(&[group], &self.footer)?;
        }
        Ok(())
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        let encoding = self.encoder.as_ref().map_or(0, Encoder::rows) as u64;
        self.writer.as_ref().map_or(0, Writer::rows) + encoding
    }

    /// Ends the capture, gives it its name, and returns its size in bytes. What
    /// `footer` counts as written and seen follows from the rows.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or something has come to be at its destination.
    pub(crate) fn finish(mut self, mut footer: Footer) -> Result<u64> {
        self.commit()?;
        let mut writer = self.writer.take().context("the capture was finished before")?;
        footer.minor = FORMAT_MINOR_VERSION;
        footer.loss.written = writer.rows();
        footer.loss.seen = footer.loss.written + footer.loss.losses.total();
        writer.commit(&[] as &[RowGroup], &footer)?;
        let bytes = writer.bytes();
        writer.close()?;
        self.partial.finish()?;
        Ok(bytes)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        drop(self.writer.take());
        // Of a finished one it is not there.
        let _ = self.partial.folder().remove(&journal_name(self.partial.made_as()));
    }
}
