//! The header that stands before each page of a column, read without its page.
//!
//! It is a struct of Thrift's compact protocol; its fields are those of
//! `PageHeader` in Parquet's definition (parquet.thrift).

use std::{fs::File, os::unix::fs::FileExt};

/// Headers have some tens of bytes; with statistics in them, up to some hundreds.
const HEADER_MAX: usize = 64 << 10;
/// Structs within structs, at most.
const DEPTH_MAX: u32 = 8;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Dictionary,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageHeader {
    pub(crate) kind: Kind,
    /// Bytes of the header itself.
    pub(crate) length: usize,
    /// Bytes of the page as it is in the file.
    pub(crate) compressed: usize,
    /// Bytes of the page.
    pub(crate) uncompressed: usize,
    /// Values in the page, nulls among them.
    pub(crate) values: usize,
    /// Parquet's number of the encoding.
    pub(crate) encoding: i32,
}

impl PageHeader {
    /// The header of the page at `at`, if all of the page lies before `end`.
    pub(crate) fn read(file: &File, at: u64, end: u64) -> Option<Self> {
        let read = |most: usize| {
            let mut bytes = [0; 256];
            let mut more = Vec::new();
            let bytes = match most {
                0..=256 => &mut bytes[..],
                _ => {
                    more.resize(most, 0);
                    &mut more[..]
                }
            };
            let left = usize::try_from(end.checked_sub(at)?).unwrap_or(usize::MAX);
            let length = bytes.len().min(left);
            file.read_exact_at(&mut bytes[..length], at).ok()?;
            Self::parse(&bytes[..length])
        };
        // Nearly all are short.
        let header = read(256).or_else(|| read(HEADER_MAX))?;
        (at + (header.length + header.compressed) as u64 <= end).then_some(header)
    }

    /// Reads the header that `bytes` begin with; `None` if they do not.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = Input { rest: &bytes[..bytes.len().min(HEADER_MAX)] };
        let before = input.rest.len();
        let (mut kind, mut compressed, mut uncompressed) = (None, None, None);
        let mut contents = None;
        let mut field = 0;
        while let Some(wire) = input.field(&mut field)? {
            match (field, wire) {
                (1, Wire::Int) => {
                    kind = match input.int()? {
                        0 | 3 => Some(Kind::Data),
                        2 => Some(Kind::Dictionary),
                        _ => return None,
                    }
                }
                (2, Wire::Int) => uncompressed = Some(input.size()?),
                (3, Wire::Int) => compressed = Some(input.size()?),
                // Values and encoding of a data page and of a dictionary.
                (5 | 7, Wire::Struct) => contents = Some(input.contents(2)?),
                // Of a data page of the second kind.
                (8, Wire::Struct) => contents = Some(input.contents(4)?),
                (_, wire) => input.skip(wire, 0)?,
            }
        }
        let (values, encoding) = contents?;
        Some(Self {
            kind: kind?,
            length: before - input.rest.len(),
            compressed: compressed?,
            uncompressed: uncompressed?,
            values,
            encoding,
        })
    }
}

/// How a field is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    /// A truth value, which is in the field's header.
    Bool,
    Byte,
    Int,
    Double,
    Binary,
    List,
    Struct,
}

struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn int(&mut self) -> Option<i64> {
        let zigzag = self.varint()?;
        Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn size(&mut self) -> Option<usize> {
        let size = i32::try_from(self.int()?).ok()?;
        usize::try_from(size).ok()
    }

    /// The next field of a struct, whose number follows from the one before;
    /// `Some(None)` at the end of the struct.
    fn field(&mut self, number: &mut i64) -> Option<Option<Wire>> {
        let header = self.byte()?;
        if header == 0 {
            return Some(None);
        }
        *number = match header >> 4 {
            0 => self.int()?,
            delta => *number + i64::from(delta),
        };
        Some(Some(wire_of(header & 0xf)?))
    }

    /// Number of values and encoding, of which the latter is field `encoding`.
    fn contents(&mut self, encoding: i64) -> Option<(usize, i32)> {
        let (mut values, mut encoded) = (None, None);
        let mut field = 0;
        while let Some(wire) = self.field(&mut field)? {
            match (field, wire) {
                (1, Wire::Int) => values = Some(self.size()?),
                (number, Wire::Int) if number == encoding => {
                    encoded = Some(i32::try_from(self.int()?).ok()?);
                }
                (_, wire) => self.skip(wire, 1)?,
            }
        }
        Some((values?, encoded?))
    }

    fn skip(&mut self, wire: Wire, depth: u32) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match wire {
            Wire::Bool => {}
            Wire::Byte => {
                self.byte()?;
            }
            Wire::Int => {
                self.varint()?;
            }
            Wire::Double => self.rest = self.rest.get(8..)?,
            Wire::Binary => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.rest = self.rest.get(length..)?;
            }
            Wire::List => {
                let header = self.byte()?;
                let length = match header >> 4 {
                    15 => self.varint()?,
                    length => u64::from(length),
                };
                let element = match wire_of(header & 0xf)? {
                    // In a list, truth values have a byte each.
                    Wire::Bool => Wire::Byte,
                    element => element,
                };
                for _ in 0..length {
                    self.skip(element, depth + 1)?;
                }
            }
            Wire::Struct => {
                let mut field = 0;
                while let Some(wire) = self.field(&mut field)? {
                    self.skip(wire, depth + 1)?;
                }
            }
        }
        Some(())
    }
}

fn wire_of(code: u8) -> Option<Wire> {
    Some(match code {
        1 | 2 => Wire::Bool,
        3 => Wire::Byte,
        4..=6 => Wire::Int,
        7 => Wire::Double,
        8 => Wire::Binary,
        9 | 10 => Wire::List,
        12 => Wire::Struct,
        // Maps: there are none in a page header.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, PageHeader};

    #[test]
    fn a_header_is_read_and_a_cut_off_or_other_one_is_not() {
        // type 0, uncompressed 100, compressed 60, {values 7, encoding 5, 3, 3}.
        let bytes =
            [0x15, 0, 0x15, 200, 1, 0x15, 120, 0x2c, 0x15, 14, 0x15, 10, 0x15, 6, 0x15, 6, 0, 0];
        let header = PageHeader {
            kind: Kind::Data,
            length: bytes.len(),
            compressed: 60,
            uncompressed: 100,
            values: 7,
            encoding: 5,
        };
        assert_eq!(PageHeader::parse(&[&bytes[..], b"page"].concat()), Some(header));
        for end in 0..bytes.len() {
            assert_eq!(PageHeader::parse(&bytes[..end]), None, "{end}");
        }
        // The beginning of a footer: version 1, then a list.
        assert_eq!(PageHeader::parse(&[0x15, 2, 0x19, 0xfc]), None);
        // Sizes below zero, and lists within lists without end.
        assert_eq!(PageHeader::parse(&[0x15, 0, 0x15, 1]), None);
        assert_eq!(PageHeader::parse(&[0x99; 70_000]), None);
    }
}
