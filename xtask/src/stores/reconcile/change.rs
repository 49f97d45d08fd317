//! What is done to a store, row by row and document by document.

use crate::findings::{Values, Words};
use anyhow::Result;
use serde::Serialize;

/// Rows in one statement, and documents in one piece.
pub(super) const PIECE: usize = 500;

/// What is done to rows, to a document or to a database's structure, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `product`, `order`, `gateway`, `firestore`.
    pub store: String,
    pub table: String,
    /// Ids of rows, or a document's.
    pub ids: Vec<Words>,
    pub action: Action,
    /// What is written, complete: a statement, or a document as JSON.
    pub writes: Option<Words>,
    /// What was found.
    pub because: Option<Words>,
}

/// A change as it leaves the tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SaidChange {
    pub store: String,
    pub table: String,
    pub ids: Vec<String>,
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl Change {
    pub fn said(&self, values: Values) -> SaidChange {
        let said = |words: &Option<Words>| words.as_ref().map(|words| words.said(values).to_string());
        SaidChange {
            store: self.store.clone(),
            table: self.table.clone(),
            ids: self.ids.iter().map(|id| id.said(values).to_string()).collect(),
            action: self.action,
            writes: said(&self.writes),
            because: said(&self.because),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Insert,
    Update,
    Delete,
    /// A column, a constraint, an index; a sequence.
    Alter,
    /// Others have written there since: left alone.
    Conflict,
    /// Others have added it: left alone, and no difference.
    #[serde(rename = "theirs")]
    AddedByOthers,
    /// Damage that this command leaves as it is.
    NotByThisCommand,
}

/// Hears of every change before it is made.
pub type OnChange<'a> = dyn FnMut(&Change) -> Result<()> + Send + 'a;
