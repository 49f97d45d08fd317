//! `put(old, stores)`: everything that the stores received goes into the old database in one transaction, with the
//! proof inside it that the old database tells the same as the stores (DESIGN rule 25). Killed anywhere, nothing has
//! happened. A plan is the same transaction, rolled back.

use super::going::Going;
use super::order::{in_order, references};
use super::proof::{self, Otherwise};
use super::received::Delta;
use super::summary::{Back, Compared, Scenario, Triggers, Wanted};
use super::table::{NewIds, OldDatabase, Round, TablePut};
use super::{rest, service};
use crate::effects::postgres::{self, Connection};
use crate::model::{Database, Stop, grouped};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Change, Sequence};
use crate::source::{drift, sequences};
use crate::tables::{Home, Table, USERS};
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use datapath::csv_text::row_of;
use datapath::firestore::Instant;
use sqlx::Row;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether the transaction ends for good.
#[derive(Clone, Copy)]
pub enum End<'a> {
    /// Everything was tried, and nothing has been changed.
    Undo,
    /// From the call before it on an interrupt does not let anybody in again: whether it came in time nobody knows.
    Commit(&'a (dyn Fn() + Send + Sync)),
}

/// What a transaction came to.
pub enum Attempt {
    Done(Back),
    /// The old database would tell these otherwise: nothing has been changed.
    Otherwise(Otherwise),
}

pub async fn put(
    ctx: &Arc<Ctx>,
    going: &Going,
    deltas: &[Delta],
    (captured, end): (&BTreeMap<String, Instant>, End<'_>),
) -> Result<Attempt> {
    let Wanted { scenario, compared, triggers: fire, rekey, .. } = &going.wanted;
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("rollback")).await?;
    connection.run("BEGIN").await?;
    let old = old_database(ctx, going, deltas, &mut connection).await?;
    let next = sequences::of_tables(ctx).await?;
    let new_ids = first_new_ids(ctx, &next, rekey).await?;
    // Where nothing was written there is nothing to do, and nothing to look at unless that is wanted.
    let has_work = |delta: &&Delta| *compared == Compared::All || !delta.has_nothing();
    let to_do: Vec<&Delta> = deltas.iter().filter(has_work).collect();
    let triggers = match fire {
        Triggers::Quiet => quiet(&mut connection, &to_do).await?,
        Triggers::Fire => Quiet::default(),
    };
    connection.run("SET CONSTRAINTS ALL IMMEDIATE").await?;

    let (puts, mut connection) = all(&old, connection, &to_do, (&new_ids, rekey)).await?;
    let mut back = Back {
        scope: scenario.to_string(),
        triggers: triggers.names,
        captured: captured.clone(),
        tables: deltas.iter().map(Delta::outcome).collect(),
        sequences: wanted_sequences(ctx, (deltas, &puts), &next, &mut connection).await?,
        ..Back::default()
    };
    for put in &puts {
        back.tables.insert(put.table().name.to_string(), put.outcome(ctx, &mut connection).await?);
    }
    let otherwise = proof::put_get(&old, &puts, (&mut connection, &mut back), *fire).await?;
    if !otherwise.is_empty() {
        connection.run("ROLLBACK").await?;
        return Ok(Attempt::Otherwise(otherwise));
    }
    service::needed_elsewhere(&old, &puts, (&mut connection, &mut back)).await?;
    if *compared == Compared::All {
        connection = rest::compare(&old, &puts, connection, &mut back).await?;
    }
    if let End::Commit(_) = end {
        write_down(ctx, &puts, &mut connection).await?;
    }
    for statement in &triggers.again {
        connection.run(statement).await?;
    }
    match end {
        End::Undo => connection.run("ROLLBACK").await?,
        End::Commit(before_it) => commit(ctx, &back, before_it, &mut connection).await?,
    }
    connection.close().await?;
    Ok(Attempt::Done(back))
}

async fn commit(
    ctx: &Ctx,
    back: &Back,
    before_it: &(dyn Fn() + Send + Sync),
    connection: &mut Connection,
) -> Result<()> {
    let summary = serde_json::to_string(back)?;
    let values = [("run", ctx.run.id()), ("scope", &back.scope), ("summary", &summary)];
    connection.run(&sql::bind(sql_file!("phases/rollback/record.sql"), &values)).await?;
    before_it();
    connection.run("COMMIT").await
}

