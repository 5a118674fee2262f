//! Which namespaces are there, and what happens in each?

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::AddAssign,
    sync::{Mutex, PoisonError},
};

use anyhow::Result;
use mcrec_schema::{codes::Status, columns};

use super::ratio;
use crate::{
    capture::Capture,
    distinct::Distinct,
    grouping::shape,
    keys::hash::Hashing,
    prefix::Shape,
    scan::{OfDictionary, Rows, scan},
    table::{Column, Section, Table, Unit, Value},
};

/// What happens in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    calls: i64,
    hits: i64,
    misses: i64,
    bytes: i64,
    keys: i64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.hits += other.hits;
        self.misses += other.misses;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.keys += other.keys;
    }
}

/// The `top` namespaces with the most calls, `depth` levels of them, as a tree.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn prefixes(capture: &Capture, top: usize, depth: usize) -> Result<Section> {
    let shape = shape(&[capture])?;
    let (by_prefix, exact) = by_prefix(capture, &shape)?;
    let calls = by_prefix.values().map(|totals| totals.calls).sum();
    let mut root = Node::default();
    for (prefix, totals) in &by_prefix {
        root.add(&shape.path(prefix), *totals);
    }
    root.join();
    let mut lines = Vec::new();
    root.lines(0, depth, &mut lines);
    let rows = the_most(lines, top).into_iter().map(|(level, prefix, totals)| {
        vec![
            format!("{}{prefix}", "  ".repeat(level)).into(),
            prefix.into(),
            Value::Int(i64::try_from(level).unwrap_or(i64::MAX)),
            Value::Int(totals.calls),
            ratio(totals.calls, calls).into(),
            Value::Int(totals.hits),
            Value::Int(totals.misses),
            ratio(totals.hits, totals.hits + totals.misses).into(),
            Value::Int(totals.bytes),
            Value::Int(totals.keys),
        ]
    });
    let table = Table { columns: COLUMNS.to_vec(), rows: rows.collect() };
    let section = Section::bars("prefixes", "", table, "calls")
        .scaled(capture.is_scaled(), &["calls", "hits", "misses", "bytes", "keys"])
        .or_else("no operations on keys");
    Ok(if exact {
        section
    } else {
        section.note("keys of prefixes are counted by a sample of them")
    })
}

const COLUMNS: [Column; 10] = [
    Column::new("tree", "prefix", Unit::Key),
    Column::new("prefix", "prefix", Unit::Key).for_programs(),
    Column::new("depth", "depth", Unit::Count).for_programs(),
    Column::new("calls", "calls", Unit::Count),
    Column::new("share", "share", Unit::Ratio),
    Column::new("hits", "hits", Unit::Count).for_programs(),
    Column::new("misses", "misses", Unit::Count).for_programs(),
    Column::new("hit_ratio", "hit ratio", Unit::Ratio),
    Column::new("bytes", "bytes", Unit::Bytes),
    Column::new("keys", "keys", Unit::Count),
];

/// What happens to keys of each prefix, and whether all keys were counted.
fn by_prefix(capture: &Capture, shape: &Shape) -> Result<(BTreeMap<String, Totals>, bool)> {
    let names = Names { shape, numbers: Mutex::default() };
    let hashing = Hashing::default();
    let begin = Thread::default;
    let wanted = [columns::KEY, columns::STATUS, columns::VALUE_SIZE];
    let threads = scan(capture, &wanted, begin, |thread, rows| thread.add(rows, &names, &hashing))?;
    let mut all = Thread::default();
    for mut thread in threads {
        thread.hand_over(&names, &hashing);
        all.distinct.merge(thread.distinct);
        for (number, totals) in thread.totals {
            *all.totals.entry(number).or_default() += totals;
        }
    }
    for (number, of_sample, weight) in all.distinct.iter() {
        all.totals.entry(number).or_default().keys += weight * of_sample;
    }
    let numbers = names.numbers.into_inner().unwrap_or_else(PoisonError::into_inner);
    let named = numbers
        .into_iter()
        .map(|(name, number)| (name, all.totals.get(&number).copied().unwrap_or_default()));
    Ok((named.collect(), all.distinct.is_exact()))
}

/// The prefixes that were met, each with a number.
struct Names<'a> {
    shape: &'a Shape,
    numbers: Mutex<HashMap<String, u32>>,
}

impl Names<'_> {
    fn number(&self, key: &str) -> u32 {
        let prefix = self.shape.prefix(key);
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry(prefix).or_insert(next)
    }
}

