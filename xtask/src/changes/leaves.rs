//! The parts of a table that hold rows.

use super::place::{Children, Place};
use crate::effects::postgres::Connection;
use crate::remembered::KeyKind;
use crate::sql_text::SqlFile;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;
use sqlx::postgres::types::Oid;

/// A relation with rows of its own.
pub(super) struct Leaf {
    pub oid: u32,
    /// Quoted, with its schema.
    pub name: String,
    pub definition: String,
    pub key: KeyKind,
    /// Over all leaves of its table: each may have a key of its own, and both the same id.
    pub key_of_table: KeyKind,
}

/// By OID, as the catalogue has them now that the table is locked; or why its row versions tell nothing.
pub(super) async fn leaves(
    connection: &mut Connection,
    place: Place<'_>,
) -> Result<Result<Vec<Leaf>, String>> {
    const LEAVES: SqlFile = sql_file!("phases/changes/leaves.sql");
    let children = (place.children == Children::Included).to_string();
    let values = [("schema", place.schema), ("table", place.table), ("children", &children)];
    let (mut leaves, mut key_of_parts) = (Vec::new(), KeyKind::None);
    let rows = connection.rows(&sql::bind(LEAVES, &values)).await?;
    if rows.is_empty() {
        return Ok(Err(format!("{}.{} is not there", place.schema, place.table)));
    }
    for row in rows {
        let name: String = row.try_get("name")?;
        if let Some(obstacle) = row.try_get::<Option<String>, _>("obstacle")? {
            return Ok(Err(format!("{name} {obstacle}")));
        }
        if read_elsewhere(connection, &row.try_get::<Vec<Oid>, _>("types")?).await? {
            return Ok(Err(format!("{name} has columns that are read by what stands elsewhere")));
        }
        let key = if row.try_get("has_key")? { KeyKind::Id } else { KeyKind::None };
        if row.try_get("holds_rows")? {
            let oid = row.try_get::<Oid, _>("oid")?.0;
            leaves.push(Leaf { oid, name, definition: row.try_get("definition")?, key, key_of_table: key });
        } else if row.try_get("is_root")? {
            key_of_parts = key;
        }
    }
    if leaves.len() > 1 {
        leaves.iter_mut().for_each(|leaf| leaf.key_of_table = key_of_parts);
    }
    Ok(Ok(leaves))
}

/// Whether one of these types is read by what stands elsewhere in the catalogue.
async fn read_elsewhere(connection: &mut Connection, types: &[Oid]) -> Result<bool> {
    const TYPES: SqlFile = sql_file!("phases/changes/types.sql");
    if types.is_empty() {
        return Ok(false);
    }
    let oids = types.iter().map(|oid| oid.0.to_string()).collect::<Vec<_>>().join(",");
    Ok(connection.row(&sql::bind(TYPES, &[("types", &format!("{{{oids}}}"))])).await?.try_get(0)?)
}
