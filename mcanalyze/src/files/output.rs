//! A new capture: under another name until it is whole, so that nothing half-made
//! stands under its own, and nothing is replaced by it.

use std::{
    ffi::OsString,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, bail};
use arrow_array::RecordBatch;
use mcrec_capture::{Durability, Encoder, Folder, ROW_GROUP_ROWS, RowGroup, Writer, journal_name};
use mcrec_schema::footer::Footer;

/// Where a new capture goes.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) path: PathBuf,
    /// What is there already is replaced.
    pub(crate) force: bool,
}

/// A capture that is being made. Dropping it removes it.
pub(super) struct Output {
    folder: Arc<Folder>,
    name: OsString,
    partial: OsString,
    force: bool,
    writer: Option<Writer>,
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
    pub(super) fn create(destination: &Destination, footer: &Footer) -> Result<Self> {
        let path = &destination.path;
        let shown = path.display();
        if path == Path::new("-") {
            bail!("a capture cannot go to stdout: it is a file that is written in place");
        }
        let (folder, name) = Folder::of(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!("cannot write {shown}: there is no such folder"),
            _ => anyhow!("cannot write {shown}: {error}"),
        })?;
        let there = folder.look(&name).with_context(|| format!("cannot write {shown}"))?;
        match there {
            Some(entry) if !entry.is_file => {
                bail!("output {shown} exists and is not a regular file")
            }
            Some(_) if !destination.force => {
                bail!("output {shown} exists; choose another name, or replace it with --force")
            }
            _ => {}
        }
        let mut partial = name.clone();
        partial.push(".partial");
        let other = folder.look(&partial).with_context(|| format!("cannot write {shown}"))?;
        if other.is_some() {
            bail!(
                "{} is there: what another mcanalyze is making, or left when it was killed; in \
                 that case remove it",
                folder.path_of(&partial).display()
            );
        }
        let folder = Arc::new(folder);
        // While it is being made it is not what it will be.
        let mut begun = footer.clone();
        begun.capture.ended = None;
        let writer = Writer::create(&folder, &partial, &begun, Durability::Process)?;
        let force = destination.force;
        let writer = Some(writer);
        Ok(Self { folder, name, partial, force, writer, encoder: None, footer: begun })
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// When they cannot be encoded or written.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
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
    pub(super) fn rows(&self) -> u64 {
        let encoding = self.encoder.as_ref().map_or(0, Encoder::rows) as u64;
        self.writer.as_ref().map_or(0, Writer::rows) + encoding
    }

    /// Ends the capture, gives it its name, and returns its size in bytes. What
    /// `footer` counts as written and seen follows from the rows.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or something has come to be at its destination.
    pub(super) fn finish(mut self, mut footer: Footer) -> Result<u64> {
        self.commit()?;
        let mut writer = self.writer.take().context("the capture was finished before")?;
        footer.loss.written = writer.rows();
        footer.loss.seen = footer.loss.written + footer.loss.losses.total();
        writer.commit(&[] as &[RowGroup], &footer)?;
        let bytes = writer.bytes();
        writer.close()?;
        let path = self.folder.path_of(&self.name);
        self.folder
            .rename(&self.partial, &self.name, self.force)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(bytes)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        drop(self.writer.take());
        // Of a finished one they are not there.
        let _ = self.folder.remove(&self.partial);
        let _ = self.folder.remove(&journal_name(&self.partial));
    }
}
