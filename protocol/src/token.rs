//! Words and numbers as memcached reads them.

use std::str::FromStr;

/// The words of a line: only blanks part them.
pub(crate) fn tokens(line: &[u8]) -> Tokens<'_> {
    Tokens { rest: line }
}

/// An iterator over words.
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some((b' ', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|&byte| byte == b' ').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

/// A number in decimal digits, with a sign where the type has one.
pub(crate) fn number<T: FromStr + TryFrom<u64>>(token: &[u8]) -> Option<T> {
    /// So many digits fit any number of 64 bits.
    const DIGITS: usize = 18;
    /// Longer than any that fits.
    const TOO_LONG: usize = 25;
    let digits = token.iter().all(u8::is_ascii_digit);
    match token.len() {
        1..=DIGITS if digits => {
            let value = token.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            T::try_from(value).ok()
        }
        0 | TOO_LONG.. => None,
        _ => std::str::from_utf8(token).ok()?.parse().ok(),
    }
}

/// The length of a value in a command line: a 32-bit integer that leaves room
/// for a CRLF, not negative.
pub(crate) fn value_length(token: &[u8]) -> Option<u64> {
    number::<i32>(token)
        .filter(|length| (0..=i32::MAX - 2).contains(length))
        .and_then(|length| u64::try_from(length).ok())
}
