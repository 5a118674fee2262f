//! `PLAIN`: values as they are.

use anyhow::{Context, Result};

/// Bytes of a text and its length.
pub(super) fn text_size(text: &[u8]) -> usize {
    size_of::<u32>() + text.len()
}

/// Appends a text after its length.
///
/// # Errors
///
/// When it is too long for Parquet.
pub(super) fn push_text(text: &[u8], to: &mut Vec<u8>) -> Result<()> {
    let length = i32::try_from(text.len()).context("a string is too long for Parquet")?;
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(text);
    Ok(())
}

/// Appends numbers of `bits` bits each, 32 or 64.
pub(super) fn push_numbers(numbers: &[i64], bits: u32, to: &mut Vec<u8>) {
    let bytes = bits as usize / 8;
    for number in numbers {
        to.extend_from_slice(&number.to_le_bytes()[..bytes]);
    }
}
