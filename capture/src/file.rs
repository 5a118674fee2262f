//! A file that is complete after every commit.
//!
//! On disk there is always `data | footer`. A commit puts `row groups | footer`
//! where the old footer was, and a [journal](crate::journal) beside the file keeps
//! the old footer for the moment of that writing.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    sync::Arc,
};

use crate::{
    folder::Folder,
    journal::{Journal, journal_name},
    lock,
};

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Until the kernel has it: it survives the recorder's end, of whatever kind.
    Process,
    /// Until the disk has it: it survives the machine's end too.
    Disk,
}

/// A capture on disk.
#[derive(Debug)]
pub(crate) struct CommittedFile {
    folder: Arc<Folder>,
    file: File,
    /// Where the footer begins.
    data_end: u64,
    /// Its length. It is not kept: it has megabytes on a long recording.
    footer_len: usize,
    journal: File,
    journal_name: OsString,
    durability: Durability,
}

impl CommittedFile {
    /// Creates the file with `data` and `footer` in it. Nothing is left behind when
    /// that fails.
    pub(crate) fn create(
        folder: Arc<Folder>,
        name: &OsStr,
        data: &[u8],
        footer: Vec<u8>,
        durability: Durability,
    ) -> io::Result<Self> {
        let journal_name = journal_name(name);
        let file = folder.create_locked(name)?;
        let begun = create_journal(&folder, &journal_name).and_then(|journal| {
            let written = file.write_all_at(&[data, &footer].concat(), 0).and_then(|()| {
                if durability == Durability::Disk {
                    file.sync_all()?;
                    folder.sync()?;
                }
                Ok(())
            });
            if written.is_err() {
                // The failure that matters is the one that is reported.
                let _ = folder.remove(&journal_name);
            }
            written.map(|()| journal)
        });
        match begun {
            Ok(journal) => {
                let (data_end, footer_len) = (data.len() as u64, footer.len());
                Ok(Self { folder, file, data_end, footer_len, journal, journal_name, durability })
            }
            Err(error) => {
                let _ = folder.remove(name);
                Err(error)
            }
        }
    }

    /// Where the next row group will stand.
    pub(crate) fn data_end(&self) -> u64 {
        self.data_end
    }

    /// Whether no name leads to it any more.
    pub(crate) fn is_removed(&self) -> bool {
        !lock::has_name(&self.file)
    }

    /// Removes the file, and its journal.
    pub(crate) fn discard(self, name: &OsStr) -> io::Result<()> {
        self.folder.remove(&self.journal_name)?;
        self.folder.remove(name)
    }

    /// Size on disk, bytes.
    pub(crate) fn len(&self) -> u64 {
        self.data_end + self.footer_len as u64
    }

    /// Appends `data` and replaces the footer.
    ///
    /// When that fails, as on a full disk, the file is put back as it was.
    pub(crate) fn commit(&mut self, data: &[&[u8]], footer: Vec<u8>) -> io::Result<()> {
        if self.is_removed() {
            let reason = "the file was removed while it was being recorded, and is lost";
            return Err(io::Error::new(ErrorKind::NotFound, reason));
        }
        let old = self.footer()?;
        self.write_journal(&old)?;
        self.replace_footer(data, &footer, &old)
    }

    /// Replaces the footer after a commit that failed, as on a full disk: without
    /// writing a journal, whose space a longer footer may need. One that is still
    /// there, because the file could not be put back, stays.
    pub(crate) fn amend(&mut self, footer: Vec<u8>) -> io::Result<()> {
        let old = self.footer()?;
        self.replace_footer(&[], &footer, &old)
    }

    /// The footer, from the journal if that holds what the file is missing.
    fn footer(&self) -> io::Result<Vec<u8>> {
        let length = self.journal.metadata()?.len();
        if length > 0 {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            self.journal.read_exact_at(&mut bytes, 0)?;
            if let Some(journal) = Journal::parse(&bytes) {
                return Ok(journal.footer);
            }
        }
        let mut footer = vec![0; self.footer_len];
        self.file.read_exact_at(&mut footer, self.data_end)?;
        Ok(footer)
    }

