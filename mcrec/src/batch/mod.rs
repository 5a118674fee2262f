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
use mcrec_protocol::Letters;
use mcrec_schema::{
    codes::{Op, Protocol, Status},
    columns, key,
    pseudonym::Pseudonyms,
};

use crate::decode::Operation;
use column::{BLOCK, Bits, Clients, Keys, Numbers, Phrases, Values};

/// Rows that are being gathered.
pub(crate) struct Batch {
    schema: SchemaRef,
    words: Words,
    /// Wall clock minus monotonic clock, ns.
    clock_offset: i64,
    /// What keys are hidden behind, if anything.
    pseudonyms: Option<Pseudonyms>,
    rows: usize,
    columns: Columns,
    /// The flags of the reply at hand: here to be allocated once.
    returned: String,
}

/// All words of the columns that have words.
struct Words {
    op: ArrayRef,
    protocol: ArrayRef,
    status: ArrayRef,
}

#[derive(Default)]
struct Columns {
    ts: Values<i64>,
    op: Values<i8>,
    protocol: Numbers<Int8Type>,
    key: Keys,
    key_len: Numbers<Int64Type>,
    status: Values<i8>,
    value_size: Numbers<Int64Type>,
    latency: Numbers<Int64Type>,
    ttl: Numbers<Int64Type>,
    client_flags: Numbers<Int64Type>,
    cas: Numbers<Int64Type>,
    request_bytes: Numbers<Int64Type>,
    response_bytes: Numbers<Int64Type>,
    quiet: Bits,
    request_id: Values<i64>,
    key_index: Values<i32>,
    conn_id: Values<i64>,
    client: Clients,
    thread_id: Values<i32>,
    cas_sent: Numbers<Int64Type>,
    cas_set: Numbers<Int64Type>,
    meta_flags: Phrases,
    meta_returned: Phrases,
}

impl Batch {
    /// An empty batch. `clock_offset` is wall clock minus monotonic clock, ns. With
    /// `pseudonyms`, those stand for the keys.
    pub(crate) fn new(clock_offset: i64, pseudonyms: Option<Pseudonyms>) -> Self {
        let words = Words {
            op: all(Op::ALL.iter().map(|op| op.as_str())),
            protocol: all(Protocol::ALL.iter().map(|protocol| protocol.as_str())),
            status: all(Status::ALL.iter().map(|status| status.as_str())),
        };
        Self {
            schema: Arc::new(columns::schema()),
            words,
            clock_offset,
            pseudonyms,
            rows: 0,
            columns: Columns::default(),
            returned: String::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, operation: &Operation<'_>) {
        let row = self.rows % BLOCK;
        let columns = &mut self.columns;
        columns.ts.set(row, (signed(operation.ts) + self.clock_offset).div_euclid(1000));
        columns.op.set(row, operation.op as i8);
        columns.protocol.set(row, operation.protocol.map(|protocol| protocol as i8));
        columns.key.set(row, operation.key, |key, text| match &self.pseudonyms {
            None => key::escape_into(key, text),
            Some(pseudonyms) => pseudonyms.append(key, text),
        });
        columns.key_len.set(row, operation.key_len.map(signed));
        columns.status.set(row, operation.status as i8);
        columns.value_size.set(row, operation.value_size.map(signed));
        columns.latency.set(row, operation.latency.map(signed));
        columns.ttl.set(row, operation.ttl);
        columns.client_flags.set(row, operation.client_flags.map(u64::cast_signed));
        columns.cas.set(row, operation.cas.map(u64::cast_signed));
        columns.request_bytes.set(row, operation.request_bytes.map(signed));
        columns.response_bytes.set(row, operation.response_bytes.map(signed));
        columns.quiet.set(row, operation.quiet);
        columns.request_id.set(row, signed(operation.request_id));
        columns.key_index.set(row, operation.key_index.cast_signed());
        columns.conn_id.set(row, signed(operation.conn_id));
        columns.client.set(row, operation.conn_id, operation.client);
        columns.thread_id.set(row, operation.thread_id.cast_signed());
        columns.cas_sent.set(row, operation.cas_sent.map(u64::cast_signed));
        columns.cas_set.set(row, operation.cas_set.map(u64::cast_signed));
        columns.meta_flags.set(row, operation.meta_flags);
        let returned = operation.meta_returned.map(|letters| {
            space(letters, &mut self.returned);
            &*self.returned
        });
        columns.meta_returned.set(row, returned);
        self.rows += 1;
        if row == BLOCK - 1 {
            columns.flush(BLOCK);
        }
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
        let rows = std::mem::take(&mut self.rows);
        self.columns.flush(rows % BLOCK);
        let fields = self.schema.fields().iter();
        let arrays = fields
            .map(|field| self.columns.take(field.name(), rows, &self.words))
            .collect::<Result<_>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).context("cannot build a batch")
    }
}

