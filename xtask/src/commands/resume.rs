//! A run that was cut off, taken up again from what is on disk (DESIGN rules 9 to 11).

use crate::checks::preflight;
use crate::identity::ServerName;
use crate::model::{Stop, refused};
use crate::phases::p2_export;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::manifest::{Backup, Export, Manifest, Proof};
use crate::run::servers;
use crate::sql::HashFn;
use crate::steps::{CommandName, StepName};
use crate::stores::marks::Marks;
use anyhow::Result;
use std::sync::Arc;

/// What is left to do of a run.
pub enum Rest {
    /// Everything, from a new snapshot on: no target has been written yet.
    Everything,
    /// Phases 3 to 5, from the files of its export.
    Targets(Box<Manifest>, Arc<Export>),
}

/// Whether the run has been proven and is only to be verified once more.
///
/// # Errors
/// Refuses a run of another environment, of other SQL or of another policy.
pub fn is_done(ctx: &Ctx) -> Result<bool> {
    let manifest = ctx.run.load_manifest()?;
    same_terms(ctx, &manifest)?;
    let replayed = manifest.export.as_ref().is_some_and(|export| !export.replays.is_empty());
    Ok(replayed || manifest.proof.as_ref().is_some_and(Proof::is_green))
}

/// The stores are those that the run was begun with, and nothing has been brought there since but by it.
pub async fn same_stores(ctx: &Ctx) -> Result<()> {
    let manifest = ctx.run.load_manifest()?;
    let found = servers::belongs(ctx, &manifest, &ServerName::ALL, &[]).await?;
    Marks::read(ctx).await.map_err(refused)?.may_be_loaded(ctx, Some(&manifest))?;
    servers::remember(ctx, found)
}

/// What is left to do, once the run's locks are held: until then it may have been under way.
///
/// # Errors
/// `Stop::Differs` where a file is not the one that was written.
pub async fn rest(ctx: &Arc<Ctx>, hash: HashFn) -> Result<Rest> {
    let mut manifest = ctx.run.load_manifest()?;
    keep_policy(ctx, &mut manifest)?;
    match manifest.export.clone() {
        None => Ok(Rest::Everything),
        Some(export) => {
            from_the_files(ctx, &manifest, &export, hash).await?;
            Ok(Rest::Targets(Box::new(manifest), Arc::new(export)))
        }
    }
}

/// What was started with one environment, SQL and policy is not gone on with under others.
fn same_terms(ctx: &Ctx, manifest: &Manifest) -> Result<()> {
    let (run, settings) = (ctx.run.id(), &ctx.settings);
    if manifest.tool != ctx.tool_version() {
        let (theirs, ours) = (&manifest.tool, ctx.tool_version());
        refuse!(
            "run {run} was begun by another version of this tool: {} with the SQL of hash {}, this one is {} with {}. \
             Go on with the tool that began it, or start over: `cargo xtask migrate --replace`",
            theirs.version,
            theirs.sql,
            ours.version,
            ours.sql
        );
    }
    if manifest.export.is_none() && manifest.command != CommandName::Migrate {
        refuse!(
            "run {run} was begun by `{}` and has no complete export to go on from: start over with \
             `cargo xtask migrate`",
            manifest.command
        );
    }
    let Some(begun) = &manifest.policy else { return Ok(()) };
    let policy = &settings.policy;
    if begun.null_policy != policy.null_policy {
        refuse!(
            "run {run} was begun with null_policy {:?}, environment `{}` now says {:?}: set it back, or start over",
            begun.null_policy,
            settings.environment,
            policy.null_policy
        );
    }
    if begun.source_zone != policy.source_zone {
        refuse!(
            "run {run} was begun with source_zone {:?}, environment `{}` now says {:?}: set it back, or start over",
            begun.source_zone,
            settings.environment,
            policy.source_zone
        );
    }
    Ok(())
}

/// The limit of the quarantine is the one that the run was begun with, unless the person says another.
fn keep_policy(ctx: &Ctx, manifest: &mut Manifest) -> Result<()> {
    let limit = ctx.settings.policy.max_quarantine;
    if let Some(policy) = manifest.policy.as_mut().filter(|p| p.max_quarantine != limit) {
        let said = |limit: Option<u64>| limit.map_or("any number".into(), |n| n.to_string());
        let change =
            format!("rows allowed in quarantine: {}, until now {}", said(limit), said(policy.max_quarantine));
        ctx.run.note(&StepName::Policy, &change)?;
        policy.max_quarantine = limit;
        let kept = manifest.policy.clone();
        ctx.run.change_manifest(|manifest| {
            manifest.policy = kept;
            Ok(())
        })?;
    }
    Ok(())
}

/// Files of two snapshots are never mixed: those of the export that was cut off are removed.
pub fn cleared(ctx: &Ctx) -> Result<Manifest> {
    let removed = ctx.run.clear()?;
    let what = format!(
        "no complete export: {removed} files of the one that was cut off are removed, everything is exported \
         again under a new snapshot"
    );
    ctx.run.note(&StepName::ExportAgain, &what)?;
    ctx.terminal.line(format!("run {}: {what}", ctx.run.id()));
    ctx.run.change_manifest(|manifest| {
        (manifest.backup, manifest.export) = (None, None);
        Ok(())
    })
}

/// The export is complete: nothing is asked of the source any more.
async fn from_the_files(ctx: &Arc<Ctx>, manifest: &Manifest, export: &Export, hash: HashFn) -> Result<()> {
    let run = ctx.run.id();
    ctx.terminal.line(format!("run {run}: its export is complete, going on from its files"));
    whole(ctx, manifest.backup.as_ref(), export)?;
    let began = export.snapshot.hash;
    if !began.is_portable() && hash != began {
        refuse!(
            "run {run} was begun when all servers had one version and encoding, and its digests cannot be taken \
             on what they are now: start over with `cargo xtask migrate --replace`"
        );
    }
    p2_export::quarantine_limit(ctx, export)?;
    preflight::targets(ctx, Some(export)).await
}

/// The files of the run are what was written.
fn whole(ctx: &Ctx, backup: Option<&Backup>, export: &Export) -> Result<()> {
    let mut damaged = dir::damaged_files(&ctx.run, &export.files);
    damaged.extend(backup.iter().flat_map(|backup| dir::damaged_files(&ctx.run, &backup.files)));
    match damaged[..] {
        [] => Ok(()),
        _ => Err(Stop::Differs(format!(
            "run {} cannot go on from its files:\n  {}\nPut them back from a copy, or start over with \
             `cargo xtask migrate --replace`",
            ctx.run.id(),
            damaged.join("\n  ")
        ))
        .into()),
    }
}
