//! Columns that are being gathered, and Arrow arrays in the end.
//!
//! A value is set at its place in a block, which costs no more than a store; each time
//! that the block is full, all columns move theirs on.

use std::{collections::HashMap, sync::Arc};

use anyhow::Result;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, DictionaryArray, PrimitiveArray, StringArray,
    types::Int32Type,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

/// Rows of a block: as many as a word has bits.
pub(super) const BLOCK: usize = u64::BITS as usize;

/// A list, which is left as large as it was.
fn take<T>(list: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(list.len());
    std::mem::replace(list, room)
}

/// A value for each row.
#[derive(Debug)]
pub(super) struct Values<T> {
    block: [T; BLOCK],
    before: Vec<T>,
}

impl<T: Copy + Default> Default for Values<T> {
    fn default() -> Self {
        Self { block: [T::default(); BLOCK], before: Vec::new() }
    }
}

impl<T: Copy> Values<T> {
    #[inline]
    pub(super) fn set(&mut self, row: usize, value: T) {
        self.block[row] = value;
    }

    /// Moves on the `rows` of the block.
    pub(super) fn flush(&mut self, rows: usize) {
        self.before.extend_from_slice(&self.block[..rows]);
    }

    pub(super) fn take(&mut self) -> Vec<T> {
        take(&mut self.before)
    }
}

/// A bit for each row.
#[derive(Debug, Default)]
pub(super) struct Bits {
    block: u64,
    before: Vec<u64>,
}

impl Bits {
    /// Sets a bit that was not set since the block was moved on.
    #[inline]
    pub(super) fn set(&mut self, row: usize, bit: bool) {
        self.block |= u64::from(bit) << row;
    }

    /// Moves on the block.
    pub(super) fn flush(&mut self) {
        self.before.push(std::mem::take(&mut self.block).to_le());
    }

    /// All of them, for so many rows.
    pub(super) fn take(&mut self, rows: usize) -> BooleanBuffer {
        BooleanBuffer::new(Buffer::from(take(&mut self.before)), 0, rows)
    }

    /// As those that say which values there are, unless all are.
    fn take_known(&mut self, rows: usize) -> Option<NullBuffer> {
        Some(NullBuffer::new(self.take(rows))).filter(|nulls| nulls.null_count() > 0)
    }
}

/// Numbers, or nulls.
#[derive(Debug)]
pub(super) struct Numbers<T: ArrowPrimitiveType> {
    values: Values<T::Native>,
    known: Bits,
}

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self { values: Values::default(), known: Bits::default() }
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    #[inline]
    pub(super) fn set(&mut self, row: usize, value: Option<T::Native>) {
        self.values.set(row, value.unwrap_or_default());
        self.known.set(row, value.is_some());
    }

    pub(super) fn flush(&mut self, rows: usize) {
        self.values.flush(rows);
        self.known.flush();
    }

    pub(super) fn take(&mut self) -> PrimitiveArray<T> {
        let values = self.values.take();
        let known = self.known.take_known(values.len());
        PrimitiveArray::new(ScalarBuffer::from(values), known)
    }
}

/// Keys, or nulls.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// One after the other, escaped: UTF-8.
    text: Vec<u8>,
    /// Where each ends.
    ends: Values<i32>,
    known: Bits,
}

impl Keys {
    /// Sets the key that `write` appends.
    #[inline]
    pub(super) fn set<K>(
        &mut self,
        row: usize,
        key: Option<K>,
        write: impl FnOnce(K, &mut Vec<u8>),
    ) {
        self.known.set(row, key.is_some());
        if let Some(key) = key {
            write(key, &mut self.text);
        }
        // Keys have some hundreds of bytes, and a batch some thousands of them.
        self.ends.set(row, i32::try_from(self.text.len()).unwrap_or(i32::MAX));
    }

    pub(super) fn flush(&mut self, rows: usize) {
        self.ends.flush(rows);
        self.known.flush();
    }

    /// # Errors
    ///
    /// When what was appended is not UTF-8.
    pub(super) fn take(&mut self) -> Result<ArrayRef> {
        let text = Buffer::from(take(&mut self.text));
        let mut offsets = self.ends.take();
        let known = self.known.take_known(offsets.len());
        offsets.insert(0, 0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(StringArray::try_new(offsets, text, known)?))
    }
}

