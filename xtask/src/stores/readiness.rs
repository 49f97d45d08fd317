//! Whether a store can be written: empty, complete with what this run writes, or in the way.

use crate::effects::postgres;
use crate::findings::Values;
use crate::model::{Database, Existing, refused};
use crate::remembered::TableThen;
use crate::run::ctx::Ctx;
use crate::run::lock_waits;
use crate::run::manifest::Export;
use crate::source::sequences;
use crate::stores::prerequisites;
use crate::stores::{documents, ownership, remembering, rows, schema, swap};
use crate::tables::{self, Table, To};
use crate::{sql, sql_file};
use anyhow::Result;
use datapath::document::Collection;
use datapath::firestore::{Address, Firestore};
use sqlx::Row;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is in the way, but for its name.
pub const FOREIGN: &str = "that are not this run's";

/// What keeps a database from being loaded, and whether it holds this run's rows already.
///
/// # Errors
/// Refuses where a table is not to be had.
pub async fn database(
    ctx: &Arc<Ctx>,
    database: Database,
    export: Option<&Export>,
) -> Result<(Vec<String>, bool)> {
    match looked_at(ctx, database, export).await {
        Err(error) if postgres::has_no_room_for_locks(&error) => Err(refused(error)),
        Err(error) => Err(lock_waits::explained(ctx, ctx.settings.target(database), error).await),
        found => found,
    }
}

async fn looked_at(
    ctx: &Arc<Ctx>,
    database: Database,
    export: Option<&Export>,
) -> Result<(Vec<String>, bool)> {
    let mut connection = ctx.target(database, "preflight").await?;
    connection.run(crate::sql::WAIT_FOR_LOCKS).await?;
    let lacking = lacking(ctx, &mut connection, database).await?;
    if !lacking.is_empty() {
        return Ok((lacking, false));
    }
    if !schema::hidden(ctx, &mut connection, database).await?.is_empty() {
        // What they hold is not known: they are not what they have to be, that is enough.
        return Ok((differences(&mut connection, database, &[]).await?, false));
    }
    let existing = schema::existing(ctx, &mut connection, database).await?;
    let ours = tables::of_database(ctx.tables, database).map(|table| table.name);
    let missing: Vec<&str> = ours.filter(|name| !existing.iter().any(|(there, _)| there == name)).collect();
    let mut found = differences(&mut connection, database, &missing).await?;
    if existing.iter().any(|(_, rows)| *rows > 0) {
        let others = match export {
            Some(export) if found.is_empty() => {
                not_this_runs(ctx, &mut connection, export, &existing).await?
            }
            _ => existing.iter().map(|(name, _)| *name).collect(),
        };
        let own = others.is_empty() && is_own(ctx, &mut connection, &missing).await?;
        if own && missing.is_empty() {
            // Nothing has to be brought there.
            connection.close().await?;
            return Ok((found, true));
        }
        // Where tables of its own are missing all are brought again, and take the place of those that are there.
        if !own && ctx.existing == Existing::Replace {
            if found.is_empty() {
                found.extend(ownership::changed_tables(ctx, &mut connection, database, &existing).await?);
            }
        } else if !own {
            found.extend(in_the_way(ctx, &mut connection, database, &existing, &others).await?);
        }
    }
    if found.is_empty() {
        found.extend(swap::rehearse(ctx, &mut connection, database).await?);
    }
    connection.close().await?;
    Ok((found, false))
}

