//! `PLAIN`: values as they are.

/// Bytes of a text and its length.
pub(super) fn text_size(text: &[u8]) -> usize {
    size_of::<u32>() + text.len()
}

/// Appends a text after its length. Offsets of 32 bits lead to it: it has no more bytes.
pub(super) fn push_text(text: &[u8], to: &mut Vec<u8>) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(text);
}

/// Appends numbers of `bits` bits each, 32 or 64.
pub(super) fn push_numbers(numbers: &[i64], bits: u32, to: &mut Vec<u8>) {
    let bytes = bits as usize / 8;
    for number in numbers {
        to.extend_from_slice(&number.to_le_bytes()[..bytes]);
    }
}
