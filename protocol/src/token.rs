//! Lines, words and numbers as memcached reads them.

use std::str::FromStr;

use crate::number::{Form, Signed, unsigned};

/// Where `byte` first is in `data`.
pub(crate) fn find(byte: u8, data: &[u8]) -> Option<usize> {
    let differs = move |word: u64| word ^ (ONES * u64::from(byte));
    first(data, |word| below(differs(word), 1), |other| other == byte)
}

/// Where the first blank or control character is in `data`.
pub(crate) fn find_gap(data: &[u8]) -> Option<usize> {
    first(data, |word| below(word, b' ' + 1), |byte| byte <= b' ')
}

/// Of the eight bytes of a word, each is one; and the top bit of each.
const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = ONES << 7;

/// The top bit of the first byte of `word` that is less than `limit`, which is no more
/// than 128; of those after it, perhaps.
#[inline]
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word & TOPS
}

/// Where the first byte is that is sought. That is seen in eight bytes at a time, by the
/// lowest bit that `in_word` sets: for words and for most lines it takes less than to set
/// out on more.
#[inline]
fn first(
    data: &[u8],
    in_word: impl Fn(u64) -> u64,
    is_sought: impl Fn(u8) -> bool,
) -> Option<usize> {
    const SIZE: usize = size_of::<u64>();
    let place = |bits: u64| bits.trailing_zeros() as usize / SIZE;
    let (words, rest) = data.as_chunks::<SIZE>();
    for (at, word) in words.iter().enumerate() {
        let bits = in_word(u64::from_le_bytes(*word));
        if bits != 0 {
            return Some(at * SIZE + place(bits));
        }
    }
    let begin = data.len() - rest.len();
    match data.last_chunk() {
        // What was looked at before is shifted out.
        Some(last) if !rest.is_empty() => {
            let word = u64::from_le_bytes(*last) >> (8 * (SIZE - rest.len()));
            let at = place(in_word(word));
            (at < rest.len()).then_some(begin + at)
        }
        _ => Some(begin + rest.iter().position(|&byte| is_sought(byte))?),
    }
}

/// Where the first line of `data` ends.
pub(crate) fn line_feed(data: &[u8]) -> Option<usize> {
    /// Most lines are no longer.
    const SHORT: usize = 64;
    match data.split_at_checked(SHORT) {
        None => find(b'\n', data),
        Some((begin, rest)) => {
            find(b'\n', begin).or_else(|| Some(SHORT + memchr::memchr(b'\n', rest)?))
        }
    }
}

/// The words of a line: only blanks part them.
#[inline]
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

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some((b' ', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let (word, rest) = match find(b' ', self.rest) {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(word)
    }
}

impl Tokens<'_> {
    /// The next word as a number, which is read while its end is sought.
    #[inline]
    pub(crate) fn number<T: FromStr + TryFrom<u64>>(&mut self) -> Option<T> {
        let (value, rest) = digits(self.rest);
        match rest {
            [] | [b' ', ..] if rest.len() < self.rest.len() => {
                self.rest = rest;
                T::try_from(value).ok()
            }
            _ => self.next().and_then(unusual),
        }
    }

    /// The next word, if there is one, as a number of a request.
    #[inline]
    pub(crate) fn signed(&mut self, form: Form) -> Option<Signed> {
        match self.short_number() {
            Some(number) => Some(Signed::plain(number)),
            None => self.next().map(|word| Signed::read(form, word)),
        }
    }

    /// The same of one without a sign, as C reads it.
    #[inline]
    pub(crate) fn unsigned(&mut self) -> Option<Option<u64>> {
        match self.short_number() {
            Some(number) => Some(number.try_into().ok()),
            None => self.next().map(unsigned),
        }
    }

    /// The next word, if it is digits that mean the same wherever they stand.
    #[inline]
    fn short_number(&mut self) -> Option<i32> {
        /// So many digits fit any number.
        const FIT: usize = 9;
        let (value, rest) = digits(self.rest);
        let is_short = (1..=FIT).contains(&(self.rest.len() - rest.len()));
        match rest {
            [] | [b' ', ..] if is_short => {
                self.rest = rest;
                value.try_into().ok()
            }
            _ => None,
        }
    }
}