/// Locked against everybody else, and what has become of it since the run read it.
///
/// # Errors
/// Refuses where it has changed, and nothing was to come back.
async fn old_database<'a>(
    ctx: &'a Arc<Ctx>,
    going: &'a Going,
    deltas: &[Delta],
    connection: &mut Connection,
) -> Result<OldDatabase<'a>> {
    let tables: Vec<&Table> = deltas.iter().map(|delta| delta.table).collect();
    connection.run(&sql::lock_old(&tables)).await.context("locking the old tables")?;
    // With the locks held nobody can write there any more.
    let mut changed = drift::look(ctx, &going.manifest).await?.check.changed;
    changed.retain(|name, _| !going.has_gone(ctx, name));
    if going.wanted.scenario == Scenario::BeforeStart && !changed.is_empty() {
        return Err(not_as_it_was(ctx, &changed));
    }
    let changed = changed.into_keys().filter_map(|name| Some(name.strip_prefix("public.")?.to_string()));
    let references = references(connection).await?;
    let old = OldDatabase { ctx, export: &going.export, references, changed: changed.collect() };
    may_be_rekeyed(&old, &going.wanted.rekey)?;
    Ok(old)
}

/// Where nothing is to come back, the old database has to be what it was.
fn not_as_it_was(ctx: &Ctx, changed: &BTreeMap<String, Change>) -> anyhow::Error {
    let tables = changed.iter().map(|(table, change)| format!("{table}: {change}"));
    let what = format!(
        "the old database is not what run {run} read in it:\n  {}\nIf that is damage, `cargo xtask restore --run {run} \
         --in-place` brings the backup back first; if it is the work of others, `rollback after-start` keeps it",
        tables.collect::<Vec<_>>().join("\n  "),
        run = ctx.run.id()
    );
    Stop::Refused(what).into()
}

/// Users first, because the rows of all others are told whose they are; then parents first, and what has to go from
/// the children on.
async fn all<'a>(
    old: &OldDatabase<'a>,
    mut connection: Connection,
    deltas: &[&'a Delta],
    (next, rekey): (&BTreeMap<&'static str, i64>, &[String]),
) -> Result<(Vec<TablePut<'a>>, Connection)> {
    let mut puts: Vec<TablePut<'_>> = Vec::new();
    let (users, others): (Vec<&Delta>, Vec<&Delta>) =
        in_order(deltas, &old.references).into_iter().partition(|delta| delta.table.name == USERS);
    let ids = |delta: &Delta| NewIds {
        next: next.get(delta.table.name).copied().unwrap_or(1),
        rekey: rekey.iter().any(|name| name == delta.table.name),
    };
    for delta in users {
        let put;
        (put, connection) = TablePut::begin(old, connection, delta, ids(delta)).await?;
        put.write(&mut connection).await?;
        puts.push(put);
    }
    if !others.is_empty() {
        connection.run(sql_file!("phases/rollback/owners.sql").text).await?;
    }
    let first = puts.len();
    for delta in others {
        let put;
        (put, connection) = TablePut::begin(old, connection, delta, ids(delta)).await?;
        puts.push(put);
    }
    for put in puts.iter().rev() {
        put.delete(old, &puts, &mut connection, Round::First).await?;
    }
    for put in &puts[first..] {
        put.write(&mut connection).await?;
    }
    for put in puts.iter().rev() {
        put.delete(old, &puts, &mut connection, Round::Last).await?;
    }
    Ok((puts, connection))
}

/// # Errors
/// Refuses to give other ids to rows that another table refers to.
fn may_be_rekeyed(old: &OldDatabase<'_>, rekey: &[String]) -> Result<()> {
    for table in old.ctx.tables.iter().filter(|table| rekey.iter().any(|name| name == table.name)) {
        if let Some(needing) = old.references.iter().find(|reference| reference.parent == table.source) {
            refuse!(
                "{} refers to {} by its id: --rekey {} is not possible",
                needing.child,
                table.source,
                table.name
            );
        }
    }
    Ok(())
}

/// The ids that new rows get: of the old database's sequences, and for rows that get other ids than theirs beyond
/// those of the store.
async fn first_new_ids(
    ctx: &Ctx,
    old: &BTreeMap<&'static str, Sequence>,
    rekey: &[String],
) -> Result<BTreeMap<&'static str, i64>> {
    let mut next: BTreeMap<&'static str, i64> =
        old.iter().map(|(name, sequence)| (*name, sequence.next())).collect();
    let rekeyed = ctx.tables.iter().filter(|table| rekey.iter().any(|name| name == table.name));
    for (name, theirs) in of_targets(ctx, &rekeyed.collect::<Vec<_>>()).await? {
        if let Some(next) = next.get_mut(name) {
            *next = theirs.next().max(*next);
        }
    }
    Ok(next)
}

/// Triggers that were made quiet, and how they come back.
#[derive(Default)]
struct Quiet {
    names: Vec<String>,
    again: Vec<String>,
}

