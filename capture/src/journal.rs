//! What makes a capture whole again that was cut off in the midst of a commit.
//!
//! A commit puts `row group | footer` where the old footer was. For the moment of
//! that write the old footer stands in a journal beside the file: the capture as
//! it was before is its data up to the journal's offset, followed by the journal's
//! footer.

use std::ffi::{OsStr, OsString};

use crate::metadata::FOOTER_MAX;

/// A journal is this, the offset of the footer in the capture (u64, little
/// endian), the footer, and [`END`]. Anything shorter was not finished, and then
/// the capture was not touched yet.
const BEGIN: &[u8; 8] = b"mcrecj01";
const END: &[u8; 8] = b"10jcercm";

/// What a journal has at most, bytes.
pub(crate) const MAX: usize = BEGIN.len() + size_of::<u64>() + FOOTER_MAX + END.len();

/// A finished journal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    /// Where the data ends and the footer belongs.
    pub(crate) data_end: u64,
    pub(crate) footer: Vec<u8>,
}

impl Journal {
    /// What stands in a journal before the footer, and after it.
    pub(crate) fn around(data_end: u64) -> (Vec<u8>, &'static [u8]) {
        ([BEGIN, &data_end.to_le_bytes()[..]].concat(), END)
    }

    /// Reads a journal; `None` if it was not finished, or is none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(BEGIN)?.strip_suffix(END)?;
        let (data_end, footer) = rest.split_first_chunk()?;
        Some(Self { data_end: u64::from_le_bytes(*data_end), footer: footer.to_vec() })
    }
}

/// What the journal of the capture `name` is called.
pub fn journal_name(name: &OsStr) -> OsString {
    let mut journal = name.to_owned();
    journal.push(".journal");
    journal
}

#[cfg(test)]
mod tests {
    use super::Journal;

    #[test]
    fn a_journal_that_was_not_finished_is_none() {
        let (before, after) = Journal::around(4);
        let bytes = [&before, &b"old"[..], after].concat();
        assert_eq!(bytes, b"mcrecj01\x04\0\0\0\0\0\0\0old10jcercm");
        let journal = Journal { data_end: 4, footer: b"old".to_vec() };
        assert_eq!(Journal::parse(&bytes), Some(journal));
        for end in 0..bytes.len() {
            assert_eq!(Journal::parse(&bytes[..end]), None, "{end}");
        }
    }
}
