//! Which keys of a table of the source have changed since the last pass: by row versions.

use crate::changes::{self, Children, Key, Place, Then};
use crate::effects::idle::Idle;
use crate::remembered::TableThen;
use crate::run::ctx::Ctx;
use crate::run::manifest::SnapshotInfo;
use crate::source::snapshot::worker;
use crate::sql;
use crate::tables::Table;
use anyhow::Result;
use datapath::digest::Digest;
use sqlx::Row;
use std::collections::BTreeSet;
use std::sync::Arc;

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

/// Where a table stands in the source, with what inherits from it: as the export reads it.
pub fn place(table: &Table) -> Place<'static> {
    Place { schema: "public", table: table.source, children: Children::Included }
}

/// `ids`: of all rows that stood there then. `bytes`: what is read counts within the source's rate; `None`: in a freeze,
/// with nobody there to be polite to.
pub async fn scan(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    idle: Arc<Idle>,
    (table, bytes): (&'static Table, Option<u64>),
    then: Option<TableThen>,
    ids: Arc<Vec<i64>>,
) -> Result<Scanned> {
    let _permit = ctx.source_permit(ids.len() as u64).await;
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
            let tell = |key: Key| {
                let (Key::Written(id) | Key::Deleted(id)) = key;
                keys.insert(id);
                Ok(())
            };
            changes::changed_keys(&mut connection, place(table), then, range, tell).await?
        }
    };
    // What its rows are is told by the run's files; here only which versions they have.
    let (which, remembered) = match changed {
        Ok(remembered) => (Which::Ids(keys), remembered),
        Err(why) => {
            ctx.terminal.line(format!("  {} is read whole: {why}", table.source));
            let remembered = match changes::history(&mut connection).await? {
                Ok(history) => {
                    changes::remember(&mut connection, place(table), history, Digest::default()).await?
                }
                Err(why) => Err(why),
            };
            (Which::All, remembered)
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
