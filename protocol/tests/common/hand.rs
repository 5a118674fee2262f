//! A conversation step by step.

use mcrec_protocol::{Connection, Dialect, Fault, Read, Segment, Start};

use super::Log;

/// A connection whose reads and sends are made one by one.
pub struct Hand {
    pub connection: Connection,
    pub log: Log,
    at: u64,
}

impl Hand {
    pub fn new(dialect: Dialect, start: Start) -> Self {
        Self { connection: Connection::new(dialect, start), log: Log::default(), at: 0 }
    }

    pub fn read(&mut self, asked: u64, data: impl AsRef<[u8]>) -> &mut Self {
        let length = data.as_ref().len() as u64;
        self.read_of(asked, length, data)
    }

    pub fn read_of(&mut self, asked: u64, length: u64, data: impl AsRef<[u8]>) -> &mut Self {
        self.at += 1;
        let read = Read { asked, length, data: data.as_ref() };
        self.connection.received(read, self.at, &mut self.log);
        self
    }

    pub fn send(&mut self, data: impl AsRef<[u8]>) -> &mut Self {
        self.at += 1;
        let head = data.as_ref();
        let segment = Segment { length: head.len() as u64, head, tail: &[] };
        let segments = std::iter::once(segment);
        self.connection.sent(segments, u64::MAX >> 1, self.at, &mut self.log);
        self
    }

    /// Sends a buffer of which only the ends were copied.
    pub fn send_ends(&mut self, head: &[u8], hole: usize, tail: &[u8]) -> &mut Self {
        self.at += 1;
        let length = (head.len() + hole + tail.len()) as u64;
        let segments = std::iter::once(Segment { length, head, tail });
        self.connection.sent(segments, length, self.at, &mut self.log);
        self
    }

    pub fn gap(&mut self) -> &mut Self {
        self.connection.gap(&mut self.log);
        self
    }

    #[track_caller]
    pub fn told(&mut self, operations: &[&str], faults: &[Fault]) {
        self.connection.close(&mut self.log);
        assert_eq!(self.log.operations, operations);
        assert_eq!(self.log.faults, faults);
    }
}
