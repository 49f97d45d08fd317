//! What has changed since an instant (DESIGN rule 24), in three questions: *remember* a table as it is, *has
//! anything changed since?*, *which keys have?* Exact, and at the price of a count, because it asks the
//! versions of the rows and not their values. Where that cannot be trusted, it says why, and whoever asked
//! takes digests.
//! May import: run, effects, sql, words; source and stores ask it.
//!
//! What was learnt, each from a wrong "unchanged" (the guards): what a crash undid because its commit was
//! asynchronous; a clone, a promoted standby, a copy renamed into place; a partition detached and attached; a
//! column dropped and added again; rows hidden by policies; tables of other servers; a transaction of another
//! database that is still writing.

mod ended;
mod history;
mod keys;
mod leaves;
mod pieces;
mod place;
mod table;
mod versions;
mod written;

pub use ended::{Ended, none_ended_since};
pub use history::{flushed, history, marked, unbroken};
pub use keys::{Key, changed_keys};
pub use pieces::Pieces;
pub use place::{Children, Place};
pub use table::{Since, Then, begin, digest_and_remember, remember, remember_now, since};
pub use written::{Written, only_written_by, still_written, written};
