//! Captures as files: how they get onto the disk so that none is ever lost, and
//! how they are opened, cut off or whole.
//!
//! ```text
//! rows ▶ encoder ▶ row groups ▶ file (commits, with a journal beside it) ▶ disk
//! disk ▶ open (whole, or up to what the journal or the pages still tell) ▶ rows
//! ```
//!
//! What is in a capture is the business of `mcrec_schema`; what is asked of it
//! that of its users. A file of this crate is
//!
//! ```text
//! PAR1 | head | row group | row group | … | footer
//! ```
//!
//! where the head says what the footer will, as far as it was known when the file
//! was begun: so that a file which lost its footer still tells what it is.

mod decode;
mod encoder;
mod file;
mod folder;
mod head;
mod journal;
pub mod key_file;
mod lock;
mod metadata;
mod open;
mod page;
mod paths;
mod repair;
mod salvage;
mod source;
mod uuid;
mod verify;
mod view;
mod writer;

pub use encoder::{Encoder, ROW_GROUP_ROWS, RowGroup};
pub use file::Durability;
pub use folder::{Entry, Folder};
pub use journal::journal_name;
pub use open::{Batches, Capture, State, is_being_recorded};
pub use paths::files;
pub use repair::{Repair, repair};
pub use uuid::uuid;
pub use view::View;
pub use writer::Writer;
