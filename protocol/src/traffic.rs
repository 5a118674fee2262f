//! What a server read and sent, as it is handed over.

/// What a command read asks for when nothing is left over from the one before
/// (`READ_BUFFER_SIZE`).
pub(crate) const BUFFER: u64 = 16384;

/// What one read of the server's returned.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// Bytes that the server asked for.
    pub asked: u64,
    /// Bytes that it got.
    pub length: u64,
    /// The first of them; the others were not copied.
    pub data: &'a [u8],
}

impl Read<'_> {
    /// Whether the server asked for as much as it does when nothing is left over from before:
    /// what it got begins with a request. (One that wants just as much of a value looks the
    /// same.)
    #[inline]
    pub fn begins_request(&self) -> bool {
        self.asked == BUFFER
    }
}

/// One element of what the server handed to the kernel to send.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Its bytes.
    pub length: u64,
    /// The first of them.
    pub head: &'a [u8],
    /// The last of them, after a hole.
    pub tail: &'a [u8],
}

impl<'a> Segment<'a> {
    /// What there is of it: first bytes, how many are missing after those, and last bytes.
    #[inline]
    pub(crate) fn whole(self) -> (&'a [u8], u64, &'a [u8]) {
        let copied = (self.head.len() + self.tail.len()) as u64;
        match self.length.checked_sub(copied) {
            Some(hole) => (self.head, hole, self.tail),
            // It claims to have more than there is.
            None => self.part(0, self.length),
        }
    }

    /// The same of its bytes from `begin` up to `end`.
    pub(crate) fn part(self, begin: u64, end: u64) -> (&'a [u8], u64, &'a [u8]) {
        let size = |bytes: &[u8]| bytes.len() as u64;
        let up_to = |bytes: &'a [u8], end: u64| {
            &bytes[..usize::try_from(end).map_or(bytes.len(), |end| end.min(bytes.len()))]
        };
        let head = up_to(self.head, end);
        let skipped = usize::try_from(begin).unwrap_or(usize::MAX).min(head.len());
        // Where the tail begins in the segment; it may be cut off by a partial send.
        let tail_at = self.length.saturating_sub(size(self.tail)).max(size(self.head));
        let tail = up_to(self.tail, end.saturating_sub(tail_at));
        let hole = end.min(tail_at).saturating_sub(size(head).max(begin));
        (&head[skipped..], hole, tail)
    }
}