/// A number in decimal digits, with a sign where the type has one.
#[inline]
pub(crate) fn number<T: FromStr + TryFrom<u64>>(token: &[u8]) -> Option<T> {
    match digits(token) {
        (value, []) if !token.is_empty() => T::try_from(value).ok(),
        _ => unusual(token),
    }
}

/// The number that the digits at the beginning of `text` are, and what follows them:
/// more digits, where they might not fit.
#[inline]
pub(crate) fn digits(text: &[u8]) -> (u64, &[u8]) {
    /// So many digits fit any number of 64 bits.
    const FIT: usize = 18;
    let mut value = 0;
    let mut rest = text;
    while let [digit @ b'0'..=b'9', after @ ..] = rest
        && text.len() - rest.len() < FIT
    {
        value = value * 10 + u64::from(digit - b'0');
        rest = after;
    }
    (value, rest)
}

/// A number with a sign or with very many digits, or none at all.
#[cold]
fn unusual<T: FromStr>(token: &[u8]) -> Option<T> {
    /// Longer than any that fits.
    const TOO_LONG: usize = 25;
    match token.len() {
        0 | TOO_LONG.. => None,
        _ => std::str::from_utf8(token).ok()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{find, find_gap, line_feed, number, tokens};

    #[test]
    fn a_byte_is_found_wherever_it_stands_and_whatever_is_near() {
        for length in 0..80 {
            // Bytes that differ from it by little, or by the top bit.
            for around in [b'\n' ^ 1, b'\n' - 1, b'\n' ^ 0x80, 0, 0xff] {
                let mut data = vec![around; length];
                assert_eq!((find(b'\n', &data), line_feed(&data)), (None, None));
                for at in (0..length).rev() {
                    data[at] = b'\n';
                    assert_eq!((find(b'\n', &data), line_feed(&data)), (Some(at), Some(at)));
                }
            }
        }
    }

    #[test]
    fn a_gap_is_found_whatever_it_is() {
        for length in 0..40 {
            for around in [b'!', 0x7f, 0x80, 0xff] {
                let mut data = vec![around; length];
                assert_eq!(find_gap(&data), None);
                for at in (0..length).rev() {
                    for gap in 0..=b' ' {
                        data[at] = gap;
                        assert_eq!(find_gap(&data), Some(at));
                    }
                }
            }
        }
    }

    #[test]
    fn words_are_what_is_between_blanks() {
        let words = |line| tokens(line).collect::<Vec<_>>();
        assert_eq!(words(b"  a bc   a_long_word  "), [&b"a"[..], b"bc", b"a_long_word"]);
        assert!(words(b"").is_empty() && words(b"   ").is_empty());
    }

    /// Whether they are words of a line or by themselves.
    #[test]
    fn numbers_are_as_the_type_has_them() {
        assert_eq!(number::<u64>(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number::<u64>(b"18446744073709551616"), None);
        assert_eq!(number::<i32>(b"-2147483648"), Some(i32::MIN));
        assert_eq!(number::<i32>(b"2147483648"), None);
        assert_eq!(
            (number::<u32>(b"+7"), number::<u32>(b"0000000000000000000007")),
            (Some(7), Some(7))
        );
        let mut words = tokens(b"12 -3  45 x +6 999999999999999999 1000000000000000000");
        assert_eq!((words.number::<u64>(), words.number::<i64>()), (Some(12), Some(-3)));
        assert_eq!((words.number::<u64>(), words.number::<u64>()), (Some(45), None));
        assert_eq!((words.number(), words.number()), (Some(6), Some(999_999_999_999_999_999_u64)));
        assert_eq!((words.number(), words.number::<u64>()), (Some(10u64.pow(18)), None));
        for none in [&b""[..], b"-", b"1x", b"x1", b"0000000000000000000000007", b"\xff"] {
            assert_eq!(number::<u64>(none), None);
        }
    }
}
