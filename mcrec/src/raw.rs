//! Records as they came from the ring, on their way from the drain to the writer and, to be
//! filled again, back.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::Duration,
};

/// A batch is full at so many records or bytes. A record has up to 16 KiB.
const BATCH_RECORDS: usize = 4096;
const BATCH_BYTES: usize = 512 << 10;
/// As many as there ever are: one that is filled, one that is decoded, and those between.
/// When none is empty the drain waits, the ring fills, and the BPF programs count what no
/// longer fits: the one place where load loses an operation.
const BATCHES: usize = 18;

/// Some records.
#[derive(Debug)]
pub(crate) struct RawBatch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RawBatch {
    /// An empty one. Its memory is touched here, so that what a recording takes does not
    /// grow while it runs.
    pub(crate) fn new() -> Self {
        let (mut bytes, mut ends) = (vec![1; BATCH_BYTES], vec![1; BATCH_RECORDS]);
        bytes.clear();
        ends.clear();
        Self { bytes, ends }
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    /// The records, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }

    /// The records, in order, each with the one that comes so many records later.
    pub(crate) fn records_and_later(
        &self,
        distance: usize,
    ) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut later = self.records().skip(distance);
        self.records().map(move |record| (record, later.next()))
    }

    /// The last of them.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        self.records().last()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.ends.len() >= BATCH_RECORDS || self.bytes.len() >= BATCH_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// The drain's end of the way.
#[derive(Debug)]
pub(crate) struct Filled {
    full: Sender<RawBatch>,
    empty: Receiver<RawBatch>,
}

/// The writer's end of it.
#[derive(Debug)]
pub(crate) struct Batches {
    full: Receiver<RawBatch>,
    empty: Sender<RawBatch>,
}

/// The way, with all the batches that there will be, empty.
pub(crate) fn way() -> (Filled, Batches) {
    let (full_in, full) = mpsc::channel();
    let (empty_in, empty) = mpsc::channel();
    for _ in 0..BATCHES {
        // Its other end is here.
        let _ = empty_in.send(RawBatch::new());
    }
    (Filled { full: full_in, empty }, Batches { full, empty: empty_in })
}

impl Filled {
    /// An empty batch, once there is one; `None` if nobody receives any more.
    pub(crate) fn empty(&self) -> Option<RawBatch> {
        self.empty.recv().ok()
    }

    /// Hands on a full one. Whether somebody receives.
    pub(crate) fn send(&self, batch: RawBatch) -> bool {
        self.full.send(batch).is_ok()
    }
}

impl Batches {
    /// The next batch that was filled.
    ///
    /// # Errors
    ///
    /// When there is none in that time, or will be none any more.
    pub(crate) fn next(&self, timeout: Duration) -> Result<RawBatch, RecvTimeoutError> {
        self.full.recv_timeout(timeout)
    }

    /// All batches that are filled until there will be none any more.
    pub(crate) fn rest(&self) -> impl Iterator<Item = RawBatch> {
        self.full.iter()
    }

    /// Gives one back.
    pub(crate) fn done(&self, mut batch: RawBatch) {
        batch.bytes.clear();
        batch.ends.clear();
        // The drain may have ended.
        let _ = self.empty.send(batch);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BATCHES, RawBatch, way};

    #[test]
    fn records_come_back_as_they_were() {
        let mut batch = RawBatch::new();
        let records: [&[u8]; 4] = [b"one", b"", b"three", b"4"];
        for record in records {
            batch.push(record);
        }
        assert_eq!(batch.records().collect::<Vec<_>>(), records);
    }

    #[test]
    fn batches_go_round_and_there_are_no_more_of_them() {
        let (filled, batches) = way();
        for round in 0..3 * BATCHES {
            let mut batch = filled.empty().unwrap();
            assert!(batch.is_empty());
            batch.push(&round.to_ne_bytes());
            assert!(filled.send(batch));
            if round + 1 >= BATCHES {
                let oldest = batches.next(Duration::ZERO).unwrap();
                let expected = (round + 1 - BATCHES).to_ne_bytes();
                assert_eq!(oldest.records().collect::<Vec<_>>(), [expected]);
                batches.done(oldest);
            }
        }
        drop(batches);
        assert!(filled.empty().is_some() && filled.empty().is_none());
    }
}
