//! What the files of a recording are called.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    time::{Duration, UNIX_EPOCH},
};

/// The names of a recording's files.
#[derive(Clone, Debug)]
pub(crate) enum Names {
    /// The one file.
    One(OsString),
    /// `STEM-20261124T210000Z-000001.parquet`: by the time at which a file begins,
    /// and its number in the recording. Names that sort as time goes.
    Series { stem: OsString, extension: OsString, number: u32 },
}

impl Names {
    /// Of one file that is called `name`.
    pub(crate) fn one(name: OsString) -> Self {
        Self::One(name)
    }

    /// Of several files that are called after `name`.
    pub(crate) fn series(name: &OsStr) -> Self {
        let bytes = name.as_bytes();
        let dot = bytes.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0);
        let (stem, extension) = match dot {
            Some(dot) => bytes.split_at(dot),
            // So that a folder of them is known for captures.
            None => (bytes, &b".parquet"[..]),
        };
        Self::Series {
            stem: OsStr::from_bytes(stem).to_owned(),
            extension: OsStr::from_bytes(extension).to_owned(),
            number: 0,
        }
    }

    /// Of files that follow one, where there is only one so far.
    pub(crate) fn go_on(&mut self) {
        if let Self::One(name) = self {
            let mut series = Self::series(name);
            if let Self::Series { number, .. } = &mut series {
                *number = 1;
            }
            *self = series;
        }
    }

    /// The name of the next file, which begins at `start_us`, µs since the epoch.
    pub(crate) fn next(&mut self, start_us: i64) -> OsString {
        match self {
            Self::One(name) => name.clone(),
            Self::Series { stem, extension, number } => {
                *number += 1;
                let mut name = stem.clone();
                name.push(format!("-{}-{number:06}", second(start_us)));
                name.push(extension);
                name
            }
        }
    }

    /// Whether `name` is one that a series like this has, of this recording or one
    /// before it.
    pub(crate) fn has(&self, name: &OsStr) -> bool {
        let Self::Series { stem, extension, .. } = self else { return false };
        let name = name.as_bytes();
        name.strip_prefix(stem.as_bytes())
            .and_then(|rest| rest.strip_suffix(extension.as_bytes()))
            .is_some_and(is_number)
    }
}

/// `-20261124T210000Z-000001`.
fn is_number(middle: &[u8]) -> bool {
    const LIKE: &[u8] = b"-00000000T000000Z-";
    let Some((time, number)) = middle.split_at_checked(LIKE.len()) else { return false };
    let like =
        |byte: &u8, like: &u8| if *like == b'0' { byte.is_ascii_digit() } else { byte == like };
    time.iter().zip(LIKE).all(|(byte, pattern)| like(byte, pattern))
        && number.len() >= 6
        && number.iter().all(u8::is_ascii_digit)
}

/// `20261124T210000Z`.
fn second(micros: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::Names;

    #[test]
    fn names_sort_and_are_known_again() {
        let mut names = Names::series(OsStr::new("cap.v1.parquet"));
        let made: Vec<_> =
            (0..1_200).map(|n| names.next(1_700_000_000_000_000 + n * 400_000)).collect();
        assert_eq!(made[0], "cap.v1-20231114T221320Z-000001.parquet");
        assert_eq!(made[3], "cap.v1-20231114T221321Z-000004.parquet");
        assert!(made.is_sorted());
        assert!(made.iter().all(|name| names.has(name)));
        for other in [
            "cap.v1.parquet",
            "cap.v1-20231114T221320Z-000001.parquet.journal",
            "cap.v1-20231114T221320Z-00001.parquet",
            "cap.v1-20231114T22132xZ-000001.parquet",
            "cap-20231114T221320Z-000001.parquet",
        ] {
            assert!(!names.has(OsStr::new(other)), "{other}");
        }
        assert!(!Names::one("cap.parquet".into()).has(OsStr::new("cap.parquet")));
    }

    #[test]
    fn one_file_becomes_a_series_when_it_goes_on() {
        let mut names = Names::one("cap.parquet".into());
        let made: Vec<_> = (0..3)
            .map(|_| {
                let name = names.next(0);
                names.go_on();
                name
            })
            .collect();
        let [second, third] = ["2", "3"].map(|n| format!("cap-19700101T000000Z-00000{n}.parquet"));
        assert_eq!(made, ["cap.parquet", &second, &third]);
    }

    #[test]
    fn names_need_no_extension_and_no_unicode() {
        let name = Names::series(OsStr::new("cap")).next(0);
        assert_eq!(name, "cap-19700101T000000Z-000001.parquet");
        let name = Names::series(OsStr::from_bytes(b".\xff")).next(0);
        assert_eq!(name.as_bytes(), b".\xff-19700101T000000Z-000001.parquet");
    }
}
