//! Keys by a number of fixed size.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use crate::scan::{OfDictionary, Strings};

/// What stands for a key: 128 bits of `SipHash`, with secrets that are new in each
/// run. Among a thousand million keys, the probability that any two have the same
/// is less than 10^-20, whoever chose them: far less than that the memory is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyHash([u64; 2]);

/// Makes [`KeyHash`]es.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hashing([RandomState; 2]);

/// Maps by [`KeyHash`], which is random enough as it is.
pub(crate) type Map<T> = std::collections::HashMap<KeyHash, T, BuildHasherDefault<AsItIs>>;

impl Hashing {
    pub(crate) fn hash(&self, key: &str) -> KeyHash {
        KeyHash([0, 1].map(|half| {
            let mut hasher = self.0[half].build_hasher();
            hasher.write(key.as_bytes());
            hasher.finish()
        }))
    }
}

impl KeyHash {
    /// The hash of a number, the same in each run: for tests of what depends on chance.
    #[cfg(test)]
    pub(crate) fn of_number(number: u64) -> Self {
        // `SplitMix64` (Steele, Lea and Flood, 2014).
        let mix = |seed: u64| {
            let bits = number.wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^ (bits >> 31)
        };
        Self([mix(1), mix(2)])
    }

    /// Whether it is in a sample of one hash in `2^level`.
    pub(crate) fn is_in_sample(self, level: u32) -> bool {
        self.0[0].trailing_zeros() >= level
    }

    /// Where it lies among all hashes, 0 to `2^64 - 1`.
    pub(crate) fn position(self) -> u64 {
        self.0[1]
    }

    /// One of 256 parts of all hashes.
    pub(crate) fn part(self) -> usize {
        usize::from(self.0[0].to_be_bytes()[0])
    }
}

impl std::hash::Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[1]);
    }
}

/// The hash of each key of the dictionary at hand.
#[derive(Default)]
pub(crate) struct Hashes(OfDictionary<KeyHash>);

impl Hashes {
    /// Of the dictionary of `keys`, by the numbers of those.
    pub(crate) fn of(&mut self, keys: &Strings<'_>, hashing: &Hashing) -> &[KeyHash] {
        if !self.0.is_of(keys) {
            self.0.begin(keys, keys.values.iter().map(|key| hashing.hash(key.unwrap_or(""))));
        }
        &self.0.made
    }
}

/// Takes a number for its hash.
#[derive(Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers of 64 bits are hashed");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
