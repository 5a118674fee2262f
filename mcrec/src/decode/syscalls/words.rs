//! What the protocol tells, in the words of captures.

use mcrec_protocol::{Command, Outcome, Protocol as Spoken};
use mcrec_schema::codes::{Op, Protocol, Status};

pub(super) fn protocol(protocol: Spoken) -> Protocol {
    match protocol {
        Spoken::Text => Protocol::Text,
        Spoken::Meta => Protocol::Meta,
        Spoken::Binary => Protocol::Binary,
    }
}

pub(super) fn op(command: Command) -> Op {
    match command {
        Command::Get => Op::Get,
        Command::Gets => Op::Gets,
        Command::Gat => Op::Gat,
        Command::Gats => Op::Gats,
        Command::Touch => Op::Touch,
        Command::Set => Op::Set,
        Command::Add => Op::Add,
        Command::Replace => Op::Replace,
        Command::Append => Op::Append,
        Command::Prepend => Op::Prepend,
        Command::Cas => Op::Cas,
        Command::Incr => Op::Incr,
        Command::Decr => Op::Decr,
        Command::Delete => Op::Delete,
        Command::FlushAll => Op::FlushAll,
        Command::Stats => Op::Stats,
        Command::Version => Op::Version,
        Command::Noop => Op::Noop,
        Command::Debug => Op::Debug,
        Command::Quit => Op::Quit,
        Command::Auth => Op::Auth,
        Command::Watch => Op::Watch,
        Command::Other => Op::Other,
    }
}

pub(super) fn status(outcome: Outcome) -> Status {
    match outcome {
        Outcome::Hit => Status::Hit,
        Outcome::Miss => Status::Miss,
        Outcome::Stored => Status::Stored,
        Outcome::NotStored => Status::NotStored,
        Outcome::Exists => Status::Exists,
        Outcome::NotFound => Status::NotFound,
        Outcome::Deleted => Status::Deleted,
        Outcome::Touched => Status::Touched,
        Outcome::Ok => Status::Ok,
        Outcome::Error => Status::Error,
        Outcome::ClientError => Status::ClientError,
        Outcome::ServerError => Status::ServerError,
        Outcome::NoReply => Status::NoReply,
        Outcome::Unknown => Status::Unknown,
    }
}
