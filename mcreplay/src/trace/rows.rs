//! Rows of the files of a recording, in batches, by the names and types of the format.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::{
    Array, BooleanArray, DictionaryArray, Int64Array, RecordBatch, StringArray,
    cast::AsArray,
    types::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use mcrec_capture::{Batches, Capture};
use mcrec_schema::{
    codes::{Op, Protocol, Status},
    columns,
};
use parquet::file::{metadata::RowGroupMetaData, statistics::Statistics};

use super::filter::Filter;
use crate::flags::Flags;

/// The columns that it takes to replay.
const COLUMNS: [&str; 19] = [
    columns::TS,
    columns::OP,
    columns::PROTOCOL,
    columns::KEY,
    columns::KEY_LEN,
    columns::STATUS,
    columns::VALUE_SIZE,
    columns::LATENCY_NS,
    columns::TTL,
    columns::CLIENT_FLAGS,
    columns::CAS,
    columns::REQUEST_BYTES,
    columns::RESPONSE_BYTES,
    columns::QUIET,
    columns::REQUEST_ID,
    columns::CONN_ID,
    columns::CAS_SENT,
    columns::CAS_SET,
    columns::META_FLAGS,
];

/// A row, as far as a replay asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) ts: i64,
    pub(crate) op: Op,
    pub(crate) protocol: Option<Protocol>,
    /// As captures have it, escaped.
    pub(crate) key: Option<&'a str>,
    pub(crate) key_len: Option<i64>,
    pub(crate) status: Status,
    pub(crate) value_size: Option<u64>,
    pub(crate) latency_ns: Option<u64>,
    pub(crate) ttl: Option<i64>,
    pub(crate) client_flags: Option<u64>,
    /// What the reply told; in older recordings, of a `cas`, what was sent.
    pub(crate) cas: Option<u64>,
    pub(crate) cas_sent: Option<u64>,
    pub(crate) cas_set: Option<u64>,
    pub(crate) flags: Option<&'a Arc<Flags>>,
    pub(crate) request_bytes: Option<u64>,
    pub(crate) response_bytes: Option<u64>,
    pub(crate) quiet: bool,
    pub(crate) request_id: i64,
    pub(crate) conn_id: i64,
}

/// A column of strings: for each row the number of a string, and the strings.
pub(super) struct Strings {
    array: DictionaryArray<Int32Type>,
    pub(super) values: StringArray,
}

impl Strings {
    fn of(batch: &RecordBatch, name: &str) -> Result<Self> {
        let array = column(batch, name)?
            .as_dictionary_opt::<Int32Type>()
            .with_context(|| format!("{name} is not a string"))?
            .clone();
        let values = array.values().as_string_opt::<i32>();
        let values = values.with_context(|| format!("{name} is not a string"))?.clone();
        Ok(Self { array, values })
    }

    /// Which string `row` has; `None` for null.
    pub(super) fn id(&self, row: usize) -> Option<usize> {
        let id = self.array.is_valid(row).then(|| self.array.keys().value(row))?;
        let id = usize::try_from(id).ok()?;
        self.values.is_valid(id).then_some(id)
    }

    fn get(&self, row: usize) -> Option<&str> {
        self.id(row).map(|id| self.values.value(id))
    }

    /// What `of` makes of each string, null for a null.
    fn map<T>(&self, of: impl Fn(&str) -> Option<T>) -> Vec<Option<T>> {
        self.values.iter().map(|value| value.and_then(&of)).collect()
    }

    /// The strings are those of `other`, in the same place.
    pub(super) fn has_values_of(&self, other: &StringArray) -> bool {
        std::ptr::eq(self.values.value_data().as_ptr(), other.value_data().as_ptr())
            && self.values.len() == other.len()
    }
}

