//! Raw records in, operations out. Pure: no libbpf, no clock, no I/O.

mod syscalls;
mod usdt;

pub(crate) use syscalls::SyscallsDecoder;
pub(crate) use usdt::UsdtDecoder;

use mcrec_protocol::Letters;
use mcrec_schema::codes::{Op, Protocol, Status};

/// One operation on one key: a row of the capture, before it is written.
///
/// Key and client are borrowed, so that nothing is allocated for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation<'a> {
    /// `CLOCK_MONOTONIC`, ns.
    pub(crate) ts: u64,
    pub(crate) op: Op,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) status: Status,
    /// The bytes of the key; `None` when there is none or it could not be read.
    pub(crate) key: Option<&'a [u8]>,
    /// Bytes.
    pub(crate) key_len: Option<u64>,
    /// Bytes, without CRLF.
    pub(crate) value_size: Option<u64>,
    /// ns.
    pub(crate) latency: Option<u64>,
    /// Seconds, as the client wrote them.
    pub(crate) ttl: Option<i64>,
    pub(crate) client_flags: Option<u64>,
    /// The unique that the reply told, and those that the request compares with and asks for.
    pub(crate) cas: Option<u64>,
    pub(crate) cas_sent: Option<u64>,
    pub(crate) cas_set: Option<u64>,
    /// The flags of a meta request and of its reply.
    pub(crate) meta_flags: Option<&'a str>,
    pub(crate) meta_returned: Option<Letters>,
    /// Bytes on the wire.
    pub(crate) request_bytes: Option<u64>,
    /// Bytes on the wire.
    pub(crate) response_bytes: Option<u64>,
    pub(crate) quiet: bool,
    pub(crate) request_id: u64,
    pub(crate) key_index: u32,
    pub(crate) conn_id: u64,
    /// Address of the client.
    pub(crate) client: Option<&'a str>,
    pub(crate) thread_id: u32,
}

/// A record that is not one: a fault of mcrec, counted as a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a decoder counted, beside the operations that it gave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Records taken of those that the kernel counts: operations through usdt,
    /// reads that begin with a request through syscalls.
    pub(crate) counted_records: u64,
    /// Reads of connections that were out of step.
    pub(crate) unsynced: u64,
    /// Times that a connection fell out of step for what it carried.
    pub(crate) decode_errors: u64,
    /// Connections under TLS.
    pub(crate) encrypted: u64,
}

/// The decoder of a source's records.
#[derive(Debug)]
pub(crate) enum Decoder {
    Usdt(UsdtDecoder),
    Syscalls(Box<SyscallsDecoder>),
}

/// When a record was made, `CLOCK_MONOTONIC`, ns.
pub(crate) fn time_of(record: &[u8]) -> Option<u64> {
    usdt::read_head(record).ok().map(|head| head.ts)
}

impl Decoder {
    /// Takes the next record and gives `out` every operation that it completes.
    ///
    /// # Errors
    ///
    /// When `record` is not a record of `bpf/mcrec.h`.
    pub(crate) fn decode(
        &mut self,
        record: &[u8],
        out: &mut impl FnMut(&Operation<'_>),
    ) -> Result<(), Malformed> {
        match self {
            Self::Usdt(decoder) => decoder.decode(record, out),
            Self::Syscalls(decoder) => decoder.decode(record, out),
        }
    }

    /// Says which record comes some records later, so that what it needs is there by then.
    #[inline]
    pub(crate) fn expect(&self, record: &[u8]) {
        if let Self::Syscalls(decoder) = self {
            decoder.expect(record);
        }
    }

    /// Gives out what need not be held any more, where all records up to `seen_to`
    /// (`CLOCK_MONOTONIC`, ns) have come.
    pub(crate) fn settle(&mut self, seen_to: u64, out: &mut impl FnMut(&Operation<'_>)) {
        if let Self::Syscalls(decoder) = self {
            decoder.release(seen_to, out);
        }
    }

    /// Gives out what is still open.
    pub(crate) fn finish(&mut self, out: &mut impl FnMut(&Operation<'_>)) {
        match self {
            Self::Usdt(decoder) => decoder.finish(out),
            Self::Syscalls(decoder) => decoder.finish(out),
        }
    }

    /// The counts so far.
    pub(crate) fn tally(&self) -> Tally {
        match self {
            Self::Usdt(decoder) => decoder.tally(),
            Self::Syscalls(decoder) => decoder.tally(),
        }
    }
}
