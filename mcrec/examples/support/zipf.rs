//! What keys are asked for, and how often.

#![allow(unreachable_pub, reason = "a part of several examples")]

/// Ranks from 0, the most frequent, with the probability of `1 / (rank + 1)^s`.
pub struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Of so many ranks, with the exponent `s`.
    pub fn new(ranks: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=ranks).map(|rank| {
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let rank = rank as f64;
            sum += rank.powf(-exponent);
            sum
        });
        Self { cumulative: cumulative.collect() }
    }

    /// A rank.
    pub fn sample(&self, random: &mut Random) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let at = random.fraction() * total;
        self.cumulative.partition_point(|sum| *sum < at).min(self.cumulative.len() - 1)
    }
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): small, fast, the same every time.
pub struct Random(u64);

impl Random {
    /// With this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// From 0 to below 1.
    pub fn fraction(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let bits = (self.bits() >> 11) as f64;
        bits / (1_u64 << 53) as f64
    }
}
