//! Phase 4, PostgreSQL: the three databases beside each other; in each the rows first, then keys,
//! indexes and references, sequences and statistics, then the proof, and only then the tables move
//! into place.

use super::staging::{self, Plan, STAGING};
use super::{p5_verify, preflight};
use crate::csv_text::WithoutColumn;
use crate::ctx::Ctx;
use crate::digest::HashFn;
use crate::effects::postgres::Connection;
use crate::manifest::{Export, TableExport};
use crate::model::{Database, Stop};
use crate::tables::{self, Table};
use crate::{refuse, sql};
use anyhow::{Context, Result, anyhow, ensure};
use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex};

/// Sessions that build one table's indexes.
const BUILDERS: usize = 2;

/// # Errors
/// Refuses a database that holds anything but this run's rows; fails, leaving nothing, where a file is
/// not the one that was exported or the loaded tables do not prove to be what the snapshot held.
pub async fn run(ctx: &Arc<Ctx>, export: &Arc<Export>) -> Result<()> {
    let step = ctx.run.step("4 import")?;
    let imports = Database::ALL.map(|database| import(ctx.clone(), export.clone(), database));
    if let Err(error) = super::all(imports).await {
        staging::discard(ctx).await;
        return Err(error);
    }
    step.done("")
}

async fn import(ctx: Arc<Ctx>, export: Arc<Export>, database: Database) -> Result<()> {
    let name = format!("4 import {database}");
    let step = ctx.run.step(&name)?;
    let (found, complete) = preflight::database(&ctx, database, Some(&export)).await?;
    if complete {
        ctx.terminal.line(format!("  {database} holds exactly this run's rows already: skipped"));
        return step.done("was complete");
    }
    if !found.is_empty() {
        refuse!("{}", found.join("\n  "));
    }
    let mut connection = ctx.target(database, "import").await?;
    let plan = Arc::new(staging::prepare(&mut connection, database).await?);
    let tables = tables::of_database(ctx.tables, database);
    let loads = tables.map(|table| load(ctx.clone(), export.clone(), table, plan.clone()));
    let loaded = async {
        let differences = super::all(loads).await.with_context(|| format!("loading {database}"))?;
        unproven(database, differences.into_iter().flatten().collect())?;
        refer(&mut connection, &plan).await
    };
    loaded.await.map_err(|error| broken_rule(database, error))?;
    let record = serde_json::to_string(&record(&ctx, &export, database))?;
    staging::publish(&ctx, &mut connection, database, &record).await?;
    connection.close().await?;
    step.done("published")
}

fn unproven(database: Database, differences: Vec<String>) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(Stop::Differs(format!(
        "{database} was not published, because what was loaded is not what the snapshot held: {}",
        differences.join("; ")
    ))
    .into())
}

/// Rows that break a key, a reference or a NOT NULL (SQLSTATE class 23) are not what the snapshot held:
/// a difference, not an error.
fn broken_rule(database: Database, error: anyhow::Error) -> anyhow::Error {
    let code = |e: &sqlx::Error| e.as_database_error().and_then(|e| e.code().map(|c| c.into_owned()));
    let code = error.chain().find_map(|e| e.downcast_ref().and_then(code));
    if code.is_some_and(|code| code.starts_with("23")) {
        return Stop::Differs(format!("{database} was not published: {error:#}")).into();
    }
    error
}

/// Rows, sequence and statistics of one table, then its indexes, keys and proof. Returns how what
/// was loaded differs from what the snapshot held, if it does.
async fn load(
    ctx: Arc<Ctx>,
    export: Arc<Export>,
    table: &'static Table,
    plan: Arc<Plan>,
) -> Result<Option<String>> {
    let record = record_of(&export, table)?;
    let database = table.database().with_context(|| format!("{} is not in a database", table.name))?;
    let mut connection = ctx.target(database, "load").await?;
    let columns = staging::columns(&mut connection, STAGING, table.name).await?;
    let names = |columns: &[crate::model::Column]| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    let (have, exported) = (names(&columns), names(&record.target_columns));
    ensure!(
        have.iter().all(|c| exported.contains(c)) && exported.iter().all(|c| have.contains(c)),
        "{} has the columns {have:?}, sql/{} exports {exported:?}",
        table.name,
        table.export.path
    );
    let mut connection = copy(&ctx, connection, &export, table, record).await?;
    let sequence = record.sequence;
    connection.rows(&sql::set_sequence(STAGING, table.name, sequence.last, sequence.called)).await?;
    connection.run(&sql::analyze(STAGING, table.name)).await?;
    // Who builds an index lets others read.
    let ((), difference) = tokio::try_join!(
        index(&ctx, table, database, &plan),
        prove(&ctx, table, database, record, export.snapshot.hash),
    )?;
    for key in plan.keys_of(table.name) {
        connection.run(&key).await?;
    }
    connection.close().await?;
    Ok(difference)
}

