//! The rehearsal: the real migration, pointed at disposable servers.

use super::migrate;
use crate::checks::smoke::Side;
use crate::commands::cutover;
use crate::commands::rehearse_live;
use crate::commands::rehearse_operations::Operations;
use crate::commands::rehearse_rollback::{Services, forward_again, role_of_its_own, there_and_back};
use crate::commands::rehearse_services::smoked;
use crate::commands::stack::{StackArgs, wanted};
use crate::effects::cleanup::Cleanup;
use crate::lab::{live, shop_services};
use crate::operations::report::{self, RunStory};
use crate::phases::rollback::Scenario;
use crate::run::command::Times;
use crate::run::ctx::{Ctx, Options};
use crate::run::dir::RunDir;
use crate::run::rehearsal_log::{self, Rehearsal};
use crate::run::report::Report;
use crate::servers::local::{self, Wanted};
use crate::servers::runtime::{self, Kept, Runtime, Servers, Taken};
use crate::session::{Command, Session};
use crate::settings::Environment;
use crate::source::Handling;
use crate::sql;
use crate::tables::TABLES;
use crate::timing::Part;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The whole migration on disposable servers, with made-up data
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub stack: StackArgs,
    /// Leave servers and run directory, and say how to connect
    #[arg(long)]
    pub keep: bool,
    /// Time `pg_dump -Fc` and `pg_restore -j4` of the same database as well
    #[arg(long)]
    pub baseline: bool,
    /// Besides, cut over and go back to the old database: with nothing written meanwhile, or with services that write in
    /// all four stores; or one service alone
    #[arg(long, value_name = "before-start|after-start|service:NAME")]
    pub rollback: Option<Scenario>,
    /// While clients write to the old database: migrate, three catch-up passes, cut over, and compare every store with
    /// the old database
    #[arg(long, conflicts_with_all = ["rollback", "baseline", "full", "services"])]
    pub live: bool,
    /// The whole story: migrate, cut over, services that write, back, migrate again, cut over, verify
    #[arg(long, conflicts_with_all = ["rollback", "baseline"])]
    pub full: bool,
    /// Besides, cut over, start the shop's services on the new stores and smoke them; with --full also those of the
    /// old database, before and after, and the new stores are hardened, backed up and drilled. They are built by
    /// `cargo build --workspace`
    #[arg(long)]
    pub services: bool,
}

impl Command for Args {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let wanted = wanted(session, &self.stack);
        if self.services {
            shop_services::program()?;
        }
        let asked = session.common.runtime.unwrap_or(Runtime::Native);
        let runtime = runtime::choose(asked, &session.workspace, false, &session.terminal).await?;
        if let runtime::Taken::Native = runtime {
            // Before the first look for PostgreSQL's programs: they may have to be installed.
            local::require(&wanted, &session.terminal)?;
        }
        let runs = session.common.backup_dir.clone();
        let back = match self.full {
            true => Some(Scenario::AfterStart),
            false => self.rollback,
        };
        let Args { keep, baseline, full, services, live, .. } = self;
        let superuser = matches!(runtime, Taken::Native).then_some("postgres");
        let plan = RehearsalPlan {
            runtime,
            keep,
            runs,
            story: Story { baseline, back, full, services, live, superuser },
        };
        let environment = session.environment()?;
        let running = run(wanted, plan, &environment, session.options()?, session.cleanup);
        let rehearsed = Box::pin(running).await?;
        let report = &rehearsed.report;
        let (details, green) = (session.details(&report.run), report.proven == Some(true));
        let Some(kept) = &rehearsed.kept else {
            let (details, next) = match (session.common.backup_dir.is_some(), green) {
                (true, _) => (details, "cargo xtask stack up, then cargo xtask migrate --env local"),
                (false, true) => (GONE.into(), "cargo xtask stack up, then cargo xtask migrate --env local"),
                (false, false) => (GONE.into(), "cargo xtask rehearse --keep"),
            };
            session.report_with(report, details, next)?;
            return report.judge();
        };
        session.terminal.always(&format!("the servers are still running:\n{}", kept.how_to_connect));
        let home = kept.home.as_ref().map(|home| format!(" --stack {}", home.display())).unwrap_or_default();
        let verb = if green { "verify" } else { "repair" };
        let next = session.then(&format!("{verb} --run {}{home}", report.run));
        session.report_with(report, details, &format!("{next}; at the end: cargo xtask stack down{home}"))?;
        report.judge()
    }
}

/// Where the details of a run are that has been removed.
const GONE: &str = "-v, or --keep: the run was removed with its servers";

/// What happens to what the rehearsal makes.
pub struct RehearsalPlan {
    pub runtime: Taken,
    /// Leave servers and run directory.
    pub keep: bool,
    /// Where the run directory goes if it is to stay; `None`: away with the servers.
    pub runs: Option<PathBuf>,
    pub story: Story,
}

/// What is done besides the migration.
#[derive(Clone, Copy)]
pub struct Story {
    /// Time `pg_dump -Fc` and `pg_restore -j4` of the same database as well.
    pub baseline: bool,
    /// Whether it is cut over, and taken back.
    pub back: Option<Scenario>,
    /// And forward again.
    pub full: bool,
    /// Whether the shop's services are started and smoked.
    pub services: bool,
    /// Whether clients write to the old database all the while.
    pub live: bool,
    /// Who may change rights on the rehearsal's servers, where the tool's own role may not.
    pub superuser: Option<&'static str>,
}

/// What a rehearsal came to.
pub struct Rehearsed {
    pub report: Report,
    /// For `--keep`: how a person connects.
    pub kept: Option<Kept>,
}

