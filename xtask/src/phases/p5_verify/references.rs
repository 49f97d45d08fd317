//! References that leave their database: no foreign key can hold them, so they are looked up.

use super::cutover_state::CutoverState;
use super::obstacles::{damage_of, has};
use crate::effects::postgres::Connection;
use crate::findings::{Finding, FindingKind, Findings, Store};
use crate::ledger::{OutcomeKind, kind_of};
use crate::model::{Database, MIGRATED, Stop, grouped};
use crate::run::ctx::Ctx;
use crate::run::manifest::{Check, Export};
use crate::run::overlay;
use crate::tables::{self, Reference, Table, To};
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use datapath::files::FileInfo;
use sqlx::Row;
use std::collections::BTreeMap;
use std::io::{BufWriter, Seek, Write};
use std::sync::Arc;

/// References that leave their database: no foreign key can hold them, so they are looked up.
pub(super) async fn all(ctx: &Arc<Ctx>, export: &Arc<Export>, cutover: CutoverState) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for table in ctx.tables {
        for reference in table.references {
            let (ctx, export) = (ctx.clone(), export.clone());
            checks.push(async move {
                let check = self::reference(&ctx, &export, table, reference, cutover).await;
                check.or_else(|error| {
                    let file = match reference.to {
                        To::User => tables::MAPPING.to_string(),
                        To::Row(_, parent) => quarantine_of(parent),
                    };
                    Ok(not_looked_up(
                        (Store::of(table), table.name, reference.column),
                        &damage_of(&ctx, &export, &[file], error)?,
                    ))
                })
            });
        }
    }
    crate::run::join::all(checks).await
}

/// A check on nothing is not a pass.
fn not_looked_up(place: (Store, &str, &str), why: &str) -> Check {
    let (store, table, column) = place;
    let finding = Finding::new(FindingKind::NotComparable, store, table).column(column);
    let findings = Findings { count: 1, kept: vec![finding.detail(format!("cannot be looked up: {why}"))] };
    Check::new(format!("{table}.{column}"), "nothing", findings)
}

fn quarantine_of(table: &str) -> String {
    format!("quarantine/{table}.csv")
}

/// Which end of a reference is not there, if one is not.
async fn missing_end(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    reference: &Reference,
) -> Result<Option<String>> {
    if !has(connection, table.name, &["id", reference.column]).await? {
        return Ok(Some("the table or the column is not there, or its rows are hidden".to_string()));
    }
    if let To::Row(there, parent) = reference.to {
        let mut other = ctx.looking(there, "verify").await?;
        if !has(&mut other, parent, &["id"]).await? {
            return Ok(Some(format!("{parent} or its id is not there, or its rows are hidden")));
        }
        other.close().await?;
    }
    Ok(None)
}

