//! The way back after a cut-over (DESIGN rule 25): what the services wrote to the new stores comes into the old database,
//! proven, in one transaction; then the old database is the shop's again.
//!
//! Held out are the services first: new sessions of the targets are read-only and the others are ended, as with a source
//! that is frozen. What can be asked of nobody is asked of the stores themselves: documents that were written after
//! they were captured are left where they are, and listed.

mod delta;
mod documents;
mod finish;
mod going;
mod order;
mod proof;
mod put;
mod received;
mod rest;
mod service;
mod shop;
mod summary;
mod table;

pub use shop::{Configuration, ShopBack, ShopOfRun};
pub use summary::{
    Back, BackPart, Compared, DeltaCounts, Deltas, Left, REKEYED, Scenario, Seconds, TableBack, Triggers,
    Wanted,
};

use self::going::{Going, going};
use self::proof::Otherwise;
use self::put::{Attempt, End};
use self::received::Delta;
use crate::effects::cleanup::{Cleanup, Pending};
use crate::effects::postgres;
use crate::model::{Database, Service, Stop};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::privileges;
use crate::shown::utc;
use crate::source::freeze::{Freezer, Held};
use crate::steps::StepName;
use crate::stores::marks::{self, Marks};
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;
use std::sync::Arc;

/// How often rows that the old database would tell otherwise are left out before it is given up.
const ATTEMPTS: usize = 4;

/// What would go back, tried in the old database and undone; nothing is held out, so it is of this moment.
pub async fn plan(ctx: &Arc<Ctx>, marks: &Marks, wanted: Wanted) -> Result<Back> {
    let Recorded { back, before } = recorded(ctx, wanted.scenario).await?;
    let going = going(ctx, marks, wanted, before)?;
    permitted(ctx, &going).await?;
    if let Some(back) = back {
        return Ok(back);
    }
    marks.hold_this(ctx, &going.export)?;
    tried(ctx, &going, End::Undo).await
}

/// What went back by an earlier call.
pub async fn done_before(ctx: &Ctx, scenario: Scenario) -> Result<Back> {
    let back = recorded(ctx, scenario).await?.back;
    back.with_context(|| format!("the old database does not know that run {} was taken back", ctx.run.id()))
}

/// Takes the run back.
///
/// # Errors
/// Refuses where somebody has used the new stores and the scenario says that nobody has. What was held out is let in
/// again where nothing went back.
pub async fn run(ctx: &Arc<Ctx>, marks: &Marks, wanted: Wanted, cleanup: &Cleanup) -> Result<Back> {
    let step = ctx.run.step(StepName::Rollback)?;
    let scenario = wanted.scenario;
    ctx.run.note(&StepName::Rollback, &scenario.to_string())?;
    let Recorded { back, before } = recorded(ctx, scenario).await?;
    let going = going(ctx, marks, wanted, before)?;
    permitted(ctx, &going).await?;
    let back = match back {
        Some(back) => back,
        None => {
            marks.hold_this(ctx, &going.export)?;
            ctx.terminal.phase("Rollback: services held out of the new stores");
            let held = hold(ctx, &going, cleanup).await?;
            let stay = || held.iter().for_each(|(pending, _)| cleanup.keep(*pending));
            let went = tried(ctx, &going, End::Commit(&stay)).await;
            after_it(ctx, scenario, went, (held, cleanup)).await?
        }
    };
    ctx.terminal.phase(match scenario.alone() {
        Some(_) => "Rollback: the old service's again",
        None => "Rollback: the old database is the shop's again",
    });
    let back = finish::all(ctx, &going, back).await?;
    step.done(&format!("{} received, {} did not come back", back.received(), back.left_behind()))?;
    Ok(back)
}

