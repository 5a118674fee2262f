//! Keys by a number of fixed size.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

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
