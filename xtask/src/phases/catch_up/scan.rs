//! Which keys of a table of the source have changed since the last pass: by row versions.

use super::extent::Extent;
use super::held::HeldRows;
use super::judged::still;
use crate::changes::{self, Children, Ended, Key, Pieces, Place, Then};
use crate::effects::idle::Idle;
use crate::remembered::TableThen;
use crate::run::ctx::Ctx;
use crate::run::join;
use crate::run::manifest::{Export, Manifest, SnapshotInfo};
use crate::source::assess::conversions;
use crate::source::snapshot::{Snapshot, worker};
use crate::sql;
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::digest::Digest;
use futures_util::FutureExt;
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The source at one instant: what row versions say of its tables.
pub struct Looked {
    pub snapshot: Snapshot,
    pub ended: Ended,
    pub scanned: BTreeMap<&'static str, Scanned>,
    pub seconds: f64,
}

/// What versions say of a table.
pub struct Scanned {
    pub which: Which,
    /// The table as this pass sees it, for the next one.
    pub remembered: Then,
    /// All rows of the table, counted apart from what is read of it.
    pub rows: u64,
}

/// The rows that a pass reads of a table.
pub enum Which {
    Ids(BTreeSet<i64>),
    /// Every row: versions do not tell which.
    All,
}

impl Looked {
    /// Whether a row of any table has changed, or might have.
    pub fn has_changes(&self) -> bool {
        self.scanned.values().any(|of_table| match &of_table.which {
            Which::Ids(ids) => !ids.is_empty(),
            Which::All => true,
        })
    }
}

/// Opens a snapshot and looks which rows have changed since the last pass.
///
/// # Errors
/// Refuses where the tables are not any more those that the run was judged by.
pub async fn look(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    export: &Export,
    held: &mut HeldRows,
    extent: Extent,
) -> Result<Looked> {
    let mut snapshot = Snapshot::open(ctx, export.snapshot.hash).await?;
    still(ctx, export, &mut snapshot, &mut held.catalogue).await?;
    let ended = snapshot.ended().await?;
    let snapshot = conversions::read_as(ctx, snapshot, export.snapshot.reading.clone()).await?;
    let began = Instant::now();
    let scanned = scans(ctx, manifest, &snapshot, held, extent).await?;
    ctx.terminal.lap("looked for changes", began);
    Ok(Looked { snapshot, ended, scanned, seconds: began.elapsed().as_secs_f64() })
}

async fn scans(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    snapshot: &Snapshot,
    held: &HeldRows,
    extent: Extent,
) -> Result<BTreeMap<&'static str, Scanned>> {
    let backup = manifest.backup.as_ref().context("the run has no backup")?;
    let idle = Arc::new(Idle::default());
    let mut tasks = Vec::new();
    for table in ctx.tables {
        let name = format!("public.{}", table.source);
        let then = match manifest.caught_up.is_empty() {
            true => backup.remembered.get(&name),
            false => manifest.caught_up.get(&name),
        };
        let ids = held.table(table.name)?.ids.clone();
        let raw = snapshot.tables.iter().find(|raw| raw.schema == "public" && raw.table == table.source);
        let bytes = raw.map(|raw| raw.bytes).filter(|_| !extent.is_last());
        let snapshot = snapshot.info.clone();
        tasks.push(scan(ctx.clone(), snapshot, idle.clone(), (table, bytes), then.cloned(), ids));
    }
    let scanned = join::all(tasks).await?;
    idle.end().await?;
    Ok(ctx.tables.iter().map(|table| table.name).zip(scanned).collect())
}

/// Where a table stands in the source, with what inherits from it: as the export reads it.
pub fn place(table: &Table) -> Place<'static> {
    Place { schema: "public", table: table.source, children: Children::Included }
}

/// In one more session that sees the snapshot.
async fn answer(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    idle: Arc<Idle>,
    weight: u64,
    query: String,
) -> Result<Vec<PgRow>> {
    let _permit = ctx.source_permit(weight).await;
    let mut session = idle.take(worker(&ctx, &snapshot, "changes")).await?;
    let rows = session.rows(&query).await?;
    idle.put(session);
    Ok(rows)
}

/// Pages of a table that one session scans: 128 MB, a fifth of a second in memory.
const PIECE: u64 = 16_384;

/// `ids`: of all rows that stood there then. `bytes`: what is read counts within the source's rate; `None`: in a freeze,
/// with nobody there to be polite to.
async fn scan(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    idle: Arc<Idle>,
    (table, bytes): (&'static Table, Option<u64>),
    then: Option<TableThen>,
    ids: Arc<Vec<i64>>,
) -> Result<Scanned> {
    let weight = ids.len() as u64;
    let permit = Mutex::new(Some(ctx.source_permit(weight).await));
    if let Some(bytes) = bytes {
        ctx.throttle.pass(bytes).await;
    }
    let mut connection = idle.take(worker(&ctx, &snapshot, "changes")).await?;
    let mut keys = BTreeSet::new();
    let changed = match &then {
        None => Err("it was not remembered".to_string()),
        Some(then) => {
            let range = |first: i64, last: i64| {
                let (from, to) =
                    (ids.partition_point(|id| *id < first), ids.partition_point(|id| *id <= last));
                Ok(ids[from..to].to_vec())
            };
            let answer = |query: String| {
                // Who holds a permit must not wait for another.
                permit.lock().unwrap_or_else(PoisonError::into_inner).take();
                answer(ctx.clone(), snapshot.clone(), idle.clone(), weight, query).boxed()
            };
            let pieces = Pieces { pages: PIECE, answer: &answer };
            let tell = |key: Key| {
                let (Key::Written(id) | Key::Deleted(id)) = key;
                keys.insert(id);
                Ok(())
            };
            changes::changed_keys(&mut connection, place(table), then, Some(&pieces), range, tell).await?
        }
    };
    // What its rows are is told by the run's files; here only which versions they have.
    let (which, remembered) = match changed {
        Ok(remembered) => (Which::Ids(keys), remembered),
        Err(why) => {
            ctx.terminal.line(format!("  {} is read whole: {why}", table.source));
            (Which::All, changes::remember_now(&mut connection, place(table), Digest::default()).await?)
        }
    };
    let rows = match &remembered {
        Ok(then) => then.leaves.values().map(|leaf| leaf.buckets.rows()).sum(),
        Err(_) => {
            let row = connection.row(&sql::count("public", table.source)).await?;
            u64::try_from(row.try_get::<i64, _>(0)?)?
        }
    };
    idle.put(connection);
    Ok(Scanned { which, remembered, rows })
}
