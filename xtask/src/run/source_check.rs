//! What a look at the source after the run's snapshot came to. Data only.

use crate::model::grouped;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The source after the run's snapshot: what has changed there since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCheck {
    pub at: String,
    /// As of when the stores are proven.
    pub snapshot: String,
    /// Tables that are not what they were, by `schema.table`.
    pub changed: BTreeMap<String, Change>,
    /// Sequences that moved on though their table is what it was: numbers were given out and not used.
    pub sequences: Vec<String>,
    /// Why nothing can be said.
    pub unknown: Option<String>,
    /// Where it is a standby: what it had replayed, in words. Its primary may have changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<String>,
    /// How many tables were told by their row versions, without reading the rows, and how many by digest.
    #[serde(default)]
    pub by_versions: usize,
    #[serde(default)]
    pub by_digest: usize,
    /// It is what a catch-up pass found, and brought over: what has changed since is left to the next one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_pass: bool,
}

impl SourceCheck {
    /// `taken`: the pass's snapshot.
    pub fn of_pass(taken: &str) -> SourceCheck {
        SourceCheck {
            at: taken.to_string(),
            snapshot: taken.to_string(),
            by_pass: true,
            ..SourceCheck::default()
        }
    }

    pub fn unchanged(&self) -> bool {
        self.changed.is_empty() && self.unknown.is_none()
    }
}

/// What happened to a table of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Its digest differs. `about`: rows written since, by counts and statistics; approximate.
    Rows {
        about: Option<u64>,
    },
    New {
        rows: u64,
    },
    Dropped,
    /// Of a run that was caught up with no digest is kept, and row versions do not tell.
    Unknown,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Rows { about: Some(1) } => f.write_str("about 1 row"),
            Change::Rows { about: Some(rows) } => write!(f, "about {} rows", grouped(*rows)),
            Change::Rows { about: None } => f.write_str("rows or columns, it is not known how many"),
            Change::New { rows } => write!(f, "a new table, {} rows", grouped(*rows)),
            Change::Dropped => f.write_str("the table is gone"),
            Change::Unknown => f.write_str("perhaps: since the last pass its row versions do not tell"),
        }
    }
}
