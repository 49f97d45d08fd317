//! One look at the source: a session that does not wait for ever, and what it found.

use crate::effects::postgres::Connection;
use crate::hazards::SAMPLE;
use crate::run::ctx::Ctx;
use crate::sql;
use anyhow::Result;
use sqlx::Row;

/// How often something was found, and some of it.
pub(super) type Findings = (u64, Vec<String>);

/// A session that waits for a table that is locked, but not for ever.
pub(super) async fn connect(ctx: &Ctx) -> Result<Connection> {
    ctx.looking_at_source("assess").await
}

pub(super) async fn findings(connection: &mut Connection, query: &str) -> Result<Findings> {
    let rows = connection.rows(&sql::count_and_sample(query, SAMPLE)).await?;
    let count = rows.first().map(|row| row.try_get::<i64, _>(0)).transpose()?.unwrap_or_default();
    let keys = rows.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()?;
    Ok((u64::try_from(count)?, keys))
}