impl Columns {
    /// Moves on the `rows` of the block.
    fn flush(&mut self, rows: usize) {
        self.ts.flush(rows);
        self.op.flush(rows);
        self.protocol.flush(rows);
        self.key.flush(rows);
        self.key_len.flush(rows);
        self.status.flush(rows);
        self.value_size.flush(rows);
        self.latency.flush(rows);
        self.ttl.flush(rows);
        self.client_flags.flush(rows);
        self.cas.flush(rows);
        self.request_bytes.flush(rows);
        self.response_bytes.flush(rows);
        self.quiet.flush();
        self.request_id.flush(rows);
        self.key_index.flush(rows);
        self.conn_id.flush(rows);
        self.client.flush(rows);
        self.thread_id.flush(rows);
        self.cas_sent.flush(rows);
        self.cas_set.flush(rows);
        self.meta_flags.flush(rows);
        self.meta_returned.flush(rows);
    }

    /// The column of that name, of so many rows.
    fn take(&mut self, name: &str, rows: usize, all: &Words) -> Result<ArrayRef> {
        Ok(match name {
            columns::TS => {
                Arc::new(TimestampMicrosecondArray::from(self.ts.take()).with_timezone("UTC"))
            }
            columns::OP => words(self.op.take().into(), &all.op),
            columns::PROTOCOL => words(self.protocol.take(), &all.protocol),
            columns::KEY => self.key.take()?,
            columns::KEY_LEN => Arc::new(self.key_len.take()),
            columns::STATUS => words(self.status.take().into(), &all.status),
            columns::VALUE_SIZE => Arc::new(self.value_size.take()),
            columns::LATENCY_NS => Arc::new(self.latency.take()),
            columns::TTL => Arc::new(self.ttl.take()),
            columns::CLIENT_FLAGS => Arc::new(self.client_flags.take()),
            columns::CAS => Arc::new(self.cas.take()),
            columns::REQUEST_BYTES => Arc::new(self.request_bytes.take()),
            columns::RESPONSE_BYTES => Arc::new(self.response_bytes.take()),
            columns::QUIET => Arc::new(BooleanArray::from(self.quiet.take(rows))),
            columns::REQUEST_ID => Arc::new(Int64Array::from(self.request_id.take())),
            columns::KEY_INDEX => Arc::new(Int32Array::from(self.key_index.take())),
            columns::CONN_ID => Arc::new(Int64Array::from(self.conn_id.take())),
            columns::CLIENT => self.client.take()?,
            columns::THREAD_ID => Arc::new(Int32Array::from(self.thread_id.take())),
            columns::CAS_SENT => Arc::new(self.cas_sent.take()),
            columns::CAS_SET => Arc::new(self.cas_set.take()),
            columns::META_FLAGS => self.meta_flags.take()?,
            columns::META_RETURNED => self.meta_returned.take()?,
            other => unreachable!("column {other} of the format is not built"),
        })
    }
}

fn all<'a>(words: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(words.map(Some).collect::<StringArray>())
}

/// Numbers of words as a dictionary array over all the words of a column.
fn words(numbers: Int8Array, all: &ArrayRef) -> ArrayRef {
    Arc::new(DictionaryArray::new(numbers, Arc::clone(all)))
}

/// Makes `text` the letters, with a blank between them.
fn space(letters: Letters, text: &mut String) {
    text.clear();
    for letter in letters.iter() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push(letter);
    }
}

/// Times and counts from small beginnings: the top bit is never set.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        Array, StringArray,
        cast::AsArray,
        types::{Int64Type, TimestampMicrosecondType},
    };
    use mcrec_protocol::Letters;
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
            cas_sent: Some(u64::MAX - 1),
            cas_set: None,
            meta_flags: Some("v N30"),
            meta_returned: Some(Letters::default()),
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
        let sent = taken.column_by_name("cas_sent").unwrap().as_primitive::<Int64Type>();
        assert_eq!(sent.value(0), -2);
        assert!(taken.column_by_name("cas_set").unwrap().is_null(0));
        let phrase = |name: &str| {
            let column = taken.column_by_name(name).unwrap();
            let column = column.as_dictionary::<arrow_array::types::Int32Type>();
            let mut texts = column.downcast_dict::<StringArray>().unwrap().into_iter();
            texts.next().unwrap().unwrap().to_owned()
        };
        assert_eq!((phrase("meta_flags"), phrase("meta_returned")), ("v N30".into(), "".into()));
        let ts = taken.column_by_name("ts").unwrap();
        assert_eq!(ts.as_primitive::<TimestampMicrosecondType>().value(0), 1_700_000_000_000_001);
        assert_eq!(batch.take().unwrap().num_rows(), 0);
    }
}
