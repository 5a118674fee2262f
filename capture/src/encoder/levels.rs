//! Definition levels: which rows of a page have a value.

use arrow_array::builder::BooleanBufferBuilder;
use arrow_buffer::NullBuffer;

use super::hybrid;

/// Bytes of the same bits that are worth a run of their own.
const RUN_MIN: usize = 4;

/// The rows of the page at hand, and which of them have a value.
pub(super) struct DefinitionLevels {
    rows: usize,
    nulls: usize,
    /// A bit for each row: only from the first null of the page on.
    bits: BooleanBufferBuilder,
}

impl DefinitionLevels {
    pub(super) fn new() -> Self {
        Self { rows: 0, nulls: 0, bits: BooleanBufferBuilder::new(0) }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn nulls(&self) -> usize {
        self.nulls
    }

    /// Bytes that they take, at most.
    pub(super) fn size(&self) -> usize {
        self.bits.len().div_ceil(8)
    }

    /// Adds `rows` rows, which have values where `nulls` does not say otherwise.
    pub(super) fn append(&mut self, rows: usize, nulls: Option<&NullBuffer>) {
        match nulls.filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => {
                self.bits.append_n(self.rows - self.bits.len(), true);
                self.bits.append_buffer(nulls.inner());
                self.nulls += nulls.null_count();
            }
            None if self.nulls > 0 => self.bits.append_n(rows, true),
            None => {}
        }
        self.rows += rows;
    }

    /// Appends the levels of the page, after their length, and begins the next page.
    pub(super) fn end_page(&mut self, page: &mut Vec<u8>) {
        let start = page.len();
        page.extend_from_slice(&[0; 4]);
        match self.nulls {
            0 => hybrid::push_run(self.rows, 1, 1, page),
            nulls if nulls == self.rows => hybrid::push_run(self.rows, 0, 1, page),
            _ => encode(self.bits.as_slice(), self.rows, page),
        }
        // A page has some thousands of rows, and a row takes a bit.
        let length = u32::try_from(page.len() - start - 4).unwrap_or(u32::MAX);
        page[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.clear();
    }

    /// Begins the next page.
    pub(super) fn clear(&mut self) {
        (self.rows, self.nulls) = (0, 0);
        self.bits.truncate(0);
    }
}

/// Appends `rows` levels of one bit: Arrow has them as Parquet packs them.
fn encode(bits: &[u8], rows: usize, page: &mut Vec<u8>) {
    let whole = rows / 8;
    let (mut at, mut packed) = (0, 0);
    while at < whole {
        let first = bits[at];
        let run = match first {
            0 | 0xff => bits[at..whole].iter().take_while(|&&byte| byte == first).count(),
            _ => 1,
        };
        if run >= RUN_MIN {
            push_packed(&bits[packed..at], page);
            hybrid::push_run(run * 8, u32::from(first & 1), 1, page);
            packed = at + run;
        }
        at += run;
    }
    push_packed(&bits[packed..rows.div_ceil(8)], page);
}

fn push_packed(bits: &[u8], page: &mut Vec<u8>) {
    if !bits.is_empty() {
        hybrid::push_packed_header(bits.len(), page);
        page.extend_from_slice(bits);
    }
}

#[cfg(test)]
mod tests {
    use arrow_buffer::NullBuffer;

    use super::DefinitionLevels;

    fn encoded(pieces: &[&[bool]]) -> Vec<u8> {
        let mut levels = DefinitionLevels::new();
        for piece in pieces {
            levels.append(piece.len(), Some(&NullBuffer::from(*piece)));
        }
        let mut page = Vec::new();
        levels.end_page(&mut page);
        assert_eq!((levels.rows(), levels.nulls()), (0, 0));
        page
    }

    #[test]
    fn all_or_none_is_one_run() {
        assert_eq!(encoded(&[&[true; 5], &[true; 4]]), [2, 0, 0, 0, 18, 1]);
        assert_eq!(encoded(&[&[false; 100]]), [3, 0, 0, 0, 0xc8, 1, 0]);
    }

    #[test]
    fn bits_are_packed_between_long_runs() {
        let mixed = [true, false, true];
        // Three of the first run fill the byte of the mixed ones.
        let bytes = encoded(&[&[true; 5], &mixed, &[false; 40], &[true, true]]);
        assert_eq!(bytes, [6, 0, 0, 0, 3, 0b1011_1111, 80, 0, 3, 0b11]);
        assert_eq!(encoded(&[&[true; 3], &[false]]), [2, 0, 0, 0, 3, 0b0111]);
    }
}
