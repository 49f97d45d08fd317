//! The way back after a cut-over (DESIGN rule 25): what the services wrote to the new stores comes into the old database,
//! proven, in one transaction; then the old database is the shop's again.
//!
//! Held out are the services first: new sessions of the targets are read-only and the others are ended, as with a source
//! that is frozen. What can be asked of nobody is asked of the stores themselves: documents that were written after
//! they were captured are left where they are, and listed.

mod delta;
mod documents;
mod finish;
mod order;
mod proof;
mod put;
mod received;
mod summary;
mod table;

pub use summary::{Back, DeltaCounts, Left, Scenario, TableBack};

use self::proof::Otherwise;
use self::put::{Attempt, End};
use self::received::Delta;
use crate::effects::cleanup::{Cleanup, Pending};
use crate::effects::postgres;
use crate::model::{Database, Stop};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Cutover, Export, Manifest};
use crate::run::privileges;
use crate::source::freeze::{Freezer, Held};
use crate::steps::StepName;
use crate::stores::marks::{self, Marks};
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;
use std::sync::Arc;

/// How often rows that the old database would tell otherwise are left out before it is given up.
const ATTEMPTS: usize = 4;

/// What becomes of what the services have written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Deltas {
    /// It goes into the old database
    #[default]
    Apply,
    /// It is kept in the run's directory, and goes nowhere
    Keep,
    /// It is lost
    Discard,
}

/// The run that goes back.
struct Going {
    manifest: Manifest,
    export: Arc<Export>,
    cutover: Cutover,
}

/// # Errors
/// Refuses a run that was never cut over, as far as the stores know.
fn going(ctx: &Ctx, marks: &Marks) -> Result<Going> {
    let mut manifest = ctx.run.load_manifest()?;
    marks.teach(&mut manifest);
    let run = ctx.run.id();
    let (Some(export), Some(cutover)) = (manifest.export.clone(), manifest.cutover.clone()) else {
        refuse!(
            "run {run} has not been cut over: the old database is the shop's still. `cargo xtask unfreeze` lets its \
             services write again"
        );
    };
    Ok(Going { export: Arc::new(export), cutover, manifest })
}

/// What would go back, tried in the old database and undone; nothing is held out, so it is of this moment.
pub async fn plan(ctx: &Arc<Ctx>, marks: &Marks, scenario: Scenario, what: Deltas) -> Result<Back> {
    let going = going(ctx, marks)?;
    permitted(ctx).await?;
    if let Some(back) = recorded(ctx, scenario).await? {
        return Ok(back);
    }
    marks.hold_this(ctx, &going.export)?;
    tried(ctx, &going, scenario, (what, End::Undo)).await
}

/// Takes the run back.
///
/// # Errors
/// Refuses where somebody has used the new stores and the scenario says that nobody has. What was held out is let in
/// again where nothing went back.
pub async fn run(
    ctx: &Arc<Ctx>,
    marks: &Marks,
    (scenario, what): (Scenario, Deltas),
    cleanup: &Cleanup,
) -> Result<Back> {
    let step = ctx.run.step(StepName::Rollback)?;
    let going = going(ctx, marks)?;
    permitted(ctx).await?;
    let back = match recorded(ctx, scenario).await? {
        Some(back) => back,
        None => {
            marks.hold_this(ctx, &going.export)?;
            ctx.terminal.phase("Rollback: services held out of the new stores");
            let held = hold(ctx, cleanup).await?;
            let went = tried(ctx, &going, scenario, (what, End::Commit)).await;
            after_it(ctx, scenario, went, (held, cleanup)).await?
        }
    };
    ctx.terminal.phase("Rollback: the old database is the shop's again");
    let back = finish::all(ctx, &going.export, back).await?;
    step.done(&format!("{} received, {} did not come back", back.received(), back.left_behind()))?;
    Ok(back)
}

/// Services are let in again only where the old database itself says that nothing has been committed: a session can be
/// lost between a commit and its answer.
async fn after_it(
    ctx: &Ctx,
    scenario: Scenario,
    went: Result<Back>,
    (held, cleanup): (Vec<Pending>, &Cleanup),
) -> Result<Back> {
    let lost = match went {
        Ok(back) => {
            held.into_iter().for_each(|pending| cleanup.keep(pending));
            return Ok(back);
        }
        Err(lost) => lost,
    };
    let committed = recorded(ctx, scenario).await;
    if let Ok(None) = committed {
        for pending in held {
            cleanup.undo(pending).await?;
        }
        return Err(lost);
    }
    held.into_iter().for_each(|pending| cleanup.keep(pending));
    match committed {
        Ok(Some(back)) => {
            ctx.terminal.warn(format!("it was committed all the same: {lost:#}"));
            Ok(back)
        }
        unknown => {
            let why = unknown.err().map(|why| format!(" ({why:#})")).unwrap_or_default();
            Err(lost.context(format!(
                "whether it was committed cannot be asked{why}: the services stay held out of the new stores, and \
                 the same command goes on"
            )))
        }
    }
}

