//! What the columns of all types have in common.

use anyhow::Result;
use arrow_array::Array;
use arrow_buffer::NullBuffer;
use parquet::{basic::Encoding, file::statistics::Statistics};

use super::{
    bit_pack::{GROUP, bit_width},
    hybrid,
};

/// The values of a column chunk that is being built, of one type.
pub(super) trait Values: Send {
    /// Adds the values of `rows`, whose nulls are given, and returns how many rows that
    /// were: fewer than there are if the next ones are for another page. Of the first
    /// rows of a page it takes some.
    ///
    /// # Errors
    ///
    /// When they are not of the column's type, or cannot be encoded.
    fn append(&mut self, rows: &dyn Array, nulls: Option<&NullBuffer>) -> Result<usize>;

    /// Appends the values of the page at hand to what is there of it, and begins the
    /// next. Returns how they are encoded.
    fn end_page(&mut self, page: &mut Vec<u8>) -> Encoding;

    /// About how many bytes the values of the page at hand and the dictionary take:
    /// rather more than fewer.
    fn size(&self) -> usize;

    /// The dictionary that pages refer to, after the last of them.
    fn take_dictionary(&mut self) -> Option<Dictionary>;

    /// What is known of all the values, of rows among which there were `nulls`.
    fn statistics(&self, nulls: u64) -> Option<Statistics>;
}

/// A dictionary page.
pub(super) struct Dictionary {
    pub(super) values: usize,
    pub(super) page: Vec<u8>,
}

/// The dictionary codes of the page at hand.
#[derive(Default)]
pub(super) struct Codes(pub(super) Vec<u32>);

impl Codes {
    /// Adds the codes of `values` as `code` tells them, and returns how many there are:
    /// up to a value that has none.
    #[inline]
    pub(super) fn append<T: Copy + PartialEq>(
        &mut self,
        values: &[T],
        mut code: impl FnMut(T) -> Option<u32>,
    ) -> usize {
        let Some(&first) = values.first() else { return 0 };
        let Some(of_first) = code(first) else { return 0 };
        self.0.reserve(values.len());
        let mut last = (first, of_first);
        for (number, group) in values.chunks(GROUP).enumerate() {
            // Many columns have the same value again and again.
            if group.len() == GROUP && group.iter().fold(true, |all, &v| all & (v == last.0)) {
                self.0.extend_from_slice(&[last.1; GROUP]);
                continue;
            }
            let mut codes = [0; GROUP];
            for (at, (to, &value)) in codes.iter_mut().zip(group).enumerate() {
                if value != last.0 {
                    let Some(code) = code(value) else {
                        self.0.extend_from_slice(&codes[..at]);
                        return number * GROUP + at;
                    };
                    last = (value, code);
                }
                *to = last.1;
            }
            self.0.extend_from_slice(&codes[..group.len()]);
        }
        values.len()
    }

    /// Bytes that they take, at most, in a dictionary of so many values.
    pub(super) fn size(&self, values: usize) -> usize {
        (self.0.len() * width(values) as usize).div_ceil(8)
    }

    /// Appends them to a page, and begins the next.
    pub(super) fn end_page(&mut self, values: usize, page: &mut Vec<u8>) -> Encoding {
        let width = width(values);
        page.push(width.to_le_bytes()[0]);
        hybrid::encode(&self.0, width, page);
        self.0.clear();
        Encoding::RLE_DICTIONARY
    }
}

/// Bits for the codes of so many values.
fn width(values: usize) -> u32 {
    bit_width(values.saturating_sub(1) as u64)
}
