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

/// What the recorder knows of a connection from one send to the next: how many bytes come that
/// are no value, and then of a value.
#[derive(Debug, Default)]
pub struct Copier {
    head_left: usize,
    value_left: usize,
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
        let mut copying = InKernel {
            head_left: self.head_left,
            value_left: self.value_left,
            ..InKernel::default()
        };
        for buffer in buffers {
            let mut bytes = &buffer.bytes[..];
            if copying.is_value(bytes) {
                bytes = &[];
            }
            while !bytes.is_empty() && copying.sent < accepted {
                bytes = &bytes[copying.part(bytes)..];
            }
            if copying.sent >= accepted {
                break;
            }
        }
        copying.make_sure();
        let again = copying.sent - accepted;
        let of_value = copying.value.min(again);
        self.head_left = copying.head_left + again - of_value;
        self.value_left = copying.value_left + of_value;
        copying.copied
    }
}

/// Longer ones are not copied whole, but so much of both ends.
const WHOLE: usize = 512;
const END: usize = 64;
/// What is copied of a long one that begins with the header of a value.
const LONG_HEAD: usize = WHOLE - END;

/// One send, as `bpf/send.bpf.h` and `bpf/value.bpf.h` take it apart.
#[derive(Default)]
struct InKernel {
    head_left: usize,
    value_left: usize,
    /// The header, among `copied`, of a value that is to be all of the next buffer.
    expected: Option<usize>,
    /// Of a value, at the end of the last part.
    value: usize,
    sent: usize,
    copied: Vec<Copied>,
}

impl InKernel {
    fn is_value(&mut self, bytes: &[u8]) -> bool {
        let Some(at) = self.expected else { return false };
        if bytes.len() != self.value_left || bytes.len() > 4096 {
            return false;
        }
        self.copied[at].0 += bytes.len();
        self.sent += bytes.len();
        self.value = std::mem::take(&mut self.value_left);
        self.expected = None;
        true
    }

    fn make_sure(&mut self) {
        if let Some(at) = self.expected.take() {
            self.value_left = find_value(&self.copied[at].1).map_or(0, |(_, value)| value);
        }
    }

    /// Takes the next part of a buffer; returns how many bytes it has.
    fn part(&mut self, bytes: &[u8]) -> usize {
        self.make_sure();
        let length = bytes.len();
        let begins = self.head_left == 0 && self.value_left == 0;
        if begins {
            self.head_left = length;
        }
        let mut head = self.head_left.min(length);
        let (mut copied, mut tail) = (head, 0);
        let seen = if head > WHOLE { LONG_HEAD } else { head };
        let found = if begins { find_value(&bytes[..seen]) } else { None };
        match found.filter(|(front, _)| head <= WHOLE || *front <= LONG_HEAD) {
            Some((front, value)) => {
                (self.head_left, self.value_left) = (front, value);
                if front == length && value > 0 {
                    self.expected = Some(self.copied.len());
                }
                head = head.min(front);
                copied = head;
            }
            None if head > WHOLE => (copied, tail) = (END, END),
            None => {}
        }
        self.head_left -= head;
        let whole = self.head_left == 0 && tail == 0;
        self.value = if whole { self.value_left.min(length - head) } else { 0 };
        self.value_left -= self.value;
        self.sent += head + self.value;
        let last = bytes[head - tail..head].to_vec();
        self.copied.push((head + self.value, bytes[..copied].to_vec(), last));
        head + self.value
    }
}

/// Of a reply that begins with `bytes`: how many are before its value, and of that. None if
/// there is none, or they do not tell.
fn find_value(bytes: &[u8]) -> Option<(usize, usize)> {
    if bytes.first() == Some(&0x81) {
        return find_value_of_packet(bytes);
    }
    let end = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let mut words = bytes[..end].trim_ascii_end().split(|&byte| byte == b' ');
    let size = match words.next()? {
        b"VA" => words.next()?,
        b"VALUE" => words.nth(2)?,
        _ => return None,
    };
    Some((end, std::str::from_utf8(size).ok()?.parse::<usize>().ok()? + 2))
}

fn find_value_of_packet(bytes: &[u8]) -> Option<(usize, usize)> {
    const HEADER: usize = 24;
    const HITS: [u8; 8] = [0x00, 0x09, 0x0c, 0x0d, 0x1d, 0x1e, 0x23, 0x24];
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let key = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let body = u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize;
    let before = usize::from(header[4]) + key;
    if HITS.contains(&header[1]) && header[6..8] == [0, 0] && before <= body {
        return Some((HEADER + before, body - before));
    }
    (bytes.len() == HEADER).then_some((HEADER + body, 0))
}
