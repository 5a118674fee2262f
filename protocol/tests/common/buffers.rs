//! What a server hands to the kernel to send, and what a recorder copies of it.

use std::ops::Range;

use super::{Splits, Vector};

/// Which replies lie in one buffer.
#[derive(Clone, Debug)]
pub enum Joining {
    /// Each part in its own, as memcached has them.
    Apart,
    /// A value with the line before it, and where it is the only one with what comes after it,
    /// as memcached has them where it is a proxy.
    Proxy,
    /// So many parts each, whosever they are, again and again.
    Any(Vec<usize>),
}

/// How a recorder copies.
#[derive(Clone, Copy, Debug)]
pub enum Copying {
    /// All but the midst of a value: so many bytes from both of its ends.
    Ends(usize, usize),
    /// As `bpf/send.bpf.h` does, which knows of no value but by what is before it.
    Bpf,
}

/// A buffer, and where in it a value lies.
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    pub bytes: Vec<u8>,
    value: Range<usize>,
}

/// The length of a buffer, and its first and its last bytes that were copied.
pub type Copied = (usize, Vec<u8>, Vec<u8>);

impl Buffer {
    fn add(&mut self, vector: Vector) {
        let start = self.bytes.len();
        self.bytes.extend(vector.bytes);
        // Of several the longest: there is but one hole in a buffer.
        if vector.value && self.bytes.len() - start > self.value.len() {
            self.value = start..self.bytes.len();
        }
    }

    /// The kernel took so many bytes.
    pub fn advance(&mut self, taken: usize) {
        self.bytes.drain(..taken);
        self.value = self.value.start.saturating_sub(taken)..self.value.end.saturating_sub(taken);
    }

    fn all(&self) -> Copied {
        (self.bytes.len(), self.bytes.clone(), Vec::new())
    }

    fn ends(&self, head: usize, tail: usize) -> Copied {
        if self.value.len() <= head + tail {
            return self.all();
        }
        let (before, after) = (self.value.start + head, self.value.end - tail);
        (self.bytes.len(), self.bytes[..before].to_vec(), self.bytes[after..].to_vec())
    }
}

/// The buffers that `replies`, one of each request, lie in.
pub fn join(replies: Vec<Vec<Vector>>, joining: &Joining) -> Vec<Buffer> {
    let mut buffers: Vec<Buffer> = Vec::new();
    let (mut turn, mut left) = (0, 0);
    for reply in replies {
        let values = reply.iter().filter(|vector| vector.value).count();
        for (at, vector) in reply.into_iter().enumerate() {
            let goes_on = match joining {
                Joining::Apart => false,
                Joining::Proxy => at > 0 && (values == 1 || vector.value),
                Joining::Any(sizes) => {
                    let goes_on = left > 0;
                    if !goes_on {
                        left = sizes[turn % sizes.len()].max(1);
                        turn += 1;
                    }
                    left -= 1;
                    goes_on
                }
            };
            match buffers.last_mut() {
                Some(last) if goes_on => last.add(vector),
                _ => {
                    let mut buffer = Buffer::default();
                    buffer.add(vector);
                    buffers.push(buffer);
                }
            }
        }
    }
    buffers.retain(|buffer| !buffer.bytes.is_empty());
    buffers
}

/// What the recorder knows of a connection from one send to the next.
#[derive(Debug, Default)]
pub struct Copier {
    rest_of_value: bool,
    rest_of_other: bool,
    rest_in_binary: bool,
}

impl Copier {
    pub fn copy(&mut self, buffers: &[Buffer], accepted: usize, splits: &Splits) -> Vec<Copied> {
        match splits.copying {
            Copying::Ends(head, tail) => {
                buffers.iter().map(|buffer| buffer.ends(head, tail)).collect()
            }
            Copying::Bpf => self.as_bpf(buffers, accepted),
        }
    }

    fn as_bpf(&mut self, buffers: &[Buffer], accepted: usize) -> Vec<Copied> {
        const WHOLE: usize = 512;
        const END: usize = 64;
        let (mut value, mut midst) = (self.rest_of_value, self.rest_of_other);
        let (mut binary, mut sent, mut copied) = (self.rest_in_binary, 0, Vec::new());
        let mut in_value = false;
        for buffer in buffers {
            let bytes = &buffer.bytes;
            let length = bytes.len();
            let (head, tail) = match length {
                _ if value => (0, 0),
                ..=WHOLE => (length, 0),
                _ if (midst || begins_value(bytes)) && !bytes[..END].contains(&b'\n') => {
                    (WHOLE - END, END)
                }
                _ => (END, END),
            };
            binary |= head == 24 && bytes[0] == 0x81;
            in_value = value;
            value = !binary && !midst && tail == 0 && is_header(&bytes[..head]);
            midst = false;
            copied.push((length, bytes[..head].to_vec(), bytes[length - tail..].to_vec()));
            sent += length;
            if sent >= accepted {
                break;
            }
        }
        let cut = sent > accepted;
        self.rest_of_value = if cut { in_value } else { value };
        self.rest_of_other = cut && !in_value;
        self.rest_in_binary = cut && binary;
        copied
    }
}

fn begins_value(bytes: &[u8]) -> bool {
    bytes.starts_with(b"VALUE ") || bytes.starts_with(b"VA ")
}

fn is_header(bytes: &[u8]) -> bool {
    bytes.len() >= 6
        && begins_value(bytes)
        && bytes.iter().position(|&byte| byte == b'\n') == Some(bytes.len() - 1)
}