/// What a thread has seen.
struct Thread {
    /// Of each key of the dictionary at hand, and for how many keys it stands.
    of_keys: OfDictionary<(Totals, i64)>,
    totals: HashMap<u32, Totals>,
    distinct: Distinct<u32, i64>,
}

impl Default for Thread {
    fn default() -> Self {
        let of_keys = OfDictionary::default();
        Self { of_keys, totals: HashMap::new(), distinct: Distinct::new() }
    }
}

impl Thread {
    fn add(&mut self, rows: &Rows, names: &Names<'_>, hashing: &Hashing) -> Result<()> {
        let (keys, status) = (rows.strings(columns::KEY)?, rows.strings(columns::STATUS)?);
        let sizes = rows.ints(columns::VALUE_SIZE)?;
        let hit = status.number(Status::Hit.as_str());
        let miss = status.number(Status::Miss.as_str());
        let statuses = status.array.keys().values();
        if !self.of_keys.is_of(&keys) {
            self.hand_over(names, hashing);
            let nothing = || (Totals::default(), i64::MAX);
            self.of_keys.begin(&keys, keys.values.iter().map(|_| nothing()));
        }
        for (row, key) in keys.ids().enumerate() {
            let Some(key) = key.filter(|_| rows.is_wanted(row)) else { continue };
            let weight = rows.weight(row);
            let (totals, of_sample) = &mut self.of_keys.made[key];
            *of_sample = weight.min(*of_sample);
            *totals += Totals {
                calls: weight,
                hits: i64::from(Some(statuses[row]) == hit) * weight,
                misses: i64::from(Some(statuses[row]) == miss) * weight,
                bytes: sizes.get(row).unwrap_or(0).saturating_mul(weight),
                keys: 0,
            };
        }
        Ok(())
    }

    /// Adds what was seen of the keys of a dictionary to their prefixes.
    fn hand_over(&mut self, names: &Names<'_>, hashing: &Hashing) {
        let Some(keys) = self.of_keys.values() else { return };
        for (key, (totals, of_sample)) in keys.iter().zip(&self.of_keys.made) {
            if let Some(key) = key.filter(|_| totals.calls > 0) {
                let number = names.number(key);
                *self.totals.entry(number).or_default() += *totals;
                self.distinct.add(number, hashing.hash(key), *of_sample);
            }
        }
        self.of_keys.made.clear();
    }
}

/// A namespace, with those inside of it.
#[derive(Default)]
struct Node {
    totals: Totals,
    /// By their whole prefix.
    inner: BTreeMap<String, Node>,
}

impl Node {
    fn add(&mut self, path: &[String], totals: Totals) {
        self.totals += totals;
        if let Some((first, rest)) = path.split_first() {
            self.inner.entry(first.clone()).or_default().add(rest, totals);
        }
    }

    /// A namespace that has all that is in the one around it stands in its place.
    fn join(&mut self) {
        let inner = std::mem::take(&mut self.inner);
        for (mut prefix, mut node) in inner {
            while node.inner.len() == 1
                && let Some((within, only)) = node.inner.pop_first()
            {
                if only.totals != node.totals {
                    node.inner.insert(within, only);
                    break;
                }
                (prefix, node) = (within, only);
            }
            node.join();
            self.inner.insert(prefix, node);
        }
    }

    /// Level, prefix and totals of all that is inside, those with the most calls first.
    fn lines(&self, level: usize, depth: usize, lines: &mut Vec<(usize, String, Totals)>) {
        if level == depth {
            return;
        }
        let mut inner: Vec<_> = self.inner.iter().collect();
        inner.sort_by_key(|(_, node)| -node.totals.calls);
        for (prefix, node) in inner {
            lines.push((level, prefix.clone(), node.totals));
            node.lines(level + 1, depth, lines);
        }
    }
}

/// The lines with the most calls, in the order that they have: with each is the one of the
/// namespace around it, which has no fewer and stands before it.
fn the_most(
    lines: Vec<(usize, String, Totals)>,
    top: usize,
) -> impl IntoIterator<Item = (usize, String, Totals)> {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by_key(|line| -lines[*line].2.calls);
    let most: HashSet<usize> = order.into_iter().take(top).collect();
    let numbered = lines.into_iter().enumerate();
    numbered.filter(move |(line, _)| most.contains(line)).map(|(_, line)| line)
}
