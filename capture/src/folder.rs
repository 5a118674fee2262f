//! The folder that captures are in, held open.
//!
//! Names are looked up in the folder as it was when it was opened, never through a
//! link, and files are only ever created, not found and overwritten: whoever else
//! may write there, as in `/tmp`, cannot make a recorder write anywhere else.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStringExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, openat, renameat_with, statat, unlinkat},
    io::Errno,
};

use crate::{journal::journal_name, lock};

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the folder of the file at `path`, and returns it with the file's name.
    ///
    /// # Errors
    ///
    /// When there is no such folder, it may not be opened, or `path` names no file.
    pub fn of(path: &Path) -> io::Result<(Self, OsString)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
        let folder = Self::path_for(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = openat(CWD, folder, flags, Mode::empty())?;
        Ok((Self { descriptor, path: folder.to_owned() }, name.to_owned()))
    }

    /// Where the folder of the file at `path` is.
    pub fn path_for(path: &Path) -> &Path {
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Where `name` is, for people.
    pub fn path_of(&self, name: &OsStr) -> PathBuf {
        if self.path == Path::new(".") { name.into() } else { self.path.join(name) }
    }

    /// Creates a file that was not there, for its owner only, to read and write.
    ///
    /// # Errors
    ///
    /// When anything of that name exists, a link to nowhere included, or the
    /// system refuses.
    pub fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        Ok(openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Creates a file as [`create`](Self::create) does, and locks it: nobody repairs or removes
    /// it as long as it is open.
    ///
    /// # Errors
    ///
    /// As there, and when others always have it locked or removed before; then nothing is
    /// left behind.
    pub(crate) fn create_locked(&self, name: &OsStr) -> io::Result<File> {
        /// So often may someone remove it before it is locked.
        const ATTEMPTS: usize = 100;
        for _ in 0..ATTEMPTS {
            let file = self.create(name)?;
            let locked = lock::take(&file, lock::OWN);
            if !lock::has_name(&file) {
                continue;
            }
            match locked {
                Ok(true) => return Ok(file),
                Ok(false) => {
                    let _ = self.remove(name);
                    break;
                }
                Err(error) => {
                    let _ = self.remove(name);
                    return Err(error);
                }
            }
        }
        let reason = "another program locks or removes it as soon as it is there";
        Err(io::Error::new(ErrorKind::ResourceBusy, reason))
    }

    /// Opens a regular file that is there, to read or also to write, not through a
    /// link.
    ///
    /// # Errors
    ///
    /// When it is not there, no regular file, or may not be opened.
    pub fn open(&self, name: &OsStr, write: bool) -> io::Result<File> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        // A pipe of that name must not make us wait for its other end.
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = match openat(&self.descriptor, name, flags, Mode::empty()) {
            Err(Errno::LOOP) => return Err(refused("it is a symbolic link")),
            opened => opened?.into(),
        };
        if file.metadata()?.is_file() { Ok(file) } else { Err(refused("it is not a regular file")) }
    }

    /// Removes a file, if there is one.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the file `from` the name `to`, which may be another file's only if that
    /// is to be replaced, and nobody writes it.
    ///
    /// # Errors
    ///
    /// When the name is taken and not to be replaced, or the system refuses.
    pub fn rename(&self, from: &OsStr, to: &OsStr, replace: bool) -> io::Result<()> {
        if !replace {
            let flags = RenameFlags::NOREPLACE;
            return Ok(renameat_with(&self.descriptor, from, &self.descriptor, to, flags)?);
        }
        // Until it is replaced.
        let _locked = match self.look(to)? {
            Some(entry) if entry.is_file => match self.lock(to, lock::ANOTHERS)? {
                Some(file) => Some(file),
                None => {
                    return Err(io::Error::new(ErrorKind::ResourceBusy, "it is being recorded"));
                }
            },
            _ => None,
        };
        let flags = RenameFlags::empty();
        Ok(renameat_with(&self.descriptor, from, &self.descriptor, to, flags)?)
    }

    /// The file of that name, locked for as long as it is open; `None` if someone writes it,
    /// for all of `patience`, or it was replaced meanwhile.
    fn lock(&self, name: &OsStr, patience: Duration) -> io::Result<Option<File>> {
        // Some file systems lock only what may be written.
        let file = match self.open(name, true).or_else(|_| self.open(name, false)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let ours = lock::take(&file, patience)? && lock::has_name(&file);
        Ok(ours.then_some(file))
    }

    /// Whether there is anything of that name, and if so, whether it is a regular
    /// file, and its size, bytes.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn look(&self, name: &OsStr) -> io::Result<Option<Entry>> {
        match statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(stat) => Ok(Some(Entry {
                is_file: rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file(),
                size: u64::try_from(stat.st_size).unwrap_or(0),
            })),
        }
    }

    /// Removes a capture and its journal, if they are there, unless someone writes it, and
    /// does so for all of `patience`. Whether they are gone.
    ///
    /// # Errors
    ///
    /// When the system refuses, also to tell whether someone writes it.
    pub fn remove_idle(&self, name: &OsStr, patience: Duration) -> io::Result<bool> {
        let (journal, before) = (journal_name(name), self.look(name)?);
        let was_there = before.is_some();
        // Until both are gone: whoever comes to record that file finds that it is.
        let _locked = match before {
            Some(entry) if entry.is_file => match self.lock(name, patience)? {
                Some(file) => Some(file),
                None => return Ok(false),
            },
            // Nobody writes it: it is a link, or a pipe.
            Some(_) => None,
            None if self.look(&journal)?.is_none() => return Ok(true),
            // So that nobody else creates it, and a journal for it, meanwhile.
            None => match self.create_locked(name) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
                created => Some(created?),
            },
        };
        if let Err(error) = self.remove(&journal) {
            if !was_there {
                // What was created above.
                let _ = self.remove(name);
            }
            let shown = self.path_of(&journal);
            return Err(io::Error::new(error.kind(), format!("{}: {error}", shown.display())));
        }
        self.remove(name)?;
        Ok(true)
    }

    /// The names in the folder, in no order.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        Dir::read_from(&self.descriptor)?
            .map(|entry| Ok(OsString::from_vec(entry?.file_name().to_bytes().to_vec())))
            .collect()
    }

    /// Waits until the names of the folder are on the disk.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.descriptor)?)
    }

    /// The folder's owner: user and group id.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn owner(&self) -> io::Result<(u32, u32)> {
        let metadata = File::from(self.descriptor.try_clone()?).metadata()?;
        Ok((metadata.uid(), metadata.gid()))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// It is a regular file.
    pub is_file: bool,
    /// Bytes.
    pub size: u64,
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::Folder;

    #[test]
    fn nothing_that_is_there_is_written_through_or_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let precious = place.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let (folder, _) = Folder::of(&place.path().join("any")).unwrap();
        symlink(&precious, place.path().join("link")).unwrap();
        symlink("nowhere", place.path().join("dangling")).unwrap();
        fs::hard_link(&precious, place.path().join("hard")).unwrap();
        fs::create_dir(place.path().join("folder")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            place.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for name in ["link", "dangling", "hard", "folder", "pipe", "precious"] {
            assert!(folder.create(name.as_ref()).is_err(), "{name}");
        }
        for name in ["link", "dangling", "folder", "pipe"] {
            assert!(folder.open(name.as_ref(), false).is_err(), "{name}");
        }
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        drop(folder.create("new".as_ref()).unwrap());
        let mode = fs::metadata(place.path().join("new")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
}
