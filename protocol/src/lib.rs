//! memcached's wire protocols as a streaming decoder.
//!
//! Give a [`Connection`] what the server read and sent, in order; it tells an
//! [`Observer`] each operation and what became of it. It does no I/O, has no clock
//! (times are tags that the caller chooses), holds a bounded amount of memory, and
//! panics on nothing that a client or a server may send.
//!
//! The facts are memcached's own: its sources, releases 1.6.0 to 1.6.45. Replies
//! come strictly in the order of requests, and the server never reads a command
//! while replies are unsent. A read of a command asks for what is free in a buffer
//! of 16384 bytes; a read of a value asks for no more than what is missing of it. So
//! the size that is asked for shows whether the decoder is in step, and a read for
//! exactly 16384 bytes that begins with a known verb is where it gets into step.
#![forbid(unsafe_code)]

mod binary;
mod connection;
mod contradiction;
mod dialect;
mod exchange;
mod flags;
mod list;
mod meta;
mod number;
mod operation;
mod pending;
mod quiet;
mod release;
mod repeated;
mod replies;
mod reply;
mod requests;
mod status;
mod text;
mod token;
mod traffic;

pub use connection::{Connection, Start};
pub use dialect::{Binding, Dialect};
pub use flags::Letters;
pub use operation::{Command, Fault, Observer, Operation, Outcome, Protocol, Reason};
pub use pending::Rooms;
pub use release::Release;
pub use status::BinaryStatus;
pub use traffic::{Read, Segment};