/// Streams the table's file in, and makes sure that it is the file that was exported.
async fn copy(
    ctx: &Ctx,
    connection: Connection,
    export: &Export,
    table: &Table,
    record: &TableExport,
) -> Result<Connection> {
    let file = table.file();
    let info = export.files.get(&file).with_context(|| format!("the manifest does not know {file}"))?;
    let rows = info.rows.unwrap_or_default();
    let task = ctx.terminal.task("import", table.name, rows);
    let mut reader = ctx.run.read(&file)?;
    let statement = sql::copy_in(STAGING, table.name, &record.target_columns);
    let mut done = 0;
    let sent = |bytes: usize| {
        // The file's bytes stand for its rows: counting them would mean parsing them.
        let before = done * rows / info.bytes.max(1);
        done = (done + bytes as u64).min(info.bytes);
        task.add(done * rows / info.bytes.max(1) - before);
    };
    let (taken, connection) = feed(connection, &statement, &mut reader, table, record, sent).await?;
    let found = reader.finish();
    if found.sha256 != info.sha256 || taken != rows {
        return Err(Stop::Differs(format!(
            "{file} is not the file that was exported: {} bytes, {taken} rows, SHA-256 {} (expected {} bytes, {rows} rows, {})",
            found.bytes, found.sha256, info.bytes, info.sha256
        ))
        .into());
    }
    task.done(taken);
    Ok(connection)
}

/// Without the columns that the target has no place for.
pub(super) async fn feed(
    connection: Connection,
    statement: &str,
    reader: &mut (impl Read + Send),
    table: &Table,
    record: &TableExport,
    sent: impl FnMut(usize),
) -> Result<(u64, Connection)> {
    let index = |name: &&str| record.columns.iter().position(|c| c.name == **name);
    match table.file_only.iter().map(|name| (name, index(name))).collect::<Vec<_>>()[..] {
        [] => connection.copy_in(statement, reader, sent).await,
        [(_, Some(index))] => connection.copy_in(statement, WithoutColumn::new(reader, index), sent).await,
        _ => Err(anyhow!("{}: one column at most can stay in the file, and it has to be in it", table.name)),
    }
}

/// Indexes, the slowest first, in a few sessions that each take the next one.
async fn index(ctx: &Arc<Ctx>, table: &Table, database: Database, plan: &Plan) -> Result<()> {
    let statements = plan.indexes_of(table.name);
    let count = statements.len() as u64;
    let task = ctx.terminal.task("index", table.name, count);
    let waiting = Arc::new(Mutex::new(VecDeque::from(statements)));
    let builders = (0..BUILDERS.min(waiting.lock().map_or(0, |w| w.len()))).map(|_| {
        let (ctx, waiting, built) = (ctx.clone(), waiting.clone(), task.counter());
        async move {
            let mut connection = ctx.target(database, "index").await?;
            connection.run(&sql::for_building(STAGING)).await?;
            let next = || waiting.lock().ok().and_then(|mut waiting| waiting.pop_front());
            while let Some(statement) = next() {
                connection.run(&statement).await?;
                built(1);
            }
            connection.close().await
        }
    });
    super::all(builders).await?;
    task.done(count);
    Ok(())
}

/// What needs all tables of the database to be there.
async fn refer(connection: &mut Connection, plan: &Plan) -> Result<()> {
    connection.run(&sql::for_building(STAGING)).await?;
    for reference in plan.references() {
        connection.run(&reference).await?;
    }
    Ok(())
}

/// Nothing moves into place that is not what the snapshot held: what differs, if anything does.
async fn prove(
    ctx: &Ctx,
    table: &Table,
    database: Database,
    record: &TableExport,
    hash: HashFn,
) -> Result<Option<String>> {
    let mut connection = ctx.target(database, "proof").await?;
    let found =
        p5_verify::content(&mut connection, STAGING, table.name, &record.target_columns, hash).await?;
    connection.close().await?;
    let differing = record.content.differing(&found).len();
    Ok((differing > 0).then(|| {
        format!(
            "{}: {} rows expected, {} loaded, {differing} of {} ranges of ids differ",
            table.name,
            record.content.total().rows,
            found.total().rows,
            record.content.buckets.len()
        )
    }))
}

/// The manifest's row in the target.
fn record(ctx: &Ctx, export: &Export, database: Database) -> serde_json::Value {
    let tables = tables::of_database(ctx.tables, database);
    let entry =
        |t: &Table| Some((t.name.to_string(), serde_json::json!(export.tables.get(t.name)?.content.total())));
    tables.filter_map(entry).collect::<serde_json::Map<_, _>>().into()
}

fn record_of<'a>(export: &'a Export, table: &Table) -> Result<&'a TableExport> {
    export.tables.get(table.name).with_context(|| format!("the run's manifest does not know {}", table.name))
}
