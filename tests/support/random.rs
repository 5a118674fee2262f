//! Random choices that are the same every time.

/// `SplitMix64` (Steele, Lea and Flood, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A key of 1 to 250 bytes, as wild as the protocol allows.
    pub fn key(&mut self, allowed: impl Fn(u8) -> bool) -> Vec<u8> {
        let length = match self.below(4) {
            0 => 1 + self.below(8),
            1 => 240 + self.below(11),
            _ => 1 + self.below(250),
        };
        let mut key = Vec::with_capacity(length);
        while key.len() < length {
            let byte = self.next().to_le_bytes()[0];
            if allowed(byte) {
                key.push(byte);
            }
        }
        key
    }

    /// A value of 0 bytes to 1 MiB, mostly small.
    pub fn value(&mut self) -> Vec<u8> {
        let length = match self.below(50) {
            0 => 0,
            1 => (1 << 20) - self.below(3),
            2..=5 => 16_384 - 3 + self.below(6),
            6..=9 => self.below(1 << 18),
            _ => self.below(600),
        };
        vec![b'v'; length]
    }
}
