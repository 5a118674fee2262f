//! Keys that a request asks for more than once.

use crate::{operation::Outcome, pending::Queue};

/// Where the same key was asked for more than once, and not all of them were hits,
/// the values can be of the one or the other.
pub(crate) fn unsure_of_repeated_keys(queue: &mut Queue) {
    let entries = queue.entries(0);
    let hit = |at: &usize| entries[*at].outcome.is_some();
    let hits: Vec<usize> = (0..entries.len()).filter(hit).collect();
    if hits.is_empty() || hits.len() == entries.len() {
        return;
    }
    // Each hit is of its entry at the earliest, and at the latest of its reach: an
    // entry of the same key as far to the end as those of later hits leave it.
    let mut reach = vec![0; entries.len()];
    let mut end = entries.len();
    for &first in hits.iter().rev() {
        let key = queue.key(&entries[first]);
        end = (first..end).rev().find(|&at| queue.key(&entries[at]) == key).unwrap_or(first);
        reach[first] = end;
    }
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|&at| queue.key(&entries[at]));
    let mut unsure = vec![false; entries.len()];
    for same in order.chunk_by(|&one, &next| queue.key(&entries[one]) == queue.key(&entries[next]))
    {
        let mut up_to = 0;
        for &at in same {
            up_to = up_to.max(if reach[at] > at { reach[at] + 1 } else { 0 });
            unsure[at] = at < up_to;
        }
    }
    for (entry, unsure) in queue.entries_mut(0).iter_mut().zip(unsure) {
        if unsure {
            entry.outcome = Some(Outcome::Unknown);
            (entry.value_size, entry.client_flags, entry.cas) = (None, None, None);
        }
    }
}
