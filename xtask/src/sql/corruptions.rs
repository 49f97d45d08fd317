//! Rows of targets as text, to be changed on purpose and put back: for the campaign of corruptions.

use super::blocks::list;
use crate::sql_text::{ident, literal, qualified};

/// The session changes rows as they are: no trigger, so no foreign key either.
pub const BEHIND_CONSTRAINTS: &str = "SET session_replication_role = replica";

/// The session changes rows as everybody does.
pub const BEFORE_CONSTRAINTS: &str = "SET session_replication_role = origin";

/// Every row, each value as text, in the order of ids.
pub fn rows_as_text(table: &str, columns: &[&str]) -> String {
    let values: Vec<String> = columns.iter().map(|c| format!("t.{}::text COLLATE \"C\"", ident(c))).collect();
    format!("SELECT {} FROM {} t ORDER BY t.id", values.join(", "), qualified("public", table))
}

fn constant(value: Option<&str>) -> String {
    value.map_or("NULL".to_string(), literal)
}

/// Another value of a column.
pub fn set_value(table: &str, column: &str, value: Option<&str>, id: &str) -> String {
    set(table, column, &constant(value), id)
}

/// A time stamp moved.
pub fn set_later(table: &str, column: &str, microseconds: i64, id: &str) -> String {
    set(table, column, &format!("{} + interval '{microseconds} microseconds'", ident(column)), id)
}

/// A number or an address, so many further.
pub fn set_next(table: &str, column: &str, steps: i64, id: &str) -> String {
    set(table, column, &format!("{} + {steps}", ident(column)), id)
}

/// A number with one more digit behind its point.
pub fn set_scale(table: &str, column: &str, id: &str) -> String {
    set(table, column, &format!("({}::text || '0')::numeric", ident(column)), id)
}

fn set(table: &str, column: &str, expression: &str, id: &str) -> String {
    let (table, id) = (qualified("public", table), literal(id));
    format!("UPDATE {table} SET {} = {expression} WHERE id = {id}", ident(column))
}

/// Puts rows in that are given as text.
pub fn put_rows(table: &str, columns: &[&str], rows: &[&[Option<String>]]) -> String {
    let row = |row: &&[Option<String>]| {
        let values: Vec<String> = row.iter().map(|value| constant(value.as_deref())).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!("INSERT INTO {} ({}) VALUES {}", qualified("public", table), list(columns), rows.join(", "))
}

/// Takes rows away, by their ids.
pub fn take_rows<'a>(table: &str, ids: impl IntoIterator<Item = &'a str>) -> String {
    let ids: Vec<String> = ids.into_iter().map(literal).collect();
    format!("DELETE FROM {} WHERE id IN ({})", qualified("public", table), ids.join(", "))
}

/// Another number type for a column, that takes every scale, and the way back to `kind`.
pub fn free_scale(table: &str, column: &str) -> String {
    column_type(table, column, "numeric")
}

pub fn column_type(table: &str, column: &str, kind: &str) -> String {
    format!("ALTER TABLE {} ALTER COLUMN {} TYPE {kind}", qualified("public", table), ident(column))
}