/// Some rows, next to each other.
pub(super) struct Batch {
    ops: Vec<Option<Op>>,
    protocols: Vec<Option<Protocol>>,
    statuses: Vec<Option<Status>>,
    op: Strings,
    protocol: Strings,
    pub(super) status: Strings,
    pub(super) key: Strings,
    pub(super) client: Option<Strings>,
    pub(super) ts: Vec<i64>,
    key_len: Int64Array,
    pub(super) value_size: Int64Array,
    pub(super) latency_ns: Int64Array,
    ttl: Int64Array,
    client_flags: Int64Array,
    cas: Int64Array,
    cas_sent: Int64Array,
    cas_set: Int64Array,
    meta_flags: Strings,
    flags: Vec<Option<Arc<Flags>>>,
    request_bytes: Int64Array,
    response_bytes: Int64Array,
    quiet: BooleanArray,
    request_id: Int64Array,
    pub(super) conn_id: Int64Array,
}

impl Batch {
    fn of(batch: &RecordBatch) -> Result<Self> {
        let ints = |name: &str| -> Result<Int64Array> {
            let column = column(batch, name)?.as_primitive_opt::<Int64Type>();
            Ok(column.with_context(|| format!("{name} is not a number of 64 bits"))?.clone())
        };
        let ts = column(batch, columns::TS)?
            .as_primitive_opt::<TimestampMicrosecondType>()
            .with_context(|| format!("{} is not a time in microseconds", columns::TS))?;
        let quiet = column(batch, columns::QUIET)?.as_boolean_opt().context("quiet is no bool")?;
        let (op, status) = (Strings::of(batch, columns::OP)?, Strings::of(batch, columns::STATUS)?);
        let protocol = Strings::of(batch, columns::PROTOCOL)?;
        let meta_flags = Strings::of(batch, columns::META_FLAGS)?;
        let has_client = batch.column_by_name(columns::CLIENT).is_some();
        Ok(Self {
            ops: op.map(Op::named),
            protocols: protocol.map(Protocol::named),
            statuses: status.map(Status::named),
            op,
            protocol,
            status,
            key: Strings::of(batch, columns::KEY)?,
            client: has_client.then(|| Strings::of(batch, columns::CLIENT)).transpose()?,
            ts: ts.values().to_vec(),
            key_len: ints(columns::KEY_LEN)?,
            value_size: ints(columns::VALUE_SIZE)?,
            latency_ns: ints(columns::LATENCY_NS)?,
            ttl: ints(columns::TTL)?,
            client_flags: ints(columns::CLIENT_FLAGS)?,
            cas: ints(columns::CAS)?,
            cas_sent: ints(columns::CAS_SENT)?,
            cas_set: ints(columns::CAS_SET)?,
            flags: meta_flags.map(|text| Some(Arc::new(Flags::parse(text)))),
            meta_flags,
            request_bytes: ints(columns::REQUEST_BYTES)?,
            response_bytes: ints(columns::RESPONSE_BYTES)?,
            quiet: quiet.clone(),
            request_id: ints(columns::REQUEST_ID)?,
            conn_id: ints(columns::CONN_ID)?,
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.ts.len()
    }

    /// The command of `row`; one that later versions have is another.
    pub(super) fn op(&self, row: usize) -> Op {
        self.op.id(row).and_then(|id| self.ops[id]).unwrap_or(Op::Other)
    }

    pub(super) fn row(&self, row: usize) -> Result<Row<'_>> {
        let int = |column: &Int64Array| column.is_valid(row).then(|| column.value(row));
        let size = |column: &Int64Array| int(column).and_then(|it| u64::try_from(it).ok());
        let protocol = self.protocol.id(row).and_then(|id| self.protocols[id]);
        let status = self.status.id(row).and_then(|id| self.statuses[id]);
        Ok(Row {
            ts: self.ts[row],
            op: self.op(row),
            protocol,
            key: self.key.get(row),
            key_len: int(&self.key_len),
            status: status.unwrap_or(Status::Unknown),
            value_size: size(&self.value_size),
            latency_ns: size(&self.latency_ns),
            ttl: int(&self.ttl),
            client_flags: size(&self.client_flags),
            cas: int(&self.cas).map(i64::cast_unsigned),
            cas_sent: int(&self.cas_sent).map(i64::cast_unsigned),
            cas_set: int(&self.cas_set).map(i64::cast_unsigned),
            flags: self.meta_flags.id(row).and_then(|id| self.flags[id].as_ref()),
            request_bytes: size(&self.request_bytes),
            response_bytes: size(&self.response_bytes),
            quiet: self.quiet.is_valid(row) && self.quiet.value(row),
            request_id: int(&self.request_id).unwrap_or(0),
            conn_id: int(&self.conn_id).context("conn_id is null")?,
        })
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Arc<dyn Array>> {
    batch.column_by_name(name).with_context(|| format!("column {name} is missing"))
}

/// The files of one recording, read one after the other.
pub(super) struct Input<'a> {
    recording: usize,
    files: Vec<&'a Capture>,
    filter: &'a Filter,
    /// The next row group: number of its file and in that.
    next: (usize, usize),
    batches: Option<Batches>,
    batch: Option<Batch>,
}

impl<'a> Input<'a> {
    pub(super) fn new(
        recording: usize,
        files: impl Iterator<Item = &'a Capture>,
        filter: &'a Filter,
    ) -> Self {
        let files = files.collect();
        Self { recording, files, filter, next: (0, 0), batches: None, batch: None }
    }

    pub(super) fn recording(&self) -> usize {
        self.recording
    }

    /// Whether there are no more rows.
    pub(super) fn is_done(&self) -> bool {
        self.batch.is_none()
    }

    /// The time of the rows at hand.
    pub(super) fn time(&self) -> i64 {
        self.batch.as_ref().and_then(|batch| batch.ts.first().copied()).unwrap_or(i64::MAX)
    }

    /// The rows at hand.
    pub(super) fn take(&mut self) -> Batch {
        self.batch.take().expect("an input that is done is not taken from")
    }

    /// Goes on to the next rows.
    pub(super) fn advance(&mut self) -> Result<()> {
        self.batch = None;
        loop {
            if let Some(batch) = self.batches.as_mut().and_then(Iterator::next) {
                let batch = batch?;
                if batch.num_rows() > 0 {
                    let damaged = || format!("cannot read {}: it is damaged", self.file_name());
                    self.batch = Some(Batch::of(&batch).with_context(damaged)?);
                    return Ok(());
                }
                continue;
            }
            self.batches = None;
            let Some(file) = self.files.get(self.next.0) else { return Ok(()) };
            let Some(group) = file.row_groups().get(self.next.1) else {
                self.next = (self.next.0 + 1, 0);
                continue;
            };
            if may_be_in(group, self.filter) {
                let mut wanted = COLUMNS.to_vec();
                if self.filter.asks_for_clients() {
                    wanted.push(columns::CLIENT);
                }
                self.batches = Some(file.dictionaries(self.next.1, &wanted)?);
            }
            self.next.1 += 1;
        }
    }

    fn file_name(&self) -> String {
        self.files.get(self.next.0).map_or_else(String::new, |it| it.path().display().to_string())
    }
}

/// Whether a row group may have rows of the filter's window, by what it says of itself.
fn may_be_in(group: &RowGroupMetaData, filter: &Filter) -> bool {
    let ts = group.columns().iter().find(|it| it.column_path().string() == columns::TS);
    match ts.and_then(|ts| ts.statistics()) {
        Some(Statistics::Int64(known)) if known.min_is_exact() && known.max_is_exact() => {
            let (Some(first), Some(last)) = (known.min_opt(), known.max_opt()) else { return true };
            filter.from.is_none_or(|from| *last >= from)
                && filter.until.is_none_or(|until| *first < until)
        }
        _ => true,
    }
}
