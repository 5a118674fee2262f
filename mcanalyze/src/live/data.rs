//! The figures of everything that was read so far, in bounded memory. Pure.

use std::{collections::HashMap, sync::Arc};

use super::{
    batch::Batch,
    figures::{Figures, OTHERS},
    series::{Intervals, Series, Sums},
};
use crate::{
    item::Effect,
    prefix::{Delimiters, Shape},
};

/// What is held at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Keys: some hundreds of bytes each. With more, the coldest half is dropped.
    pub(super) keys: usize,
    /// Intervals in which keys were seen, of all keys together: 8 bytes each. With
    /// more, intervals become longer.
    pub(super) intervals: usize,
    /// Clients that are told apart.
    pub(super) clients: usize,
}

/// About a gigabyte, when all of it is there.
pub(super) const LIMITS: Limits = Limits { keys: 1_000_000, intervals: 32_000_000, clients: 4_096 };

/// How finely the rate of a key is known over time.
const INTERVALS_OF_KEY: u16 = 64;

/// Names with their figures, each with a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    numbers: HashMap<Arc<str>, u32>,
    groups: Vec<(Arc<str>, Figures)>,
}

impl Groups {
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// The group of a number.
    pub(super) fn at(&self, number: u32) -> &(Arc<str>, Figures) {
        &self.groups[number as usize]
    }

    pub(super) fn find(&self, name: &str) -> Option<&Figures> {
        self.number(name).map(|number| &self.at(number).1)
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Arc<str>, Figures)> {
        self.groups.iter()
    }

    /// The number of a name, a new one if it is new.
    fn number_of(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let name: Arc<str> = name.into();
        let number = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.numbers.insert(Arc::clone(&name), number);
        self.groups.push((name, Figures::default()));
        number
    }

    /// Keeps those with the most calls: half of them.
    fn keep_hottest(&mut self) {
        let half = self.groups.len() / 2;
        self.groups.select_nth_unstable_by_key(half, |(_, figures)| -figures.calls);
        self.groups.truncate(half);
        self.numbers.clear();
        let numbers =
            self.groups.iter().zip(0..).map(|((name, _), number)| (Arc::clone(name), number));
        self.numbers.extend(numbers);
    }
}

/// All figures.
#[derive(Clone, Debug)]
pub(super) struct Data {
    limits: Limits,
    pub(super) keys: Groups,
    pub(super) clients: Groups,
    pub(super) commands: Groups,
    /// How keys are seen over time.
    pub(super) intervals: Intervals,
    pub(super) series: Series,
    pub(super) totals: Sums,
    /// Rows that were read.
    pub(super) rows: u64,
    /// How often keys were dropped, and the others got other numbers: what is known of
    /// rare keys is too little.
    pub(super) dropped: u32,
    /// How often the cache was flushed.
    flushes: u32,
    /// First intervals of keys, about.
    in_intervals: usize,
}

impl Data {
    /// Of a capture that begins at `origin`, µs since the epoch.
    pub(super) fn from(origin: i64, limits: Limits) -> Self {
        Self {
            limits,
            keys: Groups::default(),
            clients: Groups::default(),
            commands: Groups::default(),
            intervals: Intervals::from(origin, INTERVALS_OF_KEY),
            series: Series::from(origin),
            totals: Sums::default(),
            rows: 0,
            dropped: 0,
            flushes: 0,
            in_intervals: 0,
        }
    }

    /// Takes operations in.
    pub(super) fn apply(&mut self, batch: &Batch) {
        self.make_room(batch.keys.len());
        let keys: Vec<u32> = batch.keys.iter().map(|key| self.keys.number_of(key)).collect();
        let clients: Vec<u32> = batch.clients.iter().map(|name| self.client(name)).collect();
        self.rows += batch.rows;
        let flushed_before = self.flushes;
        for operation in &batch.operations {
            let (interval, longer) = self.intervals.interval(operation.ts);
            if longer > 0 {
                self.lengthened(longer);
            }
            let client = clients[operation.client as usize];
            let of_key = u16::try_from(client).unwrap_or(OTHERS);
            let command = self.commands.number_of(super::batch::command(operation.command.into()));
            if operation.flushes() {
                self.flushes = self.flushes.wrapping_add(1);
            }
            if let Some(key) = operation.key {
                let (_, figures) = &mut self.keys.groups[keys[key as usize] as usize];
                figures.flush(self.flushes);
                let is_first = figures.add(operation, operation.effect, of_key, interval);
                self.in_intervals += usize::from(is_first);
            }
            // Of other groups than keys nothing is there that could grow or go.
            let value = operation.effect.size().map_or(Effect::Nothing, Effect::Is);
            let groups = [
                &mut self.clients.groups[client as usize],
                &mut self.commands.groups[command as usize],
            ];
            for (_, figures) in groups {
                self.in_intervals += usize::from(figures.add(operation, value, of_key, interval));
            }
            self.series.add(operation);
            self.totals.add(operation);
        }
        if self.flushes != flushed_before {
            let flushes = self.flushes;
            self.keys.groups.iter_mut().for_each(|(_, figures)| figures.flush(flushes));
        }
    }

    /// The number of a client: those that are too many have one.
    fn client(&mut self, name: &str) -> u32 {
        let is_full = self.clients.len() >= self.limits.clients;
        let name = if is_full && self.clients.number(name).is_none() { "others" } else { name };
        self.clients.number_of(name)
    }

    fn make_room(&mut self, keys: usize) {
        if self.keys.len() + keys > self.limits.keys {
            self.keys.keep_hottest();
            self.dropped += 1;
        }
        if self.in_intervals > self.limits.intervals {
            self.intervals.lengthen();
            self.lengthened(1);
        }
    }

