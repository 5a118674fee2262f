//! What a capture that is a sample of the keys can say. Pure.

use mcrec_schema::{
    footer::Footer,
    key,
    sample::{self, ONE_IN_MAX},
};

/// The samples of one capture, in one file or several.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampling {
    /// Operations that were left out on purpose, if that is known.
    pub(crate) sampled_out: Option<u64>,
    /// One key in so many, where most keys were recorded.
    pub(crate) densest: u32,
    /// And where fewest were.
    pub(crate) sparsest: u32,
    /// The keys in the capture are pseudonyms, of which it cannot be said whether
    /// they are in a sample.
    hashed: bool,
}

impl Sampling {
    /// `None` if `footers` are those of all operations.
    pub(crate) fn of(footers: &[Footer]) -> Option<Self> {
        if !footers.iter().any(|footer| footer.sampling.is_sampled()) {
            return None;
        }
        let rates = footers.iter().flat_map(|footer| {
            stretches(footer).into_iter().map(|(_, one_in)| u32::try_from(one_in).unwrap_or(1))
        });
        let rates: Vec<u32> = rates.collect();
        Some(Self {
            sampled_out: footers.iter().map(|footer| footer.sampling.sampled_out).sum(),
            densest: rates.iter().copied().min().unwrap_or(1),
            sparsest: rates.iter().copied().max().unwrap_or(1),
            hashed: footers.iter().any(|footer| footer.privacy.keys_hashed.is_some()),
        })
    }

    /// Whether some keys were recorded for a part of the time, or in some files.
    pub(crate) fn changes(&self) -> bool {
        self.densest != self.sparsest
    }

    /// One in how many of the keys was recorded all the time; `None` where it cannot be
    /// said which those are.
    pub(crate) fn of_whole_keys(&self) -> Option<u32> {
        (!self.changes() || !self.hashed).then_some(self.sparsest)
    }

    /// Whether all operations on `key`, as the capture has it, are there; `None` if
    /// that cannot be said.
    pub(crate) fn has_all_of(&self, key: &str) -> Option<bool> {
        self.contains(self.sparsest, key)
    }

    /// Whether no operation on `key`, as the capture has it, can be there.
    pub(crate) fn lacks(&self, key: &str) -> bool {
        self.contains(self.densest, key) == Some(false)
    }

    fn contains(&self, one_in: u32, key: &str) -> Option<bool> {
        let key = key::unescape(key).filter(|_| !self.hashed)?;
        Some(sample::contains(one_in, &key))
    }
}

/// From when on, µs since the epoch, one key in how many was recorded. Never empty;
/// the first holds for all before it too.
pub(crate) fn stretches(footer: &Footer) -> Vec<(i64, i64)> {
    let mut stretches: Vec<(i64, i64)> = footer
        .sampling
        .series
        .iter()
        .map(|&[from, _, one_in]| (from, one_in.clamp(1, i64::from(ONE_IN_MAX))))
        .collect();
    stretches.dedup_by_key(|(_, one_in)| *one_in);
    if stretches.is_empty() {
        stretches.push((i64::MIN, 1));
    }
    stretches
}

/// How many operations a row of a file stands for.
#[derive(Clone, Debug)]
pub(crate) struct Weights(Vec<(i64, i64)>);

impl Weights {
    /// Of a file with this footer.
    pub(crate) fn of(footer: &Footer) -> Self {
        Self(stretches(footer))
    }

    /// By the rate of its time, if the row has a key; none was left out without one.
    pub(crate) fn of_row(&self, ts: i64, has_key: bool) -> i64 {
        if !has_key {
            return 1;
        }
        let after = self.0.partition_point(|(from, _)| *from <= ts);
        self.0.get(after.saturating_sub(1)).map_or(1, |(_, one_in)| *one_in)
    }
}

/// One key in how many was recorded, if that never changed.
pub(crate) fn only_rate(footer: &Footer) -> Option<i64> {
    match stretches(footer).as_slice() {
        [(_, one_in)] => Some(*one_in),
        _ => None,
    }
}
