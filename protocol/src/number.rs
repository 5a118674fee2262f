//! Numbers of requests, as releases of memcached read them.

/// How a release reads a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As `strtol` and `strtoul` do, with 64 bits: space before it is passed over, it may have
    /// a sign, and space or a NUL ends it. Of a field of 32 bits the low ones are kept.
    C,
    /// Digits, after a `-` where it may be negative; of no more than eleven bytes, and no
    /// number that does not fit into 32 bits. No digits are 0.
    Strict,
}

/// A number of 32 bits with a sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signed {
    /// As the client wrote it, where 64 bits can hold it.
    pub(crate) written: Option<i64>,
    /// What the server takes it for; `None` if it refuses it.
    pub(crate) taken: Option<i32>,
}

impl Signed {
    /// One that all releases take for what it is.
    pub(crate) fn plain(number: i32) -> Self {
        Self { written: Some(number.into()), taken: Some(number) }
    }

    /// Reads `word`.
    pub(crate) fn read(form: Form, word: &[u8]) -> Self {
        let written = Written::read(word).and_then(Written::signed);
        match form {
            #[expect(clippy::cast_possible_truncation, reason = "as the server does")]
            Form::C => Self { written, taken: written.map(|number| number as i32) },
            Form::Strict => {
                let taken = strict(word);
                Self { written: written.or(taken.map(i64::from)), taken }
            }
        }
    }
}

/// A number of 64 bits without a sign, as C reads it, which for some with a `-` is not
/// what they say.
pub(crate) fn unsigned(word: &[u8]) -> Option<u64> {
    Written::read(word)?.unsigned()
}

/// A sign and digits.
#[derive(Clone, Copy)]
struct Written {
    negative: bool,
    magnitude: u64,
}

impl Written {
    fn read(word: &[u8]) -> Option<Self> {
        let space = word.iter().take_while(|&&byte| is_space(byte)).count();
        let (negative, digits) = match &word[space..] {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] | digits => (false, digits),
        };
        let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
        let (digits, rest) = digits.split_at(end);
        let ends = rest.first().is_none_or(|&byte| byte == 0 || is_space(byte));
        if digits.is_empty() || !ends {
            return None;
        }
        let magnitude = digits.iter().try_fold(0_u64, |number, digit| {
            number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })?;
        Some(Self { negative, magnitude })
    }

    fn signed(self) -> Option<i64> {
        match self.negative {
            true => 0_i64.checked_sub_unsigned(self.magnitude),
            false => self.magnitude.try_into().ok(),
        }
    }

    /// Negative ones wrap around; those are refused of which the top bit is then set.
    fn unsigned(self) -> Option<u64> {
        match self.negative {
            true => Some(self.magnitude.wrapping_neg()).filter(|&number| number >> 63 == 0),
            false => Some(self.magnitude),
        }
    }
}

/// As `isspace` has it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Bytes of the longest number of 32 bits.
const STRICT_LONGEST: usize = 11;

fn strict(word: &[u8]) -> Option<i32> {
    if word.len() > STRICT_LONGEST {
        return None;
    }
    let (sign, digits) = match word {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    digits.iter().try_fold(0_i32, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i32::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(sign * digit)
    })
}

/// A number of 32 bits without a sign, of digits alone.
pub(crate) fn strict_unsigned(word: &[u8]) -> Option<u64> {
    let digits = word.len() <= STRICT_LONGEST && word.iter().all(u8::is_ascii_digit);
    let number = digits.then(|| Written::read(word)).flatten()?.magnitude;
    Some(number).filter(|&number| number <= u32::MAX.into())
}

/// Bytes of a value that a store states.
pub(crate) fn value_length(length: Signed) -> Option<u64> {
    // A CRLF has to fit, too.
    length.taken.filter(|&length| length <= i32::MAX - 2)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{Form, Signed, unsigned};

    fn c(word: &[u8]) -> (Option<i64>, Option<i32>) {
        let Signed { written, taken } = Signed::read(Form::C, word);
        (written, taken)
    }

    fn strict(word: &[u8]) -> (Option<i64>, Option<i32>) {
        let Signed { written, taken } = Signed::read(Form::Strict, word);
        (written, taken)
    }

    #[test]
    fn c_keeps_the_low_bits_and_takes_signs_and_space() {
        assert_eq!(c(b"2147483648"), (Some(1 << 31), Some(i32::MIN)));
        assert_eq!(c(b"4294967303"), (Some((1 << 32) + 7), Some(7)));
        assert_eq!(c(b"-9223372036854775808"), (Some(i64::MIN), Some(0)));
        assert_eq!(c(b"9223372036854775808"), (None, None));
        for seven in [&b"+7"[..], b"0000000000000000000000007", b"\t7", b"7\tx", b"7\0x", b"7\r"] {
            assert_eq!(c(seven), (Some(7), Some(7)));
        }
        for none in [&b""[..], b"-", b"+", b"7x", b"0x7", b"x", b"--7", b"+-7", b"\t", b"7.0"] {
            assert_eq!(c(none), (None, None));
        }
    }

    #[test]
    fn strict_ones_are_digits_that_fit() {
        assert_eq!(strict(b"2147483647"), (Some(i32::MAX.into()), Some(i32::MAX)));
        assert_eq!(strict(b"-2147483648"), (Some(i32::MIN.into()), Some(i32::MIN)));
        assert_eq!(strict(b"2147483648"), (Some(1 << 31), None));
        assert_eq!(strict(b"00000000007"), (Some(7), Some(7)));
        assert_eq!(strict(b"000000000007"), (Some(7), None));
        assert_eq!(strict(b"+7"), (Some(7), None));
        assert_eq!(strict(b"7\t"), (Some(7), None));
        assert_eq!((strict(b"-"), strict(b"-0")), ((Some(0), Some(0)), (Some(0), Some(0))));
        assert_eq!(strict(b"7x"), (None, None));
    }

    #[test]
    fn without_a_sign_some_wrap_around() {
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned(b"18446744073709551616"), None);
        assert_eq!((unsigned(b"-0"), unsigned(b"-1")), (Some(0), None));
        assert_eq!(unsigned(b"-18446744073709551615"), Some(1));
    }
}
