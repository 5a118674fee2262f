//! What the decoder gives out.

use crate::flags::Letters;

/// How a request was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The classic text protocol.
    Text,
    /// The two-letter commands of the text protocol.
    Meta,
    /// The binary protocol.
    Binary,
}

/// What was asked. Meta commands and binary opcodes stand under the classic
/// command that they amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are memcached's own")]
pub enum Command {
    Get,
    Gets,
    Gat,
    Gats,
    Touch,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    /// Any store with a CAS unique.
    Cas,
    Incr,
    Decr,
    Delete,
    FlushAll,
    Stats,
    Version,
    /// `mn`, and the binary noop.
    Noop,
    /// `me`.
    Debug,
    Quit,
    Auth,
    Watch,
    /// Administration, and lines that memcached does not know.
    Other,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key was there.
    Hit,
    /// It was not.
    Miss,
    /// The value was stored.
    Stored,
    /// It was not, for no other reason than the command's condition.
    NotStored,
    /// Something else is stored: the CAS did not match, or an `add` came late.
    Exists,
    /// There is no such key.
    NotFound,
    /// The key was deleted, or marked stale.
    Deleted,
    /// The time to live was changed.
    Touched,
    /// Done.
    Ok,
    /// The server does not know the command.
    Error,
    /// The request was malformed.
    ClientError,
    /// The server could not do it.
    ServerError,
    /// The client asked for silence, and silence says nothing.
    NoReply,
    /// The reply was not seen, or could be another request's as well; or the request never
    /// arrived whole.
    Unknown,
}

/// One operation on one key, or a command without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// How it was written.
    pub protocol: Protocol,
    /// What was asked.
    pub command: Command,
    /// The key as the server stores it: base64 of a meta command is decoded.
    /// `None` for a command without one, or with one that is too long to be one.
    pub key: Option<&'a [u8]>,
    /// Bytes of the key; also of one that is too long. `None` without a key.
    pub key_length: Option<u64>,
    /// Position of the key in its request. The operations of a request come one
    /// after the other, so 0 is a new request.
    pub key_index: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// Bytes of the value that a store sent or a hit returned, without CRLF. Of a store that
    /// never arrived whole, those that did.
    pub value_size: Option<u64>,
    /// exptime as the client wrote it, also where the server keeps no more than its low 32
    /// bits; `None` of one that is no number or does not fit.
    pub ttl: Option<i64>,
    /// The client's opaque flags, where they were on the wire.
    pub client_flags: Option<u64>,
    /// The CAS unique that the reply told.
    pub cas: Option<u64>,
    /// The CAS unique that the request compares with; `None` if it does not.
    pub cas_sent: Option<u64>,
    /// The CAS unique that the request asks the item to have: meta `E`.
    pub cas_set: Option<u64>,
    /// The flags of a meta request: letters, modes and seconds, one blank between them.
    pub meta_flags: Option<&'a str>,
    /// The flags of a meta reply.
    pub meta_returned: Option<Letters>,
    /// Bytes from client to server. A multi-get's line is split over its keys.
    pub request_bytes: u64,
    /// Bytes from server to client; of a reply that was cut short, those that were sent.
    pub response_bytes: u64,
    /// The client asked for no reply, or for less of one.
    pub quiet: bool,
    /// Time tag of the read that completed the request.
    pub received_at: u64,
    /// Time tag of the send that carried the reply's last byte; `None` if there
    /// was no reply or it was not seen.
    pub answered_at: Option<u64>,
}

/// Something that could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A read that began a request, of which nothing is known: the connection is
    /// out of step since before. Or the first one that was seen of it went on with a
    /// request whose beginning was not.
    Unsynced,
    /// The connection fell out of step here.
    Desynced(Reason),
    /// The connection begins as TLS does: nothing of it can be seen.
    Encrypted,
}

/// Why a connection fell out of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Reads or sends are missing, as the caller said.
    Gap,
    /// The server asked for other bytes than it would after what was decoded.
    Asked,
    /// Bytes of a request are missing outside of a value.
    Hole,
    /// The server sent what no open request can have for a reply.
    Reply,
    /// A reply shows that the server read a request otherwise than it was decoded: it took a
    /// value where none was seen, or left one that was.
    Contradicted,
    /// A request that should have been answered was not.
    Unanswered,
    /// More would have to be held than is reasonable.
    TooMuch,
}

/// Receives what a connection did.
pub trait Observer {
    /// An operation is complete. Those of a connection come in the order in
    /// which the server served them.
    fn operation(&mut self, operation: &Operation<'_>);
    /// Something could not be decoded.
    fn fault(&mut self, fault: Fault);
}
