//! How a key's bytes become text, losslessly and without harm.
//!
//! A memcached key is up to 250 arbitrary bytes. Valid UTF-8 stays as it is,
//! except that control characters (below 0x20, and 0x7f), the backslash and
//! every byte that is not part of valid UTF-8 are written `\xNN`, in lower-case
//! hexadecimal. So a key prints on one line, works in `LIKE` and regular
//! expressions, and its bytes come back by undoing `\xNN`.

/// Appends the escaped form of `key` to `out`: valid UTF-8, whatever the key is.
#[inline]
pub fn escape_into(key: &[u8], out: &mut Vec<u8>) {
    if is_plain(key) {
        out.extend_from_slice(key);
    } else {
        escape_special(key, out);
    }
}

/// The escaped form of `key`.
pub fn escape(key: &[u8]) -> String {
    let mut out = Vec::with_capacity(key.len());
    escape_into(key, &mut out);
    String::from_utf8(out).expect("what is not valid UTF-8 was escaped")
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

/// A key as captures have it, from how it was printed or typed. A backslash of
/// the key itself is `\x5c`, so that what is printed has one meaning.
///
/// # Errors
///
/// When a backslash begins no escape, with how to write it.
pub fn as_captured(text: &str) -> Result<String, String> {
    let mut key = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        key.push_str(&rest[..at]);
        let (escape, length) = escaped(&rest[at..])
            .ok_or("a backslash begins \\xNN or \\u{NNNN}; a backslash itself is \\x5c")?;
        key.push_str(&escape);
        rest = &rest[at + length..];
    }
    key.push_str(rest);
    Ok(key)
}

/// What the escape that `text` begins with stands for in a capture, and its length.
fn escaped(text: &str) -> Option<(String, usize)> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits = digits.get(..2).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
        return Some((format!("\\x{}", digits.to_ascii_lowercase()), 4));
    }
    let (digits, _) = text.strip_prefix("\\u{")?.split_once('}')?;
    let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    Some((character.to_string(), 4 + digits.len()))
}

/// Whether `key` is printable ASCII without a backslash, as nearly all are.
#[inline]
fn is_plain(key: &[u8]) -> bool {
    /// Of eight bytes, each is one; and the top bit of each.
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = ONES << 7;
    // Eight bytes at a time: the lowest that is special sets its top bit, which none
    // does of those that are plain.
    let special = |bytes: &[u8; 8]| {
        let word = u64::from_le_bytes(*bytes);
        let high = word | word.wrapping_add(ONES);
        let control = word.wrapping_sub(ONES * 0x20);
        let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        high | control | backslash
    };
    let Some(last) = key.last_chunk() else {
        return key.iter().all(|&byte| byte.is_ascii() && !needs_escape(byte));
    };
    let (words, _) = key.as_chunks();
    let seen = words.iter().fold(special(last), |seen, word| seen | special(word));
    seen & TOPS == 0
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == 0x7f) | (byte == b'\\')
}

#[cold]
fn escape_special(key: &[u8], out: &mut Vec<u8>) {
    for chunk in key.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            if needs_escape(byte) {
                escape_byte(byte, out);
            } else {
                out.push(byte);
            }
        }
        for &byte in chunk.invalid() {
            escape_byte(byte, out);
        }
    }
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    let [high, low] = hex(byte);
    out.extend_from_slice(&[b'\\', b'x', high, low]);
}

/// The two digits of a byte.
pub(crate) fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)])
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
    use super::{as_captured, escape, unescape};

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

    /// Each byte, at each place of a key that is looked at in words or is too short for one.
    #[test]
    fn a_special_byte_is_seen_wherever_it_stands() {
        for length in 1..=26 {
            for at in 0..length {
                for byte in 0..=255u8 {
                    let mut key = vec![b'~'; length];
                    key[at] = byte;
                    let is_plain = matches!(byte, b' '..=b'~') && byte != b'\\';
                    let written = escape(&key);
                    assert_eq!(written.as_bytes() == key, is_plain, "{byte} at {at} of {length}");
                    assert_eq!(unescape(&written), Some(key));
                }
            }
        }
    }

    #[test]
    fn what_was_never_escaped_is_not_a_key() {
        for text in ["\\", "\\x", "\\x4", "\\x4G", "\\n", "a\\xFF"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_found_as_it_was_printed() {
        let is = |text: &str, key: &str| assert_eq!(as_captured(text).as_deref(), Ok(key));
        is("user:1", "user:1");
        is("a\\xFF\\x5cb", "a\\xff\\x5cb");
        is("\\u{202e}evil", "\u{202e}evil");
        for refused in ["\\", "a\\n", "\\x1", "\\u{110000}", "\\u{12"] {
            assert!(as_captured(refused).is_err(), "{refused}");
        }
    }
}
