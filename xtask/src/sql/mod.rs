//! SQL from `sql/`, and the few wrappers around a table's SELECT. All quoting is done here, and no
//! other module puts SQL together. Pure: nothing here talks to a server.
//! May import: words.
//!
//! What was learnt: subplans such as `NOT IN (SELECT …)` fall back to a quadratic plan when they do
//! not fit `work_mem`, joins do not; so the SELECTs join, and sessions on the source get memory.

mod blocks;
mod catch_up;
mod changes;
pub mod column_types;
mod corruptions;
mod databases;
mod definitions;
mod details;
mod differences;
mod files;
mod harden;
mod hash;
mod hazards;
mod keys;
mod monitor;
mod perf;
mod proof;
mod reading;
mod rollback;
mod rows;
mod session;
mod sides;
mod targets;

pub use blocks::copy_csv;
pub use catch_up::*;
pub use changes::*;
pub use corruptions::*;
pub use databases::*;
pub use datapath::digest::BUCKET;
pub use definitions::*;
pub use differences::*;
pub use files::bind;
pub use harden::*;
pub use hash::HashFn;
pub use hazards::*;
pub use keys::*;
pub use monitor::*;
pub use perf::*;
pub use proof::*;
pub use reading::{Decoding, Limit, Reading, SourceColumn, TargetType, all_convert, byte_converts, expand};
pub use rollback::*;
pub use rows::{Only, QUARANTINE_COLUMNS, Rows, Treatment};
pub use session::{COUNT_IN_THE_HEAP, WAIT_FOR_LOCKS, options_of_programs, session};
pub use sides::*;
pub use targets::*;