/// What a trigger would add to a row (a time of change, a line in an audit) is not what the store holds.
async fn quiet(connection: &mut Connection, deltas: &[&Delta]) -> Result<Quiet> {
    let mut quiet = Quiet { names: Vec::new(), again: Vec::new() };
    for delta in deltas {
        let table = [("table", delta.table.source)];
        let query = sql::bind(sql_file!("phases/rollback/triggers.sql"), &table);
        for row in connection.rows(&query).await? {
            let statement: String = row.try_get("quiet")?;
            connection.run(&statement).await?;
            quiet.names.push(row.try_get("name")?);
            quiet.again.push(row.try_get("again")?);
        }
    }
    Ok(quiet)
}

/// Where the old database's sequences have to stand: no id is given out that either side has given out.
async fn wanted_sequences(
    ctx: &Ctx,
    (deltas, puts): (&[Delta], &[TablePut<'_>]),
    old: &BTreeMap<&'static str, Sequence>,
    connection: &mut Connection,
) -> Result<BTreeMap<String, Sequence>> {
    let mut wanted = BTreeMap::new();
    let of_targets = of_targets(ctx, &deltas.iter().map(|delta| delta.table).collect::<Vec<_>>()).await?;
    for delta in deltas {
        let table = delta.table;
        let mut sequence = *old.get(table.name).context("a table without its sequence")?;
        let theirs = match &table.home {
            Home::Postgres(_) => of_targets.get(table.name).copied(),
            // Whoever makes a document needs no number.
            Home::Firestore(_) => {
                Some(Sequence { last: sequence.next() - 1 + new_documents(delta), called: true })
            }
        };
        let put = puts.iter().find(|put| put.table().name == table.name);
        let rekeyed = match put.filter(|put| put.sql().rekey) {
            // Beyond both.
            Some(put) => put.last_rekeyed(connection).await?,
            None => None,
        };
        let theirs = rekeyed.map_or(theirs, |last| Some(Sequence { last, called: true }));
        sequence = theirs.filter(|theirs| theirs.next() > sequence.next()).unwrap_or(sequence);
        wanted.insert(table.name.to_string(), sequence);
    }
    Ok(wanted)
}

fn new_documents(delta: &Delta) -> i64 {
    i64::try_from(delta.counts.added).unwrap_or(i64::MAX)
}

/// Where the sequences of these tables stand in the targets.
async fn of_targets(ctx: &Ctx, tables: &[&'static Table]) -> Result<BTreeMap<&'static str, Sequence>> {
    let mut found = BTreeMap::new();
    for database in Database::ALL {
        let mut here = tables.iter().filter(|table| table.database() == Some(database)).peekable();
        if here.peek().is_none() {
            continue;
        }
        let mut connection = ctx.looking(database, "rollback").await?;
        for table in here {
            let sequence = Sequence::of_target(&mut connection, table.name).await?;
            found.extend(sequence.map(|(_, sequence)| (table.name, sequence)));
        }
        connection.close().await?;
    }
    Ok(found)
}

/// The run's files about it, complete before anything is final: what the stores received, what did not come back, and
/// the new ids.
async fn write_down(ctx: &Ctx, puts: &[TablePut<'_>], connection: &mut Connection) -> Result<()> {
    let mut ids = row_of(["table", "id", "key"].map(|name| Some(Cow::Borrowed(name.as_bytes()))));
    for put in puts {
        let table = put.table();
        let left = put.left(connection).await?;
        if left.iter().filter(|byte| **byte == b'\n').count() > 1 {
            ctx.run.write(&format!("rollback/conflicts/{}", table.file()), left)?;
        }
        let Some(given) = put.given_ids() else { continue };
        for row in connection.rows(&given).await? {
            let (id, key): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
            let fields = [table.source.to_string(), id.to_string(), key];
            ids.extend(row_of(fields.map(|field| Some(Cow::Owned(field.into_bytes())))));
        }
    }
    ctx.run.write("rollback/user_ids.csv", ids)?;
    Ok(())
}

/// After the transaction: numbers are not part of it. Again as often as it is called.
pub async fn raise_sequences(ctx: &Ctx, wanted: &BTreeMap<String, Sequence>) -> Result<Vec<String>> {
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("rollback")).await?;
    let mut raised = Vec::new();
    for table in ctx.tables {
        let Some(wanted) = wanted.get(table.name) else { continue };
        let query = sql::bind(sql_file!("phases/1-backup/sequence.sql"), &[("table", table.source)]);
        for row in connection.rows(&query).await? {
            let Some(name): Option<String> = row.try_get(0)? else { continue };
            let stands = Sequence::read(&mut connection, &name).await?;
            if stands.next() < wanted.next() {
                connection.run(&sql::raise_sequence(&name, wanted.last, wanted.called)).await?;
                let next = grouped(u64::try_from(wanted.next()).unwrap_or_default());
                raised.push(format!("{name} gives {next} next"));
            }
        }
    }
    connection.close().await?;
    Ok(raised)
}
