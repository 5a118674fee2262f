//! Operations into Arrow columns.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::{
    ArrayRef, DictionaryArray, Int8Array, RecordBatch, StringArray,
    builder::{
        BooleanBuilder, Int32Builder, Int64Builder, StringBuilder, StringDictionaryBuilder,
        TimestampMicrosecondBuilder,
    },
    types::{Int8Type, Int32Type},
};
use arrow_schema::SchemaRef;
use mcrec_schema::{
    codes::{Op, Protocol, Status},
    columns, key,
    pseudonym::Pseudonyms,
};

use crate::decode::Operation;

/// Rows that are being gathered.
pub(crate) struct Batch {
    schema: SchemaRef,
    /// Wall clock minus monotonic clock, ns.
    clock_offset: i64,
    /// What keys are hidden behind, if anything.
    pseudonyms: Option<Pseudonyms>,
    /// The key of the row at hand, escaped or hidden.
    text: String,
    rows: usize,
    ts: TimestampMicrosecondBuilder,
    op: Vec<i8>,
    protocol: Vec<Option<i8>>,
    key: StringBuilder,
    key_len: Int64Builder,
    status: Vec<i8>,
    value_size: Int64Builder,
    latency: Int64Builder,
    ttl: Int64Builder,
    client_flags: Int64Builder,
    cas: Int64Builder,
    request_bytes: Int64Builder,
    response_bytes: Int64Builder,
    quiet: BooleanBuilder,
    request_id: Int64Builder,
    key_index: Int32Builder,
    conn_id: Int64Builder,
    client: StringDictionaryBuilder<Int32Type>,
    thread_id: Int32Builder,
}

impl Batch {
    /// An empty batch. `clock_offset` is wall clock minus monotonic clock, ns. With
    /// `pseudonyms`, those stand for the keys.
    pub(crate) fn new(clock_offset: i64, pseudonyms: Option<Pseudonyms>) -> Self {
        Self {
            schema: Arc::new(columns::schema()),
            clock_offset,
            pseudonyms,
            text: String::new(),
            rows: 0,
            ts: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            op: Vec::new(),
            protocol: Vec::new(),
            key: StringBuilder::new(),
            key_len: Int64Builder::new(),
            status: Vec::new(),
            value_size: Int64Builder::new(),
            latency: Int64Builder::new(),
            ttl: Int64Builder::new(),
            client_flags: Int64Builder::new(),
            cas: Int64Builder::new(),
            request_bytes: Int64Builder::new(),
            response_bytes: Int64Builder::new(),
            quiet: BooleanBuilder::new(),
            request_id: Int64Builder::new(),
            key_index: Int32Builder::new(),
            conn_id: Int64Builder::new(),
            client: StringDictionaryBuilder::new(),
            thread_id: Int32Builder::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, operation: &Operation<'_>) {
        self.rows += 1;
        self.ts.append_value((signed(operation.ts) + self.clock_offset).div_euclid(1000));
        self.op.push(operation.op as i8);
        self.protocol.push(operation.protocol.map(|protocol| protocol as i8));
        match operation.key {
            Some(bytes) => {
                self.text.clear();
                match &self.pseudonyms {
                    Some(pseudonyms) => pseudonyms.append(bytes, &mut self.text),
                    None => key::escape_into(bytes, &mut self.text),
                }
                self.key.append_value(&self.text);
            }
            None => self.key.append_null(),
        }
        self.key_len.append_option(operation.key_len.map(signed));
        self.status.push(operation.status as i8);
        self.value_size.append_option(operation.value_size.map(signed));
        self.latency.append_option(operation.latency.map(signed));
        self.ttl.append_option(operation.ttl);
        self.client_flags.append_option(operation.client_flags.map(u64::cast_signed));
        self.cas.append_option(operation.cas.map(u64::cast_signed));
        self.request_bytes.append_option(operation.request_bytes.map(signed));
        self.response_bytes.append_option(operation.response_bytes.map(signed));
        self.quiet.append_value(operation.quiet);
        self.request_id.append_value(signed(operation.request_id));
        self.key_index.append_value(operation.key_index.cast_signed());
        self.conn_id.append_value(signed(operation.conn_id));
        self.client.append_option(operation.client);
        self.thread_id.append_value(operation.thread_id.cast_signed());
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Hands over the rows as Arrow arrays and begins anew.
    ///
    /// # Errors
    ///
    /// When they do not make a batch of the format's schema: a fault of mcrec.
    pub(crate) fn take(&mut self) -> Result<RecordBatch> {
        self.rows = 0;
        let op = words(std::mem::take(&mut self.op), Op::ALL.iter().map(|op| op.as_str()));
        let protocol = words(
            std::mem::take(&mut self.protocol),
            Protocol::ALL.iter().map(|protocol| protocol.as_str()),
        );
        let status =
            words(std::mem::take(&mut self.status), Status::ALL.iter().map(|s| s.as_str()));
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| -> ArrayRef {
                match field.name().as_str() {
                    columns::TS => Arc::new(self.ts.finish()),
                    columns::OP => Arc::clone(&op),
                    columns::PROTOCOL => Arc::clone(&protocol),
                    columns::KEY => Arc::new(self.key.finish()),
                    columns::KEY_LEN => Arc::new(self.key_len.finish()),
                    columns::STATUS => Arc::clone(&status),
                    columns::VALUE_SIZE => Arc::new(self.value_size.finish()),
                    columns::LATENCY_NS => Arc::new(self.latency.finish()),
                    columns::TTL => Arc::new(self.ttl.finish()),
                    columns::CLIENT_FLAGS => Arc::new(self.client_flags.finish()),
                    columns::CAS => Arc::new(self.cas.finish()),
                    columns::REQUEST_BYTES => Arc::new(self.request_bytes.finish()),
                    columns::RESPONSE_BYTES => Arc::new(self.response_bytes.finish()),
                    columns::QUIET => Arc::new(self.quiet.finish()),
                    columns::REQUEST_ID => Arc::new(self.request_id.finish()),
                    columns::KEY_INDEX => Arc::new(self.key_index.finish()),
                    columns::CONN_ID => Arc::new(self.conn_id.finish()),
                    columns::CLIENT => Arc::new(self.client.finish()),
                    columns::THREAD_ID => Arc::new(self.thread_id.finish()),
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