async fn reference(
    ctx: &Arc<Ctx>,
    export: &Export,
    table: &'static Table,
    reference: &'static Reference,
    cutover: CutoverState,
) -> Result<Check> {
    let name = format!("{}.{}", table.name, reference.column);
    let database = table.database().with_context(|| format!("{} is not in a database", table.name))?;
    let mut connection = ctx.looking(database, "verify").await?;
    if let Some(why) = missing_end(ctx, &mut connection, table, reference).await? {
        return Ok(not_looked_up((database.into(), table.name, reference.column), &why));
    }
    connection.run("BEGIN").await?;
    connection.run(sql::KNOWN_KEYS).await?;
    let connection = match reference.to {
        To::User => {
            let mut mapping = overlay::open(&ctx.run, export, tables::MAPPING)?;
            let (_, connection) = connection.copy_in(sql::FILL_KNOWN_KEYS, &mut mapping).await?;
            is_whole(export, tables::MAPPING, &mapping.finish())?;
            connection
        }
        To::Row(there, parent) => known_rows(ctx, export, connection, there, parent).await?,
    };
    let mut connection = connection;
    let query = sql::bind(
        sql_file!("phases/5-verify/references.sql"),
        &[("table", table.name), ("column", reference.column)],
    );
    let (mut known, mut dangling, mut findings, mut theirs) = (0, BTreeMap::new(), Findings::default(), 0);
    for row in connection.rows(&query).await? {
        let (state, rows) = (row.try_get::<Option<String>, _>(0)?, u64::try_from(row.try_get::<i64, _>(1)?)?);
        match state.as_deref() {
            Some(MIGRATED) => known += rows,
            Some(state) => {
                dangling.insert(state.to_string(), rows);
            }
            // Rows of ours are proven by their content, and what they refer to by its own.
            None if cutover == CutoverState::After => theirs += rows,
            None => {
                let (id, key): (String, String) = (row.try_get(2)?, row.try_get(3)?);
                findings.kept.push(Finding::reference(table, &id, reference.column, &key, rows));
                findings.count += rows;
            }
        }
    }
    connection.run("ROLLBACK").await?;
    connection.close().await?;
    let mut looked_at = format!("{} rows refer to what is there", grouped(known));
    if !dangling.is_empty() {
        let kinds: Vec<String> =
            dangling.iter().map(|(state, n)| format!("{} ({state})", grouped(*n))).collect();
        looked_at += &format!("; expected to dangle: {}", kinds.join(", "));
    }
    if theirs > 0 {
        looked_at += &format!("; to what the services made since: {}", grouped(theirs));
    }
    Ok(Check::new(name, looked_at, findings))
}

/// A damaged file accuses nobody.
fn is_whole(export: &Export, file: &str, read: &FileInfo) -> Result<()> {
    match export.files.get(file) {
        Some(info) if info.sha256 == read.sha256 => Ok(()),
        _ => Err(Stop::Differs(format!("{file} is not the file that was exported")).into()),
    }
}

/// Fills the table of known keys with the ids that another database holds, and those in quarantine.
async fn known_rows(
    ctx: &Ctx,
    export: &Export,
    connection: Connection,
    there: Database,
    parent: &str,
) -> Result<Connection> {
    let file = tempfile::tempfile().context("making a temporary file")?;
    let mut file = BufWriter::with_capacity(1 << 16, file);
    let other = ctx.looking(there, "verify").await?;
    let write = |line: &[u8]| file.write_all(line).context("writing a temporary file");
    other.copy_rows(&sql::keys_of(parent), write).await?;
    // What replays and passes have moved since is where they moved it.
    let moved = overlay::moved_since(&ctx.run, export, parent)?;
    for id in
        moved.iter().filter(|(_, outcome)| kind_of(outcome) == OutcomeKind::Quarantined).map(|(id, _)| id)
    {
        writeln!(file, "{id},{id},quarantined").context("writing a temporary file")?;
    }
    let quarantine = quarantine_of(parent);
    if export.files.contains_key(&quarantine) {
        let mut reader = csv::Reader::from_reader(ctx.run.read(&quarantine)?);
        let column = reader
            .headers()?
            .iter()
            .position(|h| h == "id")
            .context("the quarantine's file has no column id")?;
        for record in reader.records() {
            let record = record.with_context(|| format!("reading {quarantine}"))?;
            let id: i64 =
                record.get(column).unwrap_or_default().parse().with_context(|| format!("in {quarantine}"))?;
            // What a replay found excluded is still not there, though rows of the run may refer to it.
            let by_replay = export.passes().next().is_none();
            let kind = moved.get(&id).map(|outcome| kind_of(outcome));
            if kind.is_some_and(|kind| !(by_replay && kind == OutcomeKind::Excluded)) {
                continue;
            }
            writeln!(file, "{id},{id},quarantined").context("writing a temporary file")?;
        }
        is_whole(export, &quarantine, &reader.into_inner().finish())?;
    }
    let mut file = file.into_inner().context("writing a temporary file")?;
    file.rewind().context("reading a temporary file")?;
    Ok(connection.copy_in(sql::FILL_KNOWN_KEYS, file).await?.1)
}
