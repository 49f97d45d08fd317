//! What went back and what did not, as it is shown and as the old database remembers it. Pure.

use crate::run::manifest::Sequence;
use datapath::firestore::Instant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What has happened since the cut-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// The new services have not been started: nobody has used the new stores
    BeforeStart,
    /// They have been started: what they wrote comes back with them
    AfterStart,
}

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Scenario::BeforeStart => "before-start",
            Scenario::AfterStart => "after-start",
        }
    }
}

/// What went back, or would; also what the old database itself remembers of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Back {
    pub scope: String,
    /// By table of the run.
    pub tables: BTreeMap<String, TableBack>,
    /// Where the sequences of the old database have to stand, by table of the run.
    pub sequences: BTreeMap<String, Sequence>,
    /// Triggers of the old database that did not fire.
    pub triggers: Vec<String>,
    /// By collection, an instant before it was captured.
    #[serde(default)]
    pub captured: BTreeMap<String, Instant>,
    /// Documents that were written after that: left where they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written_later: BTreeMap<String, u64>,
}

/// What became of the rows of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableBack {
    pub counts: DeltaCounts,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Users whose documents are gone: `deleted_at` is set.
    pub marked: u64,
    /// Changed only in what the old table has no place for.
    pub untouched: u64,
    /// The old row has been changed too, since the run read it: nothing was written.
    pub conflicts: Vec<Left>,
    /// What the old table cannot hold.
    pub quarantined: Vec<Left>,
    /// Gone in the store, and needed by a row that never went there.
    pub kept: Vec<Left>,
    /// Came back without a reference.
    pub noted: Vec<Left>,
}

/// A row that did not come back, or not as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub key: String,
    pub why: String,
}

impl Back {
    /// Rows and documents that did not come back.
    pub fn left_behind(&self) -> usize {
        let of = |table: &TableBack| table.conflicts.len() + table.quarantined.len();
        self.tables.values().map(of).sum::<usize>() + self.written_later.values().sum::<u64>() as usize
    }

    pub fn received(&self) -> u64 {
        self.tables.values().map(|t| t.counts.added + t.counts.changed + t.counts.deleted).sum()
    }
}

/// How many rows or documents are not what the run wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaCounts {
    pub added: u64,
    pub changed: u64,
    pub deleted: u64,
    /// Values that the old table has no place for, by column or field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub without_a_place: BTreeMap<String, u64>,
}

impl DeltaCounts {
    pub fn is_empty(&self) -> bool {
        self.added + self.changed + self.deleted == 0
    }
}
