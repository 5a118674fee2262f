//! Requests of a trace as rows of a capture.

use std::sync::Arc;

use anyhow::Result;
use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use mcrec_schema::{
    codes::{Op, Status},
    columns,
};

use super::cache_trace::Line;

/// Rows that are put together at once.
pub(super) const ROWS: usize = 1 << 13;

/// Columns that a trace says nothing of.
pub(super) const UNKNOWN: [&str; 13] = [
    columns::PROTOCOL,
    columns::LATENCY_NS,
    columns::CLIENT_FLAGS,
    columns::CAS,
    columns::REQUEST_BYTES,
    columns::RESPONSE_BYTES,
    columns::QUIET,
    columns::CLIENT,
    columns::THREAD_ID,
    columns::CAS_SENT,
    columns::CAS_SET,
    columns::META_FLAGS,
    columns::META_RETURNED,
];

/// The rows of `lines`, of which the first is request `first`.
///
/// # Errors
///
/// Never, as long as they have the columns of the format.
pub(super) fn rows(lines: &[Line], first: i64) -> Result<RecordBatch> {
    let schema = columns::schema();
    let fields = schema.fields().iter().map(|field| {
        (field.name().clone(), column(field.name(), lines, first), field.is_nullable())
    });
    Ok(RecordBatch::try_from_iter_with_nullable(fields)?)
}

fn column(name: &str, lines: &[Line], first: i64) -> ArrayRef {
    let ints = |of: fn(&Line) -> Option<i64>| -> ArrayRef {
        Arc::new(lines.iter().map(of).collect::<Int64Array>())
    };
    match name {
        columns::TS => {
            let times = lines.iter().map(|line| line.seconds * 1_000_000);
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        }
        columns::OP => {
            Arc::new(StringArray::from_iter_values(lines.iter().map(|line| line.op.as_str())))
        }
        columns::KEY => Arc::new(StringArray::from_iter_values(lines.iter().map(|line| &line.key))),
        columns::STATUS => {
            let unknown = std::iter::repeat_n(Status::Unknown.as_str(), lines.len());
            Arc::new(StringArray::from_iter_values(unknown))
        }
        columns::KEY_LEN => ints(|line| Some(line.key_len)),
        columns::VALUE_SIZE => ints(value_size),
        columns::TTL => ints(ttl),
        columns::CONN_ID => ints(|line| Some(line.client + 1)),
        columns::REQUEST_ID => Arc::new(Int64Array::from_iter_values((first..).take(lines.len()))),
        columns::KEY_INDEX | columns::THREAD_ID => Arc::new(Int32Array::from(vec![0; lines.len()])),
        columns::QUIET => Arc::new(BooleanArray::from(vec![false; lines.len()])),
        columns::PROTOCOL | columns::CLIENT | columns::META_FLAGS | columns::META_RETURNED => {
            Arc::new(StringArray::new_null(lines.len()))
        }
        _ => ints(|_| None),
    }
}

/// A trace has 0 where there is none, but that of a store may be 0: it has no end.
fn ttl(line: &Line) -> Option<i64> {
    let is_store = Op::STORES.contains(&line.op);
    (is_store || line.ttl != 0).then_some(line.ttl)
}

/// A trace has 0 where there is no value, but stores may send one of no bytes.
fn value_size(line: &Line) -> Option<i64> {
    let is_store = Op::STORES.contains(&line.op);
    (is_store || line.value_size > 0).then_some(line.value_size)
}
