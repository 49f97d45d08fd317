//! A run's backup as a database: beside the source's own, or in its place.

use super::restore_stores::{self, Wanted};
use super::restored::Done;
use crate::effects::cleanup::Cleanup;
use crate::operations::store_backups::Target;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::freeze_log::FreezeLog;
use crate::session::{Command, OldDatabase, RunArgs, Servers, Session};
use crate::shown::escaped;
use crate::source::freeze::Freezer;
use crate::source::restore::{self, Consent, Goal, NotProven, Plan, Unproven};
use crate::sql;
use crate::steps::CommandName;
use anyhow::Result;
use std::path::PathBuf;
use std::sync::Arc;

/// Restore a backup as a new database, or in place, proven
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// The name of the new database; with --target firestore PROJECT or PROJECT/DATABASE
    #[arg(long, value_name = "DATABASE", required_unless_present_any = ["in_place", "target"])]
    into: Option<String>,
    /// Then it takes the place of the source's database, which is kept under another name
    #[arg(long, conflicts_with_all = ["into", "target"])]
    in_place: bool,
    /// Restore a backup of a new store instead, see `backup --target`
    #[arg(long, value_name = "STORE", requires = "from", conflicts_with = "run")]
    target: Option<Target>,
    /// With --target: the backup's directory
    #[arg(long, value_name = "DIR", requires = "target")]
    from: Option<PathBuf>,
    /// With --in-place: end the sessions of others that the plan lists
    #[arg(long, requires = "in_place")]
    end_sessions: bool,
    /// Keep a new database that is not what was backed up, under the name DATABASE_unproven
    #[arg(long, conflicts_with = "in_place")]
    keep: bool,
    /// Show the plan and make nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Args {
    fn unproven(&self) -> Unproven {
        if self.keep { Unproven::Keep } else { Unproven::Drop }
    }

    fn goal(&self) -> Goal {
        match &self.into {
            Some(name) => Goal::Beside(name.clone()),
            None if self.end_sessions => Goal::InPlace(Consent::Given),
            None => Goal::InPlace(Consent::Missing),
        }
    }
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    fn old_database(&self) -> OldDatabase {
        if self.target.is_some() { OldDatabase::NotNeeded } else { OldDatabase::ItsServer }
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        if let (Some(target), Some(from)) = (self.target, &self.from) {
            let unproven = self.unproven();
            let (into, dry_run) = (self.into.as_deref(), self.dry_run);
            return restore_stores::run(session, &Wanted { target, from, into, dry_run, unproven }).await;
        }
        let ctx = session.backed_up_run(&self.run)?;
        let (goal, run) = (self.goal(), ctx.run.id().to_string());
        let plan = plan(&ctx, &goal).await?;
        if self.dry_run {
            let goal = match &self.into {
                Some(name) => format!("--into {name}"),
                None => "--in-place".to_string(),
            };
            session.done(&plan, plan.text(), session.then(&format!("restore --run {run} {goal}")))?;
            return plan.possible();
        }
        session.terminal.line(plan.text().trim_end());
        session.permitted(&ctx.settings)?;
        let done = match run_as_planned(&ctx, &plan, &goal, self.unproven(), session.cleanup).await {
            Ok(done) => done,
            Err(error) => return Err(differences_said(session, error)?),
        };
        let next = next(session, &ctx, &done)?;
        session.done(&done, done.text(), next)
    }
}

/// # Errors
/// As [`Plan::look`]; before anything is made that is a refusal.
pub async fn plan(ctx: &Arc<Ctx>, goal: &Goal) -> Result<Plan> {
    let manifest = ctx.run.load_manifest()?;
    ctx.terminal.phase("Restore: the plan");
    Plan::look(ctx, &manifest, goal).await.map_err(crate::model::refused)
}

/// # Errors
/// As [`restore::restore_in_place`].
pub async fn run_as_planned(
    ctx: &Arc<Ctx>,
    plan: &Plan,
    goal: &Goal,
    unproven: Unproven,
    cleanup: &Cleanup,
) -> Result<Done> {
    plan.possible()?;
    let manifest = ctx.run.load_manifest()?;
    let work = async {
        match goal {
            Goal::Beside(_) => {
                let restored = restore::restore(ctx, &manifest, plan, unproven, cleanup).await?;
                Ok(Done { restored, replaced: None })
            }
            Goal::InPlace(consent) => {
                let (restored, replaced) =
                    restore::restore_in_place(ctx, &manifest, plan, *consent, cleanup).await?;
                Ok(Done { restored, replaced: Some(replaced) })
            }
        }
    };
    visibly(ctx, CommandName::Restore, Box::pin(work)).await
}

/// What differs is data, too.
fn differences_said(session: &Session<'_>, error: anyhow::Error) -> Result<anyhow::Error> {
    if let Some(NotProven { kept, differences }) = error.downcast_ref() {
        let json = serde_json::json!({ "proven": false, "kept": kept, "differences": differences });
        session.document.hold(&json, None)?;
    }
    Ok(error)
}

/// The command to type next.
fn next(session: &Session<'_>, ctx: &Ctx, done: &Done) -> Result<String> {
    let source = &ctx.settings.source;
    let Some(replaced) = &done.replaced else {
        let database = &done.restored.database;
        return Ok(format!(
            "look at it: psql -h {} -p {} -U {} -d '{}'; to be rid of it: {}",
            source.host,
            source.port,
            source.user,
            escaped(database).replace('\'', "'\\''"),
            sql::drop_by_hand(database)
        ));
    };
    let freezer = Freezer::new(&ctx.settings, FreezeLog::at(&session.runs()), &session.terminal);
    let start = match freezer.open()? {
        Some(open) => {
            let run = open.cutover.map(|run| format!(" --run {run}")).unwrap_or_default();
            format!("{}, then start the services", session.then(&format!("unfreeze{run}")))
        }
        None => "start the services".to_string(),
    };
    Ok(match &replaced.put_aside {
        Some(aside) => {
            format!("{start}; when nobody needs the old database any more: {}", sql::drop_by_hand(aside))
        }
        None => start,
    })
}
