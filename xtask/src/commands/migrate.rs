//! The whole migration: five phases, each taking what the one before it proved.

use super::{Times, agree, begin};
use crate::ctx::Ctx;
use crate::digest::HashFn;
use crate::effects::terminal::peak_memory;
use crate::forecast::{EXPORT, IMPORT, TOTAL, Timing, VERIFY};
use crate::manifest::{Export, Manifest};
use crate::model::Stop;
use crate::phases::snapshot::Snapshot;
use crate::phases::{forecast, p1_backup, p2_export, p3_transform, p4_import, p5_verify, preflight};
use crate::summary::Report;
use anyhow::Result;
use std::sync::Arc;

/// Runs all phases. The report's `proven` tells whether the stores hold what the snapshot held.
pub async fn run(ctx: &Arc<Ctx>) -> Result<Report> {
    let mut times = Times::default();
    ctx.terminal.phase("Preflight: servers and targets");
    let hash = preflight::servers(ctx).await?;
    let ((), timing) = tokio::try_join!(preflight::targets(ctx, None), forecast::quick(ctx, hash))?;
    let mut manifest = begin(ctx)?;
    manifest.time = Some(timing.clone());
    ctx.run.save_manifest(&manifest)?;
    ctx.terminal.line(format!("about {:.0} s by a sample", timing.predicted.total()));

    let export = times.of(EXPORT, backup_and_export(ctx, &mut manifest, hash)).await?;

    forecast::cost_limit(ctx, &export)?;
    ctx.terminal.phase("Phases 3 and 4: Firestore and PostgreSQL");
    let (documents, ()) = times
        .of(IMPORT, async { tokio::try_join!(p3_transform::run(ctx, &export), p4_import::run(ctx, &export)) })
        .await?;

    ctx.terminal.phase("Phase 5: verify");
    let proof = times.of(VERIFY, p5_verify::run(ctx, &manifest, &export)).await?;
    manifest.proof = Some(proof.clone());
    let real = times.seconds();
    manifest.time = Some(Timing { real: Some(real), ..timing.clone() });
    ctx.run.save_manifest(&manifest)?;

    let directory = ctx.run.path().display().to_string();
    let mut report = Report::new(ctx.run.id(), directory, ctx.tables, &export, Some(&proof));
    report.defaults = documents.collections.into_iter().map(|(name, c)| (name, c.defaults)).collect();
    report.seconds = times.0;
    report.seconds.insert(TOTAL.into(), real.total());
    report.predicted = timing.predicted.by_name();
    report.peak_memory = peak_memory();
    Ok(report)
}

/// Phases 1 and 2 beside each other: they see one instant of the source.
pub async fn backup_and_export(ctx: &Arc<Ctx>, manifest: &mut Manifest, hash: HashFn) -> Result<Arc<Export>> {
    ctx.terminal.phase("Phases 1 and 2: backup and export of one snapshot");
    let snapshot = Snapshot::open(ctx, hash).await?;
    let (backup, export) = tokio::try_join!(p1_backup::run(ctx, &snapshot), p2_export::run(ctx, &snapshot))?;
    snapshot.release().await?;
    agree(&backup, &export, ctx)?;
    // Only from here on may a target be written: everything is on disk, and hashed.
    manifest.backup = Some(backup);
    manifest.export = Some(export.clone());
    ctx.run.save_manifest(manifest)?;
    Ok(Arc::new(export))
}

/// A red proof as the error that gives exit code 3; the report has shown it.
pub fn judge(report: &Report) -> Result<()> {
    match report.proven {
        Some(false) => {
            Err(Stop::Differs(format!("see above, or `cargo xtask verify --run {}`", report.run)).into())
        }
        _ => Ok(()),
    }
}
