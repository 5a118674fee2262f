//! The columns of a capture.
//!
//! Types are chosen to load without surprises everywhere: no unsigned integers
//! and no nanosecond timestamps (Spark refuses both), and 64 bits for whatever
//! gets summed (some engines sum a 32-bit column in 32 bits).

use arrow_schema::{DataType, Field, Schema, TimeUnit};

/// Wall-clock time at which the server had the whole request, µs, UTC.
pub const TS: &str = "ts";
/// The operation, a word of [`crate::codes::Op`].
pub const OP: &str = "op";
/// The protocol, a word of [`crate::codes::Protocol`]; null when the source can't tell.
pub const PROTOCOL: &str = "protocol";
/// The key, escaped as [`crate::key`] says; null where a command has none.
pub const KEY: &str = "key";
/// Length of the original key, bytes, whatever `key` holds.
pub const KEY_LEN: &str = "key_len";
/// The outcome, a word of [`crate::codes::Status`].
pub const STATUS: &str = "status";
/// Bytes of the value without CRLF: sent by a store, returned by a hit.
pub const VALUE_SIZE: &str = "value_size";
/// Server-side time, ns, as the footer's `mcrec.source` defines it.
pub const LATENCY_NS: &str = "latency_ns";
/// exptime as the client sent it, seconds.
pub const TTL: &str = "ttl";
/// The client's opaque 32-bit item flags.
pub const CLIENT_FLAGS: &str = "client_flags";
/// The CAS unique that the reply told: that of the item which was returned or made.
/// Through the probes, that of the item which was read or stored. The bit pattern of the
/// unsigned 64-bit number, as that of all uniques.
///
/// Older recordings, which lack [`CAS_SENT`], have in its place what a request of op `cas`
/// compared with, unless the reply told another. A row says itself which it is: one of op
/// `cas` without a `cas_sent` is an older one, if it has a `cas`.
pub const CAS: &str = "cas";
/// Bytes of this operation on the wire, client to server.
pub const REQUEST_BYTES: &str = "request_bytes";
/// Bytes of this operation on the wire, server to client.
pub const RESPONSE_BYTES: &str = "response_bytes";
/// Asked for no reply: `noreply`, meta `q`, or a quiet binary opcode.
pub const QUIET: &str = "quiet";
/// Number of the request in this capture, from 1.
pub const REQUEST_ID: &str = "request_id";
/// Position of the key within its request, from 0.
pub const KEY_INDEX: &str = "key_index";
/// Number of the connection in this capture, from 1; never reused. Datagrams are of the same
/// connection that have the same addresses at both ends.
pub const CONN_ID: &str = "conn_id";
/// The client's address, `203.0.113.7:40708`, `[2001:db8::7]:40708` or `unix`.
pub const CLIENT: &str = "client";
/// Kernel thread id of the worker.
pub const THREAD_ID: &str = "thread_id";
/// The CAS unique that the request compares with: of text `cas`, meta `C`, and the header
/// of a binary store, delete, incr or decr. Null for a request without that condition.
pub const CAS_SENT: &str = "cas_sent";
/// The CAS unique that the request asks the item to have: meta `E`.
pub const CAS_SET: &str = "cas_set";
/// The flags of a meta request in its order, one blank between them: each as its letter
/// alone, but for `M`, which has the letter of the mode after it, and `N` and `R`, which
/// have their seconds. The other numbers have columns (`C E F T`) or are not kept (`D J`),
/// nor is the token of `O`. Empty for a meta request without flags; null where it was
/// none, or that is not known.
pub const META_FLAGS: &str = "meta_flags";
/// The letters of the flags that a meta reply had, in the order of ASCII, one blank between
/// them: `W` (the client won the right to set the item anew), `X` (it is stale), `Z` (another
/// client has won), and those of what was returned. Empty for a reply without flags; null
/// where there was no meta reply, or that is not known.
pub const META_RETURNED: &str = "meta_returned";
/// Columns of minor version 1 of the format: files of minor version 0 lack them, and have a
/// null for each.
pub const SINCE_MINOR_1: [&str; 4] = [CAS_SENT, CAS_SET, META_FLAGS, META_RETURNED];
/// Host of the recording: in captures that were merged only.
pub const HOST: &str = "host";

/// The Arrow schema that the recorder builds its batches by.
///
/// The dictionary types are for building only: the files do not embed an Arrow
/// schema, so every reader sees plain `STRING` columns.
pub fn schema() -> Schema {
    let word = || DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Schema::new(vec![
        Field::new(TS, time, false),
        Field::new(OP, word(), false),
        Field::new(PROTOCOL, word(), true),
        Field::new(KEY, DataType::Utf8, true),
        Field::new(KEY_LEN, DataType::Int64, true),
        Field::new(STATUS, word(), false),
        Field::new(VALUE_SIZE, DataType::Int64, true),
        Field::new(LATENCY_NS, DataType::Int64, true),
        Field::new(TTL, DataType::Int64, true),
        Field::new(CLIENT_FLAGS, DataType::Int64, true),
        Field::new(CAS, DataType::Int64, true),
        Field::new(REQUEST_BYTES, DataType::Int64, true),
        Field::new(RESPONSE_BYTES, DataType::Int64, true),
        Field::new(QUIET, DataType::Boolean, false),
        Field::new(REQUEST_ID, DataType::Int64, false),
        Field::new(KEY_INDEX, DataType::Int32, false),
        Field::new(CONN_ID, DataType::Int64, false),
        Field::new(CLIENT, text(), true),
        Field::new(THREAD_ID, DataType::Int32, false),
        Field::new(CAS_SENT, DataType::Int64, true),
        Field::new(CAS_SET, DataType::Int64, true),
        Field::new(META_FLAGS, text(), true),
        Field::new(META_RETURNED, text(), true),
    ])
}

/// Whether files of minor version `minor` have a column of the format.
pub fn of_minor(name: &str, minor: u32) -> bool {
    minor >= 1 || !SINCE_MINOR_1.contains(&name)
}

/// The Arrow schema of a capture that was merged from several.
pub fn merged_schema() -> Schema {
    let host = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = schema().fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
    Schema::new([fields, vec![Field::new(HOST, host, true)]].concat())
}
