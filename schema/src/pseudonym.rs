//! Keys under another name: what stands in the column `key` of a capture whose
//! keys are hashed.
//!
//! A key is cut at each `:`, `/` and `.`, and those stay where they are. Each
//! segment between them, which is one byte or more, becomes the 16 lower-case
//! hexadecimal digits of its SipHash-2-4, a number of 64 bits, under a secret key
//! of 128 bits. The bytes that are hashed are those of the original key, unescaped.
//!
//! So a segment has one pseudonym, wherever it stands and in whatever capture:
//! prefixes can be added up and captures that were hashed with one key can be
//! joined. That is also what a capture still shows: which segments are equal, how
//! many there are, how often each was asked for, and the length of each whole key
//! (`key_len`). It does not show what any of them says, nor can that be found out
//! by trying, unless one has the secret key.
//!
//! Two segments that differ have the same pseudonym once in 2^64 pairs: among a
//! billion different segments, with a probability of 3 %.

use std::fmt;

use siphasher::sip::SipHasher24;

use crate::key::hex;

/// How `mcrec.privacy` calls this.
pub const METHOD: &str = "SipHash-2-4 with a secret key of 128 bits: each segment between : / . \
                          by itself, as 16 hexadecimal digits";

/// Digits of a secret key that is written in hexadecimal.
pub const SECRET_DIGITS: usize = 32;

/// Gives keys their pseudonyms. It holds the secret, and does not print it.
#[derive(Clone)]
pub struct Pseudonyms(SipHasher24);

impl Pseudonyms {
    /// Pseudonyms under `secret`, its bytes in the order in which they are written.
    pub fn new(secret: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(secret))
    }

    /// Pseudonyms under a secret that is written as 32 hexadecimal digits; `None` if
    /// `text` is anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_secret =
            text.len() == SECRET_DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let secret = u128::from_str_radix(text, 16).ok().filter(|_| is_secret)?;
        Some(Self::new(&secret.to_be_bytes()))
    }

    /// Appends the pseudonym of `key`, given in its own bytes, to `out`. It is plain
    /// ASCII that needs no escaping.
    pub fn append(&self, key: &[u8], out: &mut Vec<u8>) {
        let mut rest = key;
        while !rest.is_empty() {
            let end = rest.iter().position(|&byte| is_delimiter(byte)).unwrap_or(rest.len());
            if end > 0 {
                append_hex(self.0.hash(&rest[..end]), out);
            }
            if let Some(&delimiter) = rest.get(end) {
                out.push(delimiter);
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    /// The pseudonym of `key`, given in its own bytes.
    pub fn of(&self, key: &[u8]) -> String {
        let mut out = Vec::new();
        self.append(key, &mut out);
        String::from_utf8(out).expect("digits and delimiters are ASCII")
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pseudonyms").finish_non_exhaustive()
    }
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b':' | b'/' | b'.')
}

fn append_hex(hash: u64, out: &mut Vec<u8>) {
    out.extend(hash.to_be_bytes().into_iter().flat_map(hex));
}

#[cfg(test)]
mod tests {
    use super::Pseudonyms;
    use crate::key;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f";

    /// Of the vectors that the authors of SipHash publish for the key 00 01 … 0f and
    /// the messages 00, 00 01, …: 64 bits, little endian there.
    #[test]
    fn segments_are_hashed_as_the_authors_of_siphash_say() {
        let pseudonyms = Pseudonyms::from_hex(SECRET).unwrap();
        let message: Vec<u8> = (0..15).collect();
        for (length, hash) in [
            (1, [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]),
            (2, [0x5a, 0x4f, 0xa9, 0xd9, 0x09, 0x80, 0x6c, 0x0d]),
            (3, [0x2d, 0x7e, 0xfb, 0xd7, 0x96, 0x66, 0x67, 0x85]),
            (8, [0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93]),
            (15, [0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1]),
        ] {
            let expected = format!("{:016x}", u64::from_le_bytes(hash));
            assert_eq!(pseudonyms.of(&message[..length]), expected);
        }
    }

    /// The pseudonyms are of an implementation in Python (`tests/pseudonyms.py`).
    #[test]
    fn each_segment_is_hashed_by_itself_and_delimiters_stay() {
        let pseudonyms = Pseudonyms::from_hex(SECRET).unwrap();
        let (user, id, profile) = ("fd161399fdc25056", "5caf3277cc3309bc", "9212057133c35bc7");
        for (key, expected) in [
            ("user:10000:profile", format!("{user}:{id}:{profile}")),
            ("profile/10000.user", format!("{profile}/{id}.{user}")),
            ("user:10000", format!("{user}:{id}")),
            ("::user//.", format!("::{user}//.")),
            (":", ":".to_owned()),
            ("", String::new()),
        ] {
            assert_eq!(pseudonyms.of(key.as_bytes()), expected, "{key}");
        }
        let other = Pseudonyms::from_hex("000102030405060708090a0b0c0d0e10").unwrap();
        assert_ne!(other.of(b"user"), user);
    }

    #[test]
    fn a_pseudonym_is_an_escaped_key_as_it_is() {
        let pseudonyms = Pseudonyms::from_hex(SECRET).unwrap();
        for key in [&b"\0\xff\x1b[31m"[..], br"c:\x41", "zażółć:日本".as_bytes(), &[b'k'; 250]]
        {
            let pseudonym = pseudonyms.of(key);
            assert_eq!(key::escape(pseudonym.as_bytes()), pseudonym);
        }
    }

    #[test]
    fn a_secret_is_32_digits_and_is_not_printed() {
        assert!(Pseudonyms::from_hex(&SECRET.to_uppercase()).is_some());
        for text in ["", "00", &SECRET[1..], "+00102030405060708090a0b0c0d0e0f", "é"] {
            assert!(Pseudonyms::from_hex(text).is_none(), "{text}");
        }
        assert!(Pseudonyms::from_hex(&format!("{SECRET}0")).is_none());
        let shown = format!("{:?}", Pseudonyms::from_hex(SECRET));
        assert_eq!(shown, "Some(Pseudonyms { .. })");
    }
}
