//! Distinct texts of a column, each with a code.

use super::{hash::Hash, plain};

/// A place of the table that no code has taken.
const FREE: u64 = u64::MAX;
/// Places of a new table, as a power of two.
const PLACES_BITS: u32 = 8;

/// Texts that are looked up together, at most.
pub(super) const GROUP: usize = 16;

/// Codes in the order in which texts came first.
pub(super) struct TextDictionary {
    hash: Hash,
    /// The dictionary page: each text after its length.
    page: Vec<u8>,
    /// Where in the page a text begins, by its code.
    starts: Vec<u32>,
    /// 32 bits of a hash above a code, at the place that the hash's first bits say, or
    /// after it: most texts that are not meant differ in their hash already, and a
    /// table that grows needs no text. At most three quarters are taken. There are none
    /// once the dictionary is full.
    places: Vec<u64>,
    /// The logarithm of how many places there are.
    places_bits: u32,
    /// Bytes that the page may have.
    limit: usize,
}

impl TextDictionary {
    /// With a page of at most `limit` bytes.
    pub(super) fn new(hash: Hash, limit: usize) -> Self {
        Self {
            hash,
            page: Vec::new(),
            starts: Vec::new(),
            places: vec![FREE; 1 << PLACES_BITS],
            places_bits: PLACES_BITS,
            limit,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of all texts.
    pub(super) fn size(&self) -> usize {
        self.page.len()
    }

    /// All texts, by their codes, as a dictionary page has them. There are none any
    /// more then.
    pub(super) fn take_page(&mut self) -> Vec<u8> {
        let empty = Self::new(self.hash, self.limit);
        std::mem::replace(self, empty).page
    }

    /// Whether a text had no room.
    pub(super) fn is_full(&self) -> bool {
        self.places.is_empty()
    }

    /// Codes of some of these texts, if not of all that have one. With many keys, table
    /// and page lie in no cache, and to wait for one text takes as long as for all.
    pub(super) fn known(&self, texts: &[&[u8]]) -> [Option<u32>; GROUP] {
        let mut codes = [None; GROUP];
        if self.is_full() {
            return codes;
        }
        for (code, text) in codes.iter_mut().zip(texts) {
            let hash = self.hash.of_bytes(text) >> 32;
            let taken = self.places[self.place(hash)];
            *code = (taken >> 32 == hash && taken != FREE).then_some(low_half(taken));
        }
        let starts = codes.map(|code| code.map_or(0, |code| self.starts[code as usize]));
        for ((code, start), text) in codes.iter_mut().zip(starts).zip(texts) {
            *code = code.filter(|_| self.is_at(start, text));
        }
        codes
    }

    /// The code of a text; `None` from the first on that has no room.
    pub(super) fn code(&mut self, text: &[u8]) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let hash = self.hash.of_bytes(text) >> 32;
        let mut place = self.place(hash);
        loop {
            let taken = self.places[place];
            if taken == FREE {
                return self.insert(text, hash, place);
            }
            if taken >> 32 == hash && self.is_at(self.starts[low_half(taken) as usize], text) {
                return Some(low_half(taken));
            }
            place = (place + 1) & (self.places.len() - 1);
        }
    }

    fn place(&self, hash: u64) -> usize {
        usize::try_from(hash >> (u32::BITS - self.places_bits)).unwrap_or(0)
    }

    fn is_at(&self, start: u32, text: &[u8]) -> bool {
        let start = start as usize;
        let Some((length, rest)) = self.page[start..].split_first_chunk() else { return false };
        u32::from_le_bytes(*length) as usize == text.len() && &rest[..text.len()] == text
    }

    #[cold]
    fn insert(&mut self, text: &[u8], hash: u64, place: usize) -> Option<u32> {
        let (start, code) = (u32::try_from(self.page.len()), u32::try_from(self.starts.len()));
        let (Ok(start), Ok(code), true) = (start, code, self.has_room(text)) else {
            self.places = Vec::new();
            return None;
        };
        plain::push_text(text, &mut self.page);
        self.starts.push(start);
        self.places[place] = hash << 32 | u64::from(code);
        if self.starts.len() > self.places.len() / 4 * 3 {
            self.grow();
        }
        Some(code)
    }

    fn has_room(&self, text: &[u8]) -> bool {
        plain::text_size(text) <= self.limit.saturating_sub(self.page.len())
    }

    fn grow(&mut self) {
        let room = vec![FREE; self.places.len() * 2];
        let before = std::mem::replace(&mut self.places, room);
        self.places_bits += 1;
        for taken in before.into_iter().filter(|&taken| taken != FREE) {
            let mut place = self.place(taken >> 32);
            while self.places[place] != FREE {
                place = (place + 1) & (self.places.len() - 1);
            }
            self.places[place] = taken;
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the half is what is wanted")]
fn low_half(bits: u64) -> u32 {
    bits as u32
}

#[cfg(test)]
mod tests {
    use super::TextDictionary;
    use crate::encoder::hash::Hash;

    #[test]
    fn codes_are_given_in_order_and_kept_until_there_is_no_room() {
        let mut dictionary = TextDictionary::new(Hash::new(), 50_000);
        let text = |n: usize| "x".repeat(n % 7) + &n.to_string();
        let mut codes = 0;
        while let Some(code) = dictionary.code(text(codes).as_bytes()) {
            assert_eq!(code as usize, codes);
            let known = [text(codes), text(codes / 2), "new".to_owned()];
            let [_, known, new, ..] = dictionary.known(&known.each_ref().map(String::as_bytes));
            let half = u32::try_from(codes / 2).ok();
            // One that is not where its hash says is not found at once.
            assert!(new.is_none() && (known == half || known.is_none()));
            assert_eq!(dictionary.code(text(codes / 2).as_bytes()), half);
            codes += 1;
        }
        assert!(codes > 3000 && dictionary.size() <= 50_000);
        // Not even one that is there: pages have codes or none.
        assert!(dictionary.is_full());
        assert_eq!(dictionary.code(text(0).as_bytes()), None);
        assert_eq!(dictionary.len(), codes);
        assert!(dictionary.take_page().starts_with(b"\x01\0\0\x000\x02\0\0\0x1\x03"));
    }
}
