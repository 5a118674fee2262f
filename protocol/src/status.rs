//! The status of a binary reply.

/// What the status of a binary reply says (memcached's `protocol_binary.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryStatus {
    /// It was done.
    Done,
    /// There is no such key.
    Absent,
    /// The CAS unique did not match, or what was to be added is there.
    Exists,
    /// The command's condition did not hold.
    NotStored,
    /// An authentication goes on with a further step: nothing was refused.
    GoesOn,
    /// The server does not know the command.
    UnknownCommand,
    /// The request was wrong, or not allowed.
    ClientError,
    /// The server could not do it.
    ServerError,
}

impl BinaryStatus {
    /// What `code` says. One that no release has is an error of the client.
    pub fn of(code: u16) -> Self {
        match code {
            0x00 => Self::Done,
            0x01 => Self::Absent,
            0x02 => Self::Exists,
            0x05 => Self::NotStored,
            0x21 => Self::GoesOn,
            0x81 => Self::UnknownCommand,
            // Too large, out of memory, internal, busy, temporary.
            0x03 | 0x82 | 0x84..=0x86 => Self::ServerError,
            // Invalid, not a number, not authenticated, not supported.
            _ => Self::ClientError,
        }
    }
}