/// # Errors
/// Refuses with every privilege that is missing on the old database.
async fn permitted(ctx: &Ctx) -> Result<()> {
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("rollback")).await?;
    let missing = privileges::of_rollback(ctx, &mut connection).await?.missing;
    connection.close().await?;
    if !missing.is_empty() {
        let source = &ctx.settings.source;
        let lines = missing.iter().map(ToString::to_string);
        refuse!(
            "{} may not write {source} as it has to:\n  {}\nAll that are needed: {}",
            source.user,
            lines.collect::<Vec<_>>().join("\n  "),
            privileges::script_for_rollback(ctx)
        );
    }
    Ok(())
}

/// Captures what the stores received, and puts it into the old database.
async fn tried(
    ctx: &Arc<Ctx>,
    going: &Going,
    scenario: Scenario,
    (what, end): (Deltas, End),
) -> Result<Back> {
    ctx.terminal.phase("Rollback: what the stores have received");
    let captured = marks::instants(ctx).await?;
    let mut deltas = Vec::new();
    for table in ctx.tables {
        deltas.push(delta::of(ctx, &going.export, &going.cutover, table).await?);
    }
    let used: Vec<&Delta> = deltas.iter().filter(|delta| !delta.counts.is_empty()).collect();
    if scenario == Scenario::BeforeStart && !used.is_empty() {
        refuse!(
            "the new stores have been used: {}. `rollback after-start` takes it back with them",
            used.iter().map(|delta| delta.summary()).collect::<Vec<_>>().join("; ")
        );
    }
    ctx.terminal.phase("Rollback: into the old database");
    if what != Deltas::Discard && end == End::Commit {
        deltas.iter().try_for_each(|delta| delta.save(ctx))?;
    }
    if what != Deltas::Apply {
        deltas = deltas.into_iter().map(Delta::without_rows).collect();
    }
    let mut otherwise = Otherwise::new();
    for _ in 0..ATTEMPTS {
        let put = put::put(ctx, &going.manifest, &going.export, &deltas, (scenario, &captured, end));
        match put.await? {
            Attempt::Done(back) => return Ok(back),
            Attempt::Otherwise(found) => otherwise = found,
        }
        // What is listed does not keep the rest from coming back.
        let without = |delta: Delta| match otherwise.get(delta.table.name) {
            Some(keys) => delta.without(keys),
            None => Ok(delta),
        };
        deltas = deltas.into_iter().map(without).collect::<Result<_>>()?;
    }
    let tables: Vec<&str> = otherwise.into_keys().collect();
    let what = format!(
        "the old database does not tell the same as the stores: {}; nothing has been changed there",
        tables.join(", ")
    );
    Err(Stop::Differs(what).into())
}

/// Nobody else writes to the targets any more.
async fn hold(ctx: &Ctx, cleanup: &Cleanup) -> Result<Vec<Pending>> {
    let mut held = Vec::new();
    for database in Database::ALL {
        match Freezer::of_target(ctx, database).freeze(Some(ctx.run.id()), cleanup).await {
            Ok(Held::Now(pending, _)) => held.push(pending),
            Ok(Held::Before(_)) => {}
            Err(error) => {
                for pending in held {
                    cleanup.undo(pending).await?;
                }
                return Err(error);
            }
        }
    }
    Ok(held)
}

/// What the old database says of it, where it has been done.
async fn recorded(ctx: &Ctx, scenario: Scenario) -> Result<Option<Back>> {
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("rollback")).await?;
    if !connection.row(&sql::exists("xtask", "rollbacks")).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let query = sql::bind(sql_file!("phases/rollback/recorded.sql"), &[("run", ctx.run.id())]);
    let mut found = None;
    for row in connection.rows(&query).await? {
        let (scope, at): (String, String) = (row.try_get("scope")?, row.try_get("at")?);
        if scope != scenario.name() {
            refuse!("run {} was taken back at {at}, {scope}", ctx.run.id());
        }
        let summary: String = row.try_get("summary")?;
        found =
            Some(serde_json::from_str(&summary).context("reading what the old database remembers of it")?);
    }
    connection.close().await?;
    Ok(found)
}
