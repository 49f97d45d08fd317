//! A restored database takes the place of the source's own, which is put aside by its name and kept.
//!
//! Both names change in one transaction: cut off anywhere, either both have or none has. Where the old database
//! was put aside already, by hand or by an earlier tool, the same call gives the restored one its name.

use super::place;
use crate::effects::postgres::{self, Connection};
use crate::effects::wait::{self, Patience, State, Waiting};
use crate::identity::ServerName;
use crate::model::{AGAIN, grouped};
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::manifest::Manifest;
use crate::shown::escaped;
use crate::source::freeze::Freezer;
use crate::source::freeze::others::{self, EVER};
use crate::steps::StepName;
use crate::{refuse, sql, sql_file};
use anyhow::Result;
use serde::Serialize;
use sqlx::Row;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What comes after the name of a database that was put aside; a time follows.
pub(super) const ASIDE: &str = "_before_rollback_";

/// What the server says of a database that somebody is in.
const IN_USE: &str = "55006";

/// How long a session may be seen whose client is gone.
const ENDING: Patience = Patience { deadline: Duration::from_secs(2), interval: Duration::from_millis(50) };

/// How long sessions that come in again and again may keep a name from being changed.
const PATIENCE: Patience =
    Patience { deadline: Duration::from_secs(30), interval: Duration::from_millis(100) };

/// Whether sessions of others may be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    Given,
    Missing,
}

/// What taking the place would come to.
#[derive(Clone, Debug, Serialize)]
pub struct InPlace {
    /// The source's database, whose place is taken.
    pub database: String,
    /// Whether it is there.
    pub there: bool,
    /// Whether the backup has been restored by an earlier call.
    pub restored_before: bool,
    /// Its tables that are not in the backup, with about how many rows; they stay in the one put aside.
    pub not_in_the_backup: BTreeMap<String, u64>,
    /// Why that could not be looked at.
    pub not_looked_at: Option<String>,
    /// Sessions of others that are in it.
    pub sessions: Vec<String>,
    #[serde(skip)]
    pub(super) obstacles: Vec<String>,
}

impl InPlace {
    pub(super) fn text(&self) -> String {
        let name = escaped(&self.database);
        let mut out = match self.there {
            true => {
                format!(
                    "  then {name} is put aside as {name}{ASIDE}<time>, and the restored one takes its name\n"
                )
            }
            false => format!("  then it takes the name {name}, which no database has now\n"),
        };
        if self.restored_before {
            out += "  it has been restored by an earlier call: it is proven again\n";
        }
        for (table, rows) in &self.not_in_the_backup {
            let (table, rows) = (escaped(table), grouped(*rows));
            out += &format!(
                "  not in the backup, stays in the database put aside: {table}, about {rows} rows\n"
            );
        }
        if let Some(why) = &self.not_looked_at {
            out += &format!("  what {name} holds now could not be looked at: {}\n", escaped(why));
        }
        for session in &self.sessions {
            out += &format!("  ended before that: {}\n", escaped(session));
        }
        out
    }
}

/// A change of names that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Replaced {
    pub database: String,
    /// What the old one is called now; `None`: there was none.
    pub put_aside: Option<String>,
    pub sessions_ended: usize,
    /// Whether it is held back, as the old one was.
    pub frozen: bool,
}

/// What would be put aside, and what stands in the way.
pub(super) async fn look(
    ctx: &Ctx,
    manifest: &Manifest,
    connection: &mut Connection,
    restored: &str,
    consent: Consent,
) -> Result<InPlace> {
    let database = ctx.settings.source.database.clone();
    let old = place::look(connection, &database).await?.map(|there| there.oid);
    let new = place::look(connection, restored).await?.map(|there| there.oid);
    let mut obstacles = Vec::new();
    let recorded = manifest.servers.databases.get(&ServerName::Source).map(|recorded| recorded.oid);
    // Cut off before the names were changed, the run knows the restored one as its own.
    if let (Some(old), Some(recorded)) = (old, recorded)
        && old != recorded
        && new != Some(recorded)
    {
        obstacles.push(format!(
            "{database} is not the database that run {} knows (its OID is {old}, the run's {recorded}): it has \
             been made again or restored since. `cargo xtask verify --run {} --adopt source` takes it in",
            ctx.run.id(),
            ctx.run.id()
        ));
    }
    let mut sessions = Vec::new();
    obstacles.extend(hanging(connection, &database).await?);
    for name in [&database, restored] {
        let (found, above_us) = sessions_in(connection, name).await?;
        obstacles.extend(above_us);
        sessions.extend(found);
    }
    if consent == Consent::Missing && !sessions.is_empty() {
        let listed = sessions.join(", ");
        obstacles
            .push(format!("sessions of others would be ended: {listed}. If that is meant: --end-sessions"));
    }
    let mut plan = InPlace {
        database,
        there: old.is_some(),
        restored_before: new.is_some(),
        not_in_the_backup: BTreeMap::new(),
        not_looked_at: None,
        sessions,
        obstacles,
    };
    if plan.there {
        match newer(ctx, manifest).await {
            Ok(tables) => plan.not_in_the_backup = tables,
            // It is damaged: that may be why it is to be replaced.
            Err(error) => plan.not_looked_at = Some(format!("{error:#}")),
        }
    }
    Ok(plan)
}

