//! Unique indexes that a DBA has added to a target (DESIGN rule 26, "hand-over of keys"). Two rows may swap their
//! values, or a new one take that of one that goes, and such an index is checked row by row. The changed rows cannot
//! be deleted first: others refer to them, and those of an order would be deleted with it.

use crate::effects::postgres::Connection;
use crate::sql;
use crate::stores::schema::STAGING;
use anyhow::Result;
use sqlx::Row;

/// Keeps the rows that will be changed or deleted out of these indexes until that is done.
pub(super) async fn put_aside(connection: &mut Connection, tables: &[&str]) -> Result<()> {
    for row in connection.rows(&sql::unique_indexes(STAGING, tables)).await? {
        let (table, columns): (String, Vec<String>) = (row.try_get(0)?, row.try_get(1)?);
        let (column, by_null): (String, bool) = (row.try_get(2)?, row.try_get(3)?);
        connection.run(&sql::put_aside(&table, &columns, &column, by_null)).await?;
    }
    Ok(())
}
