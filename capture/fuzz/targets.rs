//! What is fuzzed: by cargo-fuzz without end, and by an ordinary test for a while.
#![allow(unreachable_pub, reason = "of two crates")]

use std::{fs, path::Path};

use mcrec_capture::Capture;
use mcrec_schema::columns;

/// Opens `data` as a capture, and reads what there is to read.
pub fn open(data: &[u8], file: &Path) {
    fs::write(file, data).expect("a file can be written");
    let Ok(capture) = Capture::open(file) else { return };
    let mut rows = 0;
    for group in 0..capture.row_groups().len() {
        // Errors end a row group; neither they nor rows may be without end.
        if let Ok(batches) = capture.batches(group, None) {
            rows += batches.map_while(Result::ok).map(|batch| batch.num_rows() as u64).sum::<u64>();
        }
        let strings = [columns::OP, columns::STATUS, columns::KEY];
        if let Ok(batches) = capture.dictionaries(group, &strings) {
            batches.map_while(Result::ok).for_each(drop);
        }
    }
    assert!(rows <= capture.rows(), "{rows} rows of {}", capture.rows());
}
