//! The ring of `bpf/ring.bpf.h`: how it is cut up, and its maps.

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapHandle, OpenMapMut};

use super::record::mcrec_ring;

/// Of a record that begins at the end of a block, bytes beyond that end at most.
const SPARE: u32 = mcrec_ring::MCREC_RING_SPARE.0;
const BLOCK: u32 = mcrec_ring::MCREC_RING_BLOCK.0;

/// How a ring of some size is cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes of a block, a power of two.
    pub(crate) block_bytes: u32,
    /// How many there are, a power of two.
    pub(crate) blocks: u32,
}

/// The maps of a ring.
#[derive(Debug)]
pub(crate) enum RingMaps {
    /// That of `bpf/ring.bpf.h`.
    Ours {
        /// `ring`: the blocks.
        blocks: MapHandle,
        /// `positions`: how far it was filled and emptied.
        positions: MapHandle,
    },
    /// The kernel's own (`bpf/kernel_ring.bpf.h`).
    Kernels(MapHandle),
}

impl Layout {
    /// Of a ring of `bytes`, a power of two.
    pub(crate) fn of(bytes: u32) -> Self {
        let block_bytes = bytes.min(BLOCK);
        Self { block_bytes, blocks: bytes / block_bytes }
    }

    /// How the ring of this map was cut up.
    pub(crate) fn of_map(blocks: &MapHandle) -> Self {
        Self { block_bytes: blocks.value_size() - SPARE, blocks: blocks.max_entries() }
    }

    /// Bytes of the ring.
    pub(crate) fn bytes(self) -> u32 {
        self.block_bytes * self.blocks
    }

    /// Makes the map `ring` of that size, before it is loaded. The programs need to know it
    /// too.
    pub(super) fn size(self, ring: &mut OpenMapMut<'_>) -> Result<()> {
        let sized = ring.set_max_entries(self.blocks);
        let sized = sized.and_then(|()| ring.set_value_size(self.entry_bytes()));
        sized.context("cannot size the ring buffer")
    }

    /// Bytes of an entry of the map: of a block, and beyond its end.
    pub(crate) fn entry_bytes(self) -> u32 {
        self.block_bytes + SPARE
    }
}

impl RingMaps {
    /// Bytes of the ring.
    pub(crate) fn bytes(&self) -> u32 {
        match self {
            Self::Ours { blocks, .. } => Layout::of_map(blocks).bytes(),
            Self::Kernels(ring) => ring.max_entries(),
        }
    }
}
