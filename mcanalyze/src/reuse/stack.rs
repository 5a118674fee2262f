//! The keys of a cache in the order in which they were last used, each with its size, and
//! how much was used since any of them.
//!
//! What is deleted, or becomes smaller, leaves a gap: memory that is free in caches that
//! had it, and that the next keys take, so that they push out nothing there. No gap brings
//! back what was pushed out before (Traiger and Slutz, 1971, have it for pages).

use std::collections::BTreeMap;

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
    /// Of the keys.
    bytes: u64,
    /// Bytes that are free, by the slot that had them.
    gaps: BTreeMap<usize, u64>,
    /// Of keys and gaps.
    depth: u64,
    /// The most that keys had at a time.
    peak: u64,
}

impl Stack {
    /// Bytes of all keys, and how many they are.
    pub(super) fn size(&self) -> (u64, usize) {
        (self.bytes, self.items.len())
    }

    /// Whether the key is there.
    pub(super) fn holds(&self, key: KeyHash) -> bool {
        self.items.contains_key(&key)
    }

    /// The key is used, and has so many bytes from now on. Returns how many bytes other
    /// keys took at most since it was used; `None` if it was not there.
    pub(super) fn use_key(&mut self, key: KeyHash, bytes: u64) -> Option<u64> {
        let since = self.delete(key);
        if self.next == self.sums.len() {
            self.make_room();
        }
        self.fill_gaps(bytes);
        self.add(self.next, bytes);
        self.items.insert(key, Item { slot: self.next, bytes });
        self.next += 1;
        self.bytes += bytes;
        self.depth += bytes;
        self.peak = self.peak.max(self.bytes);
        since
    }

    /// The key is gone, and its memory is free. Returns how many bytes other keys took at
    /// most since it was used.
    pub(super) fn delete(&mut self, key: KeyHash) -> Option<u64> {
        let Item { slot, bytes } = self.items.remove(&key)?;
        let since = self.depth - self.up_to(slot);
        if bytes > 0 {
            self.gaps.insert(slot, bytes);
        }
        self.bytes -= bytes;
        Some(since)
    }

    /// The key is as if it had never been there.
    pub(super) fn forget(&mut self, key: KeyHash) {
        let Some(Item { slot, bytes }) = self.items.remove(&key) else { return };
        self.add(slot, bytes.wrapping_neg());
        self.bytes -= bytes;
        self.depth -= bytes;
        self.peak = self.peak.saturating_sub(bytes);
    }

    /// All keys are gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many bytes all keys took at most at a time.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// So many bytes are taken from the gaps, those that most caches have first.
    fn fill_gaps(&mut self, mut bytes: u64) {
        while let Some(mut gap) = self.gaps.last_entry().filter(|_| bytes > 0) {
            let (slot, taken) = (*gap.key(), bytes.min(*gap.get()));
            *gap.get_mut() -= taken;
            if *gap.get() == 0 {
                gap.remove();
            }
            bytes -= taken;
            self.depth -= taken;
            self.add(slot, taken.wrapping_neg());
        }
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

    /// Gives keys and gaps the first slots, in their order, and has as many again. Gaps
    /// next to each other become one, and those below all keys are no loss.
    fn make_room(&mut self) {
        let keys = self.items.iter().map(|(key, item)| (item.slot, Some(*key), item.bytes));
        let gaps = std::mem::take(&mut self.gaps);
        let gaps = gaps.into_iter().map(|(slot, bytes)| (slot, None, bytes));
        let mut order: Vec<(usize, Option<KeyHash>, u64)> = keys.chain(gaps).collect();
        order.sort_unstable_by_key(|(slot, ..)| *slot);
        self.sums = vec![0; (4 * self.items.len()).max(1024)];
        (self.next, self.depth) = (0, 0);
        let mut gap = None;
        for (_, key, bytes) in order {
            let slot = match (key.and_then(|key| self.items.get_mut(&key)), gap) {
                (Some(item), _) => {
                    item.slot = self.next;
                    gap = None;
                    self.next
                }
                (None, None) if self.next == 0 => continue,
                (None, None) => {
                    gap = Some(self.next);
                    self.next
                }
                (None, Some(gap)) => gap,
            };
            if key.is_none() {
                *self.gaps.entry(slot).or_insert(0) += bytes;
            }
            self.next = slot + 1;
            self.add(slot, bytes);
            self.depth += bytes;
        }
    }
}
