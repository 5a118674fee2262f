//! The recorder's end of the kernel's own ring.

use std::{cell::RefCell, rc::Rc};

use anyhow::{Context, Result};
use libbpf_rs::{AsRawLibbpf, MapHandle, RingBuffer, RingBufferBuilder};

use super::{Records, Taken};

/// The ring, mapped by libbpf.
pub(super) struct KernelRing<'a> {
    ring: RingBuffer<'a>,
    /// What libbpf gave out, one after the other, and where each record ends.
    taken: Rc<RefCell<(Vec<u8>, Vec<usize>)>>,
}

impl<'a> KernelRing<'a> {
    /// Maps the ring of this map.
    ///
    /// # Errors
    ///
    /// When the kernel does not map it.
    pub(super) fn open(map: &'a MapHandle) -> Result<Self> {
        let taken = Rc::default();
        let mut builder = RingBufferBuilder::new();
        let into: Rc<RefCell<(Vec<u8>, Vec<usize>)>> = Rc::clone(&taken);
        let take = move |record: &[u8]| {
            let (bytes, ends) = &mut *into.borrow_mut();
            bytes.extend_from_slice(record);
            ends.push(bytes.len());
            0
        };
        builder.add(map, take).context("cannot map the ring buffer")?;
        Ok(Self { ring: builder.build().context("cannot map the ring buffer")?, taken })
    }
}

impl Records for KernelRing<'_> {
    fn used(&self) -> u64 {
        // SAFETY: there is one ring, and both live as long as the buffer does.
        let used = unsafe {
            let ring = libbpf_sys::ring_buffer__ring(self.ring.as_libbpf_object().as_ptr(), 0);
            libbpf_sys::ring__avail_data_size(ring)
        };
        used as u64
    }

    fn take(&mut self, most: usize, mut record: impl FnMut(&[u8])) -> Taken {
        // It fails only where a callback does.
        self.ring.consume_raw_n(most);
        let (bytes, ends) = &mut *self.taken.borrow_mut();
        let count = ends.len();
        let mut begin = 0;
        for end in ends.drain(..) {
            record(&bytes[begin..end]);
            begin = end;
        }
        bytes.clear();
        match self.used() {
            _ if count >= most => Taken::Some,
            0 => Taken::All,
            _ => Taken::UpToUnfinished,
        }
    }
}
