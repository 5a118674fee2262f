//! A new file: under another name until it is whole, so that nothing half-made stands
//! under its own, and nothing is replaced by it.

use std::{
    ffi::{OsStr, OsString},
    io::ErrorKind,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result, anyhow, bail};
use mcrec_capture::Folder;

/// Where a new file goes.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) path: PathBuf,
    /// What is there already is replaced.
    pub(crate) force: bool,
}

/// The name of a file that is being made. Dropping it removes the file.
pub(crate) struct Partial {
    folder: Arc<Folder>,
    name: OsString,
    made_as: OsString,
    force: bool,
}

impl Partial {
    /// Begins what will be at `destination`: `create` makes a file of a name that
    /// nothing has yet.
    ///
    /// # Errors
    ///
    /// When there is something at the destination that is not to be replaced, no folder
    /// for it, or `create` fails.
    pub(crate) fn begin<T>(
        destination: &Destination,
        create: impl FnOnce(&Arc<Folder>, &OsStr) -> Result<T>,
    ) -> Result<(Self, T)> {
        let shown = destination.path.display();
        let (folder, name) = Folder::of(&destination.path).map_err(|error| match error.kind() {
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
        let mut made_as = name.clone();
        made_as.push(".partial");
        let other = folder.look(&made_as).with_context(|| format!("cannot write {shown}"))?;
        if other.is_some() {
            bail!(
                "{} is there: what another mcanalyze is making, or left when it was killed; in \
                 that case remove it",
                folder.path_of(&made_as).display()
            );
        }
        let folder = Arc::new(folder);
        let created = create(&folder, &made_as)?;
        Ok((Self { folder, name, made_as, force: destination.force }, created))
    }

    pub(crate) fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }

    /// Under which name the file is made.
    pub(crate) fn made_as(&self) -> &OsStr {
        &self.made_as
    }

    /// Gives the file, which is whole now, its own name.
    ///
    /// # Errors
    ///
    /// When something has come to be at its destination.
    pub(crate) fn finish(&self) -> Result<()> {
        let path = self.folder.path_of(&self.name);
        self.folder
            .rename(&self.made_as, &self.name, self.force)
            .with_context(|| format!("cannot create {}", path.display()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Of a finished one it is not there.
        let _ = self.folder.remove(&self.made_as);
    }
}
