//! Captures with known rows.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::{path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, cast::AsArray, types::TimestampMicrosecondType,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use mcrec_capture::{Capture, Durability, Encoder, Folder, RowGroup, Writer};
use mcrec_schema::{columns, footer};

/// The columns of captures as readers see them: words are strings.
pub fn schema() -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(..) => field.as_ref().clone().with_data_type(DataType::Utf8),
        _ => field.as_ref().clone(),
    };
    Arc::new(Schema::new(columns::schema().fields().iter().map(plain).collect::<Vec<_>>()))
}

/// Rows `from` to `to`: row n has time n and the key `key:n`, or none if 7 divides n.
pub fn batch(from: i64, to: i64) -> RecordBatch {
    let rows = || from..to;
    let schema = schema();
    let column = |field: &Arc<Field>| -> ArrayRef {
        match (field.name().as_str(), field.data_type()) {
            (columns::KEY, _) => Arc::new(
                rows().map(|n| (n % 7 != 0).then(|| format!("key:{n}"))).collect::<StringArray>(),
            ),
            (columns::OP, _) => Arc::new(rows().map(|_| Some("get")).collect::<StringArray>()),
            (_, DataType::Utf8) => Arc::new(rows().map(|_| Some("hit")).collect::<StringArray>()),
            (_, DataType::Timestamp(..)) => {
                Arc::new(TimestampMicrosecondArray::from_iter_values(rows()).with_timezone("UTC"))
            }
            (_, DataType::Int64) => Arc::new(Int64Array::from_iter_values(rows())),
            (_, DataType::Int32) => Arc::new(rows().map(|_| Some(1)).collect::<Int32Array>()),
            _ => Arc::new(rows().map(|n| Some(n % 2 == 0)).collect::<BooleanArray>()),
        }
    };
    RecordBatch::try_new(SchemaRef::clone(&schema), schema.fields().iter().map(column).collect())
        .unwrap()
}

/// The same rows, encoded.
pub fn group(from: i64, to: i64) -> RowGroup {
    let mut encoder = Encoder::new(schema());
    encoder.write(&batch(from, to)).unwrap();
    encoder.finish().unwrap().unwrap()
}

pub fn footer() -> footer::Footer {
    let text = |entry: &str| -> Option<&str> {
        Some(match entry {
            footer::FORMAT => r#"{"version": 1, "minor": 1}"#,
            footer::CAPTURE => {
                r#"{"id": "1", "mcrec_version": "0", "command_line": [], "host": "h", "kernel": "k",
                    "start_us": 0, "end_us": 0, "start_monotonic_ns": 0, "end_monotonic_ns": 0,
                    "clock_offset_ns": 0, "ended": null, "commit_interval_s": 5.0}"#
            }
            footer::TARGET => {
                r#"{"pid": 1, "executable": "m", "build_id": null, "version": null,
                    "command_line": [], "listening": [], "worker_threads": 4}"#
            }
            footer::SOURCE => {
                r#"{"name": "syscalls", "attached": [], "latency": "", "sees": [], "cannot_see": [],
                    "columns_unknown": [], "requests_without_operation": 0}"#
            }
            footer::LOSS => {
                r#"{"seen": 0, "written": 0, "losses": {}, "incomplete": {}, "series": []}"#
            }
            footer::COST => r#"{"programs": [], "cpu_s": 0.0, "peak_memory": 0}"#,
            footer::PRIVACY => r#"{"keys_hashed": null}"#,
            _ => return None,
        })
    };
    footer::Footer::from_entries(text).unwrap()
}

pub fn create(path: &Path) -> Writer {
    let (folder, name) = Folder::of(path).unwrap();
    Writer::create(&Arc::new(folder), &name, &footer(), Durability::Process).unwrap()
}

/// The times of the rows of an open capture.
pub fn times(capture: &Capture) -> Vec<i64> {
    let groups = 0..capture.row_groups().len();
    let batches = groups.flat_map(|group| capture.batches(group, Some(&[columns::TS])).unwrap());
    batches
        .flat_map(|batch| {
            let batch = batch.unwrap();
            batch.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec()
        })
        .collect()
}