/// Tables that came after the backup.
async fn newer(ctx: &Ctx, manifest: &Manifest) -> Result<BTreeMap<String, u64>> {
    let known = manifest.backup.iter().flat_map(|backup| backup.raw.keys());
    let known = sql::array(known.map(String::as_str));
    let mut connection = ctx.looking_at_source("restore").await?;
    let query = sql::bind(sql_file!("phases/restore/newer.sql"), &[("known", &known)]);
    let rows = connection.rows(&query).await?;
    connection.close().await?;
    let table = |row: &sqlx::postgres::PgRow| {
        Ok((row.try_get("name")?, u64::try_from(row.try_get::<i64, _>("rows")?)?))
    };
    rows.iter().map(table).collect()
}

/// What would be left behind by a change of name: a line each.
async fn hanging(connection: &mut Connection, database: &str) -> Result<Vec<String>> {
    let query = sql::bind(sql_file!("phases/restore/hanging.sql"), &[("database", database)]);
    let line = |row: &sqlx::postgres::PgRow| {
        let (what, fix): (String, String) = (row.try_get("what")?, row.try_get("fix")?);
        Ok(format!("{database}: {what}: {fix}"))
    };
    connection.rows(&query).await?.iter().map(line).collect()
}

/// Sessions of others, and those of them that this role may not end: a line each.
async fn sessions_in(connection: &mut Connection, database: &str) -> Result<(Vec<String>, Vec<String>)> {
    // Those of a command of this tool that has just ended are there until the server has noticed.
    let looked = wait::until(ENDING, async || {
        let sessions = others::sessions_of(connection, database, EVER).await?;
        let may_end = !sessions.is_empty() && sessions.iter().all(|session| session.is_of_this_tool());
        Ok(if may_end { State::NotYet(sessions) } else { State::Ready(sessions) })
    });
    let (State::Ready(sessions) | State::NotYet(sessions)) = looked.await?;
    let above = sessions.iter().filter(|session| session.above_us);
    let above = above.map(|session| {
        format!("{session} in {database} is a superuser's, which this role may not end: end it yourself")
    });
    let above = above.collect();
    Ok((sessions.iter().map(|session| format!("{session} in {database}")).collect(), above))
}

/// The restored database takes the name of the source's, which is kept under another name. No session of this
/// process may be in either.
///
/// # Errors
/// Refuses where something hangs on the old database, another run is at work on it, or sessions would have to be
/// ended without consent. The names are as before then.
pub async fn replace(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    restored: &str,
    consent: Consent,
) -> Result<Replaced> {
    let step = ctx.run.step(StepName::Restore)?;
    let (mut connection, _) = place::maintenance(ctx).await?;
    let plan = look(ctx, manifest, &mut connection, restored, consent).await?;
    if !plan.obstacles.is_empty() {
        refuse!("{} keeps its name:\n  {}\n{AGAIN}", plan.database, plan.obstacles.join("\n  "));
    }
    let Some(new) = place::look(&mut connection, restored).await? else {
        refuse!("there is no database {restored} that could take the place of {}", plan.database);
    };
    let aside = match plan.there {
        true => Some(nobody_at_work(ctx, &plan.database).await?),
        false => None,
    };
    let frozen = Freezer::of(ctx).open()?.is_some();
    let mut statements = Vec::new();
    statements.extend(aside.as_ref().map(|aside| sql::rename_database(&plan.database, aside)));
    // Who is kept out of the old one is not let into the new one: `unfreeze` does that.
    statements.extend(frozen.then(|| sql::make_read_only(restored)));
    statements.push(sql::rename_database(restored, &plan.database));
    let before = know_it(ctx, Some(new.oid))?;
    let end: &[&str] = match consent {
        Consent::Given => &[&plan.database, restored],
        Consent::Missing => &[],
    };
    let changed = change_names(ctx, &statements, end).await;
    if changed.is_err() && !has_its_name(&mut connection, &plan.database, new.oid).await {
        know_it(ctx, before)?;
    }
    let sessions_ended = changed?;
    connection.close().await?;
    let done = match &aside {
        Some(aside) => format!("{restored} is {} now, which was put aside as {aside}", plan.database),
        None => format!("{restored} is {} now", plan.database),
    };
    step.done(&done)?;
    Ok(Replaced { database: plan.database, put_aside: aside, sessions_ended, frozen })
}

