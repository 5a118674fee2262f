//! What is being recorded is neither repaired, removed nor replaced, whoever asks about it
//! meanwhile.

mod support;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use mcrec_capture::{Capture, Folder, is_being_recorded, repair};
use support::{create, footer, group};

/// Enough for those who do something to a file to meet those who create one, however the
/// machine shares out its time.
const FILES: usize = 100;

/// Calls `work` again and again, in two threads, while `meanwhile` runs.
fn beside(work: impl Fn() + Sync, meanwhile: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    work();
                }
            });
        }
        /// Also where a check fails: the others are waited for.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&over);
        meanwhile();
    });
}

/// Creates a capture again and again, and looks at each.
fn again_and_again(path: &Path, check: impl Fn(usize)) {
    let (folder, name) = Folder::of(path).unwrap();
    for number in 0..FILES {
        let mut writer = create(path);
        check(number);
        writer.commit(&[group(0, 1)], &footer()).unwrap();
        assert_eq!(Capture::open(path).unwrap().rows(), 1, "file {number}");
        writer.close().unwrap();
        folder.remove(&name).unwrap();
    }
}

#[test]
fn a_recording_is_locked_however_often_that_is_asked_while_it_begins() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("c.parquet");
    let asked = || {
        is_being_recorded(&path);
    };
    beside(asked, || {
        again_and_again(&path, |number| {
            assert!(is_being_recorded(&path), "file {number} is not locked");
        });
        let _writer = create(&path);
        let said = repair(&path).unwrap_err().to_string();
        assert!(said.contains("is being recorded"), "{said}");
    });
}

#[test]
fn who_removes_what_nobody_records_never_removes_a_recording() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("c.parquet");
    let (folder, name) = Folder::of(&path).unwrap();
    let remove = || {
        let _ = folder.remove_idle(&name, Duration::ZERO);
    };
    beside(remove, || {
        for number in 0..FILES {
            let mut writer = create(&path);
            writer.commit(&[group(0, 1)], &footer()).unwrap();
            assert_eq!(Capture::open(&path).unwrap().rows(), 1, "file {number}");
            assert!(place.path().join("c.parquet.journal").exists(), "file {number}");
            writer.close().unwrap();
            // It may be gone by now.
            folder.remove_idle(&name, Duration::from_secs(60)).unwrap();
            let _ = folder.remove(&name);
        }
    });
}

#[test]
fn what_is_being_recorded_is_not_replaced_and_what_was_recorded_is() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("c.parquet");
    let (folder, name) = Folder::of(&path).unwrap();
    let other = place.path().join("other");
    fs::write(&other, "other").unwrap();
    let writer = create(&path);
    let refused = folder.rename("other".as_ref(), &name, true).unwrap_err();
    assert!(refused.to_string().contains("being recorded"), "{refused}");
    assert!(!folder.remove_idle(&name, Duration::ZERO).unwrap());
    assert!(Capture::open(&path).is_ok() && other.exists());
    writer.close().unwrap();
    folder.rename("other".as_ref(), &name, true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"other");
    fs::write(place.path().join("c.parquet.journal"), "left").unwrap();
    assert!(folder.remove_idle(&name, Duration::ZERO).unwrap());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
