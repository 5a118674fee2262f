//! `DELTA_BINARY_PACKED`: differences from value to value, in blocks that have their
//! smallest difference and a few bits for what each has above it.

use super::{
    bit_pack::{bit_width, pack},
    varint,
};

/// Values to a block and miniblocks in it: those that every writer uses.
const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;
const MINIBLOCK: usize = BLOCK / MINIBLOCKS;

/// The values of the page at hand.
pub(super) struct Delta {
    /// Bits that differences do not have: 32 for columns of 32 bits, where arithmetic
    /// wraps around at those.
    unused_bits: u32,
    count: usize,
    first: i64,
    previous: i64,
    /// Differences of a block that is not full yet.
    block: [i64; BLOCK],
    filled: usize,
    /// Blocks that were.
    blocks: Vec<u8>,
}

impl Delta {
    /// For values of `bits` bits, 32 or 64.
    pub(super) fn new(bits: u32) -> Self {
        Self {
            unused_bits: i64::BITS.saturating_sub(bits),
            count: 0,
            first: 0,
            previous: 0,
            block: [0; BLOCK],
            filled: 0,
            blocks: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the page at hand, about.
    pub(super) fn size(&self) -> usize {
        self.blocks.len() + self.filled * size_of::<i64>()
    }

    pub(super) fn append(&mut self, values: &[i64]) {
        let mut rest = values;
        if self.count == 0
            && let Some((&first, after)) = rest.split_first()
        {
            (self.first, self.previous, rest) = (first, first, after);
        }
        self.count += values.len();
        while !rest.is_empty() {
            let (taken, after) = rest.split_at(rest.len().min(BLOCK - self.filled));
            self.fill(taken);
            rest = after;
            if self.filled == BLOCK {
                self.end_block();
            }
        }
    }

    /// Adds the differences of values that the block has room for.
    fn fill(&mut self, values: &[i64]) {
        let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return };
        let unused = self.unused_bits;
        let difference = |from: i64, to: i64| to.wrapping_sub(from) << unused >> unused;
        let block = &mut self.block[self.filled..self.filled + values.len()];
        block[0] = difference(self.previous, first);
        for (delta, (&from, &to)) in block[1..].iter_mut().zip(values.iter().zip(&values[1..])) {
            *delta = difference(from, to);
        }
        self.previous = last;
        self.filled += values.len();
    }

    fn end_block(&mut self) {
        let filled = std::mem::take(&mut self.filled);
        let first = self.block[0];
        // Many columns rise by the same again and again, or not at all.
        if self.block[..filled].iter().fold(0, |any, delta| any | delta ^ first) == 0 {
            varint::push_zigzag(first, &mut self.blocks);
            self.blocks.extend_from_slice(&[0; MINIBLOCKS]);
            return;
        }
        let least = self.block[..filled].iter().copied().min().unwrap_or(first);
        // What is missing in the last block takes no bits then.
        self.block[filled..].fill(least);
        let above = self.block.map(|delta| delta.wrapping_sub(least).cast_unsigned());
        let (miniblocks, _) = above.as_chunks::<MINIBLOCK>();
        let mut widths = [0; MINIBLOCKS];
        for (width, values) in widths.iter_mut().zip(miniblocks) {
            *width = bit_width(values.iter().fold(0, |all, value| all | value));
        }
        varint::push_zigzag(least, &mut self.blocks);
        self.blocks.extend(widths.map(|width| width.to_le_bytes()[0]));
        for (values, width) in miniblocks.iter().zip(widths) {
            pack(values, width, &mut self.blocks);
        }
    }

    /// Appends the values of the page, and begins the next.
    pub(super) fn end_page(&mut self, page: &mut Vec<u8>) {
        if self.filled > 0 {
            self.end_block();
        }
        varint::push(BLOCK as u64, page);
        varint::push(MINIBLOCKS as u64, page);
        varint::push(self.count as u64, page);
        varint::push_zigzag(self.first, page);
        page.extend_from_slice(&self.blocks);
        self.blocks.clear();
        (self.count, self.first, self.previous) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Delta;

    #[test]
    fn a_page_is_as_in_the_definition() {
        let mut delta = Delta::new(64);
        delta.append(&[7, 5]);
        delta.append(&[]);
        delta.append(&[3, 1, 2, 3, 4, 5]);
        let mut page = Vec::new();
        delta.end_page(&mut page);
        // Differences -2 -2 -2 1 1 1 1: least -2, and above it 0 0 0 3 3 3 3.
        let miniblock = [0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
        let header = [0x80, 0x01, 4, 8, 14, 3, 2, 0, 0, 0];
        assert_eq!(page, [&header[..], &miniblock].concat());
        assert!(delta.is_empty());
    }

    #[test]
    fn differences_of_32_bits_take_no_more_than_32() {
        let mut delta = Delta::new(32);
        delta.append(&[i32::MIN, i32::MAX, i32::MIN, 0, i32::MAX].map(i64::from));
        let mut page = Vec::new();
        delta.end_page(&mut page);
        let first = 9;
        let least = 5;
        let width = page[first + least];
        assert!(width <= 32, "{width} in {page:?}");
    }
}