    /// Intervals became longer by so many powers of two.
    fn lengthened(&mut self, by: u32) {
        self.in_intervals = 0;
        for groups in [&mut self.keys, &mut self.clients, &mut self.commands] {
            for (_, figures) in &mut groups.groups {
                figures.over_time.shift(by);
                self.in_intervals += figures.over_time.len();
            }
        }
    }

    /// What the keys have in common, with the figures of all of them.
    pub(super) fn prefixes(&self) -> Groups {
        let mut delimiters = Delimiters::default();
        self.keys.iter().for_each(|(key, _)| delimiters.see(key));
        let mut shape = Shape::with(delimiters);
        self.keys.iter().for_each(|(key, _)| shape.see(key));
        shape.cut_down();
        let mut prefixes = Groups::default();
        for (key, figures) in self.keys.iter() {
            let number = prefixes.number_of(&shape.prefix(key));
            prefixes.groups[number as usize].1.merge(figures);
        }
        prefixes
    }
}

#[cfg(test)]
pub(super) mod tests {
    use mcrec_schema::codes::Op;

    use super::{Data, Groups, LIMITS, Limits};
    use crate::{
        item::Effect,
        live::batch::{Batch, Operation},
    };

    /// Gets of keys, one a second, each a miss where the key is asked for first.
    pub(crate) fn gets(keys: &[&str]) -> Batch {
        let mut batch = Batch { clients: vec!["10.0.0.1".into()], ..Batch::default() };
        for (key, second) in keys.iter().zip(0_i64..) {
            let known = batch.keys.iter().position(|other| **other == **key);
            let number = known.unwrap_or_else(|| {
                batch.keys.push((*key).into());
                batch.keys.len() - 1
            });
            let size = i64::try_from(key.len()).unwrap();
            batch.operations.push(Operation {
                ts: second * 1_000_000,
                command: 0,
                key: Some(u32::try_from(number).unwrap()),
                client: 0,
                hit: Some(known.is_some()),
                size: known.is_some().then_some(size),
                effect: if known.is_some() { Effect::Is(size) } else { Effect::Lost },
                latency: Some(1_000 * (second + 1)),
                weight: 1,
            });
            batch.rows += 1;
        }
        batch
    }

    #[test]
    fn everything_is_counted() {
        let mut data = Data::from(0, LIMITS);
        data.apply(&gets(&["user:1", "user:2", "user:1"]));
        data.apply(&gets(&["user:1"]));
        let one = data.keys.find("user:1").unwrap();
        assert_eq!((one.calls, one.hits, one.misses, one.bytes), (3, 1, 2, 6));
        assert_eq!(one.seen, Some((0, 2_000_000)));
        assert_eq!(data.totals.operations, 4);
        assert_eq!(data.clients.find("10.0.0.1").unwrap().calls, 4);
        assert_eq!(data.commands.find("get").unwrap().calls, 4);
        let prefixes = data.prefixes();
        let prefix = prefixes.find("user:*").unwrap();
        assert_eq!((prefix.calls, prefix.misses), (4, 3));
    }

    #[test]
    fn the_coldest_keys_give_way_to_new_ones() {
        let mut data = Data::from(0, Limits { keys: 10, intervals: 20, clients: 1 });
        let hot = ["hot"; 50];
        data.apply(&gets(&hot));
        for n in 0..100 {
            data.apply(&gets(&[&format!("cold{n}")]));
        }
        assert!(data.keys.len() <= 10 && data.dropped > 0);
        assert_eq!(data.keys.find("hot").unwrap().calls, 50);
        // Totals are those of all.
        assert_eq!(data.totals.operations, 150);
        let in_intervals: usize = data.keys.iter().map(|(_, f)| f.over_time.len()).sum();
        assert!(in_intervals <= 40, "{in_intervals}");
    }

    #[test]
    fn clients_that_are_too_many_are_one() {
        let mut data = Data::from(0, Limits { clients: 2, ..LIMITS });
        for n in 0..5 {
            let mut batch = gets(&["key"]);
            batch.clients = vec![format!("10.0.0.{n}").into()];
            data.apply(&batch);
        }
        assert_eq!(data.clients.len(), 3);
        assert_eq!(data.clients.find("others").unwrap().calls, 3);
    }

    #[test]
    fn the_size_of_a_key_is_what_is_there() {
        let mut data = Data::from(0, LIMITS);
        let flush_all = Op::ALL.iter().position(|op| *op == Op::FlushAll).unwrap();
        let mut tell = |effect: Effect, command: u8, key: Option<u32>| {
            let mut batch = gets(&["key"]);
            batch.operations[0] = Operation { effect, command, key, ..batch.operations[0] };
            data.apply(&batch);
            let size = |groups: &Groups, name: &str| groups.find(name).unwrap().size.size();
            let of_key = data.keys.find("key").unwrap();
            let sizes = of_key.sizes.map(|sizes| (sizes.min, sizes.max));
            (size(&data.keys, "key"), sizes, size(&data.clients, "10.0.0.1"))
        };
        assert_eq!(tell(Effect::Is(80), 0, Some(0)), (Some(80), Some((80, 80)), Some(80)));
        assert_eq!(tell(Effect::Kept(2), 0, Some(0)), (Some(82), Some((80, 82)), Some(80)));
        let flush = u8::try_from(flush_all).unwrap();
        let gone = (None, Some((80, 82)), Some(80));
        assert_eq!(tell(Effect::Nothing, flush, None), gone);
        assert_eq!(tell(Effect::Kept(0), 0, Some(0)), gone);
        assert_eq!(tell(Effect::Is(3), 0, Some(0)), (Some(3), Some((3, 82)), Some(3)));
        assert_eq!(tell(Effect::Lost, 0, Some(0)), (None, Some((3, 82)), Some(3)));
    }
}
