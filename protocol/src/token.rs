//! Words and numbers as memcached reads them.

use std::str::FromStr;

/// The words of a line: only blanks part them.
pub(crate) fn tokens(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ').filter(|token| !token.is_empty())
}

/// A number in decimal digits, with a sign where the type has one.
pub(crate) fn number<T: FromStr>(token: &[u8]) -> Option<T> {
    // Longer than any that fits.
    if token.len() > 24 {
        return None;
    }
    std::str::from_utf8(token).ok()?.parse().ok()
}

/// The length of a value in a command line: a 32-bit integer that leaves room
/// for a CRLF, not negative.
pub(crate) fn value_length(token: &[u8]) -> Option<u64> {
    number::<i32>(token)
        .filter(|length| (0..=i32::MAX - 2).contains(length))
        .and_then(|length| u64::try_from(length).ok())
}
