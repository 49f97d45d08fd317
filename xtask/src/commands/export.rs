//! Phases 1 and 2: backup and export of one snapshot. No target is touched.

use super::{begin, migrate};
use crate::ctx::Ctx;
use crate::phases::{freeze, preflight};
use crate::summary::Report;
use anyhow::Result;
use std::sync::Arc;

pub async fn run(ctx: &Arc<Ctx>) -> Result<Report> {
    // The digests have to be ones that the targets can compute.
    let hash = preflight::servers(ctx).await?;
    freeze::preflight(ctx).await?;
    let mut manifest = begin(ctx)?;
    let export = freeze::during(ctx, migrate::backup_and_export(ctx, &mut manifest, hash)).await?;
    Ok(Report::new(ctx.run.id(), ctx.run.path().display().to_string(), ctx.tables, &export, None))
}
