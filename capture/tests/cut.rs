//! A capture that was cut off, at any byte, is read as far as it is there, and
//! repaired to that.

mod support;

use std::{fs, path::Path};

use mcrec_capture::{Capture, State, repair};
use support::{create, footer, group, times};

fn journal(path: &Path) -> std::path::PathBuf {
    path.with_file_name("c.parquet.journal")
}

/// What is there is opened with rows `0..rows`, repaired, is then whole for any
/// reader, and repairing it again changes nothing.
fn assert_repairs(path: &Path, rows: i64, state: State, what: &str) {
    let expected: Vec<i64> = (0..rows).collect();
    let opened = Capture::open(path).unwrap_or_else(|error| panic!("{what}: {error:#}"));
    assert_eq!((opened.state(), times(&opened)), (state, expected.clone()), "{what}");
    let view = opened.view().unwrap();
    let repaired = repair(path).unwrap();
    assert_eq!((repaired.state, repaired.rows), (state, rows.unsigned_abs()), "{what}");
    assert!(!journal(path).exists());
    let bytes = fs::read(path).unwrap();
    assert!(bytes == view.as_ref(), "{what}: what was shown of it is what it was repaired to");
    let opened = Capture::open(path).unwrap();
    assert_eq!((opened.state(), times(&opened)), (State::Whole, expected), "{what}");
    let again = repair(path).unwrap();
    assert_eq!((again.state, again.dropped, again.journal_removed), (State::Whole, 0, false));
    assert!(bytes == fs::read(path).unwrap());
}

#[test]
fn a_commit_that_is_cut_off_anywhere_costs_only_that_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let mut writer = create(&path);
    writer.commit(&[group(0, 10), group(10, 50)], &footer()).unwrap();
    let before = fs::read(&path).unwrap();
    let data_end = usize::try_from(Capture::open(&path).unwrap().data_end()).unwrap();
    writer.commit(&[group(50, 60)], &footer()).unwrap();
    let after = fs::read(&path).unwrap();
    // As the journal is during that commit.
    let entry =
        [b"mcrecj01", &(data_end as u64).to_le_bytes()[..], &before[data_end..], b"10jcercm"]
            .concat();
    drop(writer);
    for cut in (data_end..after.len()).step_by(5) {
        let mut torn = before.clone();
        torn.resize(before.len().max(cut), 0);
        torn[data_end..cut].copy_from_slice(&after[data_end..cut]);
        fs::write(&path, &torn).unwrap();
        fs::write(journal(&path), &entry).unwrap();
        // The first bytes of the new may be those of the old.
        let state = if torn == before { State::Whole } else { State::CutOff };
        assert_repairs(&path, 50, state, &format!("cut at {cut} of {}", after.len()));
    }
    // The new footer is all there, and the journal was not yet emptied.
    fs::write(&path, &after).unwrap();
    fs::write(journal(&path), &entry).unwrap();
    assert_repairs(&path, 60, State::Whole, "written");
    // The journal itself was cut off, before the file was touched.
    fs::write(&path, &before).unwrap();
    fs::write(journal(&path), &entry[..entry.len() - 1]).unwrap();
    assert_repairs(&path, 50, State::Whole, "journal");
}

#[test]
fn of_a_file_cut_off_anywhere_the_complete_row_groups_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let mut writer = create(&path);
    let begin = usize::try_from(Capture::open(&path).unwrap().data_end()).unwrap();
    let groups = [(0, 10), (10, 12), (12, 3_000), (3_000, 3_001)];
    let mut ends = vec![(begin, 0)];
    for (from, to) in groups {
        let group = group(from, to);
        ends.push((ends.last().unwrap().0 + group.bytes().len(), to));
        writer.commit(&[group], &footer()).unwrap();
    }
    writer.close().unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in (0..whole.len()).rev() {
        // Every byte near an end, and some elsewhere.
        if cut % 97 > 0 && !ends.iter().any(|(end, _)| cut.abs_diff(*end) < 20) {
            continue;
        }
        fs::write(&path, &whole[..cut]).unwrap();
        if cut < begin {
            assert!(Capture::open(&path).is_err(), "{cut}");
            assert!(repair(&path).is_err());
            assert_eq!(fs::read(&path).unwrap(), whole[..cut], "left as it was");
            continue;
        }
        let rows = ends.iter().rfind(|(end, _)| *end <= cut).unwrap().1;
        assert_repairs(&path, rows, State::Salvaged, &format!("cut at {cut}"));
        let recovered = Capture::open(&path).unwrap();
        assert!(recovered.footer().capture.recovered.is_some());
        assert_eq!(recovered.footer().loss.written, rows.unsigned_abs());
    }
}

#[test]
fn rubbish_after_the_row_groups_or_within_them_is_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let mut writer = create(&path);
    writer.commit(&[group(0, 500), group(500, 1_000)], &footer()).unwrap();
    let data_end = usize::try_from(Capture::open(&path).unwrap().data_end()).unwrap();
    drop(writer);
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(data_end);
    bytes.extend((0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    fs::write(&path, &bytes).unwrap();
    assert_repairs(&path, 1_000, State::Salvaged, "rubbish after");
    // A page of the second row group is damaged: what comes after is not read either.
    let second = data_end - group(500, 1_000).bytes().len();
    bytes.truncate(data_end);
    for byte in &mut bytes[second + 200..second + 300] {
        *byte = !*byte;
    }
    fs::write(&path, &bytes).unwrap();
    assert_repairs(&path, 500, State::Salvaged, "rubbish within");
}

#[test]
fn only_a_file_that_nobody_records_is_repaired_and_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let writer = create(&path);
    let refusal = format!("{:#}", repair(&path).unwrap_err());
    assert!(refusal.contains("is being recorded"), "{refusal}");
    writer.close().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(format!("{:#}", repair(&link).unwrap_err()).contains("symbolic link"));
    for other in ["nothing", "no/such/folder", ""] {
        assert!(repair(&folder.path().join(other)).is_err());
    }
    fs::write(folder.path().join("text"), "not a capture").unwrap();
    assert!(repair(&folder.path().join("text")).is_err());
    assert_eq!(fs::read(folder.path().join("text")).unwrap(), b"not a capture");
}
