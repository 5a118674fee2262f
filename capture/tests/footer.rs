//! Footers: as long as they can be they are read, and one that is there stays.

mod support;

use std::fs;

use mcrec_capture::{Capture, RowGroup, State, repair};
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter,
};
use support::{create, footer, group, times};

#[test]
fn what_is_written_is_read_however_many_row_groups_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let mut writer = create(&path);
    let group = group(0, 1);
    let mut groups = 0;
    for more in [25_000, 4_000, 2_000].into_iter().chain(std::iter::repeat(1_000)) {
        if writer.is_full() {
            break;
        }
        writer.commit(&vec![&group; more], &footer()).unwrap();
        groups += more as u64;
    }
    let rows = |path| Capture::open(path).map(|capture| (capture.state(), capture.rows()));
    assert_eq!(rows(&path).unwrap(), (State::Whole, groups));
    // Far more are not taken, and nothing happens to the file for that.
    let refused = writer.commit(&vec![&group; 6_000], &footer()).unwrap_err().to_string();
    assert!(refused.contains("more than a capture can have"), "{refused}");
    assert_eq!((rows(&path).unwrap(), writer.rows()), ((State::Whole, groups), groups));
    writer.commit(&[] as &[RowGroup], &footer()).unwrap();
    writer.close().unwrap();
    assert_eq!(repair(&path).unwrap().state, State::Whole);
}

#[test]
fn a_footer_that_is_too_long_to_be_read_stays_and_nothing_else_is_read_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let mut writer = create(&path);
    writer.commit(&[group(0, 10)], &footer()).unwrap();
    let data_end = usize::try_from(Capture::open(&path).unwrap().data_end()).unwrap();
    writer.close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let footer = &bytes[data_end..bytes.len() - 8];
    let metadata = ParquetMetaDataReader::decode_metadata(footer).unwrap();
    let file = metadata.file_metadata();
    let mut entries = file.key_value_metadata().cloned().unwrap_or_default();
    entries.push(KeyValue::new("filler".to_owned(), "x".repeat(64 << 20)));
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(entries),
        file.schema_descr_ptr(),
        None,
    );
    let longer = ParquetMetaDataBuilder::new(file).set_row_groups(metadata.row_groups().to_vec());
    bytes.truncate(data_end);
    ParquetMetaDataWriter::new(&mut bytes, &longer.build()).finish().unwrap();
    fs::write(&path, &bytes).unwrap();
    for said in [Capture::open(&path).err(), repair(&path).err()] {
        let said = format!("{:#}", said.unwrap());
        assert!(said.contains("its footer has 671"), "{said}");
    }
    assert!(fs::read(&path).unwrap() == bytes);
}

#[test]
fn a_footer_stays_whose_data_is_not_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let mut writer = create(&path);
    writer.commit(&[group(0, 10)], &footer()).unwrap();
    let first = usize::try_from(Capture::open(&path).unwrap().data_end()).unwrap();
    writer.commit(&[group(10, 500)], &footer()).unwrap();
    writer.close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes.drain(first + 100..first + 200);
    fs::write(&path, &bytes).unwrap();
    let opened = Capture::open(&path).unwrap();
    assert_eq!((opened.state(), times(&opened)), (State::Salvaged, (0..10).collect()));
    let said = repair(&path).unwrap_err().to_string();
    assert!(said.contains("damaged"), "{said}");
    assert!(fs::read(&path).unwrap() == bytes);
}
