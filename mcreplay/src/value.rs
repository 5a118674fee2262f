//! Values: of the right size, the same for the same key and size, and as compressible
//! as was asked for. What the recorded ones said no capture knows.

use mcrec_schema::sample;

/// Bytes that are made once; a value is a stretch of them.
const POOL: usize = 1 << 20;
/// Within so many bytes, a part is random and the rest is not.
const STRETCH: usize = 64;
/// Values up to this are decimal digits, so that counters count.
const DIGITS_MAX: u64 = 20;

/// Makes values.
#[derive(Debug)]
pub(crate) struct Values {
    pool: Vec<u8>,
}

impl Values {
    /// Of which the part `compressibility`, 0 to 1, is of one byte alone.
    pub(crate) fn new(compressibility: f64) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let filler = (0..STRETCH).filter(|at| {
            #[expect(clippy::cast_precision_loss, reason = "both are small")]
            let part = *at as f64 / STRETCH as f64;
            part < compressibility
        });
        let filler = filler.count();
        let byte = |at: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if at % STRETCH < filler { b'v' } else { (state >> 32).to_le_bytes()[0] }
        };
        Self { pool: (0..POOL).map(byte).collect() }
    }

    /// Appends the value of `key` that has `size` bytes.
    pub(crate) fn append(&self, key: &[u8], size: u64, out: &mut Vec<u8>) {
        let hash = sample::hash(key) ^ size.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if size <= DIGITS_MAX {
            let mut hash = hash;
            for at in 0..size {
                // Such that one of 20 digits is a number of 64 bits, and has room to grow.
                let digit = if at == 0 { 1 } else { (hash % 7).to_le_bytes()[0] };
                hash /= 7;
                out.push(b'0' + digit);
            }
            return;
        }
        let mut left = usize::try_from(size).unwrap_or(usize::MAX);
        let mut at = usize::try_from(hash % (POOL as u64)).unwrap_or(0);
        while left > 0 {
            let piece = left.min(POOL - at);
            out.extend_from_slice(&self.pool[at..at + piece]);
            left -= piece;
            at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Values;

    fn value(values: &Values, key: &[u8], size: u64) -> Vec<u8> {
        let mut out = Vec::new();
        values.append(key, size, &mut out);
        out
    }

    #[test]
    fn a_value_follows_from_key_and_size() {
        let (one, other) = (Values::new(0.5), Values::new(0.5));
        for size in [0, 1, 20, 21, 1000, 3 << 20] {
            let bytes = value(&one, b"user:1", size);
            assert_eq!(bytes.len() as u64, size);
            assert_eq!(bytes, value(&other, b"user:1", size));
        }
        assert_ne!(value(&one, b"user:1", 100), value(&one, b"user:2", 100));
    }

    #[test]
    fn short_values_are_numbers_that_memcached_can_count() {
        for key in 0..1000_u32 {
            for size in 1..=20 {
                let bytes = value(&Values { pool: Vec::new() }, &key.to_le_bytes(), size);
                let number: u64 = String::from_utf8(bytes).unwrap().parse().unwrap();
                assert!(number < u64::MAX - 1_000_000);
            }
        }
    }

    #[test]
    fn as_much_of_it_as_was_asked_for_repeats() {
        for (asked, expected) in [(0.0, 0), (0.5, 50), (1.0, 100)] {
            let bytes = value(&Values::new(asked), b"key", 100_000);
            let same = bytes.windows(2).filter(|pair| pair == b"vv").count() / 1000;
            assert!((expected - 3..=expected).contains(&i32::try_from(same).unwrap()), "{same}");
        }
    }
}
