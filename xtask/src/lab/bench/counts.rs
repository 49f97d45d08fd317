//! Plain counts, in the heap: what a look at every row costs at least. With one session a table, and as many
//! at once as the looks that they are compared with have.

use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::join;
use crate::source::snapshot::{self, RawName};
use crate::sql;
use crate::tables::Table;
use anyhow::Result;
use sqlx::Row;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of every table of the PostgreSQL targets, by table.
pub async fn targets(ctx: &Arc<Ctx>) -> Result<BTreeMap<String, u64>> {
    let tables = ctx.tables.iter().filter_map(|table| Some((table, table.database()?)));
    let counts = tables.map(|(table, database)| of_target(ctx.clone(), table, database));
    Ok(join::all(counts).await?.into_iter().collect())
}

async fn of_target(ctx: Arc<Ctx>, table: &'static Table, database: Database) -> Result<(String, u64)> {
    let connection = ctx.looking(database, "count").await?;
    Ok((table.name.to_string(), counted(connection, "public", table.name).await?))
}

/// Rows of every table of the source, by `schema.table`.
pub async fn source(ctx: &Arc<Ctx>) -> Result<BTreeMap<String, u64>> {
    let mut connection = ctx.looking_at_source("count").await?;
    let tables = snapshot::tables(&mut connection).await?;
    connection.close().await?;
    let counts = tables.into_iter().map(|table| of_source(ctx.clone(), table));
    Ok(join::all(counts).await?.into_iter().collect())
}

async fn of_source(ctx: Arc<Ctx>, table: RawName) -> Result<(String, u64)> {
    let _permit = ctx.source_permit(table.estimated_rows).await;
    let connection = ctx.looking_at_source("count").await?;
    Ok((table.full(), counted(connection, &table.schema, &table.table).await?))
}

async fn counted(mut connection: Connection, schema: &str, table: &str) -> Result<u64> {
    connection.run(sql::COUNT_IN_THE_HEAP).await?;
    let rows = connection.row(&sql::count(schema, table)).await?.try_get::<i64, _>(0)?;
    connection.close().await?;
    Ok(u64::try_from(rows)?)
}
