//! Statements by which the source is assessed before a run.

use super::definitions::alter_type;
use crate::sql_text::{ident, qualified};

/// How many rows a hazard's query returns, and some of them, of each table (a key's first word) one before
/// there is a second: rows, `key`.
pub fn count_and_sample(select: &str, sample: usize) -> String {
    format!(
        "SELECT count(*) OVER (), h.key FROM (SELECT k.key COLLATE \"C\" AS key FROM (\n{select}\n) k) h \
         ORDER BY row_number() OVER (PARTITION BY split_part(h.key, ' ', 1) ORDER BY length(h.key), h.key), \
                  h.key LIMIT {sample}"
    )
}

/// A table like one of the source, without rows: name and type of each column.
pub fn stand_in<'a>(
    schema: &str,
    table: &str,
    columns: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let columns: Vec<String> =
        columns.into_iter().map(|(name, kind)| format!("{} {kind}", ident(name))).collect();
    format!("CREATE TABLE {} ({})", qualified(schema, table), columns.join(", "))
}

pub fn add_column(schema: &str, table: &str, column: &str, kind: &str) -> String {
    format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {kind}", qualified(schema, table), ident(column))
}

pub fn create_view(schema: &str, name: &str, select: &str) -> String {
    format!("CREATE VIEW {} AS\n{select}", qualified(schema, name))
}

/// What a person types to give every row of a table an id of its own.
pub fn give_a_key(table: &str) -> String {
    format!("ALTER TABLE {} ADD PRIMARY KEY (id);", qualified("public", table))
}

/// What a person types to see these rows.
pub fn look_at(table: &str, ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("SELECT * FROM {} WHERE id IN ({});", qualified("public", table), ids.join(", "))
}

/// What a person types to make a column of the source what the target takes.
pub fn retype(table: &str, column: &str, kind: &str) -> String {
    alter_type("public", table, column, kind) + ";"
}

/// One column of a SELECT's rows as text, in pieces of a transaction: `id`, `value`.
pub fn declare_values(select: &str, column: &str) -> String {
    let column = ident(column);
    format!(
        "DECLARE xtask_values NO SCROLL CURSOR FOR SELECT r.id::bigint, r.{column}::text FROM (\n{select}\n) r \
         WHERE r.{column} IS NOT NULL"
    )
}

pub fn fetch(rows: usize) -> String {
    format!("FETCH {rows} FROM xtask_values")
}

/// An array constant of names, for a psql variable.
pub fn array<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = names.into_iter().map(|n| format!("\"{}\"", n.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}
