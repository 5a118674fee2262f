//! A file that is complete after every commit.
//!
//! On disk there is always `data | footer`. A commit puts `row group | footer`
//! where the old footer was, in one write. For the moment of that write the old
//! footer stands in a journal beside the file: data up to the journal's offset,
//! followed by the journal's footer, is the capture as it was before.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// The journal is this, the offset of the footer in the capture (u64, little
/// endian), the footer, and [`JOURNAL_END`]. Anything shorter was not finished,
/// and then the capture was not touched yet.
const JOURNAL_BEGIN: &[u8; 8] = b"mcrecj01";
const JOURNAL_END: &[u8; 8] = b"10jcercm";

/// A capture on disk.
#[derive(Debug)]
pub(super) struct CommittedFile {
    file: File,
    /// Where the footer begins.
    data_end: u64,
    footer: Vec<u8>,
    journal: File,
    journal_path: PathBuf,
}

impl CommittedFile {
    /// Creates the file, for its owner only, with `data` and `footer` in it.
    /// Nothing is left behind when that fails.
    pub(super) fn create(path: &Path, data: &[u8], footer: Vec<u8>) -> io::Result<Self> {
        let journal_path = journal_path(path);
        let file = private().create_new(true).open(path)?;
        let begun = (|| {
            let journal = private().create(true).truncate(true).open(&journal_path)?;
            file.write_all_at(&[data, &footer].concat(), 0)?;
            Ok(journal)
        })();
        match begun {
            Ok(journal) => {
                Ok(Self { file, data_end: data.len() as u64, footer, journal, journal_path })
            }
            Err(error) => {
                // The failure that matters is the one that is reported.
                let _ = fs::remove_file(&journal_path);
                let _ = fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// Appends `row_group` and replaces the footer.
    ///
    /// When that fails, as on a full disk, the file is put back as it was.
    pub(super) fn commit(&mut self, row_group: &[u8], footer: Vec<u8>) -> io::Result<()> {
        if self.file.metadata()?.nlink() == 0 {
            let reason = "the file was removed while it was being recorded, and is lost";
            return Err(io::Error::new(ErrorKind::NotFound, reason));
        }
        self.write_journal()?;
        self.replace_footer(row_group, footer)
    }

    /// Replaces the footer after a commit that failed, as on a full disk: without
    /// writing a journal, whose space a longer footer may need. One that is still
    /// there, because the file could not be put back, stays.
    pub(super) fn amend(&mut self, footer: Vec<u8>) -> io::Result<()> {
        self.replace_footer(&[], footer)
    }

    fn replace_footer(&mut self, row_group: &[u8], footer: Vec<u8>) -> io::Result<()> {
        let written = self.file.write_all_at(&[row_group, &footer].concat(), self.data_end);
        let length = self.data_end + (row_group.len() + footer.len()) as u64;
        if let Err(error) = written.and_then(|()| self.file.set_len(length)) {
            self.restore()?;
            return Err(error);
        }
        self.data_end += row_group.len() as u64;
        self.footer = footer;
        self.journal.set_len(0)
    }

    /// Size on disk, bytes.
    pub(super) fn len(&self) -> u64 {
        self.data_end + self.footer.len() as u64
    }

    /// Waits until the file is on the disk, and removes the journal, unless that
    /// holds what the file is missing.
    pub(super) fn close(self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.journal.metadata()?.len() > 0 {
            return Ok(());
        }
        remove_if_there(&self.journal_path)
    }

    fn write_journal(&mut self) -> io::Result<()> {
        self.journal.set_len(0)?;
        let entry =
            [JOURNAL_BEGIN, &self.data_end.to_le_bytes()[..], &self.footer, JOURNAL_END].concat();
        self.journal.write_all_at(&entry, 0)
    }

    fn restore(&mut self) -> io::Result<()> {
        self.file.set_len(self.data_end)?;
        self.file.write_all_at(&self.footer, self.data_end)?;
        self.journal.set_len(0)
    }
}

/// Where the journal of the capture at `path` is.
pub(super) fn journal_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".journal");
    name.into()
}

/// Removes a file, if there is one.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Readable by its owner only, and never through a symbolic link.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{CommittedFile, journal_path};

    #[test]
    fn a_commit_replaces_the_footer_also_by_a_shorter_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.parquet");
        let mut file = CommittedFile::create(&path, b"PAR1", b"footer-0".to_vec()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"PAR1footer-0");
        file.commit(b"group", b"footer-one".to_vec()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"PAR1groupfooter-one");
        file.commit(b"", b"f2".to_vec()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"PAR1groupf2");
        assert_eq!(file.len(), 11);
        assert!(journal_path(&path).exists());
        file.close().unwrap();
        assert!(!journal_path(&path).exists());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_journal_holds_what_a_cut_off_write_destroys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.parquet");
        let mut file = CommittedFile::create(&path, b"PAR1", b"old".to_vec()).unwrap();
        file.write_journal().unwrap();
        let journal = fs::read(journal_path(&path)).unwrap();
        assert_eq!(journal, b"mcrecj01\x04\0\0\0\0\0\0\0old10jcercm");
        // As long as it may be needed, the end of the recording leaves it.
        file.close().unwrap();
        assert_eq!(fs::read(journal_path(&path)).unwrap(), journal);
    }

    #[test]
    fn neither_a_file_nor_a_link_is_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("c.parquet"), folder.path().join("other"));
        fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(CommittedFile::create(&path, b"PAR1", vec![]).is_err());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, journal_path(&path)).unwrap();
        assert!(CommittedFile::create(&path, b"PAR1", vec![]).is_err());
        assert!(!path.exists(), "what was begun is removed");
        assert_eq!(fs::read(&other).unwrap(), b"precious");
    }
}