pub async fn run(
    wanted: Wanted<'_>,
    plan: RehearsalPlan,
    environment: &Environment,
    options: Options,
    cleanup: &Cleanup,
) -> Result<Rehearsed> {
    let (terminal, scale) = (options.terminal.clone(), wanted.scale);
    let mut times = Times::default();
    let runs = plan.runs.clone().unwrap_or_else(|| wanted.workspace.join("database-backups"));
    let starting = Servers::start(plan.runtime, wanted, environment, &terminal, cleanup);
    let (servers, mut settings) = times.of(Part::Servers, Box::pin(starting)).await?;
    settings.services = settings.services.left_alone();
    if let Some(service) = plan.story.back.and_then(Scenario::alone) {
        role_of_its_own(&mut settings, service).await?;
    }
    if plan.story.live {
        live::role_of_the_shop(&settings).await?;
        settings.policy.freeze_roles.push(live::SHOP.to_string());
    }
    let stays = plan.keep || plan.runs.is_some();
    let parent = if stays { runs } else { servers.home().join("runs") };
    let ctx = Arc::new(Ctx::new(settings, TABLES, RunDir::create(&parent)?, options.clone()));
    let home = servers.home().to_path_buf();
    let result = Box::pin(played(&ctx, plan.story, &home, scale, options, times, cleanup)).await;
    // Also after a failure: --keep is there to look at it.
    if result.is_err() {
        servers.post_mortem(&ctx.settings).await.iter().for_each(|line| terminal.always(line));
    }
    let kept = servers.end(&ctx.settings, plan.keep).await?;
    if let (Err(_), Some(kept)) = (&result, &kept) {
        terminal.always(&format!("the servers are still running:\n{}", kept.how_to_connect));
    }
    let mut report = result?;
    if stays && report.run == ctx.run.id() {
        let story = RunStory::of(&ctx.run, ctx.values)?.telling(&report);
        report::keep(&story, &ctx.run, "")?;
    }
    if !stays {
        report.directory = "removed with the servers (--keep leaves both)".into();
    }
    Ok(Rehearsed { report, kept })
}

/// The migration, and what has to come before and after it.
async fn played(
    ctx: &Arc<Ctx>,
    story: Story,
    home: &Path,
    scale: u32,
    options: Options,
    times: Times,
    cleanup: &Cleanup,
) -> Result<Report> {
    let services = story.services.then_some(home);
    if let (Some(home), true) = (services, story.full) {
        // The run has not begun: nothing is noted in it.
        let before = RunDir::dry_run_dir(ctx.run.runs());
        let before = Arc::new(Ctx::new(ctx.settings.clone(), ctx.tables, before, options.clone()));
        smoked(&before, Side::Old, home).await?;
    }
    if story.live {
        return rehearse_live::played(ctx, cleanup).await;
    }
    let result = measured(ctx, story.baseline, times).await;
    note(ctx, scale, &result);
    let report = result?;
    if report.proven != Some(true) {
        return Ok(report);
    }
    let mut ctx = ctx.clone();
    match (story.back, services) {
        (Some(scenario), services) => {
            let operations =
                story.full.then_some(Operations { superuser: story.superuser, options: &options });
            let services = services.map(|home| Services { home, operations });
            ctx = there_and_back(&ctx, scenario, services, cleanup).await?;
        }
        (None, Some(home)) => {
            cutover::run(&ctx, cutover::Way::default(), cleanup).await?;
            smoked(&ctx, Side::New, home).await?;
        }
        (None, None) => {}
    }
    if story.full { forward_again(&ctx, options, cleanup).await } else { Ok(report) }
}

/// Notes how it ended, for migrations that want a green rehearsal.
fn note(ctx: &Ctx, scale: u32, result: &Result<Report>) {
    let green = result.as_ref().is_ok_and(|report| report.proven == Some(true));
    // A rehearsal that did not come so far has no manifest, and says nothing about time.
    let time = ctx.run.load_manifest().ok().and_then(|manifest| manifest.time);
    let rehearsal = Rehearsal { at: jiff::Timestamp::now(), tool: ctx.tool_version(), scale, green, time };
    if let Err(error) = rehearsal_log::file().and_then(|file| rehearsal_log::note(&file, &rehearsal)) {
        // No reason to call the rehearsal itself a failure.
        ctx.terminal.warn(format!("no migration will know of this rehearsal: {error:#}"));
    }
}

async fn measured(ctx: &Arc<Ctx>, baseline: bool, times: Times) -> Result<Report> {
    let started = Instant::now();
    let mut report = migrate::run(ctx, &Handling::default()).await?;
    report.seconds.insert(Part::Pipeline, started.elapsed().as_secs_f64());
    report.seconds.extend(times.by_part());
    if baseline {
        ctx.terminal.phase("Baseline: pg_dump -Fc and pg_restore -j4 of the same database");
        let seconds = self::baseline(ctx).await?;
        report.seconds.insert(Part::Baseline, seconds);
    }
    Ok(report)
}

/// Seconds of a dump and a parallel restore into a scratch database of the source's server.
async fn baseline(ctx: &Ctx) -> Result<f64> {
    let archive = ctx.run.reserve("baseline.dump")?;
    let source = &ctx.settings.source;
    let mut scratch = source.clone();
    scratch.database = "baseline".into();
    let mut connection = crate::effects::postgres::connect(source, "baseline").await?;
    connection.run(&sql::create_database(&scratch.database, &source.user)).await?;
    let started = Instant::now();
    ctx.tools.plain_dump(source, &archive).await?;
    ctx.tools.restore(&scratch, "baseline", &archive, 4).await?;
    let seconds = started.elapsed().as_secs_f64();
    connection.run(&sql::drop_database(&scratch.database)).await?;
    connection.close().await?;
    std::fs::remove_file(&archive).with_context(|| format!("removing {}", archive.display()))?;
    Ok(seconds)
}
