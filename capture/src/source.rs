//! The bytes of a capture: data from the file, and the footer from wherever it is.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    errors::Result,
    file::reader::{ChunkReader, Length},
};

/// A capture as a sequence of bytes: the first of a file, then a footer.
#[derive(Clone, Debug)]
pub(crate) struct Source(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    file: File,
    /// Where the file's part ends and the footer begins.
    data_end: u64,
    footer: Bytes,
}

impl Source {
    pub(crate) fn new(file: File, data_end: u64, footer: Bytes) -> Self {
        Self(Arc::new(Parts { file, data_end, footer }))
    }

    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }

    pub(crate) fn data_end(&self) -> u64 {
        self.0.data_end
    }

    pub(crate) fn footer(&self) -> &Bytes {
        &self.0.footer
    }

    /// Reads up to as much as `to` has room for, and returns how much that was.
    fn read_at(&self, to: &mut [u8], at: u64) -> io::Result<usize> {
        let Parts { file, data_end, footer } = &*self.0;
        match data_end.checked_sub(at) {
            Some(left) if left > 0 => {
                let room = to.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                file.read_at(&mut to[..room], at)
            }
            _ => {
                let from = usize::try_from(at - data_end).unwrap_or(usize::MAX).min(footer.len());
                (&footer[from..]).read(to)
            }
        }
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.0.data_end + self.0.footer.len() as u64
    }
}

impl ChunkReader for Source {
    type T = Reader;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(Reader { source: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // A length that is not there is not allocated.
        if start.checked_add(length as u64).is_none_or(|end| end > self.len()) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut bytes = vec![0; length];
        Reader { source: self.clone(), at: start }.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads on from a place.
#[derive(Debug)]
pub(crate) struct Reader {
    source: Source,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read_at(to, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
