//! The size of the item under each key, as replies tell it.

use anyhow::Result;
use mcrec_schema::columns;

use super::{
    figure::Size,
    hash::{Hashing, Map},
    table::Table,
};
use crate::{
    by::By,
    capture::Capture,
    item::{Effect, Effects, Flushes},
    scan::{OfDictionary, scan, scan_by},
};

/// Makes what stands in `table` the sizes that items have in the end.
///
/// # Errors
///
/// When the capture cannot be read.
pub(super) fn in_the_end(
    (capture, by): (&Capture, &By),
    hashing: &Hashing,
    table: &mut Table<Size>,
) -> Result<()> {
    if !by.is_key() {
        return Ok(());
    }
    let see = |flushes: &mut Flushes, rows: &_| flushes.see(capture, rows);
    let mut flushes = Flushes::default();
    scan(capture, &[columns::TS], Flushes::default, see)?
        .iter()
        .for_each(|of_thread| flushes.merge(of_thread));
    let last = flushes.last(capture);
    table.iter_mut().for_each(|(_, size)| size.0.flush(&last));
    let mut open = Map::default();
    open.extend(table.iter().filter_map(|(key, size)| Some((key, size.0.is_open()?))));
    let grown = grown(capture, hashing, &open)?;
    for (key, size) in table.iter_mut() {
        if let Some(by) = grown.get(&key) {
            size.0.grow(*by);
        }
    }
    Ok(())
}

/// By how many bytes the items under these keys grew after this row of theirs.
///
/// # Errors
///
/// When the capture cannot be read.
pub(super) fn grown(capture: &Capture, hashing: &Hashing, open: &Map<u64>) -> Result<Map<i64>> {
    let mut all = Map::default();
    if open.is_empty() {
        return Ok(all);
    }
    let begin = || (OfDictionary::default(), Map::<i64>::default());
    let by = Some(&By::KEY);
    let threads = scan_by(capture, by, &Effects::COLUMNS, begin, |(of_keys, grown), rows| {
        let (keys, effects) = (rows.groups()?, Effects::of(rows)?);
        if !of_keys.is_of(&keys) {
            let after = |key: Option<&str>| {
                let key = hashing.hash(key?);
                Some((key, *open.get(&key)?))
            };
            of_keys.begin(&keys, keys.values.iter().map(after));
        }
        for (row, key) in keys.ids().enumerate() {
            if let Some((key, after)) = key.and_then(|key| of_keys.made[key])
                && rows.first + row as u64 > after
                && rows.is_wanted(row)
                && let Effect::Kept(more) = effects.of_row(row)
                && more > 0
            {
                let sum = grown.entry(key).or_insert(0);
                *sum = sum.saturating_add(more);
            }
        }
        Ok(())
    })?;
    for (key, more) in threads.into_iter().flat_map(|(_, grown)| grown) {
        let sum = all.entry(key).or_insert(0_i64);
        *sum = sum.saturating_add(more);
    }
    Ok(all)
}