    fn replace_footer(&mut self, data: &[&[u8]], footer: &[u8], old: &[u8]) -> io::Result<()> {
        match self.write_tail(data, footer) {
            Err(error) => {
                self.restore(old)?;
                Err(error)
            }
            Ok(data_end) => {
                self.data_end = data_end;
                self.footer_len = footer.len();
                self.journal.set_len(0)
            }
        }
    }

    /// Returns where the footer begins.
    fn write_tail(&self, data: &[&[u8]], footer: &[u8]) -> io::Result<u64> {
        let mut end = self.data_end;
        for part in data {
            self.file.write_all_at(part, end)?;
            end += part.len() as u64;
        }
        self.file.write_all_at(footer, end)?;
        self.file.set_len(end + footer.len() as u64)?;
        self.sync(&self.file)?;
        Ok(end)
    }

    /// Waits until the file is on the disk, and removes the journal, unless that
    /// holds what the file is missing.
    pub(crate) fn close(self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.journal.metadata()?.len() > 0 {
            return Ok(());
        }
        self.folder.remove(&self.journal_name)
    }

    fn write_journal(&mut self, footer: &[u8]) -> io::Result<()> {
        let (before, after) = Journal::around(self.data_end);
        self.journal.set_len(0)?;
        let mut at = 0;
        for part in [&before, footer, after] {
            self.journal.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        // Before the file itself is touched: the journal must not come too late.
        self.sync(&self.journal)
    }

    /// The old footer goes where it was, whose space the file still has, before the
    /// file is cut to its old length.
    fn restore(&mut self, old: &[u8]) -> io::Result<()> {
        self.file.write_all_at(old, self.data_end)?;
        self.file.set_len(self.len())?;
        self.journal.set_len(0)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        match self.durability {
            Durability::Process => Ok(()),
            Durability::Disk => file.sync_data(),
        }
    }
}

/// Creates the journal of a capture that is locked: an empty one that is there was left by
/// a recorder that was killed between commits.
fn create_journal(folder: &Folder, name: &OsStr) -> io::Result<File> {
    if folder.look(name)?.is_some_and(|left| left.is_file && left.size == 0) {
        folder.remove(name)?;
    }
    folder.create(name)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

    use super::{CommittedFile, Durability};
    use crate::folder::Folder;

    fn create(path: &Path) -> std::io::Result<CommittedFile> {
        let (folder, name) = Folder::of(path)?;
        let footer = b"footer-0".to_vec();
        CommittedFile::create(Arc::new(folder), &name, b"PAR1", footer, Durability::Disk)
    }

    #[test]
    fn a_commit_replaces_the_footer_also_by_a_shorter_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.parquet");
        let mut file = create(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"PAR1footer-0");
        file.commit(&[b"group", b"-1"], b"footer-one".to_vec()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"PAR1group-1footer-one");
        file.commit(&[], b"f2".to_vec()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"PAR1group-1f2");
        assert_eq!((file.len(), file.data_end()), (13, 11));
        assert!(folder.path().join("c.parquet.journal").exists());
        file.close().unwrap();
        assert!(!folder.path().join("c.parquet.journal").exists());
    }

    #[test]
    fn a_journal_that_is_needed_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.parquet");
        let mut file = create(&path).unwrap();
        file.write_journal(b"footer-0").unwrap();
        file.close().unwrap();
        let journal = fs::read(folder.path().join("c.parquet.journal")).unwrap();
        assert_eq!(journal, b"mcrecj01\x04\0\0\0\0\0\0\0footer-010jcercm");
    }

    #[test]
    fn what_was_begun_is_removed_when_the_journal_cannot_be_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.parquet");
        let (other, journal) =
            (folder.path().join("other"), folder.path().join("c.parquet.journal"));
        fs::write(&other, "precious").unwrap();
        for link in [false, true] {
            if link { symlink(&other, &journal) } else { fs::hard_link(&other, &journal) }.unwrap();
            assert!(create(&path).is_err());
            assert!(!path.exists());
            assert_eq!(fs::read(&other).unwrap(), b"precious");
            fs::remove_file(&journal).unwrap();
        }
    }
}
