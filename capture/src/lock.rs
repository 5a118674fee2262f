//! The lock of a capture, by which it is known that it is being written.
//!
//! Who records a capture, repairs it or removes it does so with the file locked, and
//! makes sure, once it has the lock, that the name still leads to that file. Who only
//! asks takes a shared lock for a moment, as there is no other way: so nobody takes a
//! lock that is held for the last word.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// How long a new file is waited for. Only those who ask can have it locked.
pub(crate) const OWN: Duration = Duration::from_secs(5);
/// How long a file is waited for that may be being recorded.
pub(crate) const ANOTHERS: Duration = Duration::from_millis(200);

/// How often a lock that is held is tried again.
const AGAIN: Duration = Duration::from_millis(1);

/// Locks `file` for as long as it is open. Whether that went well, or someone else kept it
/// locked for all of `patience`. Where the file system has no locks, it always does.
///
/// # Errors
///
/// When the system does not say why it was not locked.
pub(crate) fn take(file: &File, patience: Duration) -> io::Result<bool> {
    let end = Instant::now() + patience;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if Instant::now() >= end => return Ok(false),
            Err(Errno::WOULDBLOCK) => thread::sleep(AGAIN),
            Err(Errno::INTR) => {}
            Err(error) if is_without(error) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether someone else has `file` locked, as a recorder has. Another who asks does not
/// count.
pub(crate) fn is_taken(file: &File) -> bool {
    let asked = flock(file, FlockOperation::NonBlockingLockShared);
    if asked.is_ok() {
        // Not only when the file is closed: that may be later.
        let _ = flock(file, FlockOperation::NonBlockingUnlock);
    }
    asked == Err(Errno::WOULDBLOCK)
}

/// Whether a file system answers so that has no locks, or none for a file that is only
/// read.
fn is_without(error: Errno) -> bool {
    [Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOLCK, Errno::INVAL, Errno::BADF].contains(&error)
}

/// Whether a name still leads to `file`.
pub(crate) fn has_name(file: &File) -> bool {
    // Where the system does not say: it was opened by one.
    file.metadata().map_or(true, |metadata| metadata.nlink() > 0)
}
