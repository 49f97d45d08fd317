//! Values of another kind than the target's, which the person has accepted: each is read once, on a target,
//! as what it has to become. A row with one that is not that, or not exactly, stays behind (DESIGN rule 8).

use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::SnapshotInfo;
use crate::source::snapshot::{Snapshot, worker};
use crate::sql::{self, Reading, TargetType};
use crate::sql_file;
use crate::tables::Table;
use anyhow::{Context, Result};
use sqlx::Row;

/// Values that are read at a time.
const PIECE: usize = 500;

/// So many rows are no exceptions.
const MOST: usize = 100_000;

/// The snapshot, with its tables read as their assessment says, but for the rows whose values do not convert.
///
/// # Errors
/// Refuses where too many do not.
pub async fn read_as(ctx: &Ctx, snapshot: Snapshot, reading: Reading) -> Result<Snapshot> {
    let snapshot = snapshot.read_as(reading);
    let reading = judged(ctx, &snapshot.info).await?;
    Ok(snapshot.read_as(reading))
}

async fn judged(ctx: &Ctx, snapshot: &SnapshotInfo) -> Result<Reading> {
    let mut reading = Reading { unconvertible: Default::default(), ..snapshot.reading.clone() };
    for table in ctx.tables {
        for (column, into) in snapshot.reading.conversions.get(table.name).into_iter().flatten() {
            let rows = column_of(ctx, snapshot, table, column, into).await.with_context(|| {
                format!("reading {}.{column} of the source as {}", table.source, into.sql)
            })?;
            if rows.len() > MOST {
                refuse!(
                    "{} rows of {} hold in {column} what is no {}: that is not a matter of single rows. Give the \
                     column another type in the source, or read it otherwise in sql/{}",
                    rows.len(),
                    table.source,
                    into.sql,
                    table.export.path
                );
            }
            let of_table = reading.unconvertible.entry(table.name.to_string()).or_default();
            of_table.insert(column.clone(), rows);
        }
    }
    Ok(reading)
}

async fn column_of(
    ctx: &Ctx,
    snapshot: &SnapshotInfo,
    table: &Table,
    column: &str,
    into: &TargetType,
) -> Result<Vec<i64>> {
    let mut target = ctx.target(Database::Product, "assess").await?;
    let values = [("type", into.sql.as_str()), ("read", &into.read("value"))];
    target.run(&sql::bind(sql_file!("phases/preflight/converts.sql"), &values)).await?;
    let mut source = worker(ctx, snapshot, "assess").await?;
    let select = sql::expand(ctx.tables, table.export, &snapshot.reading)?;
    source.run(&sql::declare_values(&select, column)).await?;
    let mut bad = Vec::new();
    loop {
        let values = source.rows(&sql::fetch(PIECE)).await?;
        if values.is_empty() {
            break;
        }
        bad.extend(unconvertible(&mut target, &values).await?);
    }
    source.close().await?;
    target.close().await?;
    Ok(bad)
}

async fn unconvertible(target: &mut Connection, values: &[sqlx::postgres::PgRow]) -> Result<Vec<i64>> {
    let ids = values.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Result<Vec<_>, _>>()?;
    let texts = values.iter().map(|row| row.try_get::<&str, _>(1)).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    let (ids, texts) = (sql::array(ids.iter().map(String::as_str)), sql::array(texts));
    let judge = sql_file!("phases/preflight/unconvertible.sql");
    let bad = target.rows(&sql::bind(judge, &[("ids", &ids), ("values", &texts)])).await?;
    bad.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
