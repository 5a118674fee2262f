//! The keys of a cache in the order in which they were last used, each with its size, and
//! how much was used since any of them.

use crate::keys::hash::{KeyHash, Map};

/// A key on the stack.
#[derive(Clone, Copy, Debug)]
struct Item {
    slot: usize,
    bytes: u64,
}

/// Keys in the order of their last use: each has a slot, later ones have later slots, and a
/// Fenwick tree has the sums of bytes of slots.
#[derive(Debug, Default)]
pub(super) struct Stack {
    items: Map<Item>,
    sums: Vec<u64>,
    /// The slot of the next key to be used.
    next: usize,
    bytes: u64,
}

impl Stack {
    /// Bytes of all keys, and how many they are.
    pub(super) fn size(&self) -> (u64, usize) {
        (self.bytes, self.items.len())
    }

    /// The key is used, and has so many bytes from now on. Returns the bytes of all other
    /// keys that were used since it was; `None` if it was not there.
    pub(super) fn use_key(&mut self, key: KeyHash, bytes: u64) -> Option<u64> {
        let since = self.remove(key);
        if self.next == self.sums.len() {
            self.make_room();
        }
        self.add(self.next, bytes);
        self.items.insert(key, Item { slot: self.next, bytes });
        self.next += 1;
        self.bytes += bytes;
        since
    }

    /// The key is gone. Returns the bytes of all keys that were used since it was.
    pub(super) fn remove(&mut self, key: KeyHash) -> Option<u64> {
        let Item { slot, bytes } = self.items.remove(&key)?;
        let since = self.bytes - self.up_to(slot);
        self.add(slot, bytes.wrapping_neg());
        self.bytes -= bytes;
        Some(since)
    }

    /// Adds to a slot. Sums wrap, so that less can be added too.
    fn add(&mut self, slot: usize, bytes: u64) {
        let mut at = slot + 1;
        while at <= self.sums.len() {
            self.sums[at - 1] = self.sums[at - 1].wrapping_add(bytes);
            at += at & at.wrapping_neg();
        }
    }

    /// Bytes in this slot and all before it.
    fn up_to(&self, slot: usize) -> u64 {
        let (mut at, mut sum) = (slot + 1, 0_u64);
        while at > 0 {
            sum = sum.wrapping_add(self.sums[at - 1]);
            at -= at & at.wrapping_neg();
        }
        sum
    }

    /// Gives the keys the first slots, in their order, and has as many again.
    fn make_room(&mut self) {
        let mut order: Vec<(usize, KeyHash)> =
            self.items.iter().map(|(key, item)| (item.slot, *key)).collect();
        order.sort_unstable_by_key(|(slot, _)| *slot);
        self.sums = vec![0; (2 * order.len()).max(1024)];
        self.next = order.len();
        for (slot, (_, key)) in order.into_iter().enumerate() {
            if let Some(item) = self.items.get_mut(&key) {
                item.slot = slot;
                let bytes = item.bytes;
                self.add(slot, bytes);
            }
        }
    }
}
