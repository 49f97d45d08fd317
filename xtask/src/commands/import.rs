//! Phases 3 and 4 from the files of a run. Can be repeated: what is complete is skipped.

use crate::checks::{forecast, preflight};
use crate::identity::ServerName;
use crate::model::refused;
use crate::phases::{p3_transform, p4_import};
use crate::refuse;
use crate::run::command::{Times, visibly};
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::manifest::{Export, Manifest};
use crate::run::report::{Report, Stage};
use crate::run::{servers, terms};
use crate::session::{Command, OldDatabase, RunArgs, Servers, Session, guard};
use crate::shown::utc;
use crate::steps::CommandName;
use crate::stores::marks::Marks;
use crate::timing::Part;
use anyhow::Result;
use clap::builder::PossibleValuesParser;
use std::sync::Arc;

/// Phases 3 and 4: Firestore and PostgreSQL, from a run's files
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub run: RunArgs,
    /// Go on though the policy's rehearsal is missing; recorded in the run
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new([guard::NO_REHEARSAL]))]
    pub accept: Vec<String>,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Started
    }

    fn old_database(&self) -> OldDatabase {
        OldDatabase::Needed
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let ctx = session.accepting_run(&self.run, &self.accept)?;
        session.permitted(&ctx.settings)?;
        session.rehearsed(&ctx)?;
        let again = session.then(&format!("import --run {}", ctx.run.id()));
        let report = session.or_say(&ctx, again, run(&ctx)).await?;
        session.keep_report(&ctx);
        session.report(&report, &session.then(&format!("verify --run {}", report.run)))
    }
}

pub async fn run(ctx: &Arc<Ctx>) -> Result<Report> {
    let locks = Locks::targets(ctx).await?;
    visibly(ctx, CommandName::Import, locks.guard(Box::pin(import(ctx)))).await
}

async fn import(ctx: &Arc<Ctx>) -> Result<Report> {
    let manifest = ctx.run.load_manifest()?;
    let Some(export) = manifest.export.clone() else {
        refuse!("run {} has no complete export: start over with `cargo xtask export`", ctx.run.id());
    };
    let found = servers::belongs(ctx, &manifest, &ServerName::TARGETS, &[]).await?;
    let marks = Marks::read(ctx).await.map_err(refused)?;
    marks.not_taken_back(ctx)?;
    if let Some(cutover) = &manifest.cutover {
        refuse!(
            "run {}: the services took over at {}: what is in the targets is theirs, and nothing takes its \
             place. A table that is gone comes back from a backup of its database that was made since; its rows \
             as of the run's snapshot are in {}. `cargo xtask verify --run {0}` shows what is missing",
            ctx.run.id(),
            utc(&cutover.at),
            ctx.run.path().display()
        );
    }
    if !export.replays.is_empty() {
        refuse!(
            "run {} was completed by a replay, so its stores were loaded: `cargo xtask repair --run {0}` shows what \
             is missing there",
            ctx.run.id()
        );
    }
    marks.may_be_loaded(ctx, Some(&manifest))?;
    // Before the first write: a collection cannot be taken back.
    terms::files_are_whole(ctx, &export.files)?;
    let export = Arc::new(export);
    forecast::cost_limit(ctx, &export).await?;
    ctx.run.change_manifest(|manifest| {
        manifest.accepted.clone_from(&ctx.settings.policy.accepted);
        manifest.servers = std::mem::take(&mut manifest.servers).and(found);
        Ok(())
    })?;
    ctx.terminal.phase("Phases 3 and 4: Firestore and PostgreSQL");
    preflight::targets(ctx, Some(&export)).await?;
    let looked = p3_transform::look(ctx, &export).await?;
    let mut times = Times::default();
    let both =
        async { tokio::try_join!(p3_transform::run(ctx, &export, &looked), p4_import::run(ctx, &export)) };
    let (documents, ()) = times.of(Part::Import, both).await?;
    let defaults = documents.defaults();
    let manifest = ctx.run.change_manifest(|manifest| {
        manifest.defaults = defaults;
        Ok(())
    })?;
    Ok(reported(ctx, &export, &manifest, &times))
}

/// What it has come to so far: nothing is proven.
fn reported(ctx: &Ctx, export: &Export, manifest: &Manifest, times: &Times) -> Report {
    let directory = ctx.run.path().display().to_string();
    let mut report =
        Report::new(ctx.run.id(), directory, ctx.tables, export, None, ctx.values).begun_with(manifest);
    (report.stage, report.seconds, report.defaults) =
        (Stage::Imported, times.by_part(), manifest.defaults.clone());
    report
}
