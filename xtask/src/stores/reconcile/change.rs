//! What is done to a store, row by row and document by document.

use anyhow::Result;
use serde::Serialize;

/// Rows in one statement, and documents in one piece.
pub(super) const PIECE: usize = 500;

/// What is done to rows or to a document, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `product`, `order`, `gateway`, `firestore`.
    pub store: String,
    pub table: String,
    /// Ids of rows, or a document's.
    pub ids: Vec<String>,
    pub action: Action,
    /// What is written, complete: a statement, or a document as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<String>,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Insert,
    Update,
    Delete,
    /// Others have written there since: left alone.
    Conflict,
    /// Others have added it: left alone, and no difference.
    #[serde(rename = "theirs")]
    AddedByOthers,
    /// Damage that rows cannot repair.
    NotByRows,
}

/// Hears of every change before it is made.
pub type OnChange<'a> = dyn FnMut(&Change) -> Result<()> + Send + 'a;
