//! Distinct numbers of a column, each with a code.

use super::hash::Hash;

/// A place of the table that no code has taken.
const FREE: u32 = u32::MAX;
/// Places of a new table.
const PLACES: usize = 1 << 8;

/// Codes in the order in which numbers came first.
pub(super) struct NumberDictionary {
    hash: Hash,
    numbers: Vec<i64>,
    /// Codes, each at the place that the hash of its number says, or after it. At
    /// most half of the places are taken. Their number is a power of two.
    places: Vec<u32>,
}

impl NumberDictionary {
    pub(super) fn new(hash: Hash) -> Self {
        Self { hash, numbers: Vec::new(), places: vec![FREE; PLACES] }
    }

    /// All numbers, by their codes.
    pub(super) fn numbers(&self) -> &[i64] {
        &self.numbers
    }

    /// The code of a number.
    #[inline]
    pub(super) fn code(&mut self, number: i64) -> u32 {
        let mask = self.places.len() - 1;
        let mut place = place(self.hash.of_number(number), mask);
        loop {
            match self.places[place] {
                FREE => return self.insert(number, place),
                code if self.numbers[code as usize] == number => return code,
                _ => place = (place + 1) & mask,
            }
        }
    }

    #[cold]
    fn insert(&mut self, number: i64, place: usize) -> u32 {
        // A row group has far fewer rows.
        let code = u32::try_from(self.numbers.len()).unwrap_or(FREE);
        self.numbers.push(number);
        self.places[place] = code;
        if self.numbers.len() * 2 > self.places.len() {
            self.grow();
        }
        code
    }

    fn grow(&mut self) {
        let mask = self.places.len() * 2 - 1;
        self.places = vec![FREE; mask + 1];
        for (code, &number) in (0..).zip(&self.numbers) {
            let mut place = place(self.hash.of_number(number), mask);
            while self.places[place] != FREE {
                place = (place + 1) & mask;
            }
            self.places[place] = code;
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "tables are smaller")]
fn place(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}

#[cfg(test)]
mod tests {
    use super::NumberDictionary;
    use crate::encoder::hash::Hash;

    #[test]
    fn codes_are_given_in_order_and_kept() {
        let mut dictionary = NumberDictionary::new(Hash::new());
        let numbers: Vec<i64> = (0..5000).map(|n: i64| n.wrapping_mul(i64::MAX / 77)).collect();
        let twice = [numbers.as_slice(), &numbers].concat();
        let codes = twice.iter().map(|&number| dictionary.code(number));
        assert!(codes.eq((0..5000).chain(0..5000)));
        assert_eq!(dictionary.numbers(), numbers);
    }
}
