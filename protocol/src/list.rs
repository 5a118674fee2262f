//! Lists, such as statistics, of which nothing is told but where they end: of that they are
//! looked at, though not all of them was copied.

use crate::{binary, exchange::Exchange, operation::Protocol};

/// The first bytes of a line, as far as they tell its kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Start {
    bytes: [u8; 16],
    length: usize,
    /// Some are missing.
    pub(crate) broken: bool,
}

impl Start {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.len() - self.length;
        let taken = room.min(bytes.len());
        self.bytes[self.length..self.length + taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
        self.broken |= taken < bytes.len();
    }

    /// It is the line that the list ends with.
    pub(crate) fn ends_list(&self) -> bool {
        let line = &self.bytes[..self.length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // A refusal is no list at all.
        let refused = [&b"BUSY "[..], b"BADCLASS ", b"NOTSTARTED ", b"LOCKED "]
            .iter()
            .any(|start| line.starts_with(start));
        refused || (!self.broken && matches!(line, b"END" | b"EN"))
    }
}

/// The first open request is one for a list of lines.
pub(crate) fn in_lines(exchange: &Exchange) -> bool {
    let front = exchange.queue.front();
    front.is_some_and(|front| front.lists && front.protocol == Protocol::Text)
        && exchange.held.is_empty()
}

/// The first open request is one for statistics, of the binary protocol.
pub(crate) fn in_packets(exchange: &Exchange) -> bool {
    let front = exchange.queue.front();
    front.is_some_and(|front| front.lists && front.protocol == Protocol::Binary)
        && exchange.held.is_empty()
}

/// Keeps the last bytes of all that were pushed.
pub(crate) fn push_last(last: &mut [u8; binary::HEADER], data: &[u8]) {
    let taken = data.len().min(last.len());
    last.rotate_left(taken);
    let kept = last.len() - taken;
    last[kept..].copy_from_slice(&data[data.len() - taken..]);
}
