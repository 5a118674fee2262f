//! Raw records in, operations out. Pure: no libbpf, no clock, no I/O.

mod usdt;

pub(crate) use usdt::UsdtDecoder;

use mcrec_schema::codes::{Op, Status};

/// One operation on one key: a row of the capture, before it is written.
///
/// The key is borrowed, so that nothing is allocated for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation<'a> {
    /// `CLOCK_MONOTONIC`, ns.
    pub(crate) ts: u64,
    pub(crate) op: Op,
    pub(crate) status: Status,
    /// The bytes of the key; `None` when they could not be read.
    pub(crate) key: Option<&'a [u8]>,
    /// Bytes.
    pub(crate) key_len: u8,
    /// Bytes, without CRLF.
    pub(crate) value_size: Option<u32>,
    /// ns.
    pub(crate) latency: Option<u64>,
    pub(crate) cas: Option<u64>,
    pub(crate) request_id: u64,
    pub(crate) key_index: u32,
    pub(crate) conn_id: u64,
    pub(crate) thread_id: u32,
}

/// A record that is not one: a fault of mcrec, counted as a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;
