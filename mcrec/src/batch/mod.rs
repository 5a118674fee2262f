//! Operations into Arrow columns.

mod column;

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Int8Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
    types::{Int8Type, Int64Type},
};
use arrow_schema::SchemaRef;
use mcrec_schema::{
    codes::{Op, Protocol, Status},
    columns, key,
    pseudonym::Pseudonyms,
};

use crate::decode::Operation;
use column::{Clients, Keys, Numbers, take};

/// Rows that are being gathered.
pub(crate) struct Batch {
    schema: SchemaRef,
    /// Wall clock minus monotonic clock, ns.
    clock_offset: i64,
    /// What keys are hidden behind, if anything.
    pseudonyms: Option<Pseudonyms>,
    ts: Vec<i64>,
    op: Vec<i8>,
    protocol: Vec<Option<i8>>,
    key: Keys,
    key_len: Numbers<Int64Type>,
    status: Vec<i8>,
    value_size: Numbers<Int64Type>,
    latency: Numbers<Int64Type>,
    ttl: Numbers<Int64Type>,
    client_flags: Numbers<Int64Type>,
    cas: Numbers<Int64Type>,
    request_bytes: Numbers<Int64Type>,
    response_bytes: Numbers<Int64Type>,
    quiet: Vec<bool>,
    request_id: Vec<i64>,
    key_index: Vec<i32>,
    conn_id: Vec<i64>,
    client: Clients,
    thread_id: Vec<i32>,
}

impl Batch {
    /// An empty batch. `clock_offset` is wall clock minus monotonic clock, ns. With
    /// `pseudonyms`, those stand for the keys.
    pub(crate) fn new(clock_offset: i64, pseudonyms: Option<Pseudonyms>) -> Self {
        Self {
            schema: Arc::new(columns::schema()),
            clock_offset,
            pseudonyms,
            ts: Vec::new(),
            op: Vec::new(),
            protocol: Vec::new(),
            key: Keys::default(),
            key_len: Numbers::default(),
            status: Vec::new(),
            value_size: Numbers::default(),
            latency: Numbers::default(),
            ttl: Numbers::default(),
            client_flags: Numbers::default(),
            cas: Numbers::default(),
            request_bytes: Numbers::default(),
            response_bytes: Numbers::default(),
            quiet: Vec::new(),
            request_id: Vec::new(),
            key_index: Vec::new(),
            conn_id: Vec::new(),
            client: Clients::default(),
            thread_id: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, operation: &Operation<'_>) {
        self.ts.push((signed(operation.ts) + self.clock_offset).div_euclid(1000));
        self.op.push(operation.op as i8);
        self.protocol.push(operation.protocol.map(|protocol| protocol as i8));
        let pseudonyms = self.pseudonyms.as_ref();
        self.key.push(|text| {
            match (operation.key, pseudonyms) {
                (Some(bytes), None) => key::escape_into(bytes, text),
                (Some(bytes), Some(pseudonyms)) => pseudonyms.append(bytes, text),
                (None, _) => {}
            }
            operation.key.is_some()
        });
        self.key_len.push(operation.key_len.map(signed));
        self.status.push(operation.status as i8);
        self.value_size.push(operation.value_size.map(signed));
        self.latency.push(operation.latency.map(signed));
        self.ttl.push(operation.ttl);
        self.client_flags.push(operation.client_flags.map(u64::cast_signed));
        self.cas.push(operation.cas.map(u64::cast_signed));
        self.request_bytes.push(operation.request_bytes.map(signed));
        self.response_bytes.push(operation.response_bytes.map(signed));
        self.quiet.push(operation.quiet);
        self.request_id.push(signed(operation.request_id));
        self.key_index.push(operation.key_index.cast_signed());
        self.conn_id.push(signed(operation.conn_id));
        self.client.push(operation.conn_id, operation.client);
        self.thread_id.push(operation.thread_id.cast_signed());
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.ts.len()
    }

    /// Hands over the rows as Arrow arrays and begins anew.
    ///
    /// # Errors
    ///
    /// When they do not make a batch of the format's schema: a fault of mcrec.
    pub(crate) fn take(&mut self) -> Result<RecordBatch> {
        let op = words(take(&mut self.op), Op::ALL.iter().map(|op| op.as_str()));
        let protocol =
            words(take(&mut self.protocol), Protocol::ALL.iter().map(|protocol| protocol.as_str()));
        let status = words(take(&mut self.status), Status::ALL.iter().map(|s| s.as_str()));
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| -> ArrayRef {
                match field.name().as_str() {
                    columns::TS => Arc::new(
                        TimestampMicrosecondArray::from(take(&mut self.ts)).with_timezone("UTC"),
                    ),
                    columns::OP => Arc::clone(&op),
                    columns::PROTOCOL => Arc::clone(&protocol),
                    columns::KEY => self.key.take(),
                    columns::KEY_LEN => self.key_len.take(),
                    columns::STATUS => Arc::clone(&status),
                    columns::VALUE_SIZE => self.value_size.take(),
                    columns::LATENCY_NS => self.latency.take(),
                    columns::TTL => self.ttl.take(),
                    columns::CLIENT_FLAGS => self.client_flags.take(),
                    columns::CAS => self.cas.take(),
                    columns::REQUEST_BYTES => self.request_bytes.take(),
                    columns::RESPONSE_BYTES => self.response_bytes.take(),
                    columns::QUIET => Arc::new(BooleanArray::from(take(&mut self.quiet))),
                    columns::REQUEST_ID => Arc::new(Int64Array::from(take(&mut self.request_id))),
                    columns::KEY_INDEX => Arc::new(Int32Array::from(take(&mut self.key_index))),
                    columns::CONN_ID => Arc::new(Int64Array::from(take(&mut self.conn_id))),
                    columns::CLIENT => self.client.take(),
                    columns::THREAD_ID => Arc::new(Int32Array::from(take(&mut self.thread_id))),
                    other => unreachable!("column {other} of the format is not built"),
                }
            })
            .collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns).context("cannot build a batch")
    }
}

