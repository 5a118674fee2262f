//! A capture that is being written.

use std::{
    borrow::Borrow,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use mcrec_schema::footer::Footer;
use parquet::schema::types::SchemaDescPtr;

use crate::{
    encoder::RowGroup,
    file::{CommittedFile, Durability},
    folder::Folder,
    head,
    metadata::{self, RowGroups},
};

/// A file that takes row groups and is a whole capture after each commit.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: CommittedFile,
    schema: SchemaDescPtr,
    groups: RowGroups,
    rows: u64,
}

impl Writer {
    /// Creates the capture, whole and without rows, for its owner only.
    ///
    /// # Errors
    ///
    /// When it, or its journal, is there already or cannot be created; then nothing
    /// is left behind.
    pub fn create(
        folder: &Arc<Folder>,
        name: &OsStr,
        footer: &Footer,
        durability: Durability,
    ) -> Result<Self> {
        let path = folder.path_of(name);
        let schema = metadata::schema(footer)?;
        let groups = RowGroups::default();
        let end = metadata::encode(&schema, &groups, footer)?;
        let file =
            CommittedFile::create(Arc::clone(folder), name, &head::encode(footer), end, durability)
                .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, file, schema, groups, rows: 0 })
    }

    /// Where it is, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether someone removed it while it is written.
    pub fn is_removed(&self) -> bool {
        self.file.is_removed()
    }

    /// Removes what was written.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn discard(self) -> Result<()> {
        let path = self.path;
        let name = path.file_name().unwrap_or_default();
        self.file.discard(name).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Rows that were committed.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether it has as many row groups as its footer should tell of: they stay for as
    /// long as it is written, and are written with each commit.
    pub fn is_full(&self) -> bool {
        self.groups.are_enough()
    }

    /// Size of the file on disk, bytes.
    pub fn bytes(&self) -> u64 {
        self.file.len()
    }

    /// Adds row groups and makes the file on disk a whole capture with them.
    /// Returns the size of its footer, bytes.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or its footer would be longer than anyone reads; the file
    /// then is as the last commit left it.
    pub fn commit<G: Borrow<RowGroup>>(&mut self, groups: &[G], footer: &Footer) -> Result<usize> {
        let before = self.groups.mark();
        let written = self.append(groups, footer);
        if written.is_err() {
            self.groups.truncate(before);
        } else {
            self.rows += groups.iter().map(|group| group.borrow().rows()).sum::<u64>();
        }
        written
    }

    fn append<G: Borrow<RowGroup>>(&mut self, groups: &[G], footer: &Footer) -> Result<usize> {
        let mut place = self.file.data_end();
        for group in groups.iter().map(Borrow::borrow) {
            self.groups.push(&self.schema, group.at(place, &self.schema)?)?;
            place += group.bytes().len() as u64;
        }
        let footer = metadata::encode(&self.schema, &self.groups, footer)?;
        let size = footer.len();
        let data: Vec<&[u8]> = groups.iter().map(|group| group.borrow().bytes()).collect();
        self.file.commit(&data, footer).with_context(|| self.cannot_write())?;
        Ok(size)
    }

    /// Replaces the footer of the last commit. For when one failed, and the file
    /// is to say what is missing.
    ///
    /// # Errors
    ///
    /// When even that cannot be written.
    pub fn amend(&mut self, footer: &Footer) -> Result<()> {
        let footer = metadata::encode(&self.schema, &self.groups, footer)?;
        self.file.amend(footer).with_context(|| self.cannot_write())
    }

    /// Ends the capture after its last commit, and waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// When the disk reports that the file did not reach it.
    pub fn close(self) -> Result<()> {
        let path = self.path;
        self.file.close().with_context(|| format!("cannot finish {}", path.display()))
    }

    fn cannot_write(&self) -> String {
        format!("cannot write to {}", self.path.display())
    }
}
