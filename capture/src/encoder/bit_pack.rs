//! Numbers of a few bits each, one after the other, least significant bit first.

/// Values that are packed at once: so many of any bit width end with a whole byte.
pub(super) const GROUP: usize = 8;

/// Bits that are needed for all of 0 to `most`.
pub(super) fn bit_width(most: u64) -> u32 {
    u64::BITS - most.leading_zeros()
}

/// Appends whole groups of values, each below 2 to the power of `width`. Values after
/// the last whole group are left out.
pub(super) fn pack<T: Copy + Into<u64>>(values: &[T], width: u32, to: &mut Vec<u8>) {
    // With the width known when compiled, a group is a dozen shifts without a branch.
    macro_rules! pack_by_width {
        ($($constant:literal)*) => {
            match width {
                $($constant => pack_groups::<$constant, T>(values, to),)*
                _ => {}
            }
        };
    }
    pack_by_width! {
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61
        62 63 64
    }
}

fn pack_groups<const WIDTH: usize, T: Copy + Into<u64>>(values: &[T], to: &mut Vec<u8>) {
    let (groups, _) = values.as_chunks::<GROUP>();
    let start = to.len();
    to.resize(start + groups.len() * WIDTH, 0);
    for (group, packed) in groups.iter().zip(to[start..].chunks_exact_mut(WIDTH)) {
        let mut words = [0_u64; GROUP];
        for (at, &value) in group.iter().enumerate() {
            let value = value.into();
            let (word, shift) = (at * WIDTH / 64, at * WIDTH % 64);
            words[word] |= value << shift;
            if shift + WIDTH > 64 {
                words[word + 1] |= value >> (64 - shift);
            }
        }
        for (bytes, word) in packed.chunks_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bit_width, pack};

    #[test]
    fn each_bit_is_where_its_value_says() {
        let mut seed = 1_u64;
        for width in 1..=64 {
            let values: Vec<u64> = (0..24)
                .map(|_| {
                    seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405);
                    (seed ^ seed >> 31) >> (64 - width)
                })
                .collect();
            let mut packed = vec![7];
            pack(&values, width, &mut packed);
            assert_eq!(packed.len(), 1 + 3 * width as usize);
            let bit = |at: usize| u64::from(packed[1 + at / 8] >> (at % 8) & 1);
            let value = |at: usize| -> u64 {
                (0..width as usize).map(|of| bit(at * width as usize + of) << of).sum()
            };
            assert_eq!((0..24).map(value).collect::<Vec<_>>(), values, "{width}");
        }
    }

    #[test]
    fn a_width_is_that_of_the_largest_number() {
        assert_eq!([0, 1, 2, 255, 256, u64::MAX].map(bit_width), [0, 1, 2, 8, 9, 64]);
    }
}
