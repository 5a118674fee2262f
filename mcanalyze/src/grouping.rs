//! Finds out what it takes to group by something.

use std::sync::Arc;

use anyhow::Result;
use mcrec_schema::columns;

use crate::{
    by::By,
    capture::Capture,
    cli::Dimension,
    prefix::{Delimiters, Shape},
    scan::{OfDictionary, scan},
};

/// How to group the operations of a capture by `dimension`.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn by(capture: &Capture, dimension: Dimension) -> Result<By> {
    Ok(match dimension {
        Dimension::Key => By::KEY,
        Dimension::Prefix => By::Prefix(Arc::new(shape(&[capture])?)),
        Dimension::Op => By::Column(columns::OP),
        Dimension::Protocol => By::Known(columns::PROTOCOL),
        Dimension::Status => By::Column(columns::STATUS),
        Dimension::Client => By::Client,
        Dimension::Size => By::Sizes,
        Dimension::Thread => By::ShortNumbers(columns::THREAD_ID),
        Dimension::Conn => By::Numbers(columns::CONN_ID),
    })
}

/// How to group two captures, so that what is in both has one name.
///
/// # Errors
///
/// When a capture cannot be read.
pub(crate) fn by_alike(captures: [&Capture; 2], dimension: Dimension) -> Result<[By; 2]> {
    if dimension == Dimension::Prefix {
        let shape = Arc::new(shape(&captures)?);
        return Ok([By::Prefix(Arc::clone(&shape)), By::Prefix(shape)]);
    }
    let [before, after] = captures.map(|capture| by(capture, dimension));
    Ok([before?, after?])
}

/// The namespaces of the keys that are asked for, in all of the captures.
///
/// # Errors
///
/// When the capture cannot be read.
pub(crate) fn shape(captures: &[&Capture]) -> Result<Shape> {
    let mut delimiters = Delimiters::default();
    for capture in captures {
        let threads = each_key(capture, Delimiters::default(), Delimiters::see)?;
        threads.into_iter().for_each(|thread| delimiters.merge(thread));
    }
    let mut shape = Shape::with(delimiters);
    for capture in captures {
        let threads = each_key(capture, Shape::with(delimiters), Shape::see)?;
        threads.into_iter().for_each(|thread| shape.merge(thread));
    }
    shape.cut_down();
    Ok(shape)
}

/// Lets `see` have the keys that are asked for, once for each dictionary that they are in.
fn each_key<S: Clone + Send + Sync>(
    capture: &Capture,
    begin: S,
    see: impl Fn(&mut S, &str) + Sync,
) -> Result<Vec<S>> {
    let begin = || (begin.clone(), OfDictionary::<bool>::default());
    let threads = scan(capture, &[columns::KEY], begin, |(state, seen), rows| {
        let keys = rows.strings(columns::KEY)?;
        if !seen.is_of(&keys) {
            seen.begin(&keys, keys.values.iter().map(|_| false));
        }
        for (row, key) in keys.ids().enumerate() {
            if let Some(key) = key
                && !seen.made[key]
                && rows.is_wanted(row)
            {
                seen.made[key] = true;
                see(state, keys.values.value(key));
            }
        }
        Ok(())
    })?;
    Ok(threads.into_iter().map(|(state, _)| state).collect())
}
