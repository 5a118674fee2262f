//! How large are values, and how long are they to live?

use std::collections::BTreeMap;

use anyhow::Result;
use mcrec_schema::columns;

use super::ratio;
use crate::{
    capture::Capture,
    item::{Sent, Stores},
    render::text::grouped,
    scan::{Rows, scan},
    table::{Column, Section, Table, Unit, Value},
};

/// Values of a size.
#[derive(Clone, Copy, Debug, Default)]
struct OfSize {
    stored: i64,
    returned: i64,
    bytes: i64,
}

/// What clients say of how long a value is to live: name, and the longest, seconds.
/// memcached takes more than 30 days for a point in time.
const LIVES: [(&str, i64); 9] = [
    ("gone at once", -1),
    ("until evicted", 0),
    ("up to 10 s", 10),
    ("up to 1 min", 60),
    ("up to 10 min", 600),
    ("up to 1 h", 3_600),
    ("up to 1 day", 86_400),
    ("up to 30 days", 2_592_000),
    ("until a date", i64::MAX),
];
/// Where the source did not see.
const NOT_KNOWN: usize = LIVES.len();

/// What operations say of sizes.
#[derive(Clone, Debug, Default)]
struct Sizes {
    /// By powers of two, from which the class begins; 0 has one of its own.
    by_size: BTreeMap<i64, OfSize>,
    /// Stores by how long what they store is to live.
    lives: [i64; LIVES.len() + 1],
    /// Stores that stored nothing.
    refused: i64,
    /// Stores that sent a part of a value.
    parts: i64,
}

/// Sizes of values, and times to live of those that are stored.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn sizes(capture: &Capture) -> Result<[Section; 2]> {
    let wanted = [columns::STATUS, columns::VALUE_SIZE, columns::TTL];
    let threads = scan(capture, &wanted, Sizes::default, add)?;
    let mut sizes = Sizes::default();
    for of_thread in threads {
        for (from, other) in of_thread.by_size {
            let sum = sizes.by_size.entry(from).or_default();
            sum.stored += other.stored;
            sum.returned += other.returned;
            sum.bytes = sum.bytes.saturating_add(other.bytes);
        }
        sizes.lives.iter_mut().zip(of_thread.lives).for_each(|(sum, count)| *sum += count);
        sizes.refused += of_thread.refused;
        sizes.parts += of_thread.parts;
    }
    let sampled = capture.is_scaled();
    let mut by_size =
        by_size(&sizes.by_size).scaled(sampled, &["values", "stored", "returned", "bytes"]);
    if sizes.refused + sizes.parts > 0 {
        by_size = by_size.note(format!(
            "Left out of both tables: {} that were refused, and {} (append, prepend), which sent \
             parts of values. Stores without a reply are taken for stored.",
            stores(sizes.refused),
            stores(sizes.parts),
        ));
    }
    Ok([by_size, by_life(&sizes.lives).scaled(sampled, &["stores"])])
}

fn stores(count: i64) -> String {
    let count_text = grouped(count.unsigned_abs());
    if count == 1 { "1 store".to_owned() } else { format!("{count_text} stores") }
}

fn add(all: &mut Sizes, rows: &Rows) -> Result<()> {
    let (sizes, ttls) = (rows.ints(columns::VALUE_SIZE)?, rows.ints(columns::TTL)?);
    let stores = Stores::of(rows)?;
    for row in (0..rows.len()).filter(|row| rows.is_wanted(*row)) {
        let weight = rows.weight(row);
        let stored = match stores.of_row(row) {
            Sent::Nothing => false,
            Sent::Value => true,
            Sent::Refused => {
                all.refused += weight;
                continue;
            }
            Sent::Part => {
                all.parts += weight;
                continue;
            }
        };
        if let Some(size) = sizes.get(row) {
            let from = if size > 0 { 1 << size.ilog2() } else { 0 };
            let of_size = all.by_size.entry(from).or_default();
            *(if stored { &mut of_size.stored } else { &mut of_size.returned }) += weight;
            of_size.bytes = of_size.bytes.saturating_add(size.saturating_mul(weight));
        }
        if stored {
            let life = ttls.get(row).map(|ttl| LIVES.iter().position(|(_, most)| ttl <= *most));
            all.lives[life.flatten().unwrap_or(NOT_KNOWN)] += weight;
        }
    }
    Ok(())
}

fn by_size(sizes: &BTreeMap<i64, OfSize>) -> Section {
    let all: i64 = sizes.values().map(|of_size| of_size.stored + of_size.returned).sum();
    let rows = sizes.iter().map(|(&from, of_size)| {
        let values = of_size.stored + of_size.returned;
        vec![
            Value::Int(from),
            Value::Int(if from > 0 { from.saturating_mul(2) } else { 1 }),
            Value::Int(values),
            ratio(values, all).into(),
            Value::Int(of_size.stored),
            Value::Int(of_size.returned),
            Value::Int(of_size.bytes),
        ]
    });
    let columns = vec![
        Column::new("from", "from", Unit::Bytes),
        Column::new("to", "to below", Unit::Bytes),
        Column::new("values", "values", Unit::Count),
        Column::new("share", "share", Unit::Ratio),
        Column::new("stored", "stored", Unit::Count),
        Column::new("returned", "returned", Unit::Count),
        Column::new("bytes", "bytes", Unit::Bytes),
    ];
    let table = Table { columns, rows: rows.collect() };
    Section::bars("sizes", "sizes of values", table, "values").or_else("no size is known")
}

fn by_life(lives: &[i64]) -> Section {
    let all: i64 = lives.iter().sum();
    let names = LIVES.iter().map(|(name, _)| *name).chain(["not known"]);
    let rows = names
        .zip(lives)
        .filter(|(_, stores)| **stores > 0)
        .map(|(name, &stores)| vec![name.into(), Value::Int(stores), ratio(stores, all).into()]);
    let columns = vec![
        Column::new("ttl", "to live", Unit::Word),
        Column::new("stores", "stores", Unit::Count),
        Column::new("share", "share", Unit::Ratio),
    ];
    let table = Table { columns, rows: rows.collect() };
    Section::bars("ttls", "time to live of what is stored", table, "stores").or_else("no stores")
}
