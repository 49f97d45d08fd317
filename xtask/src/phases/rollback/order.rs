//! In which order the old tables are written: parents first, as their foreign keys say.

use super::received::Delta;
use crate::effects::postgres::Connection;
use crate::sql_file;
use anyhow::Result;
use sqlx::Row;

/// A foreign key to a table of the old database.
pub struct Reference {
    /// Quoted, with its schema where it needs one.
    pub child: String,
    /// Of a table in `public`.
    pub child_name: Option<String>,
    pub parent: String,
    /// Whether a row `c` of the child refers to a row `o` of the parent.
    pub condition: String,
}

pub async fn references(connection: &mut Connection) -> Result<Vec<Reference>> {
    let rows = connection.rows(sql_file!("phases/rollback/references.sql").text).await?;
    rows.iter()
        .map(|row| {
            Ok(Reference {
                child: row.try_get("child")?,
                child_name: row.try_get("child_name")?,
                parent: row.try_get("parent")?,
                condition: row.try_get("condition")?,
            })
        })
        .collect()
}

/// Parents before children; of a circle, as the tables are declared.
pub fn in_order<'d>(deltas: &[&'d Delta], references: &[Reference]) -> Vec<&'d Delta> {
    let mut left: Vec<&Delta> = deltas.to_vec();
    let mut ordered: Vec<&Delta> = Vec::new();
    while !left.is_empty() {
        let waits = |delta: &&Delta| {
            references.iter().any(|reference| {
                let is_child = reference.child_name.as_deref() == Some(delta.table.source);
                let itself = reference.parent == delta.table.source;
                is_child && !itself && left.iter().any(|other| other.table.source == reference.parent)
            })
        };
        let next = left.iter().position(|delta| !waits(delta)).unwrap_or_default();
        ordered.push(left.remove(next));
    }
    ordered
}
