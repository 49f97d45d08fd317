//! The final archive: the old database dumped as phase 1 does, into a run of its own in `archive/`, restored beside it,
//! compared, and compared with what it was when the services took over.

use super::record::{Archive, Record};
use super::server::Old;
use crate::checks::preflight;
use crate::effects::cleanup::Cleanup;
use crate::effects::disk;
use crate::identity::ServerName;
use crate::model::grouped;
use crate::phases::p1_backup;
use crate::run::command::{begin, visibly};
use crate::run::ctx::Ctx;
use crate::run::dir::{self, RunDir};
use crate::run::lock::Locks;
use crate::run::manifest::{Backup, Manifest};
use crate::run::servers;
use crate::source::restore;
use crate::source::snapshot::Snapshot;
use crate::sql::HashFn;
use crate::steps::CommandName;
use crate::{refuse, sql};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// Where archives are, beside the runs.
pub(super) fn directory(ctx: &Ctx) -> PathBuf {
    ctx.run.runs().join("archive")
}

/// What the archive takes, at most.
pub(super) fn room(ctx: &Ctx, backup: &Backup) -> Result<Option<String>> {
    let (free, needed) = (disk::free(&directory(ctx))?.1, backup.snapshot.server.bytes);
    let said = || format!("{} bytes are free, the database has {}", grouped(free), grouped(needed));
    Ok((free < needed).then(said))
}

/// Makes it and proves it. What an earlier call has left unproven goes first.
///
/// # Errors
/// `Stop::Differs` where it does not restore as what it was.
pub(super) async fn make(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    before: Option<&Archive>,
    old: &mut Old,
    cleanup: &Cleanup,
) -> Result<Archive> {
    if let Some(left) = before {
        let left = directory(ctx).join(&left.id);
        if left.is_dir() {
            fs::remove_dir_all(&left).with_context(|| format!("removing {}", left.display()))?;
        }
    }
    let run = RunDir::create(&directory(ctx))?;
    let archive = Archive { id: run.id().to_string(), begun: dir::now(), proven: None, changed: Vec::new() };
    Record::change(&ctx.run, |record| record.archive = Some(archive.clone()))?;
    let there = Arc::new(ctx.of_run(run, ctx.settings.policy.null_policy));
    ctx.terminal.phase(&format!("The final archive: {}", there.run.path().display()));
    let backup = visibly(&there, CommandName::Backup, Box::pin(back_up(&there, manifest))).await?;
    prove(&there, cleanup).await?;
    let changed = changed(manifest, &backup);
    let seen = old.look().await?.context("the old database is gone")?;
    let proven = Some((dir::now(), seen.sample.sessions));
    let archive = Archive { proven, changed, ..archive };
    Record::change(&ctx.run, |record| record.archive = Some(archive.clone()))?;
    Ok(archive)
}

/// Phase 1, digested as the run was, so that both can be compared.
async fn back_up(there: &Arc<Ctx>, manifest: &Manifest) -> Result<Backup> {
    preflight::source_can_be_dumped(there).await?;
    preflight::configuration_can_be_kept(there).await?;
    let hash = manifest.backup.as_ref().map(|backup| backup.snapshot.hash);
    let hash: HashFn = hash.context("the run has no backup")?;
    let locks = Locks::source(there).await?;
    let work = async {
        let source = servers::look(there, &[ServerName::Source]).await?;
        begin(there, CommandName::Backup, source, BTreeMap::new())?;
        let snapshot = Snapshot::again(there, hash).await?;
        let backup = p1_backup::run(there, &snapshot).await?;
        snapshot.release().await?;
        there.run.change_manifest(|manifest| {
            manifest.backup = Some(backup.clone());
            Ok(())
        })?;
        Ok(backup)
    };
    locks.guard(Box::pin(work)).await
}

/// Restores it beside the old database, compares both, and drops what was restored.
async fn prove(there: &Arc<Ctx>, cleanup: &Cleanup) -> Result<()> {
    let source = &there.settings.source.database;
    let name = restore::name(source, &format!("_archive_{}", there.run.id()));
    let (dropping, database) = (there.clone(), name.clone());
    let pending = cleanup.add(format!("the database {name} is there"), sql::drop_by_hand(&name), move || {
        let (ctx, database) = (dropping.clone(), database.clone());
        async move { drop_scratch(&ctx, &database).await }
    });
    let manifest = there.run.load_manifest()?;
    let work = restore::restore_beside(there, &manifest, &name, cleanup);
    let restored = visibly(there, CommandName::Restore, Box::pin(work)).await;
    cleanup.undo(pending).await?;
    let restored = restored.context("the final archive is not proven: the old database stays as it is")?;
    there.terminal.line(format!(
        "✓ the archive restores: {} tables, {} rows, as they are in {source}",
        restored.tables,
        grouped(restored.rows)
    ));
    Ok(())
}

async fn drop_scratch(ctx: &Ctx, database: &str) -> Result<()> {
    let (mut connection, _) = restore::beside(ctx, "decommission").await?;
    connection.run(&sql::drop_database(database)).await?;
    connection.close().await
}

/// Tables that are not what the cut-over found in them.
fn changed(manifest: &Manifest, backup: &Backup) -> Vec<String> {
    let Some(cutover) = &manifest.cutover else { return Vec::new() };
    let names =
        cutover.source.keys().chain(backup.raw.keys().filter(|name| !cutover.source.contains_key(*name)));
    // Of a cut-over that recorded nothing nothing can be said.
    let names = names.filter(|_| !cutover.source.is_empty());
    names.filter(|name| cutover.source.get(*name) != backup.raw.get(*name)).cloned().collect()
}

/// # Errors
/// Refuses where a file of the archive is not what was written.
pub(super) fn is_whole(ctx: &Ctx, archive: &Archive) -> Result<()> {
    let run = RunDir::open(&directory(ctx), &archive.id)?;
    let manifest = run.load_manifest()?;
    let backup = manifest.backup.context("the archive has no backup")?;
    let damaged = dir::damaged_files(&run, &backup.files);
    if !damaged.is_empty() {
        refuse!(
            "the final archive in {} is damaged, and the old database stays:\n  {}\nPut the files back from a copy; or \
             `cargo xtask decommission --undo --run {}` gives the old database its name again, and the next call \
             archives it again",
            run.path().display(),
            damaged.join("\n  "),
            ctx.run.id()
        );
    }
    Ok(())
}
