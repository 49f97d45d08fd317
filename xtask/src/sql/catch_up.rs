//! Which rows of the source a catch-up pass has to read again.

use super::blocks::ids;
use crate::sql_text::{ident, qualified};

/// Rows of a table of the source that refer to one of these by a column: `id`.
pub fn rows_of_parents(table: &str, column: &str, parents: &[i64]) -> String {
    format!(
        "SELECT t.id::bigint FROM {} t WHERE t.{} = ANY ({})",
        qualified("public", table),
        ident(column),
        ids(parents)
    )
}

/// The number of the transaction that is open, as row versions carry it.
pub const OWN_TRANSACTION: &str = "SELECT pg_current_xact_id()::xid::text";

/// Single rows are looked up by their keys, however few the planner takes for many: what is read again and again by a
/// shop and its passes is in memory, where a page costs as much as the next one.
pub const PAGES_IN_MEMORY: &str = "SET LOCAL random_page_cost = 1.1";
