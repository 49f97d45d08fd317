//! Phases 1 and 2: backup and export of one snapshot. No target is touched.

use super::migrate;
use crate::checks::preflight;
use crate::run::command::{begin, visibly};
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::report::Report;
use crate::source::{assess, freeze};
use anyhow::Result;
use std::sync::Arc;

pub async fn run(ctx: &Arc<Ctx>) -> Result<Report> {
    // The digests have to be ones that the targets can compute.
    let hash = preflight::servers(ctx).await?;
    freeze::preflight(ctx).await?;
    let locks = Locks::all(ctx).await?;
    let exporting = async {
        let assessed = assess::source(ctx).await?;
        let mut manifest = begin(ctx, "export")?;
        let exporting = migrate::backup_and_export(ctx, &mut manifest, hash, assessed);
        let export = freeze::during(ctx, Box::pin(exporting)).await?;
        Ok((manifest, export))
    };
    let (manifest, export) = visibly(ctx, "export", locks.guard(Box::pin(exporting))).await?;
    let directory = ctx.run.path().display().to_string();
    let report = Report::new(ctx.run.id(), directory, ctx.tables, &export, None).begun_with(&manifest);
    Ok(report)
}
