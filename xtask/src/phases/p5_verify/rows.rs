//! Tables of PostgreSQL targets: count and digest, and where they differ the rows with both values.

use super::cutover_state::CutoverState;
use crate::changes;
use crate::effects::idle::Idle;
use crate::effects::postgres::{self, Connection};
use crate::findings::{Counts, Finding, FindingKind, Store, row_key};
use crate::model::Database;
use crate::remembered::TableThen;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, Services, TableExport, TableProof};
use crate::run::overlay;
use crate::sql;
use crate::stores::remembering;
use crate::stores::rows::{self, content, missing_columns};
use crate::stores::schema;
use crate::tables::Table;
use anyhow::{Context, Result};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::sync::Arc;

/// A table of a PostgreSQL target: whether it is still what it was proven to be, else count and digest, and where
/// they differ the rows. Besides, what is remembered of it where it was digested.
pub(super) async fn verify(
    ctx: &Arc<Ctx>,
    export: &Export,
    table: &Table,
    record: &TableExport,
    (database, cutover): (Database, CutoverState),
    (then, idle): (Option<&TableThen>, &Idle),
) -> Result<(TableProof, Option<TableThen>)> {
    let expected = record.content.total();
    let waits_for = format!("its turn on {database}");
    let task = ctx.terminal.waiting("verify", table.name, expected.rows, &waits_for);
    let _permit = ctx.target_permit(database, expected.rows).await;
    let mut connection = idle.take(ctx.looking(database, "verify")).await?;
    task.begins();
    let mut proof = TableProof { expected_rows: expected.rows, ..TableProof::default() };
    if let Some(missing) = missing_columns(&mut connection, table, record).await? {
        proof.counts.other = 1;
        proof.findings.push(missing);
        return Ok((proof, None));
    }
    if cutover == CutoverState::After {
        proof.services = Some(Services::default());
    }
    if let Some(then) = then.filter(|_| export.snapshot.hash.is_exact())
        && let Some(rows) = remembering::unchanged(ctx, &mut connection, table.name, record, then).await?
    {
        (proof.found_rows, proof.counts.equal) = (rows, rows);
        proof.unchanged_since = Some(then.at.clone());
        task.done(rows);
        idle.put(connection);
        return Ok((proof, None));
    }
    let remembered =
        by_digest(ctx, export, connection, (table, record), (database, cutover), &mut proof).await?;
    task.done(proof.found_rows);
    Ok((proof, remembered))
}

async fn by_digest(
    ctx: &Arc<Ctx>,
    export: &Export,
    mut connection: Connection,
    (table, record): (&Table, &TableExport),
    (database, cutover): (Database, CutoverState),
    proof: &mut TableProof,
) -> Result<Option<TableThen>> {
    let (expected, hash) = (record.content.total(), export.snapshot.hash);
    changes::begin(&mut connection, remembering::place(table.name)).await?;
    let found = match content(&mut connection, "public", table.name, &record.target_columns, hash).await {
        Ok(found) => found,
        Err(error) => {
            proof.counts.other = 1;
            proof.findings.push(unreadable(table, error)?);
            return Ok(None);
        }
    };
    proof.found_rows = found.total().rows;
    let buckets = match hash.is_exact() {
        true => record.content.differing(&found),
        // Equal digests prove nothing: every row is compared.
        false => record.content.all_buckets(&found),
    };
    if buckets.is_empty() {
        let remembered = remembering::proven(ctx, &mut connection, table.name, expected).await?;
        connection.close().await?;
        proof.counts.equal = expected.rows;
        return Ok(remembered);
    }
    connection.run("COMMIT").await?;
    let mut connection = with_expected(ctx, export, connection, table, database, &buckets).await?;
    row_by_row(ctx, &mut connection, table, record, &buckets, proof).await?;
    connection.run("ROLLBACK").await?;
    connection.close().await?;
    if hash.is_exact() && cutover == CutoverState::Before && proof.is_green() {
        // The files of the run do not show it: they are damaged, or it was repaired just now.
        proof.counts.other = 1;
        let detail = format!("the digest differs in the ranges {buckets:?} × {}", sql::BUCKET);
        let finding = Finding::new(FindingKind::Digest, database.into(), table.name);
        proof.findings.push(finding.detail(detail));
    }
    Ok(None)
}

/// Values that cannot be read as what they have to be: a column has got another type. Other errors are
/// errors.
fn unreadable(table: &Table, error: anyhow::Error) -> Result<Finding> {
    // Of SQLSTATE: values (22), and casts that there are not (42846).
    let code = postgres::code(&error).unwrap_or_default();
    if !code.starts_with("22") && code != "42846" {
        return Err(error);
    }
    let finding = Finding::new(FindingKind::NotComparable, Store::of(table), table.name);
    let why = postgres::unquoted(&postgres::message(&error).unwrap_or_default()).to_string();
    Ok(finding.detail(format!("its rows cannot be compared: {why}")))
}

