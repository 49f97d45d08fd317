//! One change to one place.

use super::raw::Fields;
use crate::findings::Store;
use crate::model::Database;

#[derive(Clone, Debug)]
pub struct Corruption {
    pub kind: String,
    pub store: Store,
    /// For a person.
    pub place: String,
    pub change: Change,
    /// The one value that is another then: table, key, column.
    pub only: Option<(&'static str, String, String)>,
}

#[derive(Clone, Debug)]
pub enum Change {
    Database {
        database: Database,
        statements: String,
        /// Brings the definitions back; rows are brought back by what they were.
        undo: String,
        /// What is defined otherwise then: table and part.
        structure: Vec<(String, String)>,
        /// A table whose rows nobody sees then.
        hidden: Option<String>,
    },
    Documents {
        collection: &'static str,
        /// None: taken away.
        writes: Vec<(String, Option<Fields>)>,
    },
    File {
        name: String,
        /// None: taken away.
        bytes: Option<Vec<u8>>,
    },
}

/// Long texts are of no use in a line.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}
