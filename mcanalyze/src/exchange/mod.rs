//! Captures as other programs read them, and their traces as captures.
//!
//! ```text
//! capture ▶ export ▶ lines (csv, jsonl)                      ▶ sink
//!                  ▶ requests ▶ cache_trace | oracle_general ▶ sink
//! trace   ▶ import ▶ cache_trace ▶ batch ▶ capture
//! ```

mod batch;
mod cache_trace;
mod export;
mod import;
mod lines;
mod oracle_general;
mod requests;
mod sink;

pub(crate) use self::{
    export::{Exported, export},
    import::{Imported, Skipped, import},
    sink::Target,
};