/// Compares the rows of these buckets with the expected ones, beside which they stand.
async fn row_by_row(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    record: &TableExport,
    buckets: &[i64],
    proof: &mut TableProof,
) -> Result<()> {
    proof.counts = counts(connection, table, record, buckets).await?;
    let Counts { equal, different, missing, extra, .. } = proof.counts;
    if let Some(services) = &mut proof.services {
        *services = Services { added: extra, changed: different };
        proof.findings.extend((missing > 0).then(|| Finding::lost(table, missing)));
        proof.findings.extend(missing_rows(ctx, connection, table, buckets).await?);
    } else {
        if proof.found_rows != proof.expected_rows {
            proof.findings.push(Finding::count(table, proof.expected_rows, proof.found_rows));
        }
        proof.findings.extend(differing_rows(ctx, connection, table, record, buckets).await?);
    }
    // Rows that were written while we looked are counted once.
    proof.found_rows = equal + different + extra;
    Ok(())
}

/// How the table's rows compare: those of these buckets one by one, all others are equal by their digests.
async fn counts(
    connection: &mut Connection,
    table: &Table,
    record: &TableExport,
    buckets: &[i64],
) -> Result<Counts> {
    let query = sql::row_difference_counts(table.name, &record.target_columns, buckets);
    let row = connection.row(&query).await?;
    let count = |column: usize| -> Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?)?) };
    Ok(Counts {
        equal: record.content.outside(buckets).rows + count(0)?,
        different: count(1)?,
        missing: count(2)?,
        extra: count(3)?,
        other: 0,
    })
}

/// Rows of ours that are not there any more.
async fn missing_rows(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    buckets: &[i64],
) -> Result<Vec<Finding>> {
    let missing = connection.rows(&sql::missing_rows(table.name, buckets, ctx.max_diffs)).await?;
    let finding = |row: &PgRow| {
        let id: String = row.try_get(0)?;
        Ok(Finding::new(FindingKind::Missing, Store::of(table), table.name).key(row_key(&id)))
    };
    missing.iter().map(finding).collect()
}

/// Begins a transaction in which the rows that the run's file has of these ranges stand in a table
/// `expected`; nothing is asked of the source.
async fn with_expected(
    ctx: &Ctx,
    export: &Export,
    mut connection: Connection,
    table: &Table,
    database: Database,
    buckets: &[i64],
) -> Result<Connection> {
    let record = export.tables.get(table.name).context("the run's manifest does not know this table")?;
    let (create, fill) = sql::expected_rows(schema::STAGING, table.name, &record.target_columns, buckets);
    connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    // The expected rows need the types of sql/schema: the table's own may have become too narrow.
    schema::create(&mut connection, database).await?;
    connection.run(&create).await?;
    let mut reader = overlay::open(&ctx.run, export, &table.file())?;
    Ok(rows::feed(connection, &fill, &mut reader, table, record).await?.1)
}

/// The rows of these ranges of ids that differ, with both values.
async fn differing_rows(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
    record: &TableExport,
    buckets: &[i64],
) -> Result<Vec<Finding>> {
    let query = sql::row_differences(table.name, &record.target_columns, buckets, ctx.max_diffs);
    let mut findings = Vec::new();
    for row in connection.rows(&query).await? {
        let values = |column: usize| -> Result<Option<Vec<Option<String>>>> {
            let json: Option<String> = row.try_get(column)?;
            Ok(json.as_deref().map(serde_json::from_str).transpose()?)
        };
        let id = row.try_get::<Option<String>, _>(0)?.unwrap_or_else(|| "NULL".to_string());
        let of_row = |kind| Finding::new(kind, Store::of(table), table.name).key(row_key(&id));
        let times = row.try_get::<Option<i64>, _>(3)?.unwrap_or_default();
        if times > 1 {
            findings.push(of_row(FindingKind::Doubled).found(times.to_string()));
        }
        match (values(1)?, values(2)?) {
            (None, Some(_)) if times > 1 => {}
            (Some(_), None) => findings.push(of_row(FindingKind::Missing)),
            (None, Some(_)) => findings.push(of_row(FindingKind::Extra)),
            (Some(expected), Some(found)) => {
                for ((column, e), f) in record.target_columns.iter().zip(expected).zip(found) {
                    if e != f {
                        let (e, f) = (e.as_deref(), f.as_deref());
                        findings.push(Finding::value(table, &id, &column.name, e, f));
                    }
                }
            }
            (None, None) => {}
        }
    }
    // A row that is there twice is shown twice.
    findings.dedup();
    Ok(findings)
}
