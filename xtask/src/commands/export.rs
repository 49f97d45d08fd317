//! Phases 1 and 2: backup and export of one snapshot. No target is touched.

use super::migrate;
use crate::checks::preflight;
use crate::identity::ServerName;
use crate::model::Existing;
use crate::run::command::{Times, begin, visibly};
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::report::Report;
use crate::run::servers;
use crate::session::{Command, OldDatabase, Servers, Session, SourceArgs};
use crate::source::{Handling, assess, freeze};
use crate::steps::CommandName;
use crate::timing::Part;
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Phases 1 and 2: backup, and one CSV per table
///
/// No target is written.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    fn old_database(&self) -> OldDatabase {
        OldDatabase::Needed
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let ctx = session.new_run(&self.source, Existing::Refuse)?;
        let report = session.unblocked(run(&ctx, &session.handling(&self.source)).await)?;
        session.keep_report(&ctx);
        session.report(&report, &session.then(&format!("import --run {}", report.run)))
    }
}

pub async fn run(ctx: &Arc<Ctx>, handling: &Handling) -> Result<Report> {
    // The digests have to be ones that the targets can compute.
    let hash = preflight::servers(ctx).await?;
    preflight::source_can_be_dumped(ctx).await?;
    preflight::configuration_can_be_kept(ctx).await?;
    freeze::preflight(ctx, handling).await?;
    let locks = Locks::all(ctx).await?;
    let exporting = async {
        let source = assess::source(ctx).await?;
        let assessed = migrate::within_limits(ctx, hash, source).await?.source;
        let source = servers::look(ctx, &[ServerName::Source]).await?;
        let mut manifest = begin(ctx, CommandName::Export, source, BTreeMap::new())?;
        let exporting = migrate::backup_and_export(ctx, &mut manifest, hash, assessed);
        let export = freeze::during(ctx, handling, Box::pin(exporting)).await?;
        Ok((manifest, export))
    };
    let mut times = Times::default();
    let exporting = visibly(ctx, CommandName::Export, locks.guard(Box::pin(exporting)));
    let (manifest, export) = times.of(Part::BackupAndExport, exporting).await?;
    let directory = ctx.run.path().display().to_string();
    let mut report =
        Report::new(ctx.run.id(), directory, ctx.tables, &export, None, ctx.values).begun_with(&manifest);
    report.seconds = times.by_part();
    Ok(report)
}
