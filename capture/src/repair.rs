//! Finishes a capture that was cut off, in place.

use std::{os::unix::fs::FileExt, path::Path};

use anyhow::{Context, Result, bail};

use crate::{
    folder::Folder,
    journal::journal_name,
    lock,
    open::{self, Capture, State, Tail},
};

/// What was done to a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// How it was found.
    pub state: State,
    /// Rows that it has.
    pub rows: u64,
    /// Bytes after them, of a commit that was cut off, that were let go.
    pub dropped: u64,
    /// A journal beside it was removed.
    pub journal_removed: bool,
}

/// Makes the capture at `path` a whole Parquet file again. Nothing is done to one
/// that is whole, but that a journal which is not needed any more is removed. Being
/// cut off itself does no harm: it can be done again.
///
/// # Errors
///
/// When it is not a capture, or not the file itself but a link, when it is being
/// recorded, or cannot be written, or when it has a footer: it may know what was lost,
/// and no other would.
pub fn repair(path: &Path) -> Result<Repair> {
    let name = path.display();
    let (folder, file_name) =
        Folder::of(path).with_context(|| format!("cannot repair {name}: no such file"))?;
    let file = folder.open(&file_name, true).with_context(|| format!("cannot repair {name}"))?;
    // Where there are no locks, there is no way to tell.
    if !lock::take(&file, lock::ANOTHERS).with_context(|| format!("cannot lock {name}"))? {
        bail!("{name} is being recorded: there is nothing to repair");
    }
    if !lock::has_name(&file) {
        bail!("{name} was replaced just now: there is nothing to repair");
    }
    let length = file.metadata().with_context(|| format!("cannot read {name}"))?.len();
    let Tail { data_end, footer, state, has_other_footer, .. } = open::tail(path, &file, length)?;
    if has_other_footer {
        bail!(
            "{name} has its footer, but not all of the data before it: it was not cut off, but \
             damaged, as in a copy, and nothing was done to it; what can be read of it is read \
             as it is"
        );
    }
    if state != State::Whole {
        // In place of what follows the data, whose space the file has.
        let end = data_end + footer.len() as u64;
        file.write_all_at(&footer, data_end)
            .and_then(|()| file.set_len(end))
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write to {name}; nothing is lost, repair it again"))?;
    }
    let rows = Capture::open(path)?.rows();
    let journal = journal_name(&file_name);
    let journal_removed = folder.look(&journal).is_ok_and(|entry| entry.is_some());
    folder
        .remove(&journal)
        .with_context(|| format!("cannot remove {}", folder.path_of(&journal).display()))?;
    let dropped = if state == State::Whole { 0 } else { length.saturating_sub(data_end) };
    Ok(Repair { state, rows, dropped, journal_removed })
}