/// Columns that are there and cannot hold the ids which the source has given out, a line each.
async fn too_narrow(ctx: &Ctx, database: Database, export: Option<&Export>) -> Result<Vec<String>> {
    let names = sql::array(tables::of_database(ctx.tables, database).map(|table| table.name));
    let narrow = sql::bind(sql_file!("phases/4-import/narrow.sql"), &[("tables", &names)]);
    let mut connection = ctx.target(database, "preflight").await?;
    let narrow = connection.rows(&narrow).await?;
    connection.close().await?;
    if narrow.is_empty() {
        return Ok(Vec::new());
    }
    let last: BTreeMap<&str, i64> = match export {
        Some(export) => {
            export.tables.iter().map(|(name, table)| (name.as_str(), table.sequence.last)).collect()
        }
        None => sequences::of_tables(ctx).await?.into_iter().map(|(name, s)| (name, s.last)).collect(),
    };
    let mut found = Vec::new();
    for row in narrow {
        let (table, column): (String, String) = (row.try_get("table")?, row.try_get("column")?);
        let of_another =
            ctx.tables.iter().filter(|t| t.name == table).flat_map(|t| t.references).find_map(|reference| {
                match reference.to {
                    To::Row(_, other) if reference.column == column => Some(other.to_string()),
                    _ => None,
                }
            });
        let ids_of = row.try_get::<Option<String>, _>("ids_of")?.or(of_another);
        let last = ids_of.as_deref().and_then(|of| last.get(of)).copied().unwrap_or_default();
        if last > i64::from(i32::MAX) {
            found.push(format!(
                "{table}.{column} in {} is integer, and the source's ids have come to {}: {}",
                ctx.settings.target(database),
                crate::model::grouped(last.unsigned_abs()),
                row.try_get::<String, _>("statement")?
            ));
        }
    }
    Ok(found)
}

/// What the database itself lacks, whatever its tables are: nothing else can be looked at then.
async fn lacking(
    ctx: &Ctx,
    connection: &mut postgres::Connection,
    database: Database,
) -> Result<Vec<String>> {
    let server = ctx.settings.target(database);
    let tables = tables::of_database(ctx.tables, database);
    let mut lacking = prerequisites::privileges(connection, tables).await?.missing;
    lacking.extend(prerequisites::encoding(connection, server).await?);
    lacking.extend(prerequisites::read_only(ctx, database, connection).await?);
    Ok(lacking.iter().map(|lacking| format!("{server}: {lacking}")).collect())
}

/// Rows that stay where they are, and so are in the way, a line each.
async fn in_the_way(
    ctx: &Ctx,
    connection: &mut postgres::Connection,
    database: Database,
    existing: &[(&str, u64)],
    others: &[&str],
) -> Result<Vec<String>> {
    let server = ctx.settings.target(database);
    // Where the rows are an earlier run's and the same, all of them are in the way.
    let filled =
        existing.iter().filter(|(name, rows)| *rows > 0 && (others.is_empty() || others.contains(name)));
    let line = |(name, rows): &(&str, u64)| {
        format!("{name} in {server} holds {rows} rows {FOREIGN}: a target has to be empty")
    };
    let mut found: Vec<String> = filled.map(line).collect();
    if ownership::is_newest(ctx, connection).await? {
        found.push(format!(
            "this run brought rows into {server}, and they or the tables have been changed since: \
             `cargo xtask repair --run {}` shows how, and repairs it",
            ctx.run.id()
        ));
    }
    Ok(found)
}

/// How the tables that are there differ from what `sql/schema` says, a line each. References to a table
/// that is missing went with it: they come back with it, too.
async fn differences(
    connection: &mut postgres::Connection,
    database: Database,
    missing: &[&str],
) -> Result<Vec<String>> {
    let expected = schema::expected_definition(connection, database).await?;
    let public = schema::definition(connection, "public").await?;
    let went = |difference: &schema::Difference| {
        difference.expected.is_some_and(|part| missing.iter().any(|table| part.refers_to(table)))
    };
    let differences = schema::compared(&expected, &public);
    let differences = differences.iter().filter(|difference| !went(difference));
    let findings = differences.filter_map(|difference| difference.finding(database));
    Ok(findings.map(|finding| finding.text(Values::Masked)).collect())
}

