//! Counts different things, in bounded memory: all of them, or where they are too many
//! those of a sample by their hash. Pure.

use std::collections::HashMap;

use crate::keys::hash::KeyHash;

/// Things that are held at once, some 40 bytes each.
const HELD_MAX: usize = 2_000_000;

/// Different things in each of several groups.
#[derive(Clone, Debug)]
pub(crate) struct Distinct<G, V> {
    /// One thing in `2^level` is in the sample.
    level: u32,
    most: usize,
    /// A thing with a group, and the least of what was said of it.
    held: HashMap<(G, KeyHash), V>,
}

impl<G: Copy + Eq + std::hash::Hash, V: Copy + Ord> Distinct<G, V> {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { level: 0, most: HELD_MAX, held: HashMap::new() }
    }

    /// A thing is in a group; `value` says something of it, of which the least is kept.
    pub(crate) fn add(&mut self, group: G, thing: KeyHash, value: V) {
        if !thing.is_in_sample(self.level) {
            return;
        }
        let least = self.held.entry((group, thing)).or_insert(value);
        *least = value.min(*least);
        if self.held.len() > self.most {
            self.thin_out(self.level + 1);
        }
    }

    /// Takes in what another saw.
    pub(crate) fn merge(&mut self, other: Self) {
        self.thin_out(self.level.max(other.level));
        for ((group, thing), value) in other.held {
            self.add(group, thing, value);
        }
    }

    fn thin_out(&mut self, level: u32) {
        if level > self.level {
            self.level = level;
            self.held.retain(|(_, thing), _| thing.is_in_sample(level));
        }
    }

    /// What is held, with how many things each stands for.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (G, V, i64)> {
        let weight = 1_i64 << self.level.min(62);
        self.held.iter().map(move |((group, _), value)| (*group, *value, weight))
    }

    /// Whether all things are held, so that what is counted is exact.
    pub(crate) fn is_exact(&self) -> bool {
        self.level == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Distinct;
    use crate::keys::hash::KeyHash;

    #[test]
    fn a_sample_counts_about_as_many_whoever_saw_them() {
        let mut threads = [0, 1].map(|_| Distinct { most: 1_000, ..Distinct::new() });
        for n in 0..100_000_u32 {
            let thing = KeyHash::of_number((n / 2).into());
            threads[(n % 2) as usize].add((), thing, i64::from(n));
        }
        let [mut all, other] = threads;
        all.merge(other);
        let count: i64 = all.iter().map(|(.., weight)| weight).sum();
        assert!(!all.is_exact() && (42_000..58_000).contains(&count), "{count}");
    }
}