/// Numbers of words into a dictionary array over all the words of a column.
fn words<'a, N>(numbers: Vec<N>, all: impl Iterator<Item = &'a str>) -> ArrayRef
where
    Int8Array: From<Vec<N>>,
{
    let words: StringArray = all.map(Some).collect();
    Arc::new(DictionaryArray::<Int8Type>::new(Int8Array::from(numbers), Arc::new(words)))
}

/// Times and counts from small beginnings: the top bit is never set.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, cast::AsArray, types::TimestampMicrosecondType};
    use mcrec_schema::codes::{Op, Protocol, Status};

    use super::Batch;
    use crate::decode::Operation;

    #[test]
    fn a_row_has_its_words_its_wall_clock_time_and_its_escaped_key() {
        let mut batch = Batch::new(1_700_000_000_000_000_000, None);
        let operation = Operation {
            ts: 1_999,
            op: Op::Delete,
            status: Status::NotFound,
            protocol: Some(Protocol::Binary),
            key: Some(b"a\n\xff"),
            key_len: Some(3),
            value_size: None,
            latency: Some(5),
            ttl: Some(-1),
            client_flags: Some(7),
            cas: Some(u64::MAX),
            request_bytes: Some(1),
            response_bytes: Some(2),
            quiet: true,
            request_id: 1,
            key_index: 0,
            conn_id: 2,
            client: Some("unix"),
            thread_id: 7,
        };
        batch.push(&operation);
        batch.push(&Operation { key: None, ..operation });
        let taken = batch.take().unwrap();
        let text = |name: &str| {
            let column = taken.column_by_name(name).unwrap();
            let column = column.as_dictionary::<arrow_array::types::Int8Type>();
            let words = column.values().as_string::<i32>();
            words.value(usize::try_from(column.keys().value(0)).unwrap()).to_owned()
        };
        assert_eq!(text("op"), "delete");
        assert_eq!(text("status"), "not_found");
        assert_eq!(text("protocol"), "binary");
        let keys = taken.column_by_name("key").unwrap().as_string::<i32>();
        assert_eq!((keys.value(0), keys.is_null(1)), ("a\\x0a\\xff", true));
        let ts = taken.column_by_name("ts").unwrap();
        assert_eq!(ts.as_primitive::<TimestampMicrosecondType>().value(0), 1_700_000_000_000_001);
        assert_eq!(batch.take().unwrap().num_rows(), 0);
    }
}
