//! Columns that are being gathered: no more than lists, so that adding a value costs
//! next to nothing, and Arrow arrays in the end.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, DictionaryArray, Int32Array, PrimitiveArray, StringArray,
    types::Int32Type,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

/// Which values of a column there are.
#[derive(Debug, Default)]
struct Known {
    each: Vec<bool>,
    unknown: usize,
}

impl Known {
    fn push(&mut self, known: bool) {
        self.each.push(known);
        self.unknown += usize::from(!known);
    }

    fn take(&mut self) -> Option<NullBuffer> {
        let unknown = std::mem::take(&mut self.unknown);
        let nulls = (unknown > 0).then(|| NullBuffer::from(self.each.as_slice()));
        self.each.clear();
        nulls
    }
}

/// A list, which is left as large as it was.
pub(super) fn take<T>(list: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(list.len());
    std::mem::replace(list, room)
}

/// Numbers, or nulls.
#[derive(Debug)]
pub(super) struct Numbers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    known: Known,
}

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self { values: Vec::new(), known: Known::default() }
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    pub(super) fn push(&mut self, value: Option<T::Native>) {
        self.values.push(value.unwrap_or_default());
        self.known.push(value.is_some());
    }

    pub(super) fn take(&mut self) -> ArrayRef {
        let values = ScalarBuffer::from(take(&mut self.values));
        Arc::new(PrimitiveArray::<T>::new(values, self.known.take()))
    }
}

/// Keys, or nulls.
#[derive(Debug)]
pub(super) struct Keys {
    /// One after the other.
    text: String,
    /// Where each begins, and the last ends.
    offsets: Vec<i32>,
    known: Known,
}

impl Default for Keys {
    fn default() -> Self {
        Self { text: String::new(), offsets: vec![0], known: Known::default() }
    }
}

impl Keys {
    /// Adds the key that `write` appends, if it says that there is one.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut String) -> bool) {
        let known = write(&mut self.text);
        self.known.push(known);
        // Keys have some hundreds of bytes, and a batch some thousands of them.
        self.offsets.push(i32::try_from(self.text.len()).unwrap_or(i32::MAX));
    }

    pub(super) fn take(&mut self) -> ArrayRef {
        let text = take_text(&mut self.text);
        let offsets = take(&mut self.offsets);
        self.offsets.push(0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Arc::new(StringArray::new(offsets, Buffer::from(text.into_bytes()), self.known.take()))
    }
}

fn take_text(text: &mut String) -> String {
    let room = String::with_capacity(text.len());
    std::mem::replace(text, room)
}

/// Clients, or nulls: the same few again and again.
#[derive(Debug)]
pub(super) struct Clients {
    names: Vec<String>,
    numbers: HashMap<String, i32>,
    /// Of each row, among the names.
    rows: Vec<Option<i32>>,
    /// The name that a connection had last, where no other took its place.
    recent: Vec<i32>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            numbers: HashMap::new(),
            rows: Vec::new(),
            recent: vec![0; Self::RECENT],
        }
    }
}

impl Clients {
    const RECENT: usize = 1024;

    pub(super) fn push(&mut self, conn_id: u64, client: Option<&str>) {
        let number = client.map(|client| self.number(conn_id, client));
        self.rows.push(number);
    }

    fn number(&mut self, conn_id: u64, client: &str) -> i32 {
        let place = usize::try_from(conn_id).unwrap_or(0) % Self::RECENT;
        let recent = self.recent[place];
        let name = usize::try_from(recent).ok().and_then(|recent| self.names.get(recent));
        if name.is_some_and(|name| name == client) {
            return recent;
        }
        let number = match self.numbers.get(client) {
            Some(&number) => number,
            None => {
                let number = i32::try_from(self.names.len()).unwrap_or(i32::MAX);
                self.names.push(client.to_owned());
                self.numbers.insert(client.to_owned(), number);
                number
            }
        };
        self.recent[place] = number;
        number
    }

    pub(super) fn take(&mut self) -> ArrayRef {
        let names: StringArray = self.names.drain(..).map(Some).collect();
        self.numbers.clear();
        let rows = Int32Array::from(take(&mut self.rows));
        Arc::new(DictionaryArray::<Int32Type>::new(rows, Arc::new(names)))
    }
}
