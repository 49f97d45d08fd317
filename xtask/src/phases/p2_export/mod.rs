//! Phase 2, export: every source row gets exactly one outcome, the migrated ones go to one CSV a
//! table, the quarantined ones to another, and what each target must hold is digested.

use crate::effects::postgres::Connection;
use crate::forecast::too_many_quarantined;
use crate::hazards::Found;
use crate::ledger::{Counted, Outcomes};
use crate::model::Stop;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, Sequence, SnapshotInfo, TableExport};
use crate::run::overlay;
use crate::source::assess::rows::{self, Quarantined};
use crate::source::digests::raw_rows;
use crate::source::sequences;
use crate::source::snapshot::{Snapshot, TableSize, worker};
use crate::sql::{self, Rows};
use crate::sql_file;
use crate::steps::StepName;
use crate::tables::{MAPPING, Table, USERS};
use anyhow::{Context, Result};
use datapath::digest::Digest;
use datapath::files::{CountedFile, FileInfo};
use datapath::sorting::{Sorted, Sorting, notes_of, outcomes_of};
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Rows between two steps of a bar.
const BAR_STEP: u64 = 512;

/// # Errors
/// `Stop::Differs` where a ledger does not add up, `Stop::Quarantine` above the policy's limit. In
/// both cases no target has been touched. Besides the export what is wrong with the rows.
pub async fn run(ctx: &Arc<Ctx>, snapshot: &Snapshot) -> Result<(Export, Vec<Found>)> {
    let started = Instant::now();
    let step = ctx.run.step(StepName::Export)?;
    let size = |t: &Table| {
        let found = snapshot.tables.iter().find(|r| r.schema == "public" && r.table == t.source);
        found.map(TableSize::from).unwrap_or_default()
    };
    let mut tables: Vec<(&'static Table, TableSize)> = ctx.tables.iter().map(|t| (t, size(t))).collect();
    tables.sort_by_key(|(_, size)| std::cmp::Reverse(size.rows));
    let tasks = tables.into_iter().map(|(t, size)| export(ctx.clone(), snapshot.info.clone(), t, size));
    let (exported, mapping, mut hazards) = tokio::try_join!(
        crate::run::join::all(tasks),
        mapping(ctx, &snapshot.info),
        rows::queried(ctx, &snapshot.info)
    )?;

    let mut files = BTreeMap::from([(MAPPING.to_string(), mapping)]);
    let mut tables = BTreeMap::new();
    let mut disagreements = Vec::new();
    let (mut open, mut quarantined) = (Vec::new(), Vec::new());
    for one in exported {
        disagreements.extend(one.disagreements);
        files.extend(one.files);
        quarantined.push(Quarantined::of(one.table, &one.quarantined));
        open.push((one.table, one.quarantined.into_iter().map(|(id, _)| id).collect()));
        tables.insert(one.table.name.to_string(), one.record);
    }
    if !disagreements.is_empty() {
        disagreements.iter().for_each(|d| ctx.terminal.warn(d));
        return Err(Stop::Differs(format!("the ledger does not add up: {}", disagreements.join("; "))).into());
    }
    read_sequences(ctx, &mut tables).await?;
    let mut export = Export {
        snapshot: snapshot.info.clone(),
        files,
        tables,
        seconds: started.elapsed().as_secs_f64(),
        replays: Vec::new(),
    };
    quarantine_limit(ctx, &export)?;
    read_open(ctx, &mut export, open).await?;
    step.done(&format!("{} tables", export.tables.len()))?;
    hazards.extend(rows::of_outcomes(ctx, quarantined));
    Ok((export, hazards))
}

struct Exported {
    table: &'static Table,
    /// With their reasons.
    quarantined: Vec<(i64, String)>,
    record: TableExport,
    files: BTreeMap<String, FileInfo>,
    disagreements: Vec<String>,
}

/// The rows that a person may fix in the source, whole as they are there now: what replays them has to
/// tell them from all others that change.
async fn read_open(
    ctx: &Ctx,
    export: &mut Export,
    quarantined: Vec<(&'static Table, BTreeSet<i64>)>,
) -> Result<()> {
    for (table, mut open) in quarantined {
        if table.name == USERS {
            open.extend(overlay::users_without_uid(&ctx.run, export)?);
        }
        let open: Vec<i64> = open.into_iter().collect();
        let rows = raw_rows(ctx, &export.snapshot, table.source, &open).await?;
        if let Some(record) = export.tables.get_mut(table.name) {
            record.open = Digest::of(rows.values());
        }
    }
    Ok(())
}

/// The rows in quarantine as they are in the source, where there are any: the file and its name.
async fn quarantine(
    ctx: &Ctx,
    snapshot: &SnapshotInfo,
    table: &Table,
    rows: &Rows,
    quarantined: &[(i64, String)],
) -> Result<Option<(String, FileInfo)>> {
    if quarantined.is_empty() {
        return Ok(None);
    }
    let name = format!("quarantine/{}.csv", table.name);
    let info =
        copy(ctx, snapshot, &rows.copy_quarantine(table, quarantined, &snapshot.reading), &name).await?;
    Ok(Some((name, info)))
}

/// One table: read once and sorted; counted and audited beside it, by statements of their own.
async fn export(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    table: &'static Table,
    size: TableSize,
) -> Result<Exported> {
    let context = || format!("exporting {} with sql/{}", table.name, table.export.path);
    let started = Instant::now();
    let permit = ctx.source_permit(u64::MAX).await;
    let step = ctx.run.step(StepName::ExportTable(table.name.to_string()))?;
    let mut connection = worker(&ctx, &snapshot, "export").await?;
    let select = sql::expand(ctx.tables, table.export, &snapshot.reading)?;
    let shape = connection.describe(&Rows::shape(&select)).await.with_context(context)?;
    let rows = Rows::new(table, select.clone(), shape, ctx.treatment(&snapshot.reading))?;
    drop(permit);

    let (sorted, told) = tokio::try_join!(
        sort(&ctx, &snapshot, &rows, table, size),
        count_and_audit(&ctx, connection, table, &snapshot, size),
    )
    .with_context(context)?;
    let Sorted { file, pieces, notes, left, by_outcome, content, quarantined } = sorted;

    let mut files = BTreeMap::from([(table.file(), file.clone())]);
    let quarantine = quarantine(&ctx, &snapshot, table, &rows, &quarantined).await?;
    let in_quarantine = quarantine.as_ref().and_then(|(_, info)| info.rows).unwrap_or_default();
    files.extend(quarantine);
    let noted = notes.as_ref().and_then(|info| info.rows).unwrap_or_default();
    files.extend(notes.map(|info| (notes_of(table.name), info)));
    files.extend(left.map(|info| (outcomes_of(table.name), info)));
    let mut disagreements = Counted {
        table: table.name,
        bare: told.bare,
        keys: told.keys,
        classified: &by_outcome,
        audited: &told.audited,
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
        source_rows: told.bare,
        outcomes: Outcomes { rows: by_outcome.iter().map(|(o, d)| (o.clone(), d.rows)).collect() },
        open: Digest::default(),
        notes: noted,
        content,
        sequence: Sequence { last: 1, called: false },
        pieces,
        seconds: started.elapsed().as_secs_f64(),
    };
    step.done(&format!("{} rows", file.rows.unwrap_or_default()))?;
    Ok(Exported { table, quarantined, record, files, disagreements })
}

/// Reads the table once and sorts its rows.
async fn sort(
    ctx: &Ctx,
    snapshot: &SnapshotInfo,
    rows: &Rows,
    table: &'static Table,
    size: TableSize,
) -> Result<Sorted> {
    // A row that comes here costs three times what a row costs that is only counted.
    let task = ctx.terminal.waiting("export", table.name, size.rows, "its turn on the source");
    let _permit = ctx.source_permit(3 * size.rows).await;
    let worker = worker(ctx, snapshot, "copy").await?;
    task.begins();
    let mut sorting = Sorting::new(Box::new(|name| ctx.run.create_file(name)), table.name, &table.file())?;
    let mut rows_seen = 0_u64;
    let take = |line: &[u8]| {
        rows_seen += 1;
        // The bar is not worth an atomic step for each row.
        if rows_seen.is_multiple_of(BAR_STEP) {
            task.add(BAR_STEP);
        }
        sorting.row(line)
    };
    worker.copy_rows_slowly(&rows.copy_sorted(snapshot.hash), &ctx.throttle, take).await?;
    let sorted = sorting.finish()?;
    task.done(sorted.file.rows.unwrap_or_default());
    Ok(sorted)
}

/// Streams one COPY into a file of the run as it comes.
async fn copy(ctx: &Ctx, snapshot: &SnapshotInfo, statement: &str, name: &str) -> Result<FileInfo> {
    let _permit = ctx.source_permit(0).await;
    let worker = worker(ctx, snapshot, "copy").await?;
    let mut file = CountedFile::new(ctx.run.create_file(name)?);
    worker.copy_rows_slowly(statement, &ctx.throttle, |line| file.write(line)).await?;
    Ok(file.finish()?.0)
}

/// What is told of a table on other ways than by the reading that makes its file.
struct CountedApart {
    /// The bare table: `count(*)`.
    bare: u64,
    /// The bare table's keys.
    keys: Digest,
    /// Keys by kind, by the rules told a second time.
    audited: BTreeMap<String, Digest>,
}

async fn count_and_audit(
    ctx: &Ctx,
    mut connection: Connection,
    table: &Table,
    snapshot: &SnapshotInfo,
    size: TableSize,
) -> Result<CountedApart> {
    let _permit = ctx.source_permit(size.rows).await;
    // Each of these statements reads the table, the audit at least once.
    ctx.throttle.pass(size.bytes).await;
    let hash = snapshot.hash;
    let row = connection.row(&sql::digest_keys("public", table.source, hash)).await?;
    let bare = u64::try_from(row.try_get::<i64, _>(0)?)?;
    let keys = Digest::new(row.try_get(1)?, row.try_get(2)?)?;
    let mut audited = BTreeMap::new();
    let audit = sql::expand(ctx.tables, table.audit, &snapshot.reading)?;
    ctx.throttle.pass(size.bytes).await;
    for row in connection.rows(&sql::audit(&audit, hash)).await? {
        audited.insert(row.try_get(0)?, Digest::new(row.try_get(1)?, row.try_get(2)?)?);
    }
    connection.close().await?;
    Ok(CountedApart { bare, keys, audited })
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
    let audit = sql::expand(ctx.tables, table.audit, &snapshot.reading)?;
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
    let file = sql_file!("phases/3-transform/user_id_mapping.sql");
    let select = sql::expand(ctx.tables, file, &snapshot.reading)?;
    copy(ctx, snapshot, &sql::copy_csv(&select), MAPPING).await
}

/// Read once, now, after the exports.
async fn read_sequences(ctx: &Ctx, tables: &mut BTreeMap<String, TableExport>) -> Result<()> {
    for (table, sequence) in sequences::of_tables(ctx).await? {
        if let Some(record) = tables.get_mut(table) {
            record.sequence = sequence;
        }
    }
    Ok(())
}

/// # Errors
/// `Stop::Quarantine` above the limit of the policy.
pub fn quarantine_limit(ctx: &Ctx, export: &Export) -> Result<()> {
    let tables = export.tables.iter().map(|(name, t)| (name.as_str(), t.outcomes.sums().quarantined));
    match too_many_quarantined(tables, ctx.settings.policy.max_quarantine) {
        Some(why) => {
            let rows = ctx.run.file("quarantine");
            Err(Stop::Quarantine(format!("{why}. The rows are in {}", rows.display())).into())
        }
        None => Ok(()),
    }
}
