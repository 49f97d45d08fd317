//! What a run knows and has proven, as it stands in `manifest.json`. Data only.

use crate::digest::{Content, Digest, HashFn};
use crate::forecast::Timing;
use crate::ledger::Outcomes;
use crate::model::{Column, ServerInfo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Raised when a reader of an older manifest could not understand a newer one.
pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub run: String,
    pub environment: String,
    pub tool: ToolVersion,
    pub started: String,
    /// Filled in when phase 1 has ended.
    pub backup: Option<Backup>,
    /// Filled in when phase 2 has ended: from here on targets may be written.
    pub export: Option<Export>,
    /// Filled in by every verification, the last one stands.
    pub proof: Option<Proof>,
    /// What `migrate` was expected to take, and what it took.
    #[serde(default)]
    pub time: Option<Timing>,
}

/// Which tool and which SQL made the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolVersion {
    pub version: String,
    /// SHA-256 of all SQL files that were compiled in.
    pub sql: String,
}

/// The instant of the source that the whole run sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// PostgreSQL's name of it; not valid any more once the run has let it go.
    pub id: String,
    pub taken: String,
    pub server: ServerInfo,
    pub hash: HashFn,
}

/// A file of the run directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    pub bytes: u64,
    pub sha256: String,
    /// Rows of a CSV file, its header not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// Phase 1: what the source was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Backup {
    pub snapshot: SnapshotInfo,
    pub pg_dump: u32,
    /// By path in the run directory.
    pub files: BTreeMap<String, FileInfo>,
    /// Every table of the source, migrated or not, by `schema.table`.
    pub raw: BTreeMap<String, Digest>,
    pub seconds: f64,
}

/// Phase 2: what every target must hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Export {
    pub snapshot: SnapshotInfo,
    pub files: BTreeMap<String, FileInfo>,
    /// By table.
    pub tables: BTreeMap<String, TableExport>,
    pub seconds: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableExport {
    /// Of the file, in its order; `null_fields` not counted.
    pub columns: Vec<Column>,
    /// Those of them that the target has.
    pub target_columns: Vec<Column>,
    /// `count(*)` of the bare table.
    pub source_rows: u64,
    pub outcomes: Outcomes,
    /// Rows about which something is said in `notes/<table>.csv`.
    pub notes: u64,
    /// What the target must hold.
    pub content: Content,
    /// The id that the next new row gets, never lower than one that the source has given out.
    pub sequence: Sequence,
    /// The file in pieces that end with a row, the header in the first.
    pub pieces: Vec<Piece>,
    pub seconds: f64,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub bytes: u64,
    pub rows: u64,
}

/// A sequence's state, as `setval` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    pub last: i64,
    /// False only for a table that never held a row: the next id is `last` itself.
    pub called: bool,
}

impl Sequence {
    /// The id that the next row gets.
    pub fn next(self) -> i64 {
        if self.called { self.last + 1 } else { self.last }
    }
}

/// The result of a verification.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Proof {
    pub finished: String,
    pub tables: BTreeMap<String, TableProof>,
    pub checks: Vec<Check>,
    pub seconds: f64,
}

impl Proof {
    pub fn is_green(&self) -> bool {
        self.tables.values().all(TableProof::is_green) && self.checks.iter().all(|c| c.findings.is_empty())
    }

    /// Every finding, in the order of tables and checks.
    pub fn findings(&self) -> impl Iterator<Item = &String> {
        let tables = self.tables.values().flat_map(|t| &t.findings);
        tables.chain(self.checks.iter().flat_map(|c| &c.findings))
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TableProof {
    pub expected_rows: u64,
    pub found_rows: u64,
    /// What differs, a line each, with keys and values; empty: proven.
    pub findings: Vec<String>,
    pub seconds: f64,
}

impl TableProof {
    pub fn is_green(&self) -> bool {
        self.findings.is_empty() && self.expected_rows == self.found_rows
    }
}

/// A check across tables or stores.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// What was looked at, and what was expected to be there.
    pub looked_at: String,
    pub findings: Vec<String>,
}
