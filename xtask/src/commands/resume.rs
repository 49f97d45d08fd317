//! A run that was cut off, taken up again from what is on disk (DESIGN rules 9 to 11).

use super::{migrate, verify};
use crate::checks::preflight;
use crate::model::Stop;
use crate::phases::p2_export;
use crate::refuse;
use crate::run::command::{Times, visibly};
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::lock::Locks;
use crate::run::manifest::{Backup, Export, Manifest, Proof};
use crate::run::report::Report;
use crate::source::Handling;
use crate::sql::HashFn;
use anyhow::Result;
use std::sync::Arc;

/// Goes on with a run that did not come to its end. Believes no journal: the files are what their hashes
/// say, a store holds what it shows.
///
/// # Errors
/// Refuses a run of another environment, of other SQL or of another policy; `Stop::Differs` where a file
/// is not the one that was written.
pub async fn run(ctx: &Arc<Ctx>, handling: &Handling) -> Result<Report> {
    let manifest = ctx.run.load_manifest()?;
    same_terms(ctx, &manifest)?;
    let replayed = manifest.export.as_ref().is_some_and(|export| !export.replays.is_empty());
    if replayed || manifest.proof.as_ref().is_some_and(Proof::is_green) {
        ctx.terminal.line(format!("run {} is done, and was proven: only verified once more", ctx.run.id()));
        return verify::run(ctx).await;
    }
    ctx.terminal.phase("Preflight: servers and targets");
    let hash = preflight::servers(ctx).await?;
    let locks = Locks::all(ctx).await?;
    let work = async {
        // Once more: it may have been under way until we got the locks.
        let mut manifest = ctx.run.load_manifest()?;
        keep_policy(ctx, &mut manifest)?;
        match manifest.export.clone() {
            None => again_from_the_source(ctx, handling, manifest, hash).await,
            Some(export) => from_the_files(ctx, handling, manifest, export, hash).await,
        }
    };
    visibly(ctx, "migrate --resume", locks.guard(Box::pin(work))).await
}

/// What was started with one environment, SQL and policy is not gone on with under others.
fn same_terms(ctx: &Ctx, manifest: &Manifest) -> Result<()> {
    let (run, settings) = (ctx.run.id(), &ctx.settings);
    if manifest.environment != settings.environment {
        refuse!(
            "run {run} is of environment `{}`, not `{}`: name it with --env",
            manifest.environment,
            settings.environment
        );
    }
    let (theirs, ours) = (&manifest.tool.sql, ctx.sql_hash());
    if *theirs != ours {
        refuse!(
            "run {run} was begun with other SQL: its hash is {theirs}, this tool's is {ours} (tool {} and {}). \
             Go on with the tool that began it, or start over: `cargo xtask migrate --replace`",
            manifest.tool.version,
            env!("CARGO_PKG_VERSION")
        );
    }
    if manifest.export.is_none() && manifest.command != "migrate" {
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
        ctx.run.note("policy", &change)?;
        policy.max_quarantine = limit;
        ctx.run.save_manifest(manifest)?;
    }
    Ok(())
}

/// No target has been written yet. Files of two snapshots are never mixed: all tables are exported again.
async fn again_from_the_source(
    ctx: &Arc<Ctx>,
    handling: &Handling,
    mut manifest: Manifest,
    hash: HashFn,
) -> Result<Report> {
    let assessed = migrate::assessed(ctx).await?;
    let removed = ctx.run.clear()?;
    let what = format!(
        "no complete export: {removed} files of the one that was cut off are removed, everything is exported \
         again under a new snapshot"
    );
    ctx.run.note("export again", &what)?;
    ctx.terminal.line(format!("run {}: {what}", ctx.run.id()));
    (manifest.backup, manifest.export) = (None, None);
    ctx.run.save_manifest(&manifest)?;
    migrate::from_the_source(ctx, handling, manifest, hash, assessed).await
}

/// The export is complete: nothing is asked of the source any more.
async fn from_the_files(
    ctx: &Arc<Ctx>,
    handling: &Handling,
    manifest: Manifest,
    export: Export,
    hash: HashFn,
) -> Result<Report> {
    let run = ctx.run.id();
    ctx.terminal.line(format!("run {run}: its export is complete, going on from its files"));
    whole(ctx, manifest.backup.as_ref(), &export)?;
    let began = export.snapshot.hash;
    if began == HashFn::HashRecordExtended && hash != began {
        refuse!(
            "run {run} was begun when all servers had one version and encoding, and its digests cannot be taken \
             on what they are now: start over with `cargo xtask migrate --replace`"
        );
    }
    p2_export::quarantine_limit(ctx, &export)?;
    preflight::targets(ctx, Some(&export)).await?;
    migrate::to_the_targets(ctx, handling, manifest, Arc::new(export), Times::default()).await
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
