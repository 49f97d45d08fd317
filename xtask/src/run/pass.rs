//! What a catch-up pass did. Data only: its rows are in files, `pass/<number>/`.

use crate::timing::PassSeconds;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What has changed in the source, brought into the stores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    /// Every store has it, proven.
    pub done: bool,
    /// By table; those in which a row has changed.
    pub tables: BTreeMap<String, TurnedRows>,
    /// From the snapshot to the proof.
    pub seconds: f64,
}

/// The newest pass of a run, also where it found nothing to bring over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NewestPass {
    /// The instant of the source that the stores hold since.
    pub as_of: String,
    pub ended: String,
    /// Of all tables, those that had changed.
    pub rows: u64,
    /// Rows that the source had.
    pub source_rows: u64,
    /// From the snapshot to the proof.
    pub seconds: f64,
    /// What of it a cut-over would do again; `None`: it was completed from its files, as the first.
    pub parts: Option<PassSeconds>,
}

/// Rows of a table, by what became of them in a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnedRows {
    pub inserted: u64,
    pub updated: u64,
    /// Gone from the source, excluded or quarantined now.
    pub deleted: u64,
    /// Of the source, that no target had and none has.
    #[serde(default)]
    pub elsewhere: u64,
}

impl TurnedRows {
    pub fn all(&self) -> u64 {
        self.inserted + self.updated + self.deleted + self.elsewhere
    }
}

impl NewestPass {
    /// For how long a cut-over now would make the source read-only, in seconds.
    pub fn freeze(&self) -> Option<f64> {
        self.parts.map(|parts| parts.freeze())
    }
}

impl Pass {
    /// Rows and documents that the stores got, lost or have otherwise.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|t| t.inserted + t.updated + t.deleted).sum()
    }
}
