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
    text_dictionary::TextDictionary,
    values::{Codes, Dictionary, Values},
};

/// Bytes of texts to a page, unless one alone has more.
const PAGE_BYTES: usize = 1 << 20;
/// The code of a text that was not yet looked up.
const UNKNOWN: u32 = u32::MAX;

/// Texts, by their codes in a dictionary, or as they are once that is full.
pub(super) struct Texts {
    dictionary: TextDictionary,
    is_full: bool,
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
            is_full: false,
            codes: Codes::default(),
            plain: Vec::new(),
            translated: None,
        }
    }

    /// Adds texts, each of which is in `row`, and returns the first row that is for
    /// another page, if there is one.
    fn append_texts<'a>(
        &mut self,
        texts: impl Iterator<Item = (usize, &'a str)>,
    ) -> Result<Option<usize>> {
        for (row, text) in texts {
            let text = text.as_bytes();
            if !self.is_full {
                if let Some(code) = self.dictionary.code(text) {
                    self.codes.0.push(code);
                    continue;
                }
                self.is_full = true;
            }
            if !self.append_plain(text)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The same for texts that are known by their place in `all`.
    fn append_places(
        &mut self,
        places: impl Iterator<Item = (usize, usize)>,
        all: &ArrayRef,
    ) -> Result<Option<usize>> {
        let texts: &StringArray = all.as_string_opt().context("a dictionary has no strings")?;
        let mut known = match self.translated.take() {
            Some((of, known)) if Arc::ptr_eq(&of, all) => known,
            _ => vec![UNKNOWN; texts.len()],
        };
        let mut ends = None;
        for (row, place) in places {
            let mut code = known[place];
            if code == UNKNOWN || self.is_full {
                let text = texts.value(place);
                match self.append_texts(std::iter::once((row, text)))? {
                    None if self.is_full => continue,
                    None => code = self.codes.0.pop().unwrap_or(UNKNOWN),
                    Some(row) => {
                        ends = Some(row);
                        break;
                    }
                }
                known[place] = code;
            }
            self.codes.0.push(code);
        }
        self.translated = Some((Arc::clone(all), known));
        Ok(ends)
    }

    /// Adds a text to a page without codes. Whether it has room there.
    fn append_plain(&mut self, text: &[u8]) -> Result<bool> {
        let size = plain::text_size(text);
        let is_first = self.plain.is_empty();
        if !self.codes.0.is_empty() || !is_first && self.plain.len() + size > PAGE_BYTES {
            return Ok(false);
        }
        plain::push_text(text, &mut self.plain)?;
        Ok(true)
    }
}

impl Values for Texts {
    fn append(&mut self, rows: &dyn Array, nulls: Option<&NullBuffer>) -> Result<usize> {
        let ends = match rows.data_type() {
            DataType::Utf8 => {
                let texts: &StringArray = rows.as_string_opt().context("no strings")?;
                match nulls {
                    None => {
                        self.append_texts((0..rows.len()).map(|row| (row, texts.value(row))))?
                    }
                    Some(nulls) => {
                        let rows = nulls.valid_indices();
                        self.append_texts(rows.map(|row| (row, texts.value(row))))?
                    }
                }
            }
            DataType::Dictionary(..) => {
                let coded = rows.as_any_dictionary_opt().context("no dictionary")?;
                if coded.values().is_empty() {
                    return Ok(rows.len());
                }
                let places = coded.normalized_keys();
                match nulls {
                    None => self.append_places(places.into_iter().enumerate(), coded.values())?,
                    Some(nulls) => {
                        let rows = nulls.valid_indices();
                        self.append_places(rows.map(|row| (row, places[row])), coded.values())?
                    }
                }
            }
            other => bail!("{other} is no type of a string column"),
        };
        Ok(ends.unwrap_or(rows.len()))
    }

    fn end_page(&mut self, page: &mut Vec<u8>) -> Encoding {
        if self.is_full {
            self.dictionary.close();
        }
        if self.plain.is_empty() {
            return self.codes.end_page(self.dictionary.len(), page);
        }
        page.append(&mut self.plain);
        Encoding::PLAIN
    }

    fn size(&self) -> usize {
        let known = self.dictionary.len();
        self.dictionary.page().len() + self.codes.size(known) + self.plain.len()
    }

    fn dictionary(&self) -> Option<Dictionary> {
        let page = self.dictionary.page().to_vec();
        Some(Dictionary { values: self.dictionary.len(), page })
    }

    /// Nobody looks for a key between two others, and the footer has them all.
    fn statistics(&self, _nulls: u64) -> Option<Statistics> {
        None
    }
}
