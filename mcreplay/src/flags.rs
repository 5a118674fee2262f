//! The flags of meta requests, as captures have them.

/// A flag: its letter, and what a capture keeps of what follows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    pub(crate) letter: u8,
    /// Of `M`.
    pub(crate) mode: Option<u8>,
    /// Of `N` and `R`.
    pub(crate) seconds: Option<i64>,
}

/// The flags of a request, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(Vec<Flag>);

/// Flags that a request can do without in another protocol: what they ask for is returned
/// there anyway, or says how the key or the reply is written.
const ABOUT_REPLIES: &[u8] = b"vsfckqbOTFCtlh";

impl Flags {
    /// Reads the column. Whatever a capture holds, they are letters and numbers, and end
    /// no line.
    pub(crate) fn parse(text: &str) -> Self {
        let words = text.split(' ').filter_map(|word| word.as_bytes().split_first());
        let flags =
            words.filter(|(letter, _)| letter.is_ascii_alphabetic()).map(|(&letter, rest)| {
                let seconds = std::str::from_utf8(rest).ok().and_then(|text| text.parse().ok());
                Flag {
                    letter,
                    mode: rest
                        .first()
                        .copied()
                        .filter(|mode| letter == b'M' && mode.is_ascii_graphic()),
                    seconds: seconds.filter(|_| matches!(letter, b'N' | b'R')),
                }
            });
        Self(flags.collect())
    }

    /// Whether one of them is this.
    pub(crate) fn has(&self, letter: u8) -> bool {
        self.0.iter().any(|flag| flag.letter == letter)
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flag> {
        self.0.iter()
    }

    /// Whether other protocols have no way to say all that they ask for. The mode of a
    /// store without a condition is the command.
    pub(crate) fn are_meta_alone(&self) -> bool {
        let said = |flag: &Flag| {
            ABOUT_REPLIES.contains(&flag.letter)
                || (matches!(flag.letter, b'M' | b'D') && !self.has(b'C'))
        };
        !self.0.iter().all(said)
    }
}

#[cfg(test)]
mod tests {
    use super::Flags;

    #[test]
    fn what_is_read_cannot_end_a_line() {
        let flags = Flags::parse("v N30 M\r R-1 \nget O M\u{e9} N9x");
        let read: Vec<_> =
            flags.iter().map(|it| (char::from(it.letter), it.mode, it.seconds)).collect();
        let plain = |letter| (letter, None, None);
        let expected = [
            plain('v'),
            ('N', None, Some(30)),
            plain('M'),
            ('R', None, Some(-1)),
            plain('O'),
            plain('M'),
            plain('N'),
        ];
        assert_eq!(read, expected);
        assert_eq!(Flags::parse("").iter().count(), 0);
    }

    #[test]
    fn flags_that_have_no_other_words_are_known() {
        for (text, alone) in
            [("v f O q", false), ("MA T", false), ("MA C", true), ("I T", true), ("v N30", true)]
        {
            assert_eq!(Flags::parse(text).are_meta_alone(), alone, "{text}");
        }
    }
}
