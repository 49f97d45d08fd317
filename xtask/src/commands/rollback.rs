//! The way back to the old database after a cut-over (`phases/rollback`).

use crate::commands::rollback_besides::{BesideArgs, Besides, services_text};
use crate::effects::cleanup::Cleanup;
use crate::identity::ServerName;
use crate::model::{Service, Stop, grouped};
use crate::operations::decommission;
use crate::phases::rollback::{
    self, Back, Compared, DeltaCounts, Deltas, Left, REKEYED, Scenario, ShopBack, ShopOfRun, TableBack,
    Triggers, Wanted,
};
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::servers;
use crate::session::{Command, Ending, OldDatabase, RunArgs, Servers, Session, WaitArgs};
use crate::steps::CommandName;
use crate::stores::marks::Marks;
use anyhow::Result;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Go back to the old database, with what services have written
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What has happened since the cut-over, or that one service goes back alone
    scenario: ScenarioName,
    /// The service that goes back alone
    #[arg(required_if_eq("scenario", "service"))]
    service: Option<Service>,
    #[command(flatten)]
    run: RunArgs,
    /// Only say what would come back: everything is tried in the old database, and undone
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// What becomes of what the services have written
    #[arg(long, value_enum, default_value_t)]
    deltas: Deltas,
    /// Compares every row and document by value before it is committed, those that no service has written, too
    #[arg(long)]
    full: bool,
    /// Lets the triggers of the old tables fire, and lists the columns that they have changed
    #[arg(long)]
    fire_triggers: bool,
    /// Gives new rows of this table other ids where theirs are taken in the old database; else such rows are conflicts
    #[arg(long, value_name = "TABLE", value_parser = REKEYED)]
    rekey: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    besides: BesideArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ScenarioName {
    /// The new services have not been started: nobody has used the new stores
    BeforeStart,
    /// They have been started: what they wrote comes back with them
    AfterStart,
    /// One service goes back alone, with what it wrote; the others stay with the new stores
    Service,
}

impl Args {
    fn wanted(&self) -> Result<Wanted> {
        let scenario = match (self.scenario, self.service) {
            (ScenarioName::BeforeStart, None) => Scenario::BeforeStart,
            (ScenarioName::AfterStart, None) => Scenario::AfterStart,
            (ScenarioName::Service, Some(service)) => Scenario::Service(service),
            _ => refuse!("a service is named only by `rollback service <user|product|order|gateway>`"),
        };
        let compared = if self.full { Compared::All } else { Compared::Written };
        let triggers = if self.fire_triggers { Triggers::Fire } else { Triggers::Quiet };
        Ok(Wanted { scenario, deltas: self.deltas, compared, triggers, rekey: self.rekey.clone() })
    }
}

