//! What the source holds, table by table and row by row, as digests; its sequences and its statistics.

use crate::changes::{self, Children, Place, Then};
use crate::effects::idle::Idle;
use crate::effects::postgres::Connection;
use crate::model::Column;
use crate::remembered::Remembered;
use crate::run::ctx::Ctx;
use crate::run::join;
use crate::run::manifest::SnapshotInfo;
use crate::source::snapshot::{RawName, Snapshot, worker};
use crate::sql_text::SqlFile;
use crate::{sql, sql_file};
use anyhow::Result;
use datapath::digest::Digest;
use sqlx::Row;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows written to each table so far, by the source's statistics.
pub async fn writes(ctx: &Ctx) -> Result<BTreeMap<String, i64>> {
    let mut connection = ctx.looking_at_source("statistics").await?;
    let rows = connection.rows(sql_file!("phases/1-backup/writes.sql").text).await?;
    connection.close().await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// A sequence of the source.
pub struct SourceSequence {
    pub name: String,
    /// `None`: it has never given out a number.
    pub last: Option<i64>,
    /// The table whose column it is for.
    pub owner: Option<String>,
}

pub async fn sequences(ctx: &Ctx) -> Result<Vec<SourceSequence>> {
    let mut connection = ctx.looking_at_source("sequences").await?;
    let rows = connection.rows(sql_file!("phases/1-backup/sequences.sql").text).await?;
    connection.close().await?;
    let sequence = |row: &sqlx::postgres::PgRow| {
        Ok(SourceSequence { name: row.try_get(0)?, last: row.try_get(1)?, owner: row.try_get(2)? })
    };
    rows.iter().map(sequence).collect()
}

/// Every table of the source by `schema.table`, digested; and what tells later whether it has changed since.
pub async fn raw_digests(
    ctx: &Arc<Ctx>,
    snapshot: &Snapshot,
) -> Result<(BTreeMap<String, Digest>, Remembered)> {
    let idle = Arc::new(Idle::default());
    let tasks = snapshot
        .tables
        .iter()
        .map(|table| raw_digest(ctx.clone(), snapshot.info.clone(), idle.clone(), table.clone()));
    let digested = join::all(tasks).await?;
    idle.end().await?;
    let digests = digested.iter().map(|(name, content, _)| (name.clone(), *content)).collect();
    let mut flushed = Ok(());
    if digested.iter().any(|(_, _, then)| then.is_ok()) {
        let mut connection = ctx.looking_at_source("flushed").await?;
        flushed = changes::flushed(&mut connection).await?.map(drop);
        connection.close().await?;
    }
    let mut remembered = Remembered::default();
    for (name, _, then) in digested {
        match flushed.clone().and(then) {
            Ok(then) => drop(remembered.insert(name, then)),
            Err(why) => ctx.terminal.detail(format!("{name} will have to be digested again: {why}")),
        }
    }
    Ok((digests, remembered))
}

/// `idle`: sessions in this snapshot.
pub async fn raw_digest(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    idle: Arc<Idle>,
    name: RawName,
) -> Result<(String, Digest, Then)> {
    let task = ctx.terminal.waiting("digest", &name.table, 0, "its turn on the source");
    let _permit = ctx.source_permit(name.estimated_rows).await;
    ctx.throttle.pass(name.bytes).await;
    task.begins();
    let mut worker = idle.take(worker(&ctx, &snapshot, "digest")).await?;
    let columns = columns(&mut worker, &name.schema, &name.table).await?;
    let hash = snapshot.hash.for_raw(&snapshot.server.encoding);
    let history = changes::history(&mut worker).await?;
    let hash = hash.of_row("t", &columns);
    let (content, then) = changes::digest_and_remember(&mut worker, place(&name), history, &hash).await?;
    idle.put(worker);
    task.done(content.rows);
    Ok((name.full(), content, then))
}

/// Each with the rows of its own: partitions and children are tables by themselves.
pub fn place(name: &RawName) -> Place<'_> {
    Place { schema: &name.schema, table: &name.table, children: Children::Apart }
}

/// As the catalogue says them, not the driver: a table that nobody migrates may have columns of any type.
pub async fn columns(connection: &mut Connection, schema: &str, table: &str) -> Result<Vec<Column>> {
    const COLUMNS: SqlFile = sql_file!("phases/1-backup/columns.sql");
    let rows = connection.rows(&sql::bind(COLUMNS, &[("schema", schema), ("table", table)])).await?;
    rows.iter().map(|row| Ok(Column { name: row.try_get("name")?, kind: row.try_get("kind")? })).collect()
}

/// Digests of some rows of a table in the schema `public`, whole as they are in the source, by id.
pub async fn raw_rows(
    ctx: &Ctx,
    snapshot: &SnapshotInfo,
    table: &str,
    ids: &[i64],
) -> Result<BTreeMap<i64, Digest>> {
    let mut digests: BTreeMap<i64, Digest> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(digests);
    }
    let mut worker = worker(ctx, snapshot, "digest").await?;
    let columns = columns(&mut worker, "public", table).await?;
    let hash = snapshot.hash.for_raw(&snapshot.server.encoding);
    for row in worker.rows(&sql::digest_raw_rows("public", table, &columns, hash, ids)).await? {
        let digest = Digest::new(1, Some(row.try_get(1)?))?;
        digests.entry(row.try_get(0)?).or_default().add(digest);
    }
    worker.close().await?;
    Ok(digests)
}