/// Texts, each with a number: those of the last batch are those of the next, so that mostly
/// batch after batch has one dictionary.
#[derive(Debug)]
struct Texts {
    /// One after the other.
    text: Vec<u8>,
    /// Where in the text each begins, and the last ends.
    bounds: Vec<i32>,
    /// The same, as the last batch had them.
    taken: Arc<StringArray>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { text: Vec::new(), bounds: vec![0], taken: Arc::new(StringArray::new_null(0)) }
    }
}

impl Texts {
    fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Adds one, and returns its number.
    fn add(&mut self, text: &[u8]) -> i32 {
        let number = i32::try_from(self.len()).unwrap_or(i32::MAX);
        self.text.extend_from_slice(text);
        // They are short, and there are some ten thousands of them.
        self.bounds.push(i32::try_from(self.text.len()).unwrap_or(i32::MAX));
        number
    }

    #[inline]
    fn get(&self, number: i32) -> Option<&[u8]> {
        let number = usize::try_from(number).ok()?;
        let &[start, end] = self.bounds.get(number..number + 2)? else { return None };
        self.text.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    /// # Errors
    ///
    /// When one is not UTF-8.
    fn take(&mut self) -> Result<ArrayRef> {
        if self.taken.len() != self.len() {
            let offsets = OffsetBuffer::new(ScalarBuffer::from(self.bounds.clone()));
            let text = Buffer::from(self.text.clone());
            self.taken = Arc::new(StringArray::try_new(offsets, text, None)?);
        }
        Ok(Arc::clone(&self.taken) as ArrayRef)
    }
}

/// Clients, or nulls: mostly the same connections' in batch after batch, which then have one
/// dictionary. A name may be in it more than once, where connections come and go.
#[derive(Debug)]
pub(super) struct Clients {
    names: Texts,
    /// Of each row, among the names.
    rows: Numbers<Int32Type>,
    /// The name that a connection had last, where no other took its place.
    recent: Vec<i32>,
}

impl Default for Clients {
    fn default() -> Self {
        Self { names: Texts::default(), rows: Numbers::default(), recent: vec![0; Self::RECENT] }
    }
}

impl Clients {
    const RECENT: usize = 1 << 14;
    /// With more names than these, the next batch begins without any.
    const NAMES: usize = 2 * Self::RECENT;

    #[inline]
    pub(super) fn set(&mut self, row: usize, conn_id: u64, client: Option<&str>) {
        let number = client.map(|client| self.number(conn_id, client));
        self.rows.set(row, number);
    }

    #[inline]
    fn number(&mut self, conn_id: u64, client: &str) -> i32 {
        let place = usize::try_from(conn_id).unwrap_or(0) % Self::RECENT;
        let recent = self.recent[place];
        if self.names.get(recent) == Some(client.as_bytes()) {
            return recent;
        }
        let number = self.names.add(client.as_bytes());
        self.recent[place] = number;
        number
    }

    pub(super) fn flush(&mut self, rows: usize) {
        self.rows.flush(rows);
    }

    /// # Errors
    ///
    /// When a name is not UTF-8.
    pub(super) fn take(&mut self) -> Result<ArrayRef> {
        let names = self.names.take()?;
        if names.len() > Self::NAMES {
            *self = Self { rows: std::mem::take(&mut self.rows), ..Self::default() };
        }
        Ok(Arc::new(DictionaryArray::new(self.rows.take(), names)))
    }
}

/// Texts of which there are few, or nulls.
#[derive(Debug, Default)]
pub(super) struct Phrases {
    texts: Texts,
    numbers: HashMap<Box<str>, i32>,
    /// The one before, which mostly comes again.
    last: i32,
    /// Of each row, among the texts.
    rows: Numbers<Int32Type>,
}

impl Phrases {
    /// With more than these, the next batch begins without any: somebody plays with us.
    const MOST: usize = 1 << 12;

    #[inline]
    pub(super) fn set(&mut self, row: usize, phrase: Option<&str>) {
        let number = phrase.map(|phrase| self.number(phrase));
        self.rows.set(row, number);
    }

