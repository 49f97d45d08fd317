//! Phases 3 and 4 from the files of a run. Can be repeated: what is complete is skipped.

use crate::checks::{forecast, preflight};
use crate::model::Stop;
use crate::phases::{p3_transform, p4_import};
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::lock::Locks;
use crate::run::report::Report;
use anyhow::Result;
use std::sync::Arc;

pub async fn run(ctx: &Arc<Ctx>) -> Result<Report> {
    let locks = Locks::targets(ctx).await?;
    visibly(ctx, "import", locks.guard(Box::pin(import(ctx)))).await
}

async fn import(ctx: &Arc<Ctx>) -> Result<Report> {
    let mut manifest = ctx.run.load_manifest()?;
    let Some(export) = manifest.export.clone() else {
        refuse!("run {} has no complete export: start over with `cargo xtask export`", ctx.run.id());
    };
    if !export.replays.is_empty() {
        refuse!(
            "run {} was completed by a replay, so its stores were loaded: `cargo xtask repair --run {0}` shows what \
             is missing there",
            ctx.run.id()
        );
    }
    // Before the first write: a collection cannot be taken back.
    let damaged = dir::damaged_files(&ctx.run, &export.files);
    if !damaged.is_empty() {
        return Err(Stop::Differs(damaged.join("\n  ")).into());
    }
    let export = Arc::new(export);
    forecast::cost_limit(ctx, &export).await?;
    manifest.accepted.clone_from(&ctx.settings.policy.accepted);
    ctx.run.save_manifest(&manifest)?;
    ctx.terminal.phase("Phases 3 and 4: Firestore and PostgreSQL");
    preflight::targets(ctx, Some(&export)).await?;
    let (documents, ()) = tokio::try_join!(p3_transform::run(ctx, &export), p4_import::run(ctx, &export))?;
    let mut report =
        Report::new(ctx.run.id(), ctx.run.path().display().to_string(), ctx.tables, &export, None)
            .begun_with(&manifest);
    report.defaults = documents.collections.into_iter().map(|(name, c)| (name, c.defaults)).collect();
    Ok(report)
}
