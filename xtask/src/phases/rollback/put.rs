//! `put(old, stores)`: everything that the stores received goes into the old database in one transaction, with the
//! proof inside it that the old database tells the same as the stores (DESIGN rule 25). Killed anywhere, nothing has
//! happened. A plan is the same transaction, rolled back.

use super::going::Going;
use super::order::{in_order, references};
use super::proof::{self, Otherwise};
use super::received::Delta;
use super::summary::{Back, Compared, Scenario, Wanted};
use super::table::{OldDatabase, Round, TablePut};
use super::{rest, service};
use crate::effects::postgres::{self, Connection};
use crate::model::{Database, Stop, grouped};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was tried, and nothing has been changed.
    Undo,
    Commit,
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
    (captured, end): (&BTreeMap<String, Instant>, End),
) -> Result<Attempt> {
    let Going { manifest, export, wanted: Wanted { scenario, compared, .. }, .. } = going;
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("rollback")).await?;
    connection.run("BEGIN").await?;
    let tables: Vec<&Table> = deltas.iter().map(|delta| delta.table).collect();
    connection.run(&sql::lock_old(&tables)).await.context("locking the old tables")?;
    // With the locks held nobody can write there any more.
    let mut changed = drift::look(ctx, manifest).await?.check.changed;
    changed.retain(|name, _| !going.has_gone(ctx, name));
    if *scenario == Scenario::BeforeStart && !changed.is_empty() {
        return Err(not_as_it_was(ctx, &changed));
    }
    let changed = changed.into_keys().filter_map(|name| Some(name.strip_prefix("public.")?.to_string()));
    let next = sequences::of_tables(ctx).await?;
    let references = references(&mut connection).await?;
    let old = OldDatabase { ctx, export, references, changed: changed.collect() };
    let triggers = quiet(&mut connection, &tables).await?;
    connection.run("SET CONSTRAINTS ALL IMMEDIATE").await?;

    let (puts, mut connection) = all(&old, connection, deltas, &next).await?;
    let captured = captured.clone();
    let mut back =
        Back { scope: scenario.to_string(), triggers: triggers.names, captured, ..Back::default() };
    for put in &puts {
        back.tables.insert(put.table().name.to_string(), put.outcome(ctx, &mut connection).await?);
    }
    back.sequences = wanted_sequences(ctx, &puts, &next).await?;
    let otherwise = proof::put_get(&old, &puts, &mut connection).await?;
    if !otherwise.is_empty() {
        connection.run("ROLLBACK").await?;
        return Ok(Attempt::Otherwise(otherwise));
    }
    service::needed_elsewhere(&old, &puts, (&mut connection, &mut back)).await?;
    if *compared == Compared::All {
        connection = rest::compare(&old, &puts, connection, &mut back).await?;
    }
    if end == End::Commit {
        write_down(ctx, &puts, &mut connection).await?;
    }
    for statement in &triggers.again {
        connection.run(statement).await?;
    }
    match end {
        End::Undo => connection.run("ROLLBACK").await?,
        End::Commit => {
            let summary = serde_json::to_string(&back)?;
            let values = [("run", ctx.run.id()), ("scope", &back.scope), ("summary", &summary)];
            connection.run(&sql::bind(sql_file!("phases/rollback/record.sql"), &values)).await?;
            connection.run("COMMIT").await?;
        }
    }
    connection.close().await?;
    Ok(Attempt::Done(back))
}

/// Where nothing is to come back, the old database has to be what it was.
fn not_as_it_was(ctx: &Ctx, changed: &BTreeMap<String, Change>) -> anyhow::Error {
    let tables = changed.iter().map(|(table, change)| format!("{table}: {change}"));
    let what = format!(
        "the old database is not what run {run} read in it:\n  {}\nIf that is damage, `cargo xtask restore --run {run} \
         --in-place` brings the backup back first; if it is somebody's work, `rollback after-start` keeps it",
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
    deltas: &'a [Delta],
    next: &BTreeMap<&'static str, Sequence>,
) -> Result<(Vec<TablePut<'a>>, Connection)> {
    let mut puts: Vec<TablePut<'_>> = Vec::new();
    let (users, others): (Vec<&Delta>, Vec<&Delta>) =
        in_order(deltas, &old.references).into_iter().partition(|delta| delta.table.name == USERS);
    let next = |delta: &Delta| next.get(delta.table.name).map_or(1, |sequence| sequence.next());
    for delta in users {
        let put;
        (put, connection) = TablePut::begin(old, connection, delta, next(delta)).await?;
        put.write(&mut connection).await?;
        puts.push(put);
    }
    connection.run(sql_file!("phases/rollback/owners.sql").text).await?;
    let first = puts.len();
    for delta in others {
        let put;
        (put, connection) = TablePut::begin(old, connection, delta, next(delta)).await?;
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

/// Triggers that were made quiet, and how they come back.
struct Quiet {
    names: Vec<String>,
    again: Vec<String>,
}

/// What a trigger would add to a row (a time of change, a line in an audit) is not what the store holds.
async fn quiet(connection: &mut Connection, tables: &[&Table]) -> Result<Quiet> {
    let mut quiet = Quiet { names: Vec::new(), again: Vec::new() };
    for table in tables {
        let query = sql::bind(sql_file!("phases/rollback/triggers.sql"), &[("table", table.source)]);
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
    puts: &[TablePut<'_>],
    old: &BTreeMap<&'static str, Sequence>,
) -> Result<BTreeMap<String, Sequence>> {
    let mut wanted = BTreeMap::new();
    for put in puts {
        let table = put.table();
        let mut sequence = *old.get(table.name).context("a table without its sequence")?;
        let theirs = match &table.home {
            Home::Postgres(database) => of_target(ctx, *database, table).await?,
            // Whoever makes a document needs no number.
            Home::Firestore(_) => {
                Some(Sequence { last: sequence.next() - 1 + new_documents(put), called: true })
            }
        };
        sequence = theirs.filter(|theirs| theirs.next() > sequence.next()).unwrap_or(sequence);
        wanted.insert(table.name.to_string(), sequence);
    }
    Ok(wanted)
}

fn new_documents(put: &TablePut<'_>) -> i64 {
    i64::try_from(put.delta.counts.added).unwrap_or(i64::MAX)
}

async fn of_target(ctx: &Ctx, database: Database, table: &Table) -> Result<Option<Sequence>> {
    let mut connection = ctx.looking(database, "rollback").await?;
    let sequence = Sequence::of_target(&mut connection, table.name).await?;
    connection.close().await?;
    Ok(sequence.map(|(_, sequence)| sequence))
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
        let Some(collection) = table.collection() else { continue };
        for row in connection.rows(&sql::given_ids(table, collection.id)).await? {
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
