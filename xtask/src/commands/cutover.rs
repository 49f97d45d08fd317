//! The cut-over: the services take over, once, with every store as proven (`phases/cutover.rs`).

use crate::effects::cleanup::Cleanup;
use crate::phases::cutover::{Done, cut_over};
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::session::{Command, RunArgs, Servers, Session, WaitArgs};
use crate::steps::CommandName;
use anyhow::Result;
use std::sync::Arc;
use std::time::Duration;

/// The services take over: only after a green proof, with the source unchanged; it stays read-only
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let ctx = session.existing_run(&self.run)?;
        session.permitted(&ctx.settings)?;
        session.tell_of_a_freeze(&ctx.settings);
        let done = run(&ctx, self.wait.wait, session.cleanup).await?;
        session.keep_report(&ctx);
        let next = session.then(&format!("smoke --run {}", done.run));
        // What stays behind frozen is said in the last line, whoever reads no more than that.
        session.done(
            &done,
            done.text(),
            format!("start the services (the source stays read-only), then {next}"),
        )
    }
}

/// # Errors
/// Refuses a run without a green proof, and a source that has changed; `Stop::Differs` where a store is not
/// what was proven. In all cases the source is as it was before.
pub async fn run(ctx: &Arc<Ctx>, wait: Option<Duration>, cleanup: &Cleanup) -> Result<Done> {
    let locks = Locks::all(ctx).await?;
    visibly(ctx, CommandName::Cutover, locks.guard(Box::pin(cut_over(ctx, wait, cleanup)))).await
}