/// Which of the tables that are there do not hold exactly what this run brings: by row versions those that it
/// has proven before, else by digest.
async fn not_this_runs<'t>(
    ctx: &Ctx,
    connection: &mut postgres::Connection,
    export: &Export,
    there: &[(&'t str, u64)],
) -> Result<Vec<&'t str>> {
    let remembered = ctx.run.load_manifest()?.remembered;
    let mut others = Vec::new();
    for (name, _) in there {
        if !is_this_runs(ctx, connection, export, name, remembered.get(*name)).await? {
            others.push(*name);
        }
    }
    Ok(others)
}

async fn is_this_runs(
    ctx: &Ctx,
    connection: &mut postgres::Connection,
    export: &Export,
    table: &str,
    then: Option<&TableThen>,
) -> Result<bool> {
    let Some(record) = export.tables.get(table) else { return Ok(false) };
    if let Some(then) = then
        && remembering::unchanged(ctx, connection, table, record, then).await?.is_some()
    {
        return Ok(true);
    }
    let (columns, hash) = (&record.target_columns, export.snapshot.hash);
    Ok(rows::content(connection, "public", table, columns, hash).await? == record.content)
}

/// Whether rows like this run's are its own for sure. Where an earlier run is replaced, its rows may be the
/// same, but its sequences are not; and where tables are missing, those that are there are replaced.
async fn is_own(ctx: &Ctx, connection: &mut postgres::Connection, missing: &[&str]) -> Result<bool> {
    match ctx.existing {
        Existing::Refuse if missing.is_empty() => Ok(true),
        _ => ownership::is_newest(ctx, connection).await,
    }
}

pub async fn databases(ctx: &Arc<Ctx>, export: Option<&Export>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for database in Database::ALL {
        found.extend(self::database(ctx, database, export).await?.0);
        found.extend(too_narrow(ctx, database, export).await?);
    }
    Ok(found)
}

/// What keeps documents from being written.
pub async fn collections(ctx: &Arc<Ctx>, export: Option<&Export>) -> Result<Vec<String>> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let mut found = Vec::new();
    for table in ctx.tables {
        if let Some(collection) = table.collection() {
            found.extend(self::collection(ctx, &firestore, table, collection, export).await?.0);
        }
    }
    Ok(found)
}

/// What a collection holds, before this run writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Nothing,
    /// Some of what this run writes, nothing else.
    Own,
    /// What others have written, to be replaced where an earlier run did.
    Others,
}

/// What keeps a collection from being written, a line each, and what it holds.
pub async fn collection(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    table: &'static Table,
    collection: &Collection,
    export: Option<&Export>,
) -> Result<(Vec<String>, Holds)> {
    let standing = documents::standing(ctx, firestore, table, collection, export).await?;
    let holds = match standing.there {
        0 => Holds::Nothing,
        _ if standing.is_own() => Holds::Own,
        _ => Holds::Others,
    };
    let mut found = Vec::new();
    if holds == Holds::Others && ctx.existing == Existing::Replace {
        found.extend(ownership::changed_documents(ctx, firestore, table, collection, export).await?);
    } else if holds == Holds::Others {
        found.push(format!(
            "collection {} of project {} holds {} documents {FOREIGN}: it has to be empty",
            collection.name,
            ctx.settings.firestore.project,
            standing.others()
        ));
        if let Some(export) = export {
            let named = documents::not_own(ctx, firestore, table, collection, export, standing).await?;
            found.extend(named.iter().map(|finding| finding.text(ctx.values)));
        }
    }
    Ok((found, holds))
}

/// What keeps the targets from being written, a line each.
pub async fn obstacles(ctx: &Arc<Ctx>, export: Option<&Export>) -> Result<Vec<String>> {
    let looked = tokio::try_join!(databases(ctx, export), collections(ctx, export));
    let (mut found, documents) = looked.map_err(refused)?;
    found.extend(documents);
    Ok(found)
}
