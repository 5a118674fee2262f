//! The recorder's end of the ring that `bpf/ring.bpf.h` describes.

use std::{
    marker::PhantomData,
    os::fd::AsFd,
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result};
use libbpf_rs::MapHandle;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{Records, Taken};
use crate::probe::{
    Layout,
    record::{mcrec_positions, mcrec_ring},
};

/// Of the length before each record.
const WORD: usize = size_of::<u64>();
const RECORD_MAX: usize = mcrec_ring::MCREC_RECORD_MAX.0 as usize;

/// The ring, mapped.
pub(super) struct Ring {
    blocks: Mapping<u8>,
    positions: Mapping<mcrec_positions>,
    layout: Layout,
    /// Up to where it was read.
    consumed: u64,
}

impl Ring {
    /// Maps the ring of these maps. It is empty: nobody read it before.
    ///
    /// # Errors
    ///
    /// When the kernel does not map it.
    pub(super) fn open(blocks: &MapHandle, positions: &MapHandle) -> Result<Self> {
        Self::map(blocks, positions, Layout::of_map(blocks))
    }

    fn map(blocks: impl AsFd, positions: impl AsFd, layout: Layout) -> Result<Self> {
        let bytes = u64::from(layout.entry_bytes()) * u64::from(layout.blocks);
        Ok(Self {
            blocks: Mapping::new(blocks, usize::try_from(bytes)?)?,
            positions: Mapping::new(positions, size_of::<mcrec_positions>())?,
            layout,
            consumed: 0,
        })
    }

    /// Gives out the next record and leaves zeros in its place; how many, or `None` where it
    /// is not complete.
    fn take_one(&self, record: &mut impl FnMut(&[u8])) -> Option<u64> {
        let at = self.at(self.consumed);
        // SAFETY: `at` is within the mapping and aligned, as all positions are.
        let word = unsafe { AtomicU64::from_ptr(at.cast().as_ptr()) };
        let length =
            usize::try_from(word.load(Ordering::Acquire)).ok().filter(|&length| length > 0)?;
        let length = length.min(RECORD_MAX);
        let taken = WORD + length.next_multiple_of(WORD);
        // SAFETY: the entry has room for the longest record wherever one begins. Nobody
        // writes there from when the length was written until `consumed` is beyond it.
        unsafe {
            record(slice::from_raw_parts(at.as_ptr().add(WORD), length));
            ptr::write_bytes(at.as_ptr(), 0, taken);
        }
        Some(taken as u64)
    }

    /// The memory of a position.
    fn at(&self, position: u64) -> NonNull<u8> {
        let within = position % u64::from(self.layout.bytes());
        let block = u64::from(self.layout.block_bytes);
        let offset = within / block * u64::from(self.layout.entry_bytes()) + within % block;
        // SAFETY: an entry is longer than a block, and there is one for each.
        unsafe { self.blocks.start.add(usize::try_from(offset).unwrap_or(0)) }
    }

    fn produced(&self) -> &AtomicU64 {
        // SAFETY: it is mapped for as long as we live, and everyone changes it atomically.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.positions.start.as_ptr()).produced) }
    }

    fn consumer(&self) -> &AtomicU64 {
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.positions.start.as_ptr()).consumed) }
    }
}

impl Records for Ring {
    fn used(&self) -> u64 {
        self.produced().load(Ordering::Acquire).saturating_sub(self.consumed)
    }

    fn take(&mut self, most: usize, mut record: impl FnMut(&[u8])) -> Taken {
        let produced = self.produced().load(Ordering::Acquire);
        let mut taken = Taken::Some;
        for _ in 0..most {
            if self.consumed >= produced {
                taken = Taken::All;
                break;
            }
            let Some(length) = self.take_one(&mut record) else {
                taken = Taken::UpToUnfinished;
                break;
            };
            self.consumed += length;
        }
        // The zeros that were left behind are there before anybody takes their place.
        self.consumer().store(self.consumed, Ordering::Release);
        taken
    }
}

/// The memory of a map, shared with the kernel.
struct Mapping<T> {
    start: NonNull<T>,
    bytes: usize,
    of: PhantomData<T>,
}

// SAFETY: memory that is not bound to a thread.
unsafe impl<T: Send> Send for Mapping<T> {}

