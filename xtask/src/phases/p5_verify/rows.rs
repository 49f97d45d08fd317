//! Tables of PostgreSQL targets: count and digest, and where they differ the rows with both values.

use super::cutover_state::CutoverState;
use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, Services, TableExport, TableProof};
use crate::run::overlay;
use crate::sql;
use crate::stores::rows::{self, content, missing_columns};
use crate::stores::schema;
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::csv_text;
use sqlx::Row;
use std::sync::Arc;

/// A table of a PostgreSQL target: count and digest, and where they differ the rows.
pub(super) async fn verify(
    ctx: &Arc<Ctx>,
    export: &Export,
    table: &Table,
    record: &TableExport,
    database: Database,
    cutover: CutoverState,
) -> Result<TableProof> {
    let mut connection = ctx.target(database, "verify").await?;
    let expected = record.content.total();
    let mut proof = TableProof { expected_rows: expected.rows, ..TableProof::default() };
    if let Some(missing) = missing_columns(&mut connection, table, record).await? {
        proof.findings.push(missing);
        return Ok(proof);
    }
    let task = ctx.terminal.task("verify", table.name, expected.rows);
    let hash = export.snapshot.hash;
    let found = content(&mut connection, "public", table.name, &record.target_columns, hash).await?;
    proof.found_rows = found.total().rows;
    task.done(proof.found_rows);
    let buckets = record.content.differing(&found);
    if buckets.is_empty() {
        connection.close().await?;
        proof.services = (cutover == CutoverState::After).then(Services::default);
        return Ok(proof);
    }
    if cutover == CutoverState::After {
        return after_cutover(ctx, export, connection, table, database, &buckets).await;
    }
    if proof.found_rows != expected.rows {
        proof
            .findings
            .push(format!("{}: {} rows expected, {} found", table.name, expected.rows, proof.found_rows));
    }
    let rows = differing_rows(ctx, export, connection, table, database, &buckets).await?;
    if rows.is_empty() {
        // The files of the run do not show it: they are damaged, or it was fixed just now.
        proof.findings.push(format!(
            "{}: the digest differs in the ranges {buckets:?} × {}",
            table.name,
            sql::BUCKET
        ));
    }
    proof.findings.extend(rows);
    Ok(proof)
}

/// What the services have done since, counted, and what of ours is not there any more.
async fn after_cutover(
    ctx: &Ctx,
    export: &Export,
    connection: Connection,
    table: &Table,
    database: Database,
    buckets: &[i64],
) -> Result<TableProof> {
    let record = export.tables.get(table.name).context("the run's manifest does not know this table")?;
    let mut connection = with_expected(ctx, export, connection, table, database, buckets).await?;
    let counts = sql::row_difference_counts(table.name, &record.target_columns, buckets);
    let row = connection.row(&counts).await?;
    let count = |column: usize| -> Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?)?) };
    let (added, missing, changed) = (count(0)?, count(1)?, count(2)?);
    let expected = record.content.total().rows;
    let mut proof = TableProof {
        expected_rows: expected,
        found_rows: expected + added - missing,
        services: Some(Services { added, changed }),
        ..TableProof::default()
    };
    if missing > 0 {
        proof.findings.push(format!("{}: {missing} of the run's rows are missing", table.name));
        for row in connection.rows(&sql::missing_rows(table.name, buckets, ctx.max_diffs)).await? {
            proof.findings.push(format!("{} id {}: is missing", table.name, row.try_get::<String, _>(0)?));
        }
    }
    connection.run("ROLLBACK").await?;
    connection.close().await?;
    Ok(proof)
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
    export: &Export,
    connection: Connection,
    table: &Table,
    database: Database,
    buckets: &[i64],
) -> Result<Vec<String>> {
    let record = export.tables.get(table.name).context("the run's manifest does not know this table")?;
    let mut connection = with_expected(ctx, export, connection, table, database, buckets).await?;
    let query = sql::row_differences(table.name, &record.target_columns, buckets, ctx.max_diffs);
    let mut lines = Vec::new();
    for row in connection.rows(&query).await? {
        let values = |column: usize| -> Result<Option<Vec<Option<String>>>> {
            let json: Option<String> = row.try_get(column)?;
            Ok(json.as_deref().map(serde_json::from_str).transpose()?)
        };
        let (id, expected, found): (String, _, _) = (row.try_get(0)?, values(1)?, values(2)?);
        let name = table.name;
        if let Some(times @ 2..) = row.try_get::<Option<i64>, _>(3)? {
            lines.push(format!("{name} id {id}: is there {times} times"));
        }
        match (expected, found) {
            (Some(_), None) => lines.push(format!("{name} id {id}: is missing")),
            (None, Some(_)) => lines.push(format!("{name} id {id}: is not of this run")),
            (Some(expected), Some(found)) => {
                for ((column, expected), found) in record.target_columns.iter().zip(expected).zip(found) {
                    if expected != found {
                        let (e, f) = (expected.as_deref(), found.as_deref());
                        let (expected, found) = (csv_text::shown(e, f), csv_text::shown(f, e));
                        lines.push(format!(
                            "{name} id {id}: {}: expected {expected}, found {found}",
                            column.name
                        ));
                    }
                }
            }
            (None, None) => {}
        }
    }
    connection.run("ROLLBACK").await?;
    connection.close().await?;
    // A row that is there twice is shown twice.
    lines.dedup();
    Ok(lines)
}
