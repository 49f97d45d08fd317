//! One instant of the source for the whole run (DESIGN rule 1): a session exports its snapshot, every
//! worker and pg_dump import it. It is held until the last of them has ended, and no longer, because
//! it pins the source's old rows.

use crate::changes::Ended;
use crate::effects::postgres::{self, Connection};
use crate::run::ctx::Ctx;
use crate::run::manifest::SnapshotInfo;
use crate::run::{dir, lock_waits};
use crate::source::assess::catalogue::{self, Catalogue};
use crate::sql::{self, HashFn, Reading};
use crate::tables::Table;
use crate::{refuse, sql_file};
use anyhow::{Context, Result, ensure};
use sqlx::Row;
use sqlx::postgres::types::Oid;

/// The snapshot, held open.
pub struct Snapshot {
    holder: Connection,
    pub info: SnapshotInfo,
    /// Every table of the source with rows of its own, largest first.
    pub tables: Vec<RawName>,
}

/// A table of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawName {
    pub schema: String,
    pub table: String,
    /// What the server and its dumps know it by.
    pub oid: u32,
    /// By the source's statistics: for bars only.
    pub estimated_rows: u64,
    /// On disk.
    pub bytes: u64,
}

impl RawName {
    pub fn full(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }
}

impl Snapshot {
    /// Takes the snapshot and locks every table against TRUNCATE and DDL: a TRUNCATE after the export
    /// would make workers read nothing.
    ///
    /// # Errors
    /// Refuses where a table is missing that would be migrated, or a table cannot be locked.
    pub async fn open(ctx: &Ctx, hash: HashFn) -> Result<Snapshot> {
        Snapshot::of(ctx, hash, ctx.tables).await
    }

    /// The source as it is now, whatever tables it has: to compare it with what it was.
    pub async fn again(ctx: &Ctx, hash: HashFn) -> Result<Snapshot> {
        Snapshot::of(ctx, hash, &[]).await
    }

    async fn of(ctx: &Ctx, hash: HashFn, wanted: &[Table]) -> Result<Snapshot> {
        let mut holder = postgres::connect(&ctx.settings.source, &ctx.purpose("snapshot")).await?;
        let server = holder.info().await?;
        holder.run(sql::WAIT_FOR_LOCKS).await?;
        // Their sizes are not known while a lock keeps every session out of one.
        let before = match tables(&mut holder).await {
            Err(error) => return Err(lock_waits::explained(ctx, &ctx.settings.source, error).await),
            Ok(before) => before,
        };
        for table in wanted {
            if !before.iter().any(|t| t.schema == "public" && t.table == table.source) {
                refuse!(
                    "{} has no table public.{}, which would become {}: is this the right database?",
                    ctx.settings.source,
                    table.source,
                    table.name
                );
            }
        }
        // Not SELECT first: the snapshot has to be younger than the locks.
        holder.run(sql::BEGIN_LOOKING).await?;
        let lock = sql::lock_for_reading(before.iter().map(|t| (t.schema.as_str(), t.table.as_str())));
        if let Err(error) = holder.run(&lock).await {
            return Err(lock_waits::explained(ctx, &ctx.settings.source, error).await);
        }
        let id: String = holder.row("SELECT pg_export_snapshot()").await?.try_get(0)?;
        let tables = tables(&mut holder).await?;
        let same = |t: &RawName| before.iter().any(|b| b.full() == t.full());
        ensure!(
            tables.len() == before.len() && tables.iter().all(same),
            "tables of the source were created or dropped while the snapshot was taken: start again"
        );
        let info = SnapshotInfo { id, taken: dir::now(), server, hash, reading: Reading::default() };
        Ok(Snapshot { holder, info, tables })
    }

    /// The same, with its tables read like this.
    pub fn read_as(mut self, reading: Reading) -> Snapshot {
        self.info.reading = reading;
        self
    }

    /// Which transactions had ended.
    pub async fn ended(&mut self) -> Result<Ended> {
        Ended::seen(&mut self.holder).await
    }

    /// What the catalogue says of the tables, which nobody can change any more.
    pub async fn catalogue(&mut self, ctx: &Ctx) -> Result<Catalogue> {
        catalogue::look(ctx, &mut self.holder).await
    }

    /// Looks at the catalogue again, now that nobody can change these tables any more.
    ///
    /// # Errors
    /// Refuses where it is not what the source was judged by: what has come since would be left behind.
    pub async fn same_catalogue(&mut self, ctx: &Ctx, judged: &Catalogue) -> Result<()> {
        let now = self.catalogue(ctx).await?;
        let differences = judged.differences(&now);
        if !differences.is_empty() {
            refuse!(
                "{} was changed while it was looked at:\n  {}\nNothing has been written to a target: rerun the command, \
                 and the source is judged as it is now",
                ctx.settings.source,
                differences.join("\n  ")
            );
        }
        Ok(())
    }

    /// Lets the snapshot go.
    pub async fn release(mut self) -> Result<()> {
        // Also a look whether it was there until now: a lost holder means that what was read may not
        // be of one instant.
        self.holder.run("COMMIT").await.context(
            "the session that held the snapshot was lost: nothing has been written to a target, start again",
        )?;
        self.holder.close().await
    }
}

/// A session that sees the snapshot.
pub async fn worker(ctx: &Ctx, snapshot: &SnapshotInfo, purpose: &str) -> Result<Connection> {
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose(purpose)).await?;
    connection
        .run(&sql::in_snapshot(&snapshot.id))
        .await
        .context("the snapshot is gone: was the session that holds it ended?")?;
    Ok(connection)
}

pub async fn tables(connection: &mut Connection) -> Result<Vec<RawName>> {
    let rows = connection.rows(sql_file!("phases/1-backup/tables.sql").text).await?;
    rows.iter()
        .map(|row| {
            Ok(RawName {
                schema: row.try_get("schema")?,
                table: row.try_get("table")?,
                oid: row.try_get::<Oid, _>("oid")?.0,
                estimated_rows: u64::try_from(row.try_get::<i64, _>("estimated_rows")?)?,
                bytes: u64::try_from(row.try_get::<i64, _>("bytes")?)?,
            })
        })
        .collect()
}

/// A table's size by the source's statistics.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableSize {
    pub rows: u64,
    pub bytes: u64,
}

impl From<&RawName> for TableSize {
    fn from(name: &RawName) -> TableSize {
        TableSize { rows: name.estimated_rows, bytes: name.bytes }
    }
}
