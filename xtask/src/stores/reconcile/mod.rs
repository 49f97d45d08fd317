//! The one primitive after the bulk load (DESIGN rules 13 and 14): these rows are wanted; make the target
//! agree, overwrite nothing that others wrote, and prove it. A database changes in one transaction;
//! documents one by one, each only where it is still as it was read.

mod change;
mod documents;
mod rows;
mod unique;

pub use change::{Action, Change, OnChange, SaidChange};
pub use documents::{Made, Wanted, documents};
pub use rows::Reconciliation;
