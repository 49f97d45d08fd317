//! What a Firestore collection is: its id, its fields, and what they make of NULL.

use serde::{Deserialize, Serialize};

/// A Firestore collection: the shape of its documents, in one place.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Its name in Firestore, the table's too.
    pub name: &'static str,
    /// The CSV column that gives a document its id; the column is a field of the document as well.
    pub id: &'static str,
    /// The fields of a document, each named like the CSV column it is read from.
    pub fields: &'static [Field],
}

/// One field of a document.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
}

/// The type of a field, with the guide's default for NULL (DESIGN rule 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text(&'static str),
    Integer(i64),
    Boolean(bool),
    /// A time stamp with microseconds. It has no default: NULL stays null.
    Time,
}

/// What a NULL becomes in a document (`null_policy` in the environment).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NullPolicy {
    /// The guide's default of the field, because that is the shape the User Service reads.
    #[default]
    Default,
    /// null.
    Keep,
}
