//! Columns of whole numbers, times among them.

use anyhow::{Context, Result, bail};
use arrow_array::{
    Array,
    cast::AsArray,
    types::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use parquet::{
    basic::Encoding,
    file::statistics::{Statistics, ValueStatistics},
};

use super::{
    delta::Delta,
    hash::Hash,
    number_dictionary::NumberDictionary,
    plain,
    values::{Codes, Dictionary, Values},
};

/// Numbers that a dictionary may have. Where there are more, few of them come again.
const DICTIONARY_MAX: usize = 1 << 17;

/// Numbers that are compared at once.
const PART: usize = 64;

/// Numbers, by their codes in a dictionary or by their differences.
pub(super) struct Numbers {
    /// 32 or 64.
    bits: u32,
    dictionary: Option<NumberDictionary>,
    /// Those of the page at hand that are in the dictionary.
    codes: Codes,
    /// The others: all from some page on, or all.
    delta: Delta,
    /// The least and the greatest of the others.
    range: Option<(i64, i64)>,
    /// There was a page without any value, of a column without a dictionary.
    has_empty_page: bool,
    /// Numbers of rows without nulls: here to be allocated once.
    dense: Vec<i64>,
}

impl Numbers {
    pub(super) fn of_differences(bits: u32) -> Self {
        Self {
            bits,
            dictionary: None,
            codes: Codes::default(),
            delta: Delta::new(bits),
            range: None,
            has_empty_page: false,
            dense: Vec::new(),
        }
    }

    pub(super) fn of_dictionary(bits: u32, hash: Hash) -> Self {
        Self { dictionary: Some(NumberDictionary::new(hash)), ..Self::of_differences(bits) }
    }

    fn is_dictionary_full(&self) -> bool {
        self.dictionary.as_ref().is_none_or(|known| known.numbers().len() > DICTIONARY_MAX)
    }

    fn min_max(&self) -> Option<(i64, i64)> {
        // What a dictionary has was in a row.
        let known = self.dictionary.as_ref().and_then(|known| min_max(known.numbers()));
        wider(known, self.range)
    }
}

impl Values for Numbers {
    fn append(&mut self, rows: &dyn Array, nulls: Option<&NullBuffer>) -> Result<usize> {
        let full = self.is_dictionary_full();
        if full && !self.codes.0.is_empty() {
            return Ok(0);
        }
        let numbers = dense(rows, nulls, &mut self.dense)?;
        match &mut self.dictionary {
            Some(dictionary) if !full => {
                self.codes.append(numbers, |number| Some(dictionary.code(number)));
            }
            _ => {
                self.delta.append(numbers);
                self.range = wider(self.range, min_max(numbers));
            }
        }
        Ok(rows.len())
    }

    fn end_page(&mut self, page: &mut Vec<u8>) -> Encoding {
        match &self.dictionary {
            Some(dictionary) if self.delta.is_empty() => {
                self.codes.end_page(dictionary.numbers().len(), page)
            }
            // Some readers do not take differences of no values.
            None if self.delta.is_empty() => {
                self.has_empty_page = true;
                self.codes.end_page(0, page)
            }
            _ => {
                self.delta.end_page(page);
                Encoding::DELTA_BINARY_PACKED
            }
        }
    }

    fn size(&self) -> usize {
        let known = self.dictionary.as_ref().map_or(0, |known| known.numbers().len());
        known * self.bits as usize / 8 + self.codes.size(known) + self.delta.size()
    }

    fn take_dictionary(&mut self) -> Option<Dictionary> {
        let numbers = match &self.dictionary {
            Some(dictionary) => dictionary.numbers(),
            None if self.has_empty_page => &[],
            None => return None,
        };
        let mut page = Vec::new();
        plain::push_numbers(numbers, self.bits, &mut page);
        Some(Dictionary { values: numbers.len(), page })
    }

    fn statistics(&self, nulls: u64) -> Option<Statistics> {
        let (min, max) = self.min_max().unzip();
        let of_32 = |number: Option<i64>| number.and_then(|number| i32::try_from(number).ok());
        // Numbers with a sign are in the order that older readers take for granted.
        Some(if self.bits == 32 {
            ValueStatistics::new(of_32(min), of_32(max), None, Some(nulls), false)
                .with_backwards_compatible_min_max(true)
                .into()
        } else {
            ValueStatistics::new(min, max, None, Some(nulls), false)
                .with_backwards_compatible_min_max(true)
                .into()
        })
    }
}

/// The numbers of `rows` that are not null.
fn dense<'a>(
    rows: &'a dyn Array,
    nulls: Option<&NullBuffer>,
    room: &'a mut Vec<i64>,
) -> Result<&'a [i64]> {
    let cast = "an array is not of the type that it has";
    let values: &[i64] = match rows.data_type() {
        DataType::Int64 => rows.as_primitive_opt::<Int64Type>().context(cast)?.values(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            rows.as_primitive_opt::<TimestampMicrosecondType>().context(cast)?.values()
        }
        DataType::Int32 => {
            let values = rows.as_primitive_opt::<Int32Type>().context(cast)?.values();
            room.clear();
            match nulls {
                None => room.extend(values.iter().map(|&value| i64::from(value))),
                Some(nulls) => {
                    room.extend(nulls.valid_indices().map(|row| i64::from(values[row])));
                }
            }
            return Ok(room);
        }
        other => bail!("{other} is no type of a number column"),
    };
    let Some(nulls) = nulls else { return Ok(values) };
    room.clear();
    room.extend(nulls.valid_indices().map(|row| values[row]));
    Ok(room)
}

fn min_max(numbers: &[i64]) -> Option<(i64, i64)> {
    let &first = numbers.first()?;
    let is_first = |part: &[i64]| part.iter().fold(0, |any, number| any | number ^ first) == 0;
    // Many columns have the same number again and again, which takes less to see.
    if numbers.chunks(PART).all(is_first) {
        return Some((first, first));
    }
    Some((*numbers.iter().min()?, *numbers.iter().max()?))
}

fn wider(one: Option<(i64, i64)>, other: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}
