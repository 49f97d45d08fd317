//! What is put around a query to measure it.

use std::time::Duration;

/// The query's plan, as JSON, with what it took when it ran. The query stands in a line of its own: an error
/// names the first one, without the values that were asked for.
pub fn explain(query: &str) -> String {
    format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)\n{}", query.trim())
}

/// Begins a transaction in which nothing can be written and no statement runs longer than that.
pub fn begin_to_look(limit: Duration) -> String {
    format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {}", limit.as_millis())
}

/// For a session that measures: shorter than what a statement may take, so that a table that somebody keeps
/// locked is not taken for a slow query.
pub const WAIT_LITTLE_FOR_LOCKS: &str = "SET lock_timeout = '5s'";
