//! Small statements about a table of a target: what it holds, and what is written beside it.

use super::blocks::{copy_csv, list};
use crate::model::Column;
use crate::sql_text::{ident, literal, qualified};

/// Takes rows in CSV; `header`: after a line of names.
pub fn copy_in(schema: &str, table: &str, columns: &[Column], header: bool) -> String {
    format!(
        "COPY {} ({}) FROM STDIN WITH (FORMAT csv, HEADER {header})",
        qualified(schema, table),
        list(columns.iter().map(|c| c.name.as_str()))
    )
}

pub fn exists(schema: &str, table: &str) -> String {
    format!("SELECT to_regclass({}) IS NOT NULL", literal(&qualified(schema, table)))
}

/// Whether row security keeps rows of a table that is there from this session.
pub fn hides_rows(schema: &str, table: &str) -> String {
    format!("SELECT row_security_active({})", literal(&qualified(schema, table)))
}

/// Whether this session's role may read a table that is there.
pub fn may_be_read(schema: &str, table: &str) -> String {
    format!("SELECT has_table_privilege({}, 'SELECT')", literal(&qualified(schema, table)))
}

/// What a person types, with its semicolon.
pub fn let_read(schema: &str, table: &str, role: &str) -> String {
    format!("GRANT SELECT ON {} TO {};", qualified(schema, table), ident(role))
}

/// Every column of a table, to be described.
pub fn all(schema: &str, table: &str) -> String {
    format!("SELECT * FROM {}", qualified(schema, table))
}

pub fn count(schema: &str, table: &str) -> String {
    format!("SELECT count(*) FROM {}", qualified(schema, table))
}

/// The state of a sequence: `last_value`, `is_called`. The name comes from `pg_get_serial_sequence`
/// and is quoted already.
pub fn sequence_state(quoted: &str) -> String {
    format!("SELECT last_value, is_called FROM {quoted}")
}

/// The manifest's row in a target; `record`: JSON.
pub fn record_run(run: &str, record: &str) -> String {
    format!(
        "INSERT INTO xtask.runs (run, tables) VALUES ({}, {}) \
         ON CONFLICT (run) DO UPDATE SET published = now(), tables = excluded.tables",
        literal(run),
        literal(record)
    )
}

/// Every key that another store holds: `id`, `key`, `state`.
pub const KNOWN_KEYS: &str = "CREATE TEMP TABLE known (id text, key text, state text) ON COMMIT DROP";
pub const FILL_KNOWN_KEYS: &str = "COPY pg_temp.known (id, key, state) FROM STDIN WITH (FORMAT csv, HEADER)";

/// The ids of a table with one state, for `FILL_KNOWN_KEYS`.
pub fn keys_of(table: &str) -> String {
    copy_csv(&format!("SELECT id, id AS key, 'migrated' AS state FROM {}", qualified("public", table)))
}