/// What a command did, or would do.
#[derive(Debug, Serialize)]
pub struct Done {
    #[serde(flatten)]
    pub back: Back,
    pub services: ShopBack,
    #[serde(flatten)]
    pub besides: Besides,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        // A call that was cut off may have removed some of them.
        if self.besides.remove_volumes { Servers::None } else { Servers::Running }
    }

    fn old_database(&self) -> OldDatabase {
        if self.besides.remove_volumes { OldDatabase::NotNeeded } else { OldDatabase::Needed }
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let wanted = self.wanted()?;
        let name = wanted.scenario;
        let asked = Asked { wanted, wait: self.wait.wait, besides: !self.besides.are_none() };
        if let Some(text) = self.besides.completed(session, &self.run).await? {
            return session.done(&serde_json::json!({ "completed": true }), text, None);
        }
        let ctx = session.existing_run(&self.run)?;
        decommission::in_service(&ctx.run)?;
        let again =
            || session.then(&format!("rollback {name} --run {}{}", ctx.run.id(), self.besides.flags()));
        let besides = self.besides.plan(session, &ctx, name).await?;
        if self.dry_run {
            let plan = Done { besides, ..plan(&ctx, &asked).await? };
            let ending = Ending::of_text(format!("Would go back ({name})"), plan.lines());
            return session.done_with(&plan, &ending.next(Some(again())));
        }
        session.permitted(&ctx.settings)?;
        // Its plan first: what it shows has been tried.
        if !session.common.json {
            let plan = Done { besides: besides.clone(), ..plan(&ctx, &asked).await? };
            ctx.terminal.detail(plan.text("Plan, tried in the old database and undone"));
        }
        let work = async {
            let done = run(&ctx, &asked, session.cleanup).await?;
            besides.carry_out(&ctx).await?;
            Ok(Done { besides, ..done })
        };
        let done = session.or_say(&ctx, again(), work).await?;
        session.keep_report_with(&ctx, &done.lines());
        let without = match self.deltas {
            Deltas::Apply => "",
            Deltas::Keep => ", without what the services wrote: it is in rollback/delta",
            Deltas::Discard => ", without what the services wrote",
        };
        let title = match name.alone() {
            Some(service) => format!("{service} of run {} is taken back{without}", ctx.run.id()),
            None => format!("run {} is taken back ({name}{without})", ctx.run.id()),
        };
        let title = match done.back.left_behind() {
            0 => format!("✓ {title}"),
            n => format!("✗ {title}, but {n} rows or documents did not come back"),
        };
        let smoke = session.then("smoke --old");
        let next = match (name.alone(), done.services.started.is_empty()) {
            (Some(_), _) => None,
            (None, false) => Some(smoke),
            (None, true) => Some(format!("start the services on the old database, then {smoke}")),
        };
        let ending = Ending::of_text(title, done.lines()).details(session.details_file(&ctx));
        session.done_with(&done, &ending.next(next))?;
        judge(&done.back)
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub wanted: Wanted,
    /// How long the services may take to stop, or to start.
    pub wait: Option<Duration>,
    /// Whether something else is to be done that is left where the run has been taken back before.
    pub besides: bool,
}

/// What would go back, and what would become of the services.
pub async fn plan(ctx: &Arc<Ctx>, asked: &Asked) -> Result<Done> {
    let (manifest, wanted) = (ctx.run.load_manifest()?, &asked.wanted);
    let shop = ShopOfRun::of(ctx, wanted.scenario, &manifest, asked.wait);
    let services = shop.plan().await?;
    let back = match done_before(ctx, &shop, asked).await? {
        Some(back) => back,
        None => {
            let locks = Locks::all(ctx).await?;
            let work = async { rollback::plan(ctx, &belongs(ctx).await?, wanted.clone()).await };
            visibly(ctx, CommandName::LookForRollback, locks.guard(Box::pin(work))).await?
        }
    };
    Ok(Done { back, services, besides: Besides::default() })
}

/// Takes the run back, with the services stopped before it and started after it.
pub async fn run(ctx: &Arc<Ctx>, asked: &Asked, cleanup: &Cleanup) -> Result<Done> {
    let manifest = ctx.run.load_manifest()?;
    let shop = ShopOfRun::of(ctx, asked.wanted.scenario, &manifest, asked.wait);
    let work = async {
        let (back, stopped) = match done_before(ctx, &shop, asked).await? {
            Some(back) if !shop.is_left_to_do()? => {
                return Ok(Done { back, services: shop.nothing(), besides: Besides::default() });
            }
            Some(back) => (back, Vec::new()),
            None => back(ctx, &shop, asked.wanted.clone(), cleanup).await?,
        };
        // The new databases may be containers of the shop's: no lock is held there any more.
        let services = shop.finish(stopped).await?;
        Ok(Done { back, services, besides: Besides::default() })
    };
    visibly(ctx, CommandName::Rollback, Box::pin(work)).await
}

/// What went back by an earlier call, where this one has only to do what is left.
async fn done_before(ctx: &Arc<Ctx>, shop: &ShopOfRun<'_>, asked: &Asked) -> Result<Option<Back>> {
    let is_done = shop.is_left_to_do()? || (asked.besides && shop.is_taken_back());
    if !is_done {
        return Ok(None);
    }
    let manifest = ctx.run.load_manifest()?;
    servers::belongs(ctx, &manifest, &[ServerName::Source], &[]).await?;
    rollback::done_before(ctx, asked.wanted.scenario).await.map(Some)
}

