//! What operations are grouped by: a name for each row.

use std::{collections::HashMap, sync::Arc};

use anyhow::Result;
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, StringArray, types::Int32Type};
use mcrec_schema::columns;

use crate::{
    filter::address,
    prefix::Shape,
    render::text::bytes,
    scan::{OfDictionary, Rows, Strings},
};

/// The name of what a source did not know.
pub(crate) const UNKNOWN: &str = "unknown";

/// What rows are grouped by.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// The strings of a column as they are. Rows that have none are left out.
    Column(&'static str),
    /// The same, with a name for rows that have none.
    Known(&'static str),
    /// The numbers of a column.
    Numbers(&'static str),
    /// 32-bit numbers.
    ShortNumbers(&'static str),
    /// The addresses of clients.
    Client,
    /// Powers of two that the sizes of values lie between.
    Sizes,
    /// The prefixes of keys.
    Prefix(Arc<Shape>),
}

impl By {
    /// Keys.
    pub(crate) const KEY: Self = Self::Column(columns::KEY);

    /// Whether groups are keys.
    pub(crate) fn is_key(&self) -> bool {
        matches!(self, Self::Column(columns::KEY))
    }

    /// The column that it takes.
    pub(crate) fn column(&self) -> &'static str {
        match self {
            Self::Column(name)
            | Self::Known(name)
            | Self::Numbers(name)
            | Self::ShortNumbers(name) => name,
            Self::Client => columns::CLIENT,
            Self::Sizes => columns::VALUE_SIZE,
            Self::Prefix(_) => columns::KEY,
        }
    }

    /// Names rows, in one thread.
    pub(crate) fn grouper(&self) -> Grouper<'_> {
        Grouper { by: self, names: OfDictionary::default() }
    }
}

/// Names rows, in one thread.
pub(crate) struct Grouper<'a> {
    by: &'a By,
    /// The name of each string of a dictionary, and then that of what is not known.
    names: OfDictionary<ArrayRef>,
}

impl Grouper<'_> {
    /// A name for each row; none for those that are in no group.
    ///
    /// # Errors
    ///
    /// When the column is not what it should be.
    pub(crate) fn groups(&mut self, rows: &Rows) -> Result<DictionaryArray<Int32Type>> {
        match self.by {
            By::Column(name) => Ok(rows.strings(name)?.array.clone()),
            By::Known(name) => self.named(&rows.strings(name)?, str::to_owned, Some(UNKNOWN)),
            By::Client => {
                let client = |client: &str| address(client).to_owned();
                self.named(&rows.strings(columns::CLIENT)?, client, Some(UNKNOWN))
            }
            By::Prefix(shape) => {
                let shape = Arc::clone(shape);
                self.named(&rows.strings(columns::KEY)?, move |key| shape.prefix(key), None)
            }
            By::Sizes => {
                let sizes = rows.ints(columns::VALUE_SIZE)?;
                let class = |row| {
                    sizes
                        .get(row)
                        .map_or(-1, |size| size.max(0).checked_ilog2().map_or(0, |log| 1 << log))
                };
                numbered((0..rows.len()).map(|row| Some(class(row))), size_class)
            }
            By::Numbers(name) => {
                let numbers = rows.ints(name)?;
                numbered((0..rows.len()).map(|row| numbers.get(row)), |number| number.to_string())
            }
            By::ShortNumbers(name) => {
                let numbers = rows.short_ints(name)?.iter();
                numbered(numbers.map(|number| Some(i64::from(*number))), |number| {
                    number.to_string()
                })
            }
        }
    }

    /// The rows with other names for their strings.
    fn named(
        &mut self,
        strings: &Strings<'_>,
        name: impl Fn(&str) -> String,
        unknown: Option<&str>,
    ) -> Result<DictionaryArray<Int32Type>> {
        if !self.names.is_of(strings) {
            let named = strings.values.iter().map(|value| value.map(&name));
            let named = named.chain(unknown.map(|unknown| Some(unknown.to_owned())));
            let named: StringArray = named.collect();
            self.names.begin(strings, std::iter::once::<ArrayRef>(Arc::new(named)));
        }
        let names = Arc::clone(&self.names.made[0]);
        let rows = strings.array.keys();
        let last = i32::try_from(names.len().saturating_sub(1))?;
        let rows: Int32Array = match unknown {
            Some(_) if rows.null_count() > 0 => rows.iter().map(|id| id.or(Some(last))).collect(),
            _ => rows.clone(),
        };
        Ok(DictionaryArray::try_new(rows, names)?)
    }
}

/// The name of the sizes from a power of two to the next; -1 is for no size.
fn size_class(from: i64) -> String {
    match from {
        -1 => "no value".to_owned(),
        0 => "0 B".to_owned(),
        from => format!("{} to below {}", bytes(from), bytes(from.saturating_mul(2))),
    }
}

fn numbered(
    numbers: impl Iterator<Item = Option<i64>>,
    name: impl Fn(i64) -> String,
) -> Result<DictionaryArray<Int32Type>> {
    let mut ids: HashMap<i64, i32> = HashMap::new();
    let mut names = Vec::new();
    let mut rows = Vec::new();
    for number in numbers {
        let id = number.map(|number| {
            *ids.entry(number).or_insert_with(|| {
                names.push(name(number));
                i32::try_from(names.len() - 1).unwrap_or(i32::MAX)
            })
        });
        rows.push(id);
    }
    let names: StringArray = names.into_iter().map(Some).collect();
    Ok(DictionaryArray::try_new(Int32Array::from(rows), Arc::new(names))?)
}