/// Services are let in again only where the old database itself says that nothing has been committed: a session can be
/// lost between a commit and its answer.
async fn after_it(
    ctx: &Ctx,
    scenario: Scenario,
    went: Result<Back>,
    (held, cleanup): (Vec<(Pending, Database)>, &Cleanup),
) -> Result<Back> {
    let lost = match went {
        Ok(back) => return Ok(back),
        Err(lost) => lost,
    };
    let committed = recorded(ctx, scenario).await.map(|recorded| recorded.back);
    if let Ok(None) = committed {
        for (pending, database) in held {
            cleanup.undo(pending).await?;
            // Where the commit was sent, and came to nothing.
            Freezer::of_target(ctx, database).undo_open().await?;
        }
        return Err(lost);
    }
    held.into_iter().for_each(|(pending, _)| cleanup.keep(pending));
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
async fn permitted(ctx: &Ctx, going: &Going) -> Result<()> {
    if let Some(service) = going.wanted.scenario.alone() {
        service::may_be_let_in(ctx, service, &going.before).await?;
    }
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
async fn tried(ctx: &Arc<Ctx>, going: &Going, end: End<'_>) -> Result<Back> {
    let Wanted { scenario, deltas: what, .. } = going.wanted;
    ctx.terminal.phase("Rollback: what the stores have received");
    let mut captured = marks::instants(ctx).await?;
    captured.retain(|name, _| going.tables(ctx).any(|table| table.name == name));
    let mut seconds = Seconds::default();
    let mut deltas = delta::all(ctx, going, &mut seconds).await?;
    let used: Vec<&Delta> = deltas.iter().filter(|delta| !delta.counts.is_empty()).collect();
    if scenario == Scenario::BeforeStart && !used.is_empty() {
        refuse!(
            "the new stores have been used: {}. `rollback after-start` takes it back with them",
            used.iter().map(|delta| delta.summary()).collect::<Vec<_>>().join("; ")
        );
    }
    ctx.terminal.phase("Rollback: into the old database");
    if what != Deltas::Discard && matches!(end, End::Commit(_)) {
        deltas.iter().try_for_each(|delta| delta.save(ctx))?;
    }
    if what != Deltas::Apply {
        deltas = deltas.into_iter().map(Delta::without_rows).collect();
    }
    let mut otherwise = Otherwise::new();
    for _ in 0..ATTEMPTS {
        let put = put::put(ctx, going, &deltas, (&captured, end));
        match seconds.of(BackPart::OldDatabase, put).await? {
            Attempt::Done(back) => return Ok(Back { seconds, ..back }),
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
async fn hold(ctx: &Ctx, going: &Going, cleanup: &Cleanup) -> Result<Vec<(Pending, Database)>> {
    let mut held = Vec::new();
    let takes = |database: &Database| going.wanted.scenario.takes(database.service(), &going.before);
    for database in Database::ALL.into_iter().filter(takes) {
        match Freezer::of_target(ctx, database).freeze(Some(ctx.run.id()), cleanup).await {
            Ok(Held::Now(pending, _)) => held.push((pending, database)),
            Ok(Held::Before(_)) => {}
            Err(error) => {
                for (pending, _) in held {
                    cleanup.undo(pending).await?;
                }
                return Err(error);
            }
        }
    }
    Ok(held)
}

/// What the old database remembers of the run.
struct Recorded {
    /// What this way back came to, where it has been done.
    back: Option<Back>,
    /// Services that have gone back alone.
    before: Vec<Service>,
}

/// # Errors
/// Refuses where the run went back in another way.
async fn recorded(ctx: &Ctx, scenario: Scenario) -> Result<Recorded> {
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("rollback")).await?;
    let mut recorded = Recorded { back: None, before: Vec::new() };
    if !connection.row(&sql::exists("xtask", "rollbacks")).await?.try_get::<bool, _>(0)? {
        return Ok(recorded);
    }
    let query = sql::bind(sql_file!("phases/rollback/recorded.sql"), &[("run", ctx.run.id())]);
    for row in connection.rows(&query).await? {
        let (scope, at, summary): (String, String, String) =
            (row.try_get("scope")?, row.try_get("at")?, row.try_get("summary")?);
        let found: Scenario = scope.parse().map_err(|_| {
            anyhow::anyhow!(
                "another version of this tool has recorded a rollback {scope:?} in the old database"
            )
        })?;
        match found.alone() {
            _ if found == scenario => {
                let back = serde_json::from_str(&summary);
                recorded.back = Some(back.context("reading what the old database remembers of it")?);
            }
            Some(service) => recorded.before.push(service),
            None => refuse!("run {} was taken back at {}, {scope}", ctx.run.id(), utc(&at)),
        }
    }
    connection.close().await?;
    Ok(recorded)
}
