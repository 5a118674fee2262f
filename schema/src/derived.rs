//! How a capture was made from others: the entry `mcrec.derived`.
//!
//! A capture that mcrec recorded has no such entry. One that was made from others
//! has a list of the steps that led to it, the first one first. What the other
//! entries say is said of the capture as it is now, as far as that can be known:
//!
//! * `mcrec.loss`: `seen = written + losses` holds, where `seen` is what the capture
//!   would have if nothing had been lost, give or take what a lost operation was.
//! * `mcrec.cost` and the counts of `mcrec.source` are of the whole recording.
//!
//! Readers that do not know the entry lose nothing but its history.

use serde::{Deserialize, Serialize};

use crate::footer::{Capture, Cost, Loss, Source, Target};

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// [`SLICE`], [`MERGE`] or [`ANONYMISE`].
    pub how: String,
    /// Version of mcanalyze.
    pub mcanalyze_version: String,
    /// Ids of the captures it was done to.
    pub from: Vec<String>,
    /// Of a slice: which rows it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    /// Of a merge: what it consists of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// Some of the rows were taken.
pub const SLICE: &str = "slice";
/// Several captures were made one, which has the column [`crate::columns::HOST`].
pub const MERGE: &str = "merge";
/// Keys were hashed.
pub const ANONYMISE: &str = "anonymise";

/// Which rows a slice has: those for which all that is said here is so.
///
/// Its `mcrec.loss` has what was lost in its window, whatever that was: a lost
/// operation may have been one of the slice or not. An entry of the series that the
/// window cuts keeps its whole count. Where several reasons are known and only a
/// part of the losses is in the window, the reason is `reason_not_known`. What is
/// `incomplete` is known for the whole recording only, so it is at most that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// `ts` is this or later; µs since the epoch, UTC.
    pub from_us: Option<i64>,
    /// `ts` is before this; µs since the epoch, UTC.
    pub to_us: Option<i64>,
    /// `key` is this.
    pub key: Option<String>,
    /// `key` begins with this.
    pub prefix: Option<String>,
    /// `op` is one of these, unless there are none.
    pub ops: Vec<String>,
    /// `conn_id` is one of these, unless there are none.
    pub conn_ids: Vec<i64>,
    /// Rows of the window that were left out.
    pub left_out: u64,
}

/// One of the captures that were merged, as it described itself, and which rows
/// are its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// When, where and by what.
    pub capture: Capture,
    /// Of which memcached.
    pub target: Target,
    /// How it was seen.
    pub source: Source,
    /// What was lost.
    pub loss: Loss,
    /// What it cost.
    pub cost: Cost,
    /// How it was made, if it was not recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<Step>,
    /// Its rows.
    pub rows: u64,
    /// The first and last `conn_id` of its recording, now. Files of one recording
    /// share them.
    pub conn_ids: [i64; 2],
    /// What was added to each `conn_id`.
    pub conn_ids_moved_by: i64,
    /// What was added to each `request_id`.
    pub request_ids_moved_by: i64,
}

impl Step {
    /// Replaces each key that a step names.
    pub fn replace_keys(&mut self, replace: &impl Fn(&str) -> String) {
        if let Some(slice) = &mut self.slice {
            for key in [&mut slice.key, &mut slice.prefix].into_iter().flatten() {
                *key = replace(key);
            }
        }
        for step in self.parts.iter_mut().flat_map(|part| &mut part.derived) {
            step.replace_keys(replace);
        }
    }
}
