//! Catch-up: passes that bring over what the shop has written since, until the cut-over.

use crate::identity::ServerName;
use crate::model::grouped;
use crate::phases::catch_up::{self, Extent, HeldRows, Passed};
use crate::refuse;
use crate::run::caught_up::to_expect;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::manifest::{Manifest, TurnedRows};
use crate::run::servers;
use crate::session::{Command, Ending, OldDatabase, RunArgs, Servers, Session, time};
use crate::shown::utc;
use crate::source::backpressure;
use crate::steps::CommandName;
use crate::stores::marks::Marks;
use anyhow::{Context, Result};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Bring over what the shop has written since, while it goes on
///
/// After a proven migration. Each pass reads what has changed in the old database and what depends on that, brings it
/// into the stores, and proves it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    until: Until,
}

/// How many passes, and how thorough.
#[derive(Debug, Default, clap::Args)]
struct Until {
    /// Pass after pass, until one takes less than this, such as 5s
    #[arg(long, value_name = "TIME", value_parser = time)]
    until_less_than: Option<Duration>,
    /// Pass after pass, until interrupted
    #[arg(long, conflicts_with = "until_less_than")]
    follow: bool,
    /// Besides, compare every row of the old database with what the stores hold
    #[arg(long)]
    audit: bool,
}

/// All passes of a call.
#[derive(Debug, Default, Serialize)]
struct Passes {
    run: String,
    passes: Vec<Passed>,
}

/// Between two passes that find nothing to do.
const PAUSE: Duration = Duration::from_secs(1);

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
        let passes = session.unblocked(run(&ctx, &self.until).await)?;
        session.keep_report_with(&ctx, &text(&passes));
        let next = session.then(&format!("cutover --run {}", ctx.run.id()));
        let ending = Ending::of_text(verdict(&passes), text(&passes)).details(session.details_file(&ctx));
        session.done_with(&passes, &ending.next(Some(next)))
    }
}

/// One pass, as a part of another command.
pub async fn once(ctx: &Arc<Ctx>) -> Result<Passed> {
    run(ctx, &Until::default()).await?.passes.pop().context("no pass was made")
}

async fn run(ctx: &Arc<Ctx>, until: &Until) -> Result<Passes> {
    let locks = Locks::all(ctx).await?;
    let work = async {
        let mut manifest = ctx.run.load_manifest()?;
        may_catch_up(ctx, &mut manifest).await?;
        let mut passes = Passes { run: ctx.run.id().to_string(), passes: Vec::new() };
        passes.passes.extend(catch_up::complete(ctx, &mut manifest).await?);
        let export = catch_up::ready(ctx, &manifest)?;
        let mut held = HeldRows::read(ctx, &export).await?;
        let extent = if until.audit { Extent::Audit } else { Extent::Changes };
        loop {
            ctx.terminal.phase("Catch-up: what has changed in the source");
            let pass = catch_up::pass(ctx, &mut manifest, &mut held, extent);
            let passed = backpressure::under_backpressure(ctx, pass).await?;
            ctx.terminal.line(format!("  {}", line(&passed)));
            let (seconds, changed) = (passed.seconds, passed.rows() > 0);
            passes.passes.push(passed);
            let enough = |limit: Duration| seconds < limit.as_secs_f64();
            if !until.follow && until.until_less_than.is_none_or(enough) {
                return Ok(passes);
            }
            if !changed {
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    visibly(ctx, CommandName::CatchUp, locks.guard(Box::pin(work))).await
}

async fn may_catch_up(ctx: &Arc<Ctx>, manifest: &mut Manifest) -> Result<()> {
    servers::belongs(ctx, manifest, &ServerName::ALL, &[]).await?;
    let export = catch_up::ready(ctx, manifest)?;
    let marks = Marks::read(ctx).await?;
    marks.teach(manifest);
    if let Some(cutover) = &manifest.cutover {
        refuse!(
            "run {}: the services took over at {}: what stands in the stores is theirs, and nothing is brought there \
             any more",
            ctx.run.id(),
            utc(&cutover.at)
        );
    }
    match export.unfinished_pass() {
        Some(_) => marks.hold(ctx),
        None => marks.hold_this(ctx, &export),
    }
}

fn verdict(passes: &Passes) -> String {
    let rows: u64 = passes.passes.iter().map(Passed::rows).sum();
    let Some(last) = passes.passes.last() else { return String::new() };
    let audited = if last.audited { ", every row compared" } else { "" };
    match rows {
        0 => format!("✓ NOTHING HAS CHANGED as of {}{audited}", utc(&last.as_of)),
        rows => format!("✓ CAUGHT UP {} rows, proven, as of {}{audited}", grouped(rows), utc(&last.as_of)),
    }
}

fn line(passed: &Passed) -> String {
    let name = passed.number.map_or("nothing to do".to_string(), |number| format!("pass {number}"));
    let completed = if passed.completed { ", which had been cut off" } else { "" };
    let rows = grouped(passed.rows());
    format!("{name}{completed}: {rows} rows as of {} in {:.1} s", utc(&passed.as_of), passed.seconds)
}

fn text(passes: &Passes) -> String {
    let mut out = String::new();
    for passed in &passes.passes {
        out += &format!("  {}\n", line(passed));
        for (table, rows) in &passed.tables {
            let TurnedRows { inserted, updated, deleted, elsewhere } = rows;
            out += &format!("    {table:<17} {inserted} new, {updated} changed, {deleted} gone");
            out += &match elsewhere {
                0 => "\n".to_string(),
                rows => format!(", {rows} that stay behind\n"),
            };
        }
    }
    if let Some(freeze) = passes.passes.last().and_then(|last| last.freeze) {
        out += &to_expect(freeze);
    }
    out
}
