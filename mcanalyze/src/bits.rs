//! A bit for each row of a capture. Pure.

/// Truths by number, a bit each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    length: usize,
}

impl Bits {
    /// The truth of a number; false beyond the last.
    pub(crate) fn get(&self, number: usize) -> bool {
        self.words.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

impl FromIterator<bool> for Bits {
    fn from_iter<T: IntoIterator<Item = bool>>(truths: T) -> Self {
        let mut bits = Self::default();
        for truth in truths {
            if bits.length.is_multiple_of(64) {
                bits.words.push(0);
            }
            if let Some(word) = bits.words.last_mut() {
                *word |= u64::from(truth) << (bits.length % 64);
            }
            bits.length += 1;
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;

    #[test]
    fn bits_are_what_they_were_made_of() {
        let is_true = |number: usize| number.is_multiple_of(3) || number % 7 == 1;
        let bits: Bits = (0..200).map(is_true).collect();
        assert!((0..200).all(|number| bits.get(number) == is_true(number)));
        assert!(!bits.get(200) && !bits.get(10_000));
    }
}
