//! Phase 1 alone: a backup of the source that has been read back whole.

use crate::checks::preflight;
use crate::phases::p1_backup;
use crate::run::command::{begin, visibly};
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::manifest::Backup;
use crate::source::snapshot::Snapshot;
use crate::source::{backpressure, freeze};
use crate::sql::HashFn;
use anyhow::Result;
use std::sync::Arc;

pub async fn run(ctx: &Arc<Ctx>) -> Result<Backup> {
    ctx.terminal.phase("Phase 1: backup");
    let hash = preflight::source_alone(ctx).await?;
    freeze::preflight(ctx).await?;
    let locks = Locks::source(ctx).await?;
    visibly(ctx, "backup", locks.guard(Box::pin(back_up(ctx, hash)))).await
}

async fn back_up(ctx: &Arc<Ctx>, hash: HashFn) -> Result<Backup> {
    let mut manifest = begin(ctx, "backup")?;
    let backup = async {
        let snapshot = Snapshot::open(ctx, hash).await?;
        let backup = backpressure::polite(ctx, p1_backup::run(ctx, &snapshot)).await?;
        snapshot.release().await?;
        Ok(backup)
    };
    let backup = freeze::during(ctx, backup).await?;
    manifest.backup = Some(backup.clone());
    ctx.run.save_manifest(&manifest)?;
    Ok(backup)
}

/// The backup for a person: its files, and what the source holds.
pub fn text(ctx: &Ctx, backup: &Backup) -> String {
    let mut out = String::new();
    for (name, info) in &backup.files {
        out += &format!("{:>14} bytes  {}  {name}\n", crate::model::grouped(info.bytes), &info.sha256[..16]);
    }
    let rows = backup.raw.values().map(|t| t.rows).sum();
    out +=
        &format!("{} tables, {} rows, counted and digested\n", backup.raw.len(), crate::model::grouped(rows));
    out += &format!("backup in {}\n", ctx.run.path().display());
    out
}
