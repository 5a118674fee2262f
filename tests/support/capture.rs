//! Reads captures as any Parquet reader would.

use std::{fs::File, path::Path};

use arrow_array::{
    Array, BooleanArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
    cast::AsArray,
};
use mcrec_schema::{footer::Footer, key};
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    file::reader::{FileReader, SerializedFileReader},
};

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub ts: i64,
    pub op: String,
    pub protocol: Option<String>,
    /// Its bytes, unescaped; empty for null.
    pub key: Vec<u8>,
    /// 0 for null.
    pub key_len: i64,
    pub status: String,
    pub value_size: Option<i64>,
    pub latency: Option<i64>,
    pub ttl: Option<i64>,
    pub client_flags: Option<i64>,
    pub cas: Option<i64>,
    pub request_bytes: Option<i64>,
    pub response_bytes: Option<i64>,
    pub quiet: bool,
    pub request_id: i64,
    pub key_index: i32,
    pub conn_id: i64,
    pub client: Option<String>,
    pub thread_id: i32,
    pub cas_sent: Option<i64>,
    pub cas_set: Option<i64>,
    pub meta_flags: Option<String>,
    pub meta_returned: Option<String>,
}

/// The operations in the capture at `path`.
pub fn rows(path: &Path) -> Vec<Row> {
    let mut rows = all_rows(path);
    rows.retain(|row| !matches!(row.op.as_str(), "connect" | "disconnect"));
    rows
}

/// All rows of the capture at `path`, of connections' beginnings and ends too.
pub fn all_rows(path: &Path) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let mut rows = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let text = |name: &str| -> StringArray { column(name).as_string::<i32>().clone() };
        let ints = |name: &str| -> Int64Array { column(name).as_primitive().clone() };
        let shorts = |name: &str| -> Int32Array { column(name).as_primitive().clone() };
        let ts: TimestampMicrosecondArray = column("ts").as_primitive().clone();
        let (ops, keys, statuses) = (text("op"), text("key"), text("status"));
        let (protocols, clients) = (text("protocol"), text("client"));
        let quiet: BooleanArray = column("quiet").as_boolean().clone();
        let (key_len, value_size, latency) =
            (ints("key_len"), ints("value_size"), ints("latency_ns"));
        let (cas, request_id, conn_id) = (ints("cas"), ints("request_id"), ints("conn_id"));
        let (key_index, thread_id) = (shorts("key_index"), shorts("thread_id"));
        let (ttl, client_flags) = (ints("ttl"), ints("client_flags"));
        let (request_bytes, response_bytes) = (ints("request_bytes"), ints("response_bytes"));
        let has = batch.column_by_name("cas_sent").is_some();
        let later_ints = |name: &str| match has {
            true => ints(name),
            false => Int64Array::new_null(batch.num_rows()),
        };
        let later_text = |name: &str| match has {
            true => text(name),
            false => StringArray::new_null(batch.num_rows()),
        };
        let (cas_sent, cas_set) = (later_ints("cas_sent"), later_ints("cas_set"));
        let (flags, returned) = (later_text("meta_flags"), later_text("meta_returned"));
        let option = |ints: &Int64Array, row| ints.is_valid(row).then(|| ints.value(row));
        let word =
            |words: &StringArray, row| words.is_valid(row).then(|| words.value(row).to_owned());
        rows.extend((0..batch.num_rows()).map(|row| Row {
            ts: ts.value(row),
            op: ops.value(row).to_owned(),
            protocol: word(&protocols, row),
            key: word(&keys, row).map_or_else(Vec::new, |key| key::unescape(&key).unwrap()),
            key_len: option(&key_len, row).unwrap_or_default(),
            status: statuses.value(row).to_owned(),
            value_size: option(&value_size, row),
            latency: option(&latency, row),
            ttl: option(&ttl, row),
            client_flags: option(&client_flags, row),
            cas: option(&cas, row),
            request_bytes: option(&request_bytes, row),
            response_bytes: option(&response_bytes, row),
            quiet: quiet.value(row),
            request_id: request_id.value(row),
            key_index: key_index.value(row),
            conn_id: conn_id.value(row),
            client: word(&clients, row),
            thread_id: thread_id.value(row),
            cas_sent: option(&cas_sent, row),
            cas_set: option(&cas_set, row),
            meta_flags: word(&flags, row),
            meta_returned: word(&returned, row),
        }));
    }
    rows
}

/// What the capture says of itself; `None` if there is no whole capture.
pub fn footer(path: &Path) -> Option<Footer> {
    let reader = SerializedFileReader::new(File::open(path).ok()?).ok()?;
    let entries = reader.metadata().file_metadata().key_value_metadata()?.clone();
    let entry = |key: &str| entries.iter().find(|e| e.key == key).and_then(|e| e.value.as_deref());
    Some(Footer::from_entries(entry).unwrap())
}
