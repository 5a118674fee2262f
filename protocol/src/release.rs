//! What memcached's releases do in different ways when they read requests.
//!
//! This is the one place that knows releases by their numbers: whoever finds that a release
//! reads something in another way adds it to the [table](CHANGES), and a field to [`Rules`].
//! The facts are those of the sources: `memcached.c` up to 1.6.6, `proto_text.c` since then,
//! `proto_parser.c` and `vendor/mcmc/mcmc.c` since 1.6.40.

use std::sync::LazyLock;

use crate::number::Form;

/// A release of memcached, as `[1, 6, 45]`.
pub type Release = [u32; 3];

/// How a release reads requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// A line is a C string: it ends at its first NUL.
    pub(crate) c_strings: bool,
    /// What blanks before a verb do.
    pub(crate) indented: Indented,
    /// How it reads the length of a value. Flags and expiry of a text store are read as C
    /// does in all releases.
    pub(crate) length: Form,
    /// How it reads the numbers of meta flags, and those of `touch` and `gat`.
    pub(crate) argument: Form,
    /// Where the length of a value stands in `ms`.
    pub(crate) mset_length: MsetLength,
    /// The flags of a meta command must begin with a letter or a digit, or all of the line
    /// is refused before its length was looked at.
    pub(crate) strict_flags: bool,
    /// After a store that states its length comes its value, though it was refused; else only
    /// after one that is right, or of which no more than the size or a meta flag is wrong.
    pub(crate) swallows: bool,
    /// A line that has too many words for its verb is refused, and whether it asks for silence
    /// is not looked at; else only one with too few.
    pub(crate) counts_words: bool,
    /// A line of a verb that is not known can ask for silence.
    pub(crate) unknown_is_quiet: bool,
    /// `delete` may have a 0 after its key, and the last word of one that has nothing else
    /// is its key.
    pub(crate) delete_takes_zero: bool,
    /// `bget` is another name of `get`.
    pub(crate) bget: bool,
    /// A quiet `ma` that made its counter is answered.
    pub(crate) tells_of_made_counter: bool,
    /// Verbs that begin with one of these are refused, whatever the last word is, and then
    /// also those of an `m` and one more letter: of others that are not known the server hangs
    /// up if that word begins with `HTTP/`.
    pub(crate) never_http: &'static [u8],
    /// A line of one word that begins with `HTTP/` counts as well.
    pub(crate) http_alone: bool,
    /// The server hangs up at a packet whose body is said to be longer than this.
    pub(crate) packet_body_max: u64,
    /// With `-Y`: the line of credentials need only begin with `set`, and loses its last
    /// byte if that is no CR.
    pub(crate) lax_credentials_line: bool,
    /// With `-Y`: credentials longer than this are refused unread.
    pub(crate) credentials_max: u64,
    /// With `-Y`: the server hangs up at a line shorter than this, with a CR and without LF.
    pub(crate) credentials_line_min: usize,
}

/// What blanks before a verb do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indented {
    /// Nothing.
    Taken,
    /// The line is not known.
    Refused,
    /// Only verbs of administration are known.
    Administration,
}

/// Where the length of a value stands in `ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MsetLength {
    /// In its flag `S`.
    Flag,
    /// It is the word after the key.
    Word,
}

impl Rules {
    /// Those of 1.6.0.
    const FIRST: Self = Self {
        c_strings: true,
        indented: Indented::Taken,
        length: Form::C,
        argument: Form::C,
        mset_length: MsetLength::Flag,
        strict_flags: false,
        swallows: false,
        counts_words: true,
        unknown_is_quiet: false,
        delete_takes_zero: true,
        bget: true,
        tells_of_made_counter: true,
        never_http: b"",
        http_alone: true,
        packet_body_max: u64::MAX,
        lax_credentials_line: false,
        credentials_max: u64::MAX,
        credentials_line_min: 0,
    };

    /// Those of `release`; of the newest where it is not known.
    pub(crate) fn of(release: Option<Release>) -> &'static Self {
        /// After none of the changes, the first one, and so on.
        static RULES: LazyLock<[Rules; CHANGES.len() + 1]> = LazyLock::new(|| {
            let mut all = [Rules::FIRST; CHANGES.len() + 1];
            for (at, (_, change)) in CHANGES.iter().enumerate() {
                all[at + 1] = all[at];
                change(&mut all[at + 1]);
            }
            all
        });
        let has = |since: Release| release.is_none_or(|release| since <= release);
        &RULES[CHANGES.iter().take_while(|(since, _)| has(*since)).count()]
    }
}

/// A release, and what it changed.
type Change = (Release, fn(&mut Rules));

/// What changed, from the oldest release to the newest. Up to 1.6.45.
const CHANGES: [Change; 6] = [
    // Verbs are sought by their first letter.
    ([1, 6, 3], |rules| rules.never_http = b"gsacidt"),
    ([1, 6, 10], |rules| rules.mset_length = MsetLength::Word),
    // The parser was replaced by that of the proxy.
    ([1, 6, 40], |rules| {
        *rules = Rules {
            c_strings: false,
            indented: Indented::Refused,
            length: Form::Strict,
            strict_flags: true,
            swallows: true,
            counts_words: false,
            unknown_is_quiet: true,
            delete_takes_zero: false,
            bget: false,
            tells_of_made_counter: false,
            never_http: b"",
            http_alone: false,
            lax_credentials_line: true,
            ..*rules
        }
    }),
    ([1, 6, 42], |rules| {
        rules.packet_body_max = 1 << 30;
        rules.credentials_max = 16384;
    }),
    ([1, 6, 44], |rules| rules.credentials_line_min = 6),
    ([1, 6, 45], |rules| {
        rules.argument = Form::Strict;
        rules.indented = Indented::Administration;
    }),
];

#[cfg(test)]
mod tests {
    use super::{CHANGES, Indented, MsetLength, Rules};
    use crate::number::Form;

    #[test]
    fn a_release_has_what_changed_up_to_it() {
        assert!(CHANGES.is_sorted_by_key(|(since, _)| since));
        assert_eq!(*Rules::of(Some([1, 6, 0])), Rules::FIRST);
        let of = |patch| Rules::of(Some([1, 6, patch]));
        assert_eq!((of(9).mset_length, of(10).mset_length), (MsetLength::Flag, MsetLength::Word));
        assert_eq!((of(39).length, of(40).length), (Form::C, Form::Strict));
        assert_eq!((of(44).argument, of(45).argument), (Form::C, Form::Strict));
        assert_eq!((of(41).credentials_max, of(42).credentials_max), (u64::MAX, 16384));
        assert_eq!(of(44).indented, Indented::Refused);
        assert_eq!(Rules::of(None), Rules::of(Some([1, 7, 0])));
        assert_eq!(Rules::of(None), of(45));
    }
}
