//! Hashes for the tables of dictionaries.
//!
//! Clients choose keys and numbers, and whoever knew how these are hashed could make
//! all of them meet in one place of a table and stop the recorder. So each process has
//! secrets of its own.

use std::hash::{BuildHasher, Hasher, RandomState};

/// How to hash.
#[derive(Clone, Copy)]
pub(super) struct Hash {
    secrets: [u64; 2],
}

impl Hash {
    pub(super) fn new() -> Self {
        let secret = || RandomState::new().build_hasher().finish();
        // An odd factor loses nothing.
        Self { secrets: [secret(), secret() | 1] }
    }

    pub(super) fn of_number(self, number: i64) -> u64 {
        let [first, second] = self.secrets;
        fold(number.cast_unsigned() ^ first, second)
    }

    pub(super) fn of_bytes(self, bytes: &[u8]) -> u64 {
        let [first, second] = self.secrets;
        let start = first ^ (bytes.len() as u64).wrapping_mul(second);
        let mix = |hash: u64, [one, two]: [u64; 2]| fold(one ^ hash, two ^ second);
        let (pairs, rest) = bytes.as_chunks::<16>();
        let hash = pairs.iter().fold(start, |hash, pair| mix(hash, words(pair)));
        match (rest.len(), bytes.last_chunk::<16>()) {
            (0, _) => fold(hash, second),
            // Some bytes twice rather than one after the other.
            (_, Some(last)) => fold(mix(hash, words(last)), second),
            (length, None) => {
                let mut padded = [0; 16];
                padded[..length].copy_from_slice(rest);
                fold(mix(hash, words(&padded)), second)
            }
        }
    }
}

fn words(bytes: &[u8; 16]) -> [u64; 2] {
    let bytes = u128::from_le_bytes(*bytes);
    halves(bytes)
}

/// All bits of a product, over each other.
fn fold(one: u64, other: u64) -> u64 {
    let [low, high] = halves(u128::from(one) * u128::from(other));
    low ^ high
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
fn halves(bits: u128) -> [u64; 2] {
    [bits as u64, (bits >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Hash;

    #[test]
    fn strings_of_all_lengths_and_numbers_have_hashes_of_their_own() {
        let hash = Hash::new();
        let text: Vec<u8> = (0..=255).collect();
        let of_bytes: HashSet<u64> = (0..=256)
            .map(|length| hash.of_bytes(&text[..length]))
            .chain((1..=256).map(|length| hash.of_bytes(&vec![0; length])))
            .collect();
        // One zero is in both.
        assert_eq!(of_bytes.len(), 257 + 255);
        let of_numbers: HashSet<u64> = (-5000..5000).map(|number| hash.of_number(number)).collect();
        assert_eq!(of_numbers.len(), 10_000);
    }
}
