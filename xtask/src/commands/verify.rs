//! Phase 5 at any time: every store against what the run's snapshot held.

use crate::identity::ServerName;
use crate::phases::catch_up;
use crate::phases::cutover::unchanged;
use crate::phases::p5_verify::{self, Depth};
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::manifest::Manifest;
use crate::run::report::Report;
use crate::run::servers;
use crate::session::{Command, RunArgs, Servers, Session};
use crate::steps::{CommandName, StepName};
use crate::stores::marks::Marks;
use crate::timing::Part;
use anyhow::Result;
use std::sync::Arc;

/// Phase 5: compare every store with the run's snapshot
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// A server that was replaced on purpose is the run's from now on, once everything is proven there
    #[arg(long, value_name = "SERVER")]
    adopt: Vec<ServerName>,
    /// Read every row again, of tables too that have not changed since they were proven
    #[arg(long)]
    full: bool,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let ctx = session.existing_run(&self.run)?;
        session.tell_of_a_freeze(&ctx.settings);
        let depth = if self.full || !self.adopt.is_empty() { Depth::Full } else { Depth::Changes };
        let report = run(&ctx, &self.adopt, depth).await?;
        session.keep_report(&ctx);
        session.judged(&report, &session.after(&report))
    }
}

pub async fn run(ctx: &Arc<Ctx>, adopt: &[ServerName], depth: Depth) -> Result<Report> {
    visibly(ctx, CommandName::Verify, verified(ctx, adopt, depth)).await
}

/// The same as a part of another command.
pub(super) async fn verified(ctx: &Arc<Ctx>, adopt: &[ServerName], depth: Depth) -> Result<Report> {
    let before = ctx.run.load_manifest()?;
    let Some(export) = before.export.clone() else {
        refuse!("run {} has no complete export: there is nothing to verify", ctx.run.id());
    };
    let export = Arc::new(export);
    let found = servers::belongs(ctx, &before, &looked_at(adopt), adopt).await?;
    let marks = Marks::read(ctx).await?;
    marks.hold_this(ctx, &export)?;
    let mut manifest = before.clone();
    marks.teach(&mut manifest);
    ctx.terminal.phase("Phase 5: verify");
    if adopt.contains(&ServerName::Source) {
        match export.passes().next() {
            None => drop(unchanged(ctx, &manifest).await?),
            Some(_) => catch_up::same_source(ctx, &manifest, &export).await?,
        }
    }
    let proof = p5_verify::run(ctx, &manifest, &export, depth).await?;
    let directory = ctx.run.path().display().to_string();
    let mut report = Report::new(ctx.run.id(), directory, ctx.tables, &export, Some(&proof), ctx.values)
        .begun_with(&manifest);
    report.seconds.insert(Part::Verify, proof.seconds);
    report.source = manifest.source.clone();
    report.since(manifest.cutover.as_ref());
    let adopted = if proof.is_green() { adopt } else { &[] };
    ctx.run.change_manifest(|now| {
        same_expectation(ctx, &before, now)?;
        (now.proof, now.cutover) = (Some(proof), manifest.cutover);
        for name in adopted {
            now.servers.databases.remove(name);
            ctx.run.note(&StepName::Adopt, &name.to_string())?;
        }
        now.servers = std::mem::take(&mut now.servers).and(found);
        Ok(())
    })?;
    Ok(report)
}

fn looked_at(adopt: &[ServerName]) -> Vec<ServerName> {
    let source = adopt.iter().copied().filter(|name| *name == ServerName::Source);
    ServerName::TARGETS.into_iter().chain(source).collect()
}

/// A proof of what the run held before a replay, or before the cut-over, is none of what it holds now.
fn same_expectation(ctx: &Ctx, before: &Manifest, now: &Manifest) -> Result<()> {
    let replays = |manifest: &Manifest| manifest.export.as_ref().map(|export| export.replays.len());
    if replays(before) != replays(now) || before.cutover != now.cutover {
        refuse!(
            "a replay or the cut-over of run {0} was recorded while it was verified: this proof is not kept. Verify \
             again: `cargo xtask verify --run {0}`",
            ctx.run.id()
        );
    }
    Ok(())
}