async fn back(
    ctx: &Arc<Ctx>,
    shop: &ShopOfRun<'_>,
    wanted: Wanted,
    cleanup: &Cleanup,
) -> Result<(Back, Vec<Service>)> {
    let locks = Locks::all(ctx).await?;
    let work = async {
        let marks = belongs(ctx).await?;
        let (stopped, pending) = shop.stop(cleanup).await?;
        let back = rollback::run(ctx, &marks, wanted, cleanup).await;
        match (pending, &back) {
            (Some(pending), Ok(_)) => cleanup.keep(pending),
            // Where the stores are still held back, they stay stopped.
            (Some(pending), Err(_)) => cleanup.undo(pending).await?,
            (None, _) => {}
        }
        Ok((back?, stopped))
    };
    locks.guard(Box::pin(work)).await
}

/// The run's servers, and nobody else's stores: what these say of themselves.
async fn belongs(ctx: &Arc<Ctx>) -> Result<Marks> {
    let manifest = ctx.run.load_manifest()?;
    servers::belongs(ctx, &manifest, &ServerName::ALL, &[]).await?;
    let marks = Marks::read(ctx).await?;
    match manifest.rolled_back.is_empty() {
        true => marks.hold_or_held(ctx)?,
        false => marks.hold(ctx)?,
    }
    Ok(marks)
}

impl Done {
    pub fn text(&self, title: &str) -> String {
        format!("{title}\n{}", self.lines())
    }

    /// Without a title.
    fn lines(&self) -> String {
        lines_of(&self.back) + &services_text(&self.services) + &self.besides.text()
    }
}

/// What went back, a line per table that received something, then what did not.
pub fn text(back: &Back, title: &str) -> String {
    format!("{title}\n{}", lines_of(back))
}

fn lines_of(back: &Back) -> String {
    let mut out = String::new();
    for (name, table) in back.tables.iter().filter(|(_, table)| !table.counts.is_empty()) {
        let DeltaCounts { added, changed, deleted, without_a_place } = &table.counts;
        let number = |n: &u64| grouped(*n);
        out += &format!(
            "  {name:<17} {:>9} new {:>9} changed {:>9} gone\n",
            number(added),
            number(changed),
            number(deleted)
        );
        for (column, rows) in without_a_place {
            out += &format!("    {column} has no place there: {} kept in rollback/delta\n", grouped(*rows));
        }
        out += &lines(table);
    }
    if back.received() == 0 {
        out += "  the new stores have received nothing: there is nothing to move\n";
    }
    for (collection, documents) in &back.written_later {
        out +=
            &format!("  ✗ {collection}: {documents} documents were written afterwards, and are left there\n");
    }
    if !back.triggers.is_empty() {
        out += &format!("  triggers that do not fire meanwhile: {}\n", back.triggers.join(", "));
    }
    out
}

/// Some of each kind are enough here: the run's files have them all.
const SHOWN: usize = 5;

fn lines(table: &TableBack) -> String {
    let kinds: [(&str, &[Left]); 4] = [
        ("✗ conflicts, both sides have changed", &table.conflicts),
        ("✗ the old table does not take", &table.quarantined),
        ("– gone, but needed by", &table.kept),
        ("– back, but", &table.noted),
    ];
    let mut out = String::new();
    if table.marked > 0 {
        out += &format!("    {} users whose documents are gone get deleted_at\n", grouped(table.marked));
    }
    for (kind, left) in kinds.into_iter().filter(|(_, left)| !left.is_empty()) {
        let some = left.iter().take(SHOWN).map(|left| match left.why.as_str() {
            "" => left.key.clone(),
            why => format!("{} ({why})", left.key),
        });
        let more = left.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        out += &format!("    {kind}: {}{more}\n", some.collect::<Vec<_>>().join(", "));
    }
    out
}

/// The error that gives exit code 3, where something did not come back.
fn judge(back: &Back) -> Result<()> {
    match back.left_behind() {
        0 => Ok(()),
        n => {
            let what = format!("{n} rows or documents did not come back: rollback/conflicts has them");
            Err(Stop::Differs(what).into())
        }
    }
}
