//! Backups of the new stores, each by itself: `<backup dir>/stores/<target>/<YYYYMMDD_HHMMSS>/`, 0700, files 0600.
//!
//! ```text
//! stores/
//!     product/
//!         lock                    held while a backup of it is made, drilled or restored
//!         20260131_020000/
//!             manifest.json       StoreManifest, written last: without it a backup is unfinished
//!             full_backup.dump/   pg_dump's directory format
//!             schema_only.sql     the definitions, dumped apart
//!             journal.jsonl       what was done with it: made, drilled, restored
//!             drill.json          Drill, the evidence of the last one
//!     firestore/
//!         20260131_020100/
//!             manifest.json
//!             users.ndjson.gz     a document on each line
//! ```

mod drill;
mod kept;
mod manifest;
mod target;

pub use drill::{DRILL, Drill, DrillFinding};
pub use kept::{Drilled, Kept, TargetBackups, directory, finished, of_environment};
pub use manifest::{
    Collected, Content, DatabaseContent, DocumentsContent, FORMAT, StoreManifest, load, sha256_of_manifest,
};
pub use target::Target;
