//! Checks inside each database: structure, sequences, orphans.

use super::cutover_state::CutoverState;
use super::obstacles::has;
use crate::effects::postgres::Connection;
use crate::findings::{Finding, FindingKind, Findings, row_key};
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Check, Export, Sequence};
use crate::stores::schema;
use crate::tables::{self, Table};
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;
use std::sync::Arc;

/// Columns, keys, indexes and references are what `sql/schema` says, and valid.
pub(super) async fn structure(ctx: &Arc<Ctx>, cutover: CutoverState) -> Result<Check> {
    let (mut findings, mut parts) = (Findings::default(), 0);
    for database in Database::ALL {
        let mut connection = ctx.looking(database, "verify").await?;
        let expected = schema::expected_definition(&mut connection, database).await?;
        let mut found = schema::definition(&mut connection, "public").await?;
        if cutover == CutoverState::After {
            // What they have added to it is theirs.
            found.retain(|part| expected.iter().any(|e| e.same_object(part)));
        }
        findings.extend(schema::differences(database, &expected, &found));
        parts += expected.len();
        connection.close().await?;
    }
    let looked_at = format!("{parts} columns, keys, indexes and references");
    Ok(Check::new("structure", looked_at, findings))
}

/// No new row may take an id that the source has given out.
pub async fn sequences_check(ctx: &Arc<Ctx>, export: &Export) -> Result<Check> {
    let mut findings = Findings::default();
    let mut looked_at = 0;
    for database in Database::ALL {
        let (found, sequences) = sequences(ctx, export, database).await?;
        findings.extend(found);
        looked_at += sequences;
    }
    Ok(Check::new("sequences", format!("{looked_at} sequences"), findings))
}

/// What is wrong with the sequences of a database, and how many were looked at.
async fn sequences(ctx: &Ctx, export: &Export, database: Database) -> Result<(Vec<Finding>, usize)> {
    let (mut findings, mut looked_at) = (Vec::new(), 0);
    let mut connection = ctx.looking(database, "verify").await?;
    let wrong = |table: &Table| Finding::new(FindingKind::Sequence, database.into(), table.name).column("id");
    for table in tables::of_database(ctx.tables, database) {
        let Some(record) = export.tables.get(table.name) else { continue };
        if !has(&mut connection, table.name, &["id"]).await? {
            findings.push(wrong(table).detail("the sequence of its id cannot be looked at"));
            continue;
        }
        let query = sql::bind(sql_file!("phases/5-verify/sequence.sql"), &[("table", table.name)]);
        let row = connection.row(&query).await?;
        let Some(name) = row.try_get::<Option<String>, _>("sequence")? else {
            findings.push(wrong(table).detail("its id has no sequence"));
            continue;
        };
        if !row.try_get::<bool, _>("may_be_read")? {
            let user = &ctx.settings.target(database).user;
            findings
                .push(wrong(table).detail(format!("{user} may not read the sequence of its id ({name})")));
            continue;
        }
        let largest = row.try_get::<Option<i64>, _>("largest")?.unwrap_or(0);
        let found = Sequence::read(&mut connection, &name).await?.next();
        let wanted = record.sequence.next().max(largest + 1);
        looked_at += 1;
        let detail = if found < wanted {
            format!("the next new row gets id {found}; ids below {wanted} have been given out ({name})")
        } else if row.try_get::<Option<i64>, _>("greatest")?.is_some_and(|greatest| found > greatest) {
            format!("no new row gets an id: {name} has come to its end, {}", found - 1)
        } else {
            continue;
        };
        let finding = wrong(table).expected(wanted.to_string()).found(found.to_string());
        findings.push(finding.detail(detail));
    }
    connection.close().await?;
    Ok((findings, looked_at))
}

/// Foreign keys looked at as data: a constraint can be there and not hold.
pub(super) async fn orphans(ctx: &Arc<Ctx>) -> Result<Check> {
    let (mut findings, mut looked_at) = (Findings::default(), Vec::new());
    for database in Database::ALL {
        let mut connection = ctx.looking(database, "verify").await?;
        for foreign_key in declared_references(&mut connection, database).await? {
            let [table, column, parent, parent_column] = foreign_key.each_ref().map(String::as_str);
            if !has(&mut connection, table, &["id", column]).await?
                || !has(&mut connection, parent, &[parent_column]).await?
            {
                let finding = Finding::new(FindingKind::NotComparable, database.into(), table).column(column);
                let detail = format!("cannot be looked up in {parent}.{parent_column}");
                findings.extend([finding.detail(detail)]);
                continue;
            }
            let query = sql::bind(
                sql_file!("phases/5-verify/orphans.sql"),
                &[("parent_column", parent_column), ("parent", parent), ("table", table), ("column", column)],
            );
            for row in connection.rows(&query).await? {
                let (id, refers_to): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                let finding = Finding::new(FindingKind::Orphan, database.into(), table).key(row_key(&id));
                findings.add(finding.column(column).found(refers_to).detail(parent), ctx.max_diffs);
            }
            looked_at.push(format!("{table}.{column}"));
        }
        connection.close().await?;
    }
    Ok(Check::new("orphans", looked_at.join(", "), findings))
}

/// The same, for who has no session.
pub async fn references_of(ctx: &Ctx, database: Database) -> Result<Vec<[String; 4]>> {
    let mut connection = ctx.looking(database, "verify").await?;
    let references = declared_references(&mut connection, database).await?;
    connection.close().await?;
    Ok(references)
}

/// The references that `sql/schema` declares: table, column, parent, its column. Not those that are
/// there: a reference that was dropped is where orphans come from.
async fn declared_references(connection: &mut Connection, database: Database) -> Result<Vec<[String; 4]>> {
    connection.run("BEGIN").await?;
    let declared = async {
        schema::create(connection, database).await?;
        let query = sql::bind(sql_file!("phases/5-verify/foreign_keys.sql"), &[("schema", schema::STAGING)]);
        connection.rows(&query).await
    }
    .await;
    connection.run("ROLLBACK").await?;
    let mut references = Vec::new();
    for row in declared? {
        references.push([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?]);
    }
    Ok(references)
}
