//! The new side: what the targets hold, and how they are changed. Used by phases and checks alike.
//! May import: run and all below it.

pub mod documents;
mod firestore_mark;
pub mod hanging;
pub mod marks;
pub mod ownership;
pub mod prerequisites;
pub mod readiness;
pub mod reconcile;
pub mod remembering;
pub mod rows;
pub mod schema;
pub mod sequences;
pub mod staging;
pub mod structure;
pub mod swap;
