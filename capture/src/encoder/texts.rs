//! Columns of strings: words, keys, addresses.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow_array::{Array, ArrayRef, StringArray, cast::AsArray};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use parquet::{basic::Encoding, file::statistics::Statistics};

use super::{
    hash::Hash,
    plain,
    text_dictionary::{GROUP, TextDictionary},
    values::{Codes, Dictionary, Values},
};

/// Bytes of texts to a page, unless one alone has more.
const PAGE_BYTES: usize = 1 << 20;
/// The code of a text that was not yet looked up.
const UNKNOWN: u32 = u32::MAX;

/// Texts, by their codes in a dictionary, or as they are once that is full.
pub(super) struct Texts {
    dictionary: TextDictionary,
    /// Those of the page at hand that are in the dictionary.
    codes: Codes,
    /// Those of the page at hand that are not.
    plain: Vec<u8>,
    /// The codes of the texts of an Arrow dictionary: the last, as many arrays share one.
    translated: Option<(ArrayRef, Vec<u32>)>,
}

impl Texts {
    /// With a dictionary of at most `limit` bytes.
    pub(super) fn new(hash: Hash, limit: usize) -> Self {
        Self {
            dictionary: TextDictionary::new(hash, limit),
            codes: Codes::default(),
            plain: Vec::new(),
            translated: None,
        }
    }

    /// Adds texts, and returns how many: fewer than there are if the next one is for
    /// another page.
    fn append_texts<'a>(&mut self, mut texts: impl Iterator<Item = &'a str>) -> usize {
        let mut count = 0;
        let mut group = Vec::with_capacity(GROUP);
        loop {
            group.clear();
            group.extend(texts.by_ref().take(GROUP).map(str::as_bytes));
            if group.is_empty() {
                return count;
            }
            for (text, known) in group.iter().zip(self.dictionary.known(&group)) {
                if let Some(code) = known.or_else(|| self.dictionary.code(text)) {
                    self.codes.0.push(code);
                } else if !self.append_plain(text) {
                    return count;
                }
                count += 1;
            }
        }
    }

    /// The same for texts that are known by their places in `all`.
    fn append_places(&mut self, places: &[usize], all: &ArrayRef) -> Result<usize> {
        let texts: &StringArray = all.as_string_opt().context("a dictionary has no strings")?;
        let coded = match self.dictionary.is_full() {
            false => self.append_known(places, texts, all),
            true => 0,
        };
        let rest = places[coded..].iter().map(|&place| texts.value(place));
        Ok(coded + self.append_texts(rest))
    }

    /// The same, up to one for which the dictionary has no room.
    fn append_known(&mut self, places: &[usize], texts: &StringArray, all: &ArrayRef) -> usize {
        let mut known = match self.translated.take() {
            Some((of, known)) if Arc::ptr_eq(&of, all) => known,
            _ => vec![UNKNOWN; texts.len()],
        };
        let count = self.codes.append(places, |place| {
            if known[place] == UNKNOWN {
                known[place] = self.dictionary.code(texts.value(place).as_bytes())?;
            }
            Some(known[place])
        });
        self.translated = Some((Arc::clone(all), known));
        count
    }

    /// Adds a text to a page without codes. Whether it has room there.
    fn append_plain(&mut self, text: &[u8]) -> bool {
        let bytes = self.plain.len();
        let is_for_it = bytes == 0 || bytes + plain::text_size(text) <= PAGE_BYTES;
        if !self.codes.0.is_empty() || !is_for_it {
            return false;
        }
        plain::push_text(text, &mut self.plain);
        true
    }
}

impl Values for Texts {
    fn append(&mut self, rows: &dyn Array, nulls: Option<&NullBuffer>) -> Result<usize> {
        let count = match rows.data_type() {
            DataType::Utf8 => {
                let texts: &StringArray = rows.as_string_opt().context("no strings")?;
                match nulls {
                    None => self.append_texts((0..rows.len()).map(|row| texts.value(row))),
                    Some(nulls) => {
                        self.append_texts(nulls.valid_indices().map(|row| texts.value(row)))
                    }
                }
            }
            DataType::Dictionary(..) => {
                let coded = rows.as_any_dictionary_opt().context("no dictionary")?;
                if coded.values().is_empty() {
                    return Ok(rows.len());
                }
                let mut places = coded.normalized_keys();
                if let Some(nulls) = nulls {
                    places = nulls.valid_indices().map(|row| places[row]).collect();
                }
                self.append_places(&places, coded.values())?
            }
            other => bail!("{other} is no type of a string column"),
        };
        // Nulls after the last value belong to its page.
        Ok(match nulls {
            None => count,
            Some(nulls) => nulls.valid_indices().nth(count).unwrap_or(rows.len()),
        })
    }

    fn end_page(&mut self, page: &mut Vec<u8>) -> Encoding {
        if self.plain.is_empty() {
            return self.codes.end_page(self.dictionary.len(), page);
        }
        page.append(&mut self.plain);
        Encoding::PLAIN
    }

    fn size(&self) -> usize {
        let known = self.dictionary.len();
        self.dictionary.size() + self.codes.size(known) + self.plain.len()
    }

    fn take_dictionary(&mut self) -> Option<Dictionary> {
        let values = self.dictionary.len();
        Some(Dictionary { values, page: self.dictionary.take_page() })
    }

    /// Nobody looks for a key between two others, and the footer has them all.
    fn statistics(&self, _nulls: u64) -> Option<Statistics> {
        None
    }
}
