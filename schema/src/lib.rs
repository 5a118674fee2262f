//! The capture format of mcrec, version 1: one Parquet file, one row for each
//! operation on one key.
//!
//! This crate is the only place where the format is defined: the [columns],
//! the [words](codes) that stand in them, how a [key](key) is written or
//! [hidden](pseudonym), which keys a [sample] has, and the metadata in the [footer], with
//! what a capture was [derived] from. The recorder writes by it, the analyzer reads by
//! it, and nothing but a Parquet reader is needed to do either.
#![forbid(unsafe_code)]

mod bounds;
pub mod codes;
pub mod columns;
mod cost;
pub mod derived;
pub mod footer;
pub mod key;
pub mod pseudonym;
pub mod sample;
pub mod server;

/// The format version that this crate writes. A reader refuses a newer one by
/// name and reads every older one.
pub const FORMAT_VERSION: u32 = 1;

/// The minor version that this crate writes: later ones have more columns, which a
/// reader of an earlier one does without. Files of minor version 0 do not say it. Those of
/// 1 have the columns [`columns::SINCE_MINOR_1`].
pub const FORMAT_MINOR_VERSION: u32 = 1;
