//! Captures of chosen operations, written as a recorder writes them.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::{path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use mcrec_capture::{Durability, Encoder, Folder, Writer};
use mcrec_schema::{columns, footer::Footer};

#[path = "../../capture/examples/support/described.rs"]
mod described;

use described::described;

const START_US: i64 = 1_790_000_000_000_000;

/// An operation: what was asked, of which key, what became of it, how large the value was.
pub type Row<'a> = (&'a str, Option<&'a str>, &'a str, Option<i64>);

/// A capture that is being made.
pub struct Making {
    writer: Writer,
    rows: i64,
}

impl Making {
    pub fn begin(path: &Path) -> Self {
        let (folder, name) = Folder::of(path).unwrap();
        let footer = footer(path, 0);
        let writer = Writer::create(&Arc::new(folder), &name, &footer, Durability::Process);
        Self { writer: writer.unwrap(), rows: 0 }
    }

    /// Commits rows as a row group, one a millisecond.
    pub fn commit(&mut self, rows: &[Row<'_>]) {
        let schema = columns::schema();
        let fields = schema.fields().iter().map(|field| {
            (field.name().clone(), column(field.name(), rows, self.rows), field.is_nullable())
        });
        let batch = RecordBatch::try_from_iter_with_nullable(fields).unwrap();
        let mut encoder = Encoder::new(batch.schema());
        encoder.write(&batch).unwrap();
        self.rows += i64::try_from(rows.len()).unwrap();
        let group = encoder.finish().unwrap().unwrap();
        let footer = footer(self.writer.path(), self.rows);
        self.writer.commit(&[group], &footer).unwrap();
    }

    pub fn end(self) {
        self.writer.close().unwrap();
    }
}

/// A whole capture of these row groups.
pub fn make(path: &Path, groups: &[&[Row<'_>]]) {
    let mut making = Making::begin(path);
    groups.iter().for_each(|rows| making.commit(rows));
    making.end();
}

fn column(name: &str, rows: &[Row<'_>], before: i64) -> ArrayRef {
    let ints = |of: fn(&Row<'_>) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Int64Array>())
    };
    let texts = |of: for<'a> fn(&Row<'a>) -> Option<&'a str>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    match name {
        columns::TS => {
            let times = (before..).take(rows.len()).map(|row| START_US + row * 1_000);
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        }
        columns::OP => texts(|row| Some(row.0)),
        columns::KEY => texts(|row| row.1),
        columns::KEY_LEN => ints(|row| row.1.map(|key| i64::try_from(key.len()).unwrap())),
        columns::STATUS => texts(|row| Some(row.2)),
        columns::VALUE_SIZE => ints(|row| row.3),
        columns::PROTOCOL => texts(|_| Some("text")),
        columns::META_FLAGS | columns::META_RETURNED => texts(|_| None),
        columns::CLIENT => texts(|_| Some("10.0.0.1:40000")),
        columns::LATENCY_NS => ints(|row| Some(1_000 + row.3.unwrap_or(0))),
        columns::QUIET => {
            Arc::new(rows.iter().map(|row| Some(row.2 == "no_reply")).collect::<BooleanArray>())
        }
        columns::REQUEST_ID => {
            Arc::new(Int64Array::from_iter_values((before + 1..).take(rows.len())))
        }
        columns::CONN_ID => ints(|_| Some(1)),
        columns::KEY_INDEX | columns::THREAD_ID => Arc::new(Int32Array::from(vec![0; rows.len()])),
        _ => ints(|_| None),
    }
}

/// A footer that says so many rows were written.
fn footer(path: &Path, rows: i64) -> Footer {
    let times = (START_US, START_US + rows * 1_000);
    described(&path.display().to_string(), rows, times).unwrap()
}
