//! The first bytes of a capture: what it is, for when its footer is lost.
//!
//! `PAR1`, [`BEGIN`], the length of what follows (u32, little endian), and the
//! entries of the footer as one JSON object, as they were when the file was begun.
//! Readers of Parquet go by the offsets in the footer and never look here.

use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt};

use mcrec_schema::footer::{Footer, FooterError};

/// What every Parquet file begins and ends with.
pub(crate) const MAGIC: &[u8; 4] = b"PAR1";
const BEGIN: &[u8; 8] = b"mcrech01";
/// Heads have a few KiB.
const MAX: usize = 1 << 20;

/// The bytes that a file with this `footer` begins with.
pub(crate) fn encode(footer: &Footer) -> Vec<u8> {
    let entries: BTreeMap<_, _> = footer.to_entries().into_iter().collect();
    let json = serde_json::to_vec(&entries).expect("strings are always JSON");
    let length = u32::try_from(json.len()).expect("a head has a few KiB").to_le_bytes();
    [&MAGIC[..], BEGIN, &length, &json].concat()
}

/// What the head of `file` says, and where it ends; `None` if there is none.
///
/// # Errors
///
/// When it is not the head of a capture that this version reads.
pub(crate) fn read(file: &File) -> Result<Option<(Footer, u64)>, FooterError> {
    let mut fixed = [0; 16];
    if file.read_exact_at(&mut fixed, 0).is_err() {
        return Ok(None);
    }
    let Some(length) = fixed.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(BEGIN)) else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(length.try_into().expect("four bytes are left")) as usize;
    let mut json = vec![0; length.min(MAX)];
    if length > MAX || file.read_exact_at(&mut json, fixed.len() as u64).is_err() {
        return Ok(None);
    }
    let Ok(entries) = serde_json::from_slice::<BTreeMap<String, String>>(&json) else {
        return Ok(None);
    };
    let footer = Footer::from_entries(|key| entries.get(key).map(String::as_str))?;
    Ok(Some((footer, (fixed.len() + length) as u64)))
}
