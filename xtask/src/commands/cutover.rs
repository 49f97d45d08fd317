//! The cut-over: the services take over, once, with every store as proven (`phases/cutover.rs`).

use crate::effects::cleanup::Cleanup;
pub use crate::phases::cutover::Way;
use crate::phases::cutover::{Done, cut_over};
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::session::{Command, Ending, OldDatabase, RunArgs, Servers, Session, WaitArgs, time};
use crate::steps::CommandName;
use anyhow::Result;
use std::sync::Arc;
use std::time::Duration;

/// Hand over to the new services, once everything is proven
///
/// Only after a green proof, with the source unchanged; the source stays read-only.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// After passes of `catch-up`: give the source back where it would be read-only for longer, such as 10s
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_freeze: Option<Duration>,
    /// After passes: no snapshots of the new databases are held open for the full proof, because the services change
    /// tables when they start; then it is not made
    #[arg(long)]
    no_hold: bool,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    fn old_database(&self) -> OldDatabase {
        OldDatabase::Needed
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let ctx = session.existing_run(&self.run)?;
        session.permitted(&ctx.settings)?;
        session.tell_of_a_freeze(&ctx.settings);
        let way = Way { wait: self.wait.wait, max_freeze: self.max_freeze, hold: !self.no_hold };
        let done = run(&ctx, way, session.cleanup).await?;
        session.keep_report_with(&ctx, &done.text());
        let next = session.then(&format!("smoke --run {}", done.run));
        let ending = Ending::of_text(done.verdict(), done.text()).details(session.details_file(&ctx));
        // What stays behind frozen is said in the last line, whoever reads no more than that.
        let next = format!("start the services (the source stays read-only), then {next}");
        session.done_with(&done, &ending.next(Some(next)))?;
        done.judge()
    }
}

/// # Errors
/// Refuses a run without a green proof, and a source that has changed; `Stop::Differs` where a store is not
/// what was proven. In all cases the source is as it was before.
pub async fn run(ctx: &Arc<Ctx>, way: Way, cleanup: &Cleanup) -> Result<Done> {
    let locks = Locks::all(ctx).await?;
    visibly(ctx, CommandName::Cutover, locks.guard(Box::pin(cut_over(ctx, way, cleanup)))).await
}
