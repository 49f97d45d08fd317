//! What a catch-up pass did. Data only: its rows are in files, `pass/<number>/`.

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

impl Pass {
    /// Rows and documents that the stores got, lost or have otherwise.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|t| t.inserted + t.updated + t.deleted).sum()
    }
}
