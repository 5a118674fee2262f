//! Which keys a sampled capture has.
//!
//! A capture that is not of all operations is of a sample of the keys: one key in
//! N, each with all of its operations, so that what is known of a key is true.
//! Whether a key belongs to the sample follows from its bytes alone (as the client
//! sent them, neither escaped nor hashed for privacy), so it is the same in every
//! capture and on every host; and a sparser sample is a part of each denser one.
//!
//! A key is in the sample of one in N when the upper 32 bits of its [hash] are
//! below 2^32 / N, rounded down. N is 1 to [`ONE_IN_MAX`].

/// The sparsest sample.
pub const ONE_IN_MAX: u32 = 1 << 16;

/// The hash of a key: FNV-1a with 64 bits (offset basis `0xcbf29ce484222325`,
/// prime `0x100000001b3`), and then the finalizer of `MurmurHash3` for 64 bits,
/// because the upper bits of the former alone do not tell short keys apart well.
pub fn hash(key: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in key {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// What the upper 32 bits of a key's hash are below, if it is in the sample of one
/// key in `one_in`.
///
/// # Panics
///
/// When `one_in` is 0.
pub fn limit(one_in: u32) -> u64 {
    (1 << 32) / u64::from(one_in)
}

/// Whether `key`, as the client sent it, is in the sample of one key in `one_in`.
///
/// # Panics
///
/// When `one_in` is 0.
pub fn contains(one_in: u32, key: &[u8]) -> bool {
    hash(key) >> 32 < limit(one_in)
}

#[cfg(test)]
mod tests {
    use super::{ONE_IN_MAX, contains, hash, limit};

    #[test]
    fn the_hash_of_a_key_never_changes() {
        // Worked out with another program (Python).
        for (key, expected) in KNOWN {
            assert_eq!(hash(key.as_bytes()), expected, "{key}");
        }
    }

    const KNOWN: [(&str, u64); 4] = [
        ("", 0xefd0_1f60_ba99_2926),
        ("a", 0x82a2_a958_a9be_ce5b),
        ("user:10000:profile", 0x4a9b_3363_093d_b749),
        ("zażółć", 0x0eb2_7aa7_5bb2_7176),
    ];

    /// Keys as applications have them, each kind all alike but for a number.
    fn kinds() -> impl Iterator<Item = Vec<String>> {
        const KEYS: u32 = 1 << 16;
        let kinds: [fn(u32) -> String; 6] = [
            |n| n.to_string(),
            |n| format!("{n:08}"),
            |n| format!("user:{n}:profile"),
            |n| format!("{n:x}"),
            |n| format!("session:{:016x}", u64::from(n) << 32),
            |n| format!("{}{n}", "k".repeat(240)),
        ];
        kinds.into_iter().map(|kind| (0..KEYS).map(kind).collect())
    }

    #[test]
    fn each_part_of_the_hash_has_its_share_of_similar_keys() {
        const PARTS: usize = 256;
        for keys in kinds() {
            let mut counts = [0_i64; PARTS];
            for key in &keys {
                counts[usize::try_from(hash(key.as_bytes()) >> 56).unwrap()] += 1;
            }
            let expected = i64::try_from(keys.len() / PARTS).unwrap();
            let squares: i64 = counts.iter().map(|count| (count - expected).pow(2)).sum();
            // Chi-square with 255 degrees of freedom: 255 +- 23. Of evenly spread
            // keys one in a million kinds is beyond 380.
            let chi_square = squares / expected;
            assert!((160..380).contains(&chi_square), "{chi_square}: {}", keys[1]);
        }
    }

    #[test]
    fn a_sparser_sample_is_a_part_of_a_denser_one() {
        for keys in kinds() {
            for rates in [1, 2, 3, 7, 16, 1000, ONE_IN_MAX].windows(2) {
                let sparser = keys.iter().filter(|key| contains(rates[1], key.as_bytes()));
                assert!(sparser.into_iter().all(|key| contains(rates[0], key.as_bytes())));
            }
        }
        assert!(contains(1, b"any"));
        assert_eq!((limit(1), limit(16), limit(ONE_IN_MAX)), (1 << 32, 1 << 28, 1 << 16));
    }
}
