//! What becomes of panics. Those of decoders, which have some where the inside of a page is
//! not what it should be, tell that a file is damaged. All others are bugs.

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Result, bail};

/// Where the first panic was that nobody has asked for yet.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// From now on nothing is printed of panics, and their place is remembered: that of the
/// first, for others may follow from it.
pub(crate) fn remember() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        let mut first = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(place.unwrap_or_default());
    }));
}

/// What `work` makes, or where it panicked.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner).take();
        place.unwrap_or_default()
    })
}

/// What a decoder makes of the file at `path`.
///
/// # Errors
///
/// Its own, or that the file is damaged where it panics.
pub(crate) fn decoding<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    match caught(work) {
        Ok(made) => made,
        Err(place) => bail!("cannot read {}: it is damaged ({place})", path.display()),
    }
}

/// What is to be said of a panic at `place` that no file is known to have caused.
pub(crate) fn bug(place: &str) -> String {
    format!(
        "this is a bug in mcanalyze {}, at {place}: please tell those from whom you have it, with \
         this line, the command, and what `mcanalyze check` says of each file",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{bug, caught, decoding, remember};

    #[test]
    fn what_panics_in_a_decoder_is_damaged_and_what_panics_elsewhere_a_bug() {
        remember();
        let file = Path::new("cap.parquet");
        let damaged = decoding(file, || -> anyhow::Result<()> { panic!("a page is odd") });
        let said = damaged.unwrap_err().to_string();
        assert!(said.starts_with("cannot read cap.parquet: it is damaged ("), "{said}");
        assert!(said.contains(&format!("{}:", file!())), "{said}");
        // An error stays what it is.
        let error = decoding(file, || -> anyhow::Result<()> { anyhow::bail!("no such column") });
        assert_eq!(error.unwrap_err().to_string(), "no such column");
        let place = caught(|| panic!("a mistake of ours")).unwrap_err();
        let said = bug(&place);
        assert!(said.contains(file!()) && !said.contains("damaged"), "{said}");
        let _ = std::panic::take_hook();
    }
}