impl<T> Mapping<T> {
    fn new(map: impl AsFd, bytes: usize) -> Result<Self> {
        // SAFETY: a new mapping, where the kernel has room for it.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                map,
                0,
            )
        };
        let start = start.context("cannot map the ring buffer")?;
        let start = NonNull::new(start.cast()).context("cannot map the ring buffer")?;
        Ok(Self { start, bytes, of: PhantomData })
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: it was mapped by us, and what borrows from it is gone. An error would
        // leave it mapped.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::{os::fd::OwnedFd, sync::atomic::Ordering};

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    use super::{RECORD_MAX, Records, Ring, Taken, WORD};
    use crate::probe::{Layout, record::mcrec_positions};

    fn memory(bytes: u64) -> OwnedFd {
        let memory = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, bytes).unwrap();
        memory
    }

    /// A ring, as the kernel makes one, and the same memory once more, for who writes.
    fn ring(layout: Layout) -> (Ring, Ring) {
        let bytes = u64::from(layout.entry_bytes()) * u64::from(layout.blocks);
        let (blocks, positions) = (memory(bytes), memory(size_of::<mcrec_positions>() as u64));
        let map = || Ring::map(&blocks, &positions, layout).unwrap();
        (map(), map())
    }

    /// What `ring_take` of `bpf/ring.bpf.h` does.
    fn reserve(ring: &Ring, length: usize) -> Option<u64> {
        let taken = (WORD + length.next_multiple_of(WORD)) as u64;
        let at = ring.produced().load(Ordering::Relaxed);
        let used = at + taken - ring.consumer().load(Ordering::Relaxed);
        (used <= ring.layout.bytes().into()).then(|| {
            ring.produced().store(at + taken, Ordering::Relaxed);
            at
        })
    }

    /// And the rest of `ring_output`.
    fn finish(ring: &Ring, at: u64, record: &[u8]) {
        let to = ring.at(at).as_ptr();
        // SAFETY: reserved, and each entry has room beyond its block.
        unsafe {
            to.add(WORD).copy_from_nonoverlapping(record.as_ptr(), record.len());
            to.cast::<u64>().write(record.len() as u64);
        }
    }

    fn taken(ring: &mut Ring, most: usize) -> (Taken, Vec<Vec<u8>>) {
        let mut records = Vec::new();
        let taken = ring.take(most, |record| records.push(record.to_vec()));
        (taken, records)
    }

    #[test]
    fn records_of_all_lengths_come_back_as_they_were() {
        // Two blocks, so that records end beyond the end of one, and of the ring.
        let layout = Layout { block_bytes: 32 << 10, blocks: 2 };
        let (mut reader, writer) = ring(layout);
        let lengths = (1..=RECORD_MAX).step_by(97).chain([RECORD_MAX; 20]).chain(1..300);
        for (number, length) in lengths.enumerate() {
            let bytes = number.to_ne_bytes();
            let record: Vec<u8> = bytes.iter().cycle().take(length).copied().collect();
            finish(&writer, reserve(&writer, length).unwrap(), &record);
            if number % 3 == 0 {
                continue;
            }
            let (all, records) = taken(&mut reader, 10);
            assert_eq!(all, Taken::All);
            assert_eq!(records.last(), Some(&record), "{length} bytes");
        }
        taken(&mut reader, 10);
        assert_eq!(reader.used(), 0);
    }

    #[test]
    fn what_is_not_finished_and_what_follows_waits() {
        let (mut reader, writer) = ring(Layout::of(4096));
        let [first, second, third] = [0, 1, 2].map(|_| reserve(&writer, 5).unwrap());
        finish(&writer, first, b"first");
        finish(&writer, third, b"third");
        assert_eq!(taken(&mut reader, 10), (Taken::UpToUnfinished, vec![b"first".to_vec()]));
        assert_eq!(taken(&mut reader, 10), (Taken::UpToUnfinished, vec![]));
        finish(&writer, second, b"after");
        assert_eq!(taken(&mut reader, 1), (Taken::Some, vec![b"after".to_vec()]));
        assert_eq!(taken(&mut reader, 10), (Taken::All, vec![b"third".to_vec()]));
    }

    #[test]
    fn a_full_ring_takes_no_more_until_it_was_read() {
        let (mut reader, writer) = ring(Layout::of(4096));
        let mut put = 0;
        while let Some(at) = reserve(&writer, 100) {
            finish(&writer, at, &[7; 100]);
            put += 1;
        }
        assert_eq!((put, reader.used()), (4096 / 112, put * 112));
        assert_eq!(taken(&mut reader, 1).1.len(), 1);
        let at = reserve(&writer, 100).unwrap();
        // The bytes of an older record are no length of a newer one.
        assert_eq!(taken(&mut reader, 100).0, Taken::UpToUnfinished);
        finish(&writer, at, &[8; 100]);
        assert_eq!(taken(&mut reader, 100), (Taken::All, vec![vec![8; 100]]));
    }
}
