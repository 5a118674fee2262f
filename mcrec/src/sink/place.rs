//! Where files may be written, and how they get there.

use std::{
    ffi::OsString,
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use mcrec_capture::{Durability, Folder, Writer, journal_name};
use mcrec_schema::footer::Footer;
use rustix::fs::{Access, AtFlags, accessat};

use super::names::Names;

/// Where files may be written, found out before anything is recorded.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    folder: Arc<Folder>,
    names: Names,
    /// Replace what is there.
    force: bool,
    durability: Durability,
    /// How many files of a series are kept, the latest included.
    keep: Option<usize>,
    /// The file that was created last.
    latest: Option<OsString>,
}

impl Place {
    /// Opens the folder of `path`; nothing is created yet.
    ///
    /// # Errors
    ///
    /// When there is something at `path` that is not to be replaced, or its folder
    /// is not a writable one.
    pub(crate) fn open(
        path: &Path,
        series: bool,
        force: bool,
        durability: Durability,
        keep: Option<usize>,
    ) -> Result<Self> {
        if path == Path::new("-") {
            bail!("a capture cannot go to stdout: it is a file that is written in place");
        }
        let shown = path.display();
        let refused = |error: io::Error| {
            let folder = Folder::path_for(path).display();
            match error.kind() {
                ErrorKind::NotFound => anyhow!("cannot write {shown}: there is no folder {folder}"),
                ErrorKind::NotADirectory => anyhow!("cannot write {shown}: {folder} is no folder"),
                _ => anyhow!("cannot write {shown}: folder {folder}: {error}"),
            }
        };
        let (folder, name) = Folder::of(path).map_err(refused)?;
        accessat(&folder, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|error| refused(error.into()))?;
        let names = if series {
            Names::series(&name)
        } else {
            check(&folder, path, &name, force)?;
            Names::one(name)
        };
        let keep = keep.filter(|_| series);
        Ok(Self { folder: folder.into(), names, force, durability, keep, latest: None })
    }

    /// Creates the next file, whole and without rows.
    ///
    /// # Errors
    ///
    /// When it cannot be created, as where there is one of that name.
    pub(super) fn create(&mut self, footer: &Footer) -> Result<Writer> {
        let mut name = self.names.next(footer.capture.start_us);
        // A recording of this second, before this one.
        while self.names.has(&name) && self.folder.look(&name)?.is_some() {
            name = self.names.next(footer.capture.start_us);
        }
        if self.force {
            // Readers that have the old one open keep it.
            self.replace(&name)?;
        }
        let writer = Writer::create(&self.folder, &name, footer, self.durability)?;
        self.tidy();
        self.latest = Some(name);
        self.names.go_on();
        Ok(writer)
    }

    fn replace(&self, name: &OsString) -> Result<()> {
        /// Those who only ask whether it is being recorded hold it for less.
        const PATIENCE: Duration = Duration::from_millis(200);
        let shown = self.folder.path_of(name);
        let gone = self.folder.remove_idle(name, PATIENCE);
        if !gone.with_context(|| format!("cannot replace {}", shown.display()))? {
            bail!("{} is being recorded by another mcrec", shown.display());
        }
        Ok(())
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// How many of so many `files` are kept.
    pub(super) fn kept(&self, files: u64) -> u64 {
        self.keep.map_or(files, |keep| files.min(keep as u64))
    }

    /// Removes the oldest files of the series, so that `keep` are left, but none that another
    /// recorder writes.
    fn tidy(&self) {
        let (Some(keep), Ok(names)) = (self.keep, self.folder.names()) else { return };
        let mut ours: Vec<OsString> =
            names.into_iter().filter(|name| self.names.has(name)).collect();
        ours.sort();
        let surplus = ours.len().saturating_sub(keep);
        for name in &ours[..surplus] {
            // One that cannot be removed now is tried again with the next.
            if Some(name) == self.latest.as_ref() {
                // It is on its way to the disk, and so still locked.
                let _ = self.folder.remove(name);
                let _ = self.folder.remove(&journal_name(name));
            } else {
                let _ = self.folder.remove_idle(name, Duration::ZERO);
            }
        }
    }
}

fn check(folder: &Folder, path: &Path, name: &OsString, force: bool) -> Result<()> {
    let shown = path.display();
    let look = |name| folder.look(name).with_context(|| format!("cannot write {shown}"));
    match look(name)? {
        Some(entry) if !entry.is_file => bail!("output {shown} exists and is not a regular file"),
        Some(_) if !force => {
            bail!("output {shown} exists; choose another name, or replace it with --force")
        }
        _ => {}
    }
    let journal = journal_name(name);
    match look(&journal)? {
        Some(entry) if !force && (entry.size > 0 || !entry.is_file) => bail!(
            "{} belongs to an interrupted recording to {shown}; finish that with mcrec repair, \
             or replace both with --force",
            folder.path_of(&journal).display()
        ),
        _ => Ok(()),
    }
}
