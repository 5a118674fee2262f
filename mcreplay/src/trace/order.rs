//! Groups in the order of time.
//!
//! A capture has its rows in the order in which requests were completed. So groups are
//! sorted among those of [`ROWS`] rows: more than any request is late, unless a client
//! leaves it waiting. What is later still comes when it comes.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use crate::request::Group;

/// Rows among which is sorted.
const ROWS: usize = 1 << 17;

/// Puts groups in order. A group may still grow while it waits.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// By time, and of equal ones by when they were begun.
    heap: BinaryHeap<Reverse<(i64, u64)>>,
    /// From number `first` on; those that left are gone.
    groups: VecDeque<Option<Group>>,
    first: u64,
    rows: usize,
}

impl Order {
    /// Adds a group that was begun now, with so many rows. Returns its number.
    pub(super) fn add(&mut self, group: Group, rows: usize) -> u64 {
        let number = self.first + self.groups.len() as u64;
        self.rows += rows;
        self.heap.push(Reverse((group.ts, number)));
        self.groups.push_back(Some(group));
        number
    }

    /// The group with this number, if it still waits, to be added a row to.
    pub(super) fn more(&mut self, number: u64) -> Option<&mut Group> {
        let place = self.place(number)?;
        let group = self.groups.get_mut(place)?.as_mut()?;
        self.rows += 1;
        Some(group)
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// The first group, if more wait than has to.
    pub(super) fn next_beyond(&mut self) -> Option<Group> {
        if self.rows > ROWS { self.next() } else { None }
    }

    /// The first group.
    pub(super) fn next(&mut self) -> Option<Group> {
        let Reverse((_, number)) = self.heap.pop()?;
        let place = self.place(number)?;
        let group = self.groups.get_mut(place)?.take()?;
        while self.groups.front().is_some_and(Option::is_none) {
            self.groups.pop_front();
            self.first += 1;
        }
        self.rows = self.rows.saturating_sub(group.keys.len().max(1));
        Some(group)
    }
}
