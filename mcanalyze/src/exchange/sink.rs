//! Where what is exported goes: a new file, or stdout.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, StdoutLock, Write, stdout},
};

use anyhow::{Context, Result};
use mcrec_capture::Folder;

use crate::files::{Destination, partial::Partial};

const BUFFER: usize = 1 << 17;

/// Where to write.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Stdout,
    File(Destination),
}

/// What is written from its beginning to its end.
pub(super) struct Sink {
    // Before the name of the file, so that it is closed when that is removed.
    out: BufWriter<Out>,
    partial: Option<Partial>,
}

enum Out {
    Stdout(StdoutLock<'static>),
    File(File),
}

impl Sink {
    /// # Errors
    ///
    /// When the file cannot be created.
    pub(super) fn open(target: &Target) -> Result<Self> {
        let (partial, out) = match target {
            Target::Stdout => (None, Out::Stdout(stdout().lock())),
            Target::File(destination) => {
                let (partial, file) = begin(destination)?;
                (Some(partial), Out::File(file))
            }
        };
        Ok(Self { out: BufWriter::with_capacity(BUFFER, out), partial })
    }

    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).with_context(|| cannot_write(self.partial.as_ref()))
    }

    /// Ends it, and returns the size of the file, bytes, if it is one.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn finish(mut self) -> Result<Option<u64>> {
        self.out.flush().with_context(|| cannot_write(self.partial.as_ref()))?;
        match (self.out.get_ref(), &self.partial) {
            (Out::File(file), Some(partial)) => finish(file, partial).map(Some),
            _ => Ok(None),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(out) => out.flush(),
        }
    }
}

/// What is written in any order, before it goes where it is to go.
pub(super) struct Spool {
    file: File,
    partial: Option<Partial>,
}

impl Spool {
    /// # Errors
    ///
    /// When the file, or one for what will go to stdout, cannot be created.
    pub(super) fn begin(target: &Target) -> Result<Self> {
        if let Target::File(destination) = target {
            let (partial, file) = begin(destination)?;
            return Ok(Self { file, partial: Some(partial) });
        }
        // It has no name for longer than it takes to open it.
        let path = std::env::temp_dir().join(format!("mcanalyze-{}", std::process::id()));
        let cannot_create = || format!("cannot create {}", path.display());
        let (folder, name) = Folder::of(&path).with_context(cannot_create)?;
        let file = folder.create(&name).with_context(cannot_create)?;
        folder.remove(&name).with_context(cannot_create)?;
        Ok(Self { file, partial: None })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn cannot_write(&self) -> String {
        match &self.partial {
            None => format!("cannot write to {}", std::env::temp_dir().display()),
            partial => cannot_write(partial.as_ref()),
        }
    }

    /// Brings it to its place, and returns the size of the file, bytes, if it is one.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn deliver(mut self) -> Result<Option<u64>> {
        if let Some(partial) = &self.partial {
            return finish(&self.file, partial).map(Some);
        }
        let mut out = stdout().lock();
        self.file
            .rewind()
            .and_then(|()| io::copy(&mut self.file, &mut out))
            .and_then(|_| out.flush())
            .with_context(|| cannot_write(None))?;
        Ok(None)
    }
}

fn begin(destination: &Destination) -> Result<(Partial, File)> {
    let shown = destination.path.display();
    Partial::begin(destination, |folder, name| {
        folder.create(name).with_context(|| format!("cannot create {shown}"))
    })
}

/// Waits until the file is on the disk: a full one may say so only then.
fn finish(file: &File, partial: &Partial) -> Result<u64> {
    file.sync_all().with_context(|| cannot_write(Some(partial)))?;
    let bytes = file.metadata().with_context(|| cannot_write(Some(partial)))?.len();
    partial.finish()?;
    Ok(bytes)
}

fn cannot_write(partial: Option<&Partial>) -> String {
    let name = partial.map(|partial| partial.folder().path_of(partial.made_as()));
    name.map_or("cannot write".to_owned(), |name| format!("cannot write to {}", name.display()))
}