/// The name under which the old database is kept. No other run may be at work on it.
async fn nobody_at_work(ctx: &Ctx, database: &str) -> Result<String> {
    match Locks::unless_ours(&ctx.settings.source, "restore").await {
        Ok(locks) => locks.release().await,
        // A database that lets nobody in has no run at work on it.
        Err(error) if postgres::code(&error).is_some() => {
            ctx.terminal.warn(format!("{database} lets nobody in, and is put aside all the same: {error:#}"));
        }
        Err(error) => return Err(error),
    }
    let now = jiff::Timestamp::now().strftime("%Y%m%d_%H%M%S");
    Ok(place::name(database, &format!("{ASIDE}{now}")))
}

/// From here on the run's source is the one with this OID: written down before it is, so that the same call goes
/// on. Returns what it was.
fn know_it(ctx: &Ctx, oid: Option<i64>) -> Result<Option<i64>> {
    let mut before = None;
    ctx.run.change_manifest(|manifest| {
        if let (Some(source), Some(oid)) = (manifest.servers.databases.get_mut(&ServerName::Source), oid) {
            before = Some(std::mem::replace(&mut source.oid, oid));
        }
        Ok(())
    })?;
    Ok(before)
}

/// Whether the names were changed although we have not heard of it; where that cannot be seen, we take it so: the
/// same call finds out.
async fn has_its_name(connection: &mut Connection, database: &str, oid: i64) -> bool {
    let there = place::look(connection, database).await;
    there.map_or(true, |there| there.is_some_and(|there| there.oid == oid))
}

/// Changes the names in one transaction, and ends meanwhile who is in the way; how many. While the server waits
/// for them to go, it lets nobody else in.
async fn change_names(ctx: &Ctx, statements: &[String], end: &[&str]) -> Result<usize> {
    let text = sql::in_one_transaction(statements);
    let (mut connection, _) = place::maintenance(ctx).await?;
    let (mut second, _) = place::maintenance(ctx).await?;
    let ended = AtomicUsize::new(0);
    let waiting = Waiting::begin(&"the databases to be left alone", PATIENCE);
    loop {
        let changed = {
            let mut changing = pin!(connection.run(&text));
            tokio::select! {
                biased;
                changed = &mut changing => changed,
                // Once sent, the server does all of it or nothing, whether we wait or not: so we wait.
                failed = end_sessions(&mut second, end, &ended) => changing.await.map_err(|e| e.context(failed)),
            }
        };
        let Err(error) = changed else { break };
        connection.run("ROLLBACK").await?;
        if postgres::code(&error).as_deref() != Some(IN_USE) {
            return Err(error);
        }
        waiting.again(&postgres::detail(&error).unwrap_or_default()).await?;
    }
    second.close().await?;
    connection.close().await?;
    Ok(ended.into_inner())
}

/// Ends whoever is in these databases, again and again; comes to an end only where that fails: why.
async fn end_sessions(connection: &mut Connection, databases: &[&str], ended: &AtomicUsize) -> String {
    loop {
        for database in databases {
            let ending = async {
                let sessions = others::sessions_of(connection, database, EVER).await?;
                // The names may have changed before the last of them is gone.
                ended.fetch_add(sessions.len(), Ordering::Relaxed);
                others::end_these(connection, &sessions).await
            };
            if let Err(error) = ending.await {
                return format!("sessions in {database} could not be ended: {error:#}");
            }
        }
        tokio::time::sleep(PATIENCE.interval).await;
    }
}
