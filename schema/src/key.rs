//! How a key's bytes become text, losslessly and without harm.
//!
//! A memcached key is up to 250 arbitrary bytes. Valid UTF-8 stays as it is,
//! except that control characters (below 0x20, and 0x7f), the backslash and
//! every byte that is not part of valid UTF-8 are written `\xNN`, in lower-case
//! hexadecimal. So a key prints on one line, works in `LIKE` and regular
//! expressions, and its bytes come back by undoing `\xNN`.

use std::fmt::Write;

/// Appends the escaped form of `key` to `out`.
pub fn escape_into(key: &[u8], out: &mut String) {
    // Nearly all keys; without a branch for each byte.
    let plain = key.iter().fold(true, |plain, &byte| plain & byte.is_ascii() & !needs_escape(byte));
    if plain && let Ok(text) = std::str::from_utf8(key) {
        return out.push_str(text);
    }
    for chunk in key.utf8_chunks() {
        let valid = chunk.valid();
        if valid.bytes().any(needs_escape) {
            escape_valid(valid, out);
        } else {
            out.push_str(valid);
        }
        for &byte in chunk.invalid() {
            escape_byte(byte, out);
        }
    }
}

/// The escaped form of `key`.
pub fn escape(key: &[u8]) -> String {
    let mut out = String::with_capacity(key.len());
    escape_into(key, &mut out);
    out
}

/// The bytes that `text` stands for, or `None` if it is not an escaped key: a
/// backslash that does not begin `\xNN`.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'\\' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let [b'x', high, low, after @ ..] = after else {
            return None;
        };
        bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
        rest = after;
    }
    Some(bytes)
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == 0x7f) | (byte == b'\\')
}

fn escape_valid(text: &str, out: &mut String) {
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if needs_escape(byte) => escape_byte(byte, out),
            _ => out.push(character),
        }
    }
}

fn escape_byte(byte: u8, out: &mut String) {
    write!(out, "\\x{byte:02x}").expect("writing to a String cannot fail");
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn the_written_form_of_each_kind_of_byte() {
        for (key, written) in [
            (&b"user:42"[..], "user:42"),
            ("zażółć".as_bytes(), "zażółć"),
            (b"a\nb\0c\x7f", "a\\x0ab\\x00c\\x7f"),
            (b"\x1b[2J", "\\x1b[2J"),
            (br"c:\x41", r"c:\x5cx41"),
            (b"\xff\xfeok\xc3", "\\xff\\xfeok\\xc3"),
            (b"", ""),
        ] {
            assert_eq!(escape(key), written);
        }
    }

    #[test]
    fn the_bytes_come_back() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let key = [b'k', first, second, 0x80];
                assert_eq!(unescape(&escape(&key)).as_deref(), Some(&key[..]));
            }
        }
    }

    #[test]
    fn what_was_never_escaped_is_not_a_key() {
        for text in ["\\", "\\x", "\\x4", "\\x4G", "\\n", "a\\xFF"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