    fn number(&mut self, phrase: &str) -> i32 {
        if self.texts.get(self.last) == Some(phrase.as_bytes()) {
            return self.last;
        }
        self.last = match self.numbers.get(phrase) {
            Some(&number) => number,
            None => {
                let number = self.texts.add(phrase.as_bytes());
                self.numbers.insert(phrase.into(), number);
                number
            }
        };
        self.last
    }

    pub(super) fn flush(&mut self, rows: usize) {
        self.rows.flush(rows);
    }

    /// # Errors
    ///
    /// Never: they are UTF-8.
    pub(super) fn take(&mut self) -> Result<ArrayRef> {
        let texts = self.texts.take()?;
        if texts.len() > Self::MOST {
            (self.texts, self.numbers) = (Texts::default(), HashMap::new());
        }
        Ok(Arc::new(DictionaryArray::new(self.rows.take(), texts)))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, ArrayRef, cast::AsArray, types::Int32Type};

    use super::{BLOCK, Clients, Phrases};

    fn texts(column: &ArrayRef) -> Vec<Option<String>> {
        let column = column.as_dictionary::<Int32Type>();
        let names = column.downcast_dict::<arrow_array::StringArray>().unwrap();
        names.into_iter().map(|name| name.map(ToOwned::to_owned)).collect()
    }

    #[test]
    fn each_row_has_its_client_in_batch_after_batch() {
        let mut clients = Clients::default();
        let places = Clients::RECENT as u64;
        let mut dictionary = None;
        for batch in 0..4u64 {
            // Connections of one place, of many names, of one, and of none.
            let rows: Vec<(u64, Option<String>)> = (0..BLOCK as u64)
                .map(|row| match row % 4 {
                    0 => (row * places, Some(format!("10.0.0.{row}:1"))),
                    1 => (7, Some(format!("10.0.{batch}.{row}:2"))),
                    2 => (9, Some("unix".to_owned())),
                    _ => (row, None),
                })
                .collect();
            for (at, (connection, client)) in rows.iter().enumerate() {
                clients.set(at, *connection, client.as_deref());
            }
            clients.flush(BLOCK);
            let taken = clients.take().unwrap();
            let expected: Vec<Option<String>> = rows.into_iter().map(|(_, name)| name).collect();
            assert_eq!(texts(&taken), expected, "batch {batch}");
            dictionary = Some(taken);
        }
        // The same connections once more: the same dictionary, and not an equal one.
        clients.set(0, 9, Some("unix"));
        clients.flush(1);
        let (before, after) = (dictionary.unwrap(), clients.take().unwrap());
        let names = |column: &ArrayRef| column.as_any_dictionary().values().to_data();
        assert!(names(&before).ptr_eq(&names(&after)));
    }

    #[test]
    fn names_of_connections_that_came_and_went_are_let_go() {
        let mut clients = Clients::default();
        let many = Clients::NAMES as u64 + 1;
        for connection in 0..many {
            clients.set(0, connection, Some(&connection.to_string()));
        }
        clients.flush(1);
        assert_eq!(texts(&clients.take().unwrap()), [Some((many - 1).to_string())]);
        clients.set(0, 3, Some("three"));
        clients.flush(1);
        let taken = clients.take().unwrap();
        assert_eq!(texts(&taken), [Some("three".to_owned())]);
        assert_eq!(taken.as_any_dictionary().values().len(), 1);
    }

    #[test]
    fn a_phrase_is_there_once_and_many_are_let_go() {
        let mut phrases = Phrases::default();
        for row in 0..BLOCK {
            phrases.set(row, ["v", "", "v f c"].get(row % 4).copied());
        }
        phrases.flush(BLOCK);
        let taken = phrases.take().unwrap();
        let four = ["v", "", "v f c"].map(|text| Some(text.to_owned())).into_iter().chain([None]);
        let expected: Vec<_> = four.cycle().take(BLOCK).collect();
        assert_eq!(texts(&taken), expected);
        assert_eq!(taken.as_any_dictionary().values().len(), 3);
        for many in 0..=Phrases::MOST {
            phrases.set(0, Some(&many.to_string()));
        }
        phrases.flush(1);
        assert_eq!(texts(&phrases.take().unwrap()), [Some(Phrases::MOST.to_string())]);
        phrases.set(0, Some("v"));
        phrases.flush(1);
        assert_eq!(phrases.take().unwrap().as_any_dictionary().values().len(), 1);
    }
}
