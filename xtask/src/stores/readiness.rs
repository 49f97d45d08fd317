//! Whether a store can be written: empty, complete with what this run writes, or in the way.

use crate::effects::postgres;
use crate::findings::Values;
use crate::model::{Database, Existing, refused};
use crate::run::ctx::Ctx;
use crate::run::lock_waits;
use crate::run::manifest::Export;
use crate::stores::{documents, ownership, rows, schema, staging};
use crate::tables::Table;
use anyhow::Result;
use datapath::document::Collection;
use datapath::firestore::{Address, Firestore};
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
        Err(error) => Err(lock_waits::explained(ctx, ctx.settings.target(database), error).await),
        found => found,
    }
}

pub async fn looked_at(
    ctx: &Arc<Ctx>,
    database: Database,
    export: Option<&Export>,
) -> Result<(Vec<String>, bool)> {
    let mut connection = ctx.target(database, "preflight").await?;
    connection.run(lock_waits::PATIENCE).await?;
    let expected = schema::expected_definition(&mut connection, database).await?;
    let public = schema::definition(&mut connection, "public").await?;
    let differences = schema::differences(database, &expected, &public);
    let mut found: Vec<String> = differences.iter().map(|finding| finding.text(Values::Masked)).collect();
    let existing = schema::existing(ctx, &mut connection, database).await?;
    let names: Vec<&str> = existing.iter().map(|(name, _)| *name).collect();
    let filled: Vec<_> = existing.iter().filter(|(_, rows)| *rows > 0).collect();
    let mut complete = false;
    if !filled.is_empty() {
        complete = match export {
            Some(export) if found.is_empty() => {
                holds(ctx, &mut connection, database, export, &names).await?
                    && is_own(ctx, &mut connection).await?
            }
            _ => false,
        };
        if !complete && ctx.existing == Existing::Replace {
            if found.is_empty() {
                found.extend(ownership::changed_tables(ctx, &mut connection, database, &existing).await?);
            }
            if found.is_empty() {
                found.extend(staging::rehearse_swap(&mut connection, database, &names).await?);
            }
        } else if !complete {
            let server = ctx.settings.target(database);
            found.extend(filled.iter().map(|(name, rows)| {
                format!("{name} in {server} holds {rows} rows {FOREIGN}: a target has to be empty")
            }));
        }
    } else if found.is_empty() {
        found.extend(staging::rehearse_swap(&mut connection, database, &names).await?);
    }
    connection.close().await?;
    Ok((found, complete))
}

/// Whether the rows are this run's for sure. Where an earlier one is replaced, its rows may be the same,
/// but its sequences are not.
pub async fn is_own(ctx: &Ctx, connection: &mut postgres::Connection) -> Result<bool> {
    Ok(match ctx.existing {
        Existing::Refuse => true,
        Existing::Replace => ownership::published_runs(connection)
            .await?
            .first()
            .is_some_and(|newest| newest.run == ctx.run.id()),
    })
}

/// Whether the database holds exactly what this run would bring.
pub async fn holds(
    ctx: &Arc<Ctx>,
    connection: &mut postgres::Connection,
    database: Database,
    export: &Export,
    there: &[&str],
) -> Result<bool> {
    for table in crate::tables::of_database(ctx.tables, database) {
        let Some(record) = export.tables.get(table.name) else { return Ok(false) };
        if !there.contains(&table.name) {
            return Ok(false);
        }
        let hash = export.snapshot.hash;
        let content = rows::content(connection, "public", table.name, &record.target_columns, hash).await?;
        if content != record.content {
            return Ok(false);
        }
    }
    Ok(true)
}

pub async fn databases(ctx: &Arc<Ctx>, export: Option<&Export>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for database in Database::ALL {
        found.extend(self::database(ctx, database, export).await?.0);
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
