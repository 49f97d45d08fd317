//! The old database taken out of service: closed, watched, archived, renamed; dropped by a call of its own.

use crate::effects::terminal::ask;
use crate::operations::decommission::{self, Changes, Done, OldContainer, Record, Stage};
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::session::{Command, RunArgs, Servers, Session};
use crate::steps::CommandName;
use anyhow::{Context, Result};
use std::sync::Arc;

/// Retire the old database: close, watch, archive, rename, drop
///
/// Only after a week, proven, drilled, and with no session of others in it for a day.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Only show which conditions hold
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask before others are kept out
    #[arg(short, long)]
    yes: bool,
    /// Tables that have changed since the cut-over are no obstacle: the archive has them
    #[arg(long)]
    accept_changes: bool,
    /// Everything as it was before: its name, and who is let in
    #[arg(long, conflicts_with_all = ["dry_run", "drop", "accept_changes"])]
    undo: bool,
    /// Drop the retired database, whose name --confirm has to say
    #[arg(long, conflicts_with = "accept_changes")]
    drop: bool,
    /// With --drop: then remove its container and its volumes
    #[arg(long, requires = "drop")]
    remove_container: bool,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        // What an earlier call has begun to remove may be gone.
        if self.remove_container { Servers::None } else { Servers::Running }
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let mut ctx = session.existing_run(&self.run)?;
        if self.remove_container && Record::load(&ctx.run)?.removed.is_none() {
            session.look_for_containers(Servers::Running).await?;
            ctx = session.existing_run(&RunArgs { run: ctx.run.id().to_string() })?;
        }
        let dropped = Record::load(&ctx.run)?.dropped.is_some();
        // Nothing is left to do then, and its server may be gone; to bring it back is refused by what does that.
        if self.dry_run || (dropped && !self.undo && !self.remove_container) {
            let done = decommission::look(&ctx).await?;
            said(session, &done)?;
            return done.judge();
        }
        let done = match (self.undo, self.drop) {
            (true, _) if dropped => {
                visibly(&ctx, CommandName::Decommission, decommission::undo(&ctx)).await?
            }
            (true, _) => {
                session.permitted(&ctx.settings)?;
                alone(&ctx, decommission::undo(&ctx)).await?
            }
            (_, true) => self.drop(session, &ctx).await?,
            (false, false) => {
                session.permitted(&ctx.settings)?;
                self.asked(&ctx)?;
                let changes = if self.accept_changes { Changes::Accept } else { Changes::Refuse };
                alone(&ctx, decommission::go_on(&ctx, changes, session.cleanup)).await?
            }
        };
        said(session, &done)?;
        done.judge()
    }
}

/// Nobody else is at it meanwhile.
async fn alone(ctx: &Arc<Ctx>, work: impl Future<Output = Result<Done>>) -> Result<Done> {
    let locks = decommission::alone(ctx).await?;
    visibly(ctx, CommandName::Decommission, locks.guard(Box::pin(work))).await
}

impl Args {
    async fn drop(&self, session: &Session<'_>, ctx: &Arc<Ctx>) -> Result<Done> {
        let said = session.common.confirm.clone();
        if !self.remove_container {
            return alone(ctx, decommission::drop(ctx, said.as_deref())).await;
        }
        let container = OldContainer::of(ctx, &session.containers).await?;
        if Record::load(&ctx.run)?.dropped.is_none() {
            alone(ctx, decommission::drop(ctx, said.as_deref())).await?;
        }
        visibly(ctx, CommandName::Decommission, Box::pin(decommission::remove(ctx, &container))).await
    }

    /// Before anybody is kept out.
    fn asked(&self, ctx: &Ctx) -> Result<()> {
        if self.yes || Record::load(&ctx.run)?.closed.is_some() {
            return Ok(());
        }
        let database = &ctx.settings.source.database;
        let question = format!(
            "From now on only superusers and this tool are let into {database} (CONNECT is revoked, --undo gives it back)."
        );
        match ask(&question).context("asking")? {
            Some(true) => Ok(()),
            Some(false) => refuse!("not confirmed: nothing has been changed"),
            None => refuse!("it would keep others out of {database}: if that is meant, add --yes"),
        }
    }
}

fn said(session: &Session<'_>, done: &Done) -> Result<()> {
    let run = &done.run;
    let again = session.then(&format!("decommission --run {run}"));
    let next = match (done.stage, &done.record.retired) {
        (Stage::NotYet, _) => format!("meet what is missing, then {again}"),
        (Stage::Ready, _) => again,
        (Stage::Retired, Some(retired)) => {
            let drop = format!("decommission --run {run} --drop --confirm {}", retired.name);
            let undo = session.then(&format!("decommission --run {run} --undo"));
            format!("when nobody has missed it: {}; to bring it back: {undo}", session.then(&drop))
        }
        (Stage::Retired | Stage::Dropped, _) => "look after the services".to_string(),
        (Stage::Undone, _) => again,
    };
    session.done(done, done.text(), next)
}
