//! What is kept of the flags of meta requests and replies.

use crate::token::number;

/// So many flags of a request are kept: more, and memcached refuses it.
const WORDS_MAX: usize = 20;

/// Appends the flags of a request: each letter, and what follows it where that is a mode
/// (`M`) or a number of seconds (`N`, `R`). No other numbers, no tokens, no keys, so that
/// there are few such texts, and nothing in them that a client may have meant to hide.
pub(crate) fn append<'a>(words: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let start = out.len();
    let flags = words.filter_map(<[u8]>::split_first);
    for (&letter, rest) in flags.filter(|(letter, _)| letter.is_ascii_alphabetic()).take(WORDS_MAX)
    {
        if out.len() > start {
            out.push(b' ');
        }
        out.push(letter);
        match letter {
            b'M' => out.extend(rest.first().filter(|mode| mode.is_ascii_graphic())),
            b'N' | b'R' => {
                if let Some(seconds) = number::<i32>(rest) {
                    out.extend_from_slice(seconds.to_string().as_bytes());
                }
            }
            _ => {}
        }
    }
}

/// A set of letters: the flags of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Letters(u64);

impl Letters {
    /// Adds `letter`; what is none is left out.
    pub(crate) fn add(&mut self, letter: u8) {
        if letter.is_ascii_alphabetic() {
            // From `A` to `z` there are 58.
            self.0 |= 1 << (letter - b'A');
        }
    }

    /// The letters, in the order of ASCII.
    pub fn iter(self) -> impl Iterator<Item = char> {
        (b'A'..=b'z').filter(move |letter| self.0 & 1 << (letter - b'A') != 0).map(char::from)
    }
}

#[cfg(test)]
mod tests {
    use super::{Letters, append};

    #[test]
    fn letters_modes_and_seconds_are_kept_and_nothing_else() {
        let words = "v b T90 N30 R-1 Osecret C12345 F7 MA D5 k q \x01x E1 Nx M".split(' ');
        let mut out = b"before".to_vec();
        append(words.map(str::as_bytes), &mut out);
        assert_eq!(out, b"beforev b T N30 R-1 O C F MA D k q E N M");
        let many = [&b"v"[..]; 40];
        let mut out = Vec::new();
        append(many.into_iter(), &mut out);
        assert_eq!(out.len(), 39);
    }

    #[test]
    fn letters_are_in_order_and_once() {
        let mut letters = Letters::default();
        b"zWc Xc[A\xff".iter().for_each(|&letter| letters.add(letter));
        assert_eq!(letters.iter().collect::<String>(), "AWXcz");
    }
}
