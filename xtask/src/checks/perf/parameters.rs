//! What a query asks for: chosen from the rows that are there.

use super::measure::LIMIT;
use crate::effects::postgres::Connection;
use crate::sql;
use crate::sql_text::SqlFile;
use anyhow::Result;
use sqlx::Row;
use std::collections::BTreeMap;

/// What is asked for, by name; `None`: there is no row that could be.
pub async fn choose(connection: &mut Connection, query: SqlFile) -> Result<Option<BTreeMap<String, String>>> {
    use sqlx::Column;
    connection.run(&sql::begin_to_look(LIMIT)).await?;
    let rows = connection.rows(&sql::bind(query, &[])).await?;
    connection.run("ROLLBACK").await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let value = |column: &sqlx::postgres::PgColumn| {
        Ok((column.name().to_string(), row.try_get::<String, _>(column.ordinal())?))
    };
    row.columns().iter().map(value).collect::<Result<_>>().map(Some)
}
