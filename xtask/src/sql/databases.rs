//! Statements about whole databases, to be run from another one: names come quoted from here.

use crate::sql_text::{ident, literal};

/// Nobody but its owner and superusers come in.
pub fn close_to_others(database: &str) -> String {
    format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", ident(database))
}

pub fn comment_on_database(database: &str, comment: &str) -> String {
    format!("COMMENT ON DATABASE {} IS {}", ident(database), literal(comment))
}

/// Refused by the server while there are sessions in it.
pub fn rename_database(from: &str, to: &str) -> String {
    format!("ALTER DATABASE {} RENAME TO {}", ident(from), ident(to))
}

/// What a freeze sets.
pub fn make_read_only(database: &str) -> String {
    format!("ALTER DATABASE {} SET default_transaction_read_only = on", ident(database))
}

/// All or nothing.
pub fn in_one_transaction(statements: &[String]) -> String {
    format!("{}; COMMIT", begun(statements))
}

/// The same up to its end, which is said later.
pub fn begun(statements: &[String]) -> String {
    format!("BEGIN; {}", statements.join("; "))
}

/// To see that they can be made: nothing of them stays.
pub fn rehearsed(statements: &[String]) -> String {
    format!("{}; ROLLBACK", begun(statements))
}

/// Refused by the server while there are sessions in it.
pub fn drop_if_nobody_is_in(database: &str) -> String {
    format!("DROP DATABASE IF EXISTS {}", ident(database))
}

/// What a person types, with its semicolon.
pub fn drop_by_hand(database: &str) -> String {
    format!("DROP DATABASE {};", ident(database))
}

/// Statistics of every table of the session's database.
pub const ANALYZE_ALL: &str = "ANALYZE";

/// How many large objects the session's database holds.
pub const LARGE_OBJECTS: &str = "SELECT count(*) FROM pg_largeobject_metadata";
