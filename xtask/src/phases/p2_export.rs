//! Phase 2, export: every source row gets exactly one outcome, the migrated ones go to one CSV a
//! table, the quarantined ones to another, and what each target must hold is digested.

use super::snapshot::{Snapshot, worker};
use crate::ctx::Ctx;
use crate::digest::{Content, Digest};
use crate::effects::postgres::Connection;
use crate::ledger::{Counted, Outcomes, kind_of};
use crate::manifest::{Export, FileInfo, Sequence, SnapshotInfo, TableExport};
use crate::model::{MIGRATED, Stop};
use crate::sql::{self, Rows};
use crate::sql_file;
use crate::tables::Table;
use anyhow::{Context, Result};
use sqlx::Row;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// user_id → firebase_uid of every user, with the outcome of the user's document.
pub const MAPPING: &str = "user_id_mapping.csv";

/// # Errors
/// `Stop::Differs` where a ledger does not add up, `Stop::Quarantine` above the policy's limit. In
/// both cases no target has been touched.
pub async fn run(ctx: &Arc<Ctx>, snapshot: &Snapshot) -> Result<Export> {
    let started = Instant::now();
    let step = ctx.run.step("2 export")?;
    let estimate = |t: &Table| {
        snapshot
            .tables
            .iter()
            .find(|r| r.schema == "public" && r.table == t.source)
            .map_or(0, |r| r.estimated_rows)
    };
    let mut tables: Vec<(&'static Table, u64)> = ctx.tables.iter().map(|t| (t, estimate(t))).collect();
    tables.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    let tasks = tables.into_iter().map(|(t, rows)| export(ctx.clone(), snapshot.info.clone(), t, rows));
    let (exported, mapping) = tokio::try_join!(super::all(tasks), mapping(ctx, &snapshot.info))?;

    let mut files = BTreeMap::from([(MAPPING.to_string(), mapping)]);
    let mut tables = BTreeMap::new();
    let mut disagreements = Vec::new();
    for one in exported {
        disagreements.extend(one.disagreements);
        files.extend(one.files);
        tables.insert(one.name.to_string(), one.record);
    }
    if !disagreements.is_empty() {
        disagreements.iter().for_each(|d| ctx.terminal.warn(d));
        return Err(Stop::Differs(format!("the ledger does not add up: {}", disagreements.join("; "))).into());
    }
    read_sequences(ctx, &mut tables).await?;
    let export =
        Export { snapshot: snapshot.info.clone(), files, tables, seconds: started.elapsed().as_secs_f64() };
    quarantine_limit(ctx, &export)?;
    step.done(&format!("{} tables", export.tables.len()))?;
    Ok(export)
}

struct Exported {
    name: &'static str,
    record: TableExport,
    files: BTreeMap<String, FileInfo>,
    disagreements: Vec<String>,
}

/// One table: classified, audited, counted and copied, each by a statement of its own.
async fn export(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    table: &'static Table,
    estimate: u64,
) -> Result<Exported> {
    let context = || format!("exporting {} with sql/{}", table.name, table.export.path);
    let step_name = format!("2 export {}", table.name);
    let started = Instant::now();
    let turn = ctx.turn_on_source().await?;
    let step = ctx.run.step(&step_name)?;
    let mut connection = worker(&ctx, &snapshot, "export").await?;
    let select = sql::expand(ctx.tables, table.export)?;
    let shape = connection.describe(&Rows::shape(&select)).await.with_context(context)?;
    let rows = Rows::new(table, select.clone(), shape, &ctx.settings.policy.source_zone)?;
    drop(turn);

    let (file, classified) = tokio::try_join!(
        copy(ctx.clone(), snapshot.clone(), rows.copy_out(), table.file(), Some((table.name, estimate))),
        classify(&ctx, connection, &rows, table, &snapshot),
    )
    .with_context(context)?;
    let Classified { bare, keys, by_outcome, audited, notes, content } = classified;

    let mut files = BTreeMap::from([(table.file(), file.clone())]);
    let quarantined: u64 =
        by_outcome.iter().filter(|(o, _)| kind_of(o) == "quarantined").map(|(_, d)| d.rows).sum();
    let mut in_quarantine = 0;
    if quarantined > 0 {
        let name = format!("quarantine/{}.csv", table.name);
        let info = copy(ctx.clone(), snapshot.clone(), rows.copy_quarantine(), name.clone(), None).await?;
        in_quarantine = info.rows.unwrap_or_default();
        files.insert(name, info);
    }
    if notes > 0 {
        let name = format!("notes/{}.csv", table.name);
        files.insert(name.clone(), copy(ctx.clone(), snapshot.clone(), rows.copy_notes(), name, None).await?);
    }
    let mut disagreements = Counted {
        table: table.name,
        bare,
        keys,
        classified: &by_outcome,
        audited: &audited,
        in_file: file.rows.unwrap_or_default(),
        in_quarantine,
    }
    .disagreements();
    if !disagreements.is_empty() {
        disagreements.extend(name_the_rows(&ctx, &snapshot, table, &select).await?);
    }
    let record = TableExport {
        target_columns: rows.target_columns(),
        columns: rows.columns,
        source_rows: bare,
        outcomes: Outcomes { rows: by_outcome.iter().map(|(o, d)| (o.clone(), d.rows)).collect() },
        notes,
        content,
        sequence: Sequence { last: 1, called: false },
        seconds: started.elapsed().as_secs_f64(),
    };
    step.done(&format!("{} rows", file.rows.unwrap_or_default()))?;
    Ok(Exported { name: table.name, record, files, disagreements })
}

/// Streams one COPY into a file of the run.
async fn copy(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    statement: String,
    name: String,
    bar: Option<(&'static str, u64)>,
) -> Result<FileInfo> {
    let _turn = ctx.turn_on_source().await?;
    let worker = worker(&ctx, &snapshot, "copy").await?;
    let task = bar.map(|(object, rows)| ctx.terminal.task("export", object, rows));
    let mut file = ctx.run.create_file(&name)?;
    let rows = worker
        .copy_out(&statement, |piece, rows| {
            if let Some(task) = &task {
                task.add(rows);
            }
            file.write(piece)
        })
        .await?;
    if let Some(task) = task {
        task.done(rows);
    }
    file.finish(Some(rows))
}

struct Classified {
    bare: u64,
    keys: Digest,
    /// Keys by outcome.
    by_outcome: BTreeMap<String, Digest>,
    /// Keys by kind, by the rules told a second time.
    audited: BTreeMap<String, Digest>,
    notes: u64,
    content: Content,
}

async fn classify(
    ctx: &Arc<Ctx>,
    mut connection: Connection,
    rows: &Rows,
    table: &Table,
    snapshot: &SnapshotInfo,
) -> Result<Classified> {
    let _turn = ctx.turn_on_source().await?;
    let hash = snapshot.hash;
    let count = sql::bind(sql_file!("phases/1-backup/record_counts.sql"), &[("table", table.source)]);
    let bare = u64::try_from(connection.row(&count).await?.try_get::<i64, _>(1)?)?;
    let row = connection.row(&sql::digest_keys("public", table.source, hash)).await?;
    let keys = Digest::new(row.try_get(0)?, row.try_get(1)?)?;

    let (mut by_outcome, mut content, mut notes) = (BTreeMap::<String, Digest>::new(), Content::default(), 0);
    for row in connection.rows(&rows.classify(hash)).await? {
        let outcome: Option<String> = row.try_get(0)?;
        let outcome = outcome.unwrap_or_else(|| "NULL".into());
        let n = row.try_get::<i64, _>(2)?;
        if outcome == MIGRATED {
            content.buckets.insert(row.try_get(1)?, Digest::new(n, row.try_get(5)?)?);
        }
        notes += u64::try_from(row.try_get::<i64, _>(4)?)?;
        by_outcome.entry(outcome).or_default().add(Digest::new(n, row.try_get(3)?)?);
    }
    let mut audited = BTreeMap::new();
    for row in connection.rows(&sql::audit(&sql::expand(ctx.tables, table.audit)?, hash)).await? {
        audited.insert(row.try_get(0)?, Digest::new(row.try_get(1)?, row.try_get(2)?)?);
    }
    connection.close().await?;
    Ok(Classified { bare, keys, by_outcome, audited, notes, content })
}

/// The rows behind a ledger that does not add up.
async fn name_the_rows(
    ctx: &Ctx,
    snapshot: &SnapshotInfo,
    table: &Table,
    select: &str,
) -> Result<Vec<String>> {
    let mut worker = worker(ctx, snapshot, "ledger").await?;
    let mut lines = Vec::new();
    for row in worker.rows(&sql::classification_differences(table, select, ctx.max_diffs)).await? {
        let (id, bare, classified): (String, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        lines.push(format!("{} id {id}: {bare}× in the table, {classified}× in the SELECT", table.name));
    }
    let audit = sql::expand(ctx.tables, table.audit)?;
    for row in worker.rows(&sql::audit_differences(select, &audit, ctx.max_diffs)).await? {
        let (id, outcome, kind): (String, Option<String>, Option<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let said = |what: Option<String>| what.unwrap_or_else(|| "nothing".into());
        lines.push(format!(
            "{} id {id}: {} by the SELECT, {} by the audit",
            table.name,
            said(outcome),
            said(kind)
        ));
    }
    worker.close().await?;
    Ok(lines)
}

async fn mapping(ctx: &Arc<Ctx>, snapshot: &SnapshotInfo) -> Result<FileInfo> {
    let select = sql::expand(ctx.tables, sql_file!("phases/3-transform/user_id_mapping.sql"))?;
    copy(ctx.clone(), snapshot.clone(), sql::copy_csv(&select), MAPPING.into(), None).await
}

/// Sequences are not transactional: read once, now, after the exports, and never lower than the
/// snapshot's largest id (DESIGN rules 1 and 12).
async fn read_sequences(ctx: &Ctx, tables: &mut BTreeMap<String, TableExport>) -> Result<()> {
    let mut connection =
        crate::effects::postgres::connect(&ctx.settings.source, &ctx.purpose("sequences")).await?;
    for table in ctx.tables {
        let query = sql::bind(sql_file!("phases/1-backup/sequence.sql"), &[("table", table.source)]);
        let row = connection.row(&query).await?;
        let (name, largest): (Option<String>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        let (last, called) = match name {
            Some(name) => {
                let state = connection.row(&sql::sequence_state(&name)).await?;
                (state.try_get::<i64, _>(0)?, state.try_get::<bool, _>(1)?)
            }
            None => (1, false),
        };
        let sequence = match largest {
            None => Sequence { last, called },
            Some(largest) => {
                Sequence { last: largest.max(Sequence { last, called }.next() - 1), called: true }
            }
        };
        if let Some(record) = tables.get_mut(table.name) {
            record.sequence = sequence;
        }
    }
    connection.close().await
}

fn quarantine_limit(ctx: &Ctx, export: &Export) -> Result<()> {
    let quarantined: u64 = export.tables.values().map(|t| t.outcomes.sums().quarantined).sum();
    match ctx.settings.policy.max_quarantine {
        Some(limit) if quarantined > limit => Err(Stop::Quarantine(format!(
            "{quarantined} rows, allowed are {limit}; see {}. Mend them in the source, or allow more \
             with --max-quarantine",
            ctx.run.file("quarantine").display()
        ))
        .into()),
        _ => Ok(()),
    }
}
