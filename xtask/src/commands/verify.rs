//! Phase 5 at any time: every store against what the run's snapshot held.

use crate::phases::p5_verify;
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::report::Report;
use crate::session::{Command, RunArgs, Servers, Session};
use crate::steps::CommandName;
use crate::timing::Part;
use anyhow::Result;
use std::sync::Arc;

/// Phase 5: every store against what the run's snapshot held
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let ctx = session.existing_run(&self.run)?;
        let report = run(&ctx).await?;
        session.judged(&report, &session.after(&report))
    }
}

pub async fn run(ctx: &Arc<Ctx>) -> Result<Report> {
    visibly(ctx, CommandName::Verify, verified(ctx)).await
}

/// The same as a part of another command.
pub(super) async fn verified(ctx: &Arc<Ctx>) -> Result<Report> {
    let mut manifest = ctx.run.load_manifest()?;
    let Some(export) = manifest.export.clone() else {
        refuse!("run {} has no complete export: there is nothing to verify", ctx.run.id());
    };
    let export = Arc::new(export);
    ctx.terminal.phase("Phase 5: verify");
    let proof = p5_verify::run(ctx, &manifest, &export).await?;
    let directory = ctx.run.path().display().to_string();
    let mut report = Report::new(ctx.run.id(), directory, ctx.tables, &export, Some(&proof), ctx.values)
        .begun_with(&manifest);
    report.seconds.insert(Part::Verify.to_string(), proof.seconds);
    report.source = manifest.source.clone();
    report.since(manifest.cutover.as_ref());
    manifest.proof = Some(proof);
    ctx.run.save_manifest(&manifest)?;
    Ok(report)
}
