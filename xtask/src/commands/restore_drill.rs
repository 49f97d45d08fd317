//! The newest backup of each store, restored into scratch servers. What it comes to is evidence in the backup's
//! directory, and in the journal of the run that is cut over.

use super::backup_stores::{StoresArgs, Which};
use crate::effects::cleanup::Cleanup;
use crate::operations::restore_drill::{self, Drills};
use crate::operations::store_backups::Held;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::servers::runtime::Runtime;
use crate::session::{Command, Servers, Session};
use crate::steps::{CommandName, StepName};
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;

/// Restore the newest backups into scratch servers, and compare
///
/// With what was recorded when they were made. No store is touched.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The store whose backup is drilled
    #[arg(long, value_name = "STORE", default_value = "all")]
    target: Which,
    #[command(flatten)]
    stores: StoresArgs,
    /// The run in whose journal it is noted [default: the newest of this environment that is cut over]
    #[arg(long, default_value = "latest", hide_default_value = true, value_name = "RUN")]
    run: String,
    /// Where the scratch servers run [default: as processes, where this machine has the programs, else in containers]
    #[arg(long, value_name = "RUNTIME")]
    scratch: Option<Runtime>,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        // A machine without PostgreSQL's programs is refused.
        session.options()?;
        let (ctx, _) = session.run_in_service(&self.run)?;
        let stores = self.stores.directory(session)?;
        let held = self.target.targets().into_iter().map(|target| Held::take(&stores, target));
        let held = held.collect::<Result<Vec<Held>>>()?;
        let drills = noted(&ctx, &stores, &held, (self.scratch, session.cleanup)).await?;
        let typed = self.stores.typed();
        let next = match drills.green {
            true => format!("schedule install --what drill{typed}"),
            false => format!("backup --target {}{typed}", self.target.word()),
        };
        session.done(&drills, drills.text(), session.then(&next))?;
        drills.judge()
    }
}

/// Noted in the run, where there is one.
pub async fn noted(
    ctx: &Arc<Ctx>,
    stores: &Path,
    held: &[Held],
    scratch: (Option<Runtime>, &Cleanup),
) -> Result<Drills> {
    if !dir::has_begun(ctx.run.path()) {
        return Box::pin(restore_drill::run(ctx, stores, held, scratch)).await;
    }
    let work = async {
        let step = ctx.run.step(StepName::RestoreDrill)?;
        let drills = restore_drill::run(ctx, stores, held, scratch).await?;
        match drills.green {
            true => step.done(&drills.summary())?,
            false => step.failed(&drills.summary())?,
        }
        Ok(drills)
    };
    visibly(ctx, CommandName::RestoreDrill, Box::pin(work)).await
}
