//! Before anything is changed: are all servers there, do they fit, are the targets empty?

use crate::phases::p3_transform;
use crate::effects::postgres;
use crate::model::{Database, Existing, ServerInfo, Stop};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::lock_waits;
use crate::run::manifest::Export;
use crate::sql::HashFn;
use crate::stores::ownership;
use crate::stores::staging;
use anyhow::Result;
use datapath::firestore::{Address, Firestore};
use std::sync::Arc;

/// What ends every refusal of a preflight.
pub const AGAIN: &str = "Nothing has been changed: mend this, then type the same command again";

/// What is in the way, but for its name.
const FOREIGN: &str = "that are not this run's";

/// Looks at all four databases and chooses the hash that they all compute alike.
///
/// # Errors
/// Refuses with every server that cannot be used, and why.
pub async fn servers(ctx: &Ctx) -> Result<HashFn> {
    let info = async |server| -> Result<ServerInfo> {
        let mut connection = postgres::connect(server, &ctx.purpose("preflight")).await?;
        let info = connection.info().await?;
        connection.close().await?;
        Ok(info)
    };
    let s = &ctx.settings;
    let all = tokio::join!(info(&s.source), info(&s.product), info(&s.order), info(&s.gateway));
    let (mut infos, mut unusable) = (Vec::new(), Vec::new());
    for info in [all.0, all.1, all.2, all.3] {
        match info {
            Ok(info) => infos.push(info),
            Err(error) => unusable.push(format!("{error:#}")),
        }
    }
    if !unusable.is_empty() {
        refuse!("not every server can be used:\n  {}\n{AGAIN}", unusable.join("\n  "));
    }
    Ok(HashFn::for_servers(infos.iter().map(|i| (i.major, i.encoding.as_str()))))
}

/// The hash for a run that looks at the source only.
pub async fn source_alone(ctx: &Ctx) -> Result<HashFn> {
    let purpose = ctx.purpose("preflight");
    let connected = postgres::connect(&ctx.settings.source, &purpose).await;
    let mut connection = connected.map_err(refused)?;
    let info = connection.info().await?;
    connection.close().await?;
    Ok(HashFn::for_servers([(info.major, info.encoding.as_str())]))
}

/// # Errors
/// Refuses with everything that was found at once: tables that hold rows or are not what `sql/schema`
/// says, collections that hold documents. `export`: what they may hold, where there is a run already.
pub async fn targets(ctx: &Arc<Ctx>, export: Option<&Export>) -> Result<()> {
    let found = obstacles(ctx, export).await?;
    if !found.is_empty() {
        let filled = export.is_none() && found.iter().any(|line| line.contains(FOREIGN));
        let replace = match filled {
            true => {
                "\nWhat an earlier run brought, and nobody has changed since, gives way to `migrate --replace`"
            }
            false => "",
        };
        refuse!("the targets are not ready:\n  {}\n{AGAIN}{replace}", found.join("\n  "));
    }
    Ok(())
}

/// What keeps the targets from being written, a line each.
pub async fn obstacles(ctx: &Arc<Ctx>, export: Option<&Export>) -> Result<Vec<String>> {
    let looked = tokio::try_join!(databases(ctx, export), collections(ctx, export));
    let (mut found, documents) = looked.map_err(refused)?;
    found.extend(documents);
    Ok(found)
}

/// Before anything has been changed, what could not be looked at is a refusal.
pub fn refused(error: anyhow::Error) -> anyhow::Error {
    match error.chain().any(|cause| cause.is::<Stop>()) {
        true => error,
        false => Stop::Refused(format!("{error:#}\n{AGAIN}")).into(),
    }
}

async fn databases(ctx: &Arc<Ctx>, export: Option<&Export>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for database in Database::ALL {
        found.extend(self::database(ctx, database, export).await?.0);
    }
    Ok(found)
}

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

async fn looked_at(
    ctx: &Arc<Ctx>,
    database: Database,
    export: Option<&Export>,
) -> Result<(Vec<String>, bool)> {
    let mut connection = ctx.target(database, "preflight").await?;
    connection.run(lock_waits::PATIENCE).await?;
    let expected = staging::expected_definition(&mut connection, database).await?;
    let public = staging::definition(&mut connection, "public").await?;
    let mut found = staging::differences(database, &expected, &public);
    let existing = staging::existing(ctx, &mut connection, database).await?;
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
async fn is_own(ctx: &Ctx, connection: &mut postgres::Connection) -> Result<bool> {
    Ok(match ctx.existing {
        Existing::Refuse => true,
        Existing::Replace => {
            ownership::brought(connection).await?.first().is_some_and(|newest| newest.run == ctx.run.id())
        }
    })
}

/// Whether the database holds exactly what this run would bring.
async fn holds(
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
        let content =
            crate::phases::p5_verify::content(connection, "public", table.name, &record.target_columns, hash).await?;
        if content != record.content {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What keeps documents from being written.
pub async fn collections(ctx: &Arc<Ctx>, export: Option<&Export>) -> Result<Vec<String>> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let mut found = Vec::new();
    for table in ctx.tables {
        let Some(collection) = table.collection() else { continue };
        let (documents, own) = p3_transform::holds(ctx, &firestore, table, collection, export).await?;
        if !own && ctx.existing == Existing::Replace {
            found.extend(ownership::changed_documents(ctx, &firestore, table, collection, export).await?);
        } else if !own {
            found.push(format!(
                "collection {} of project {} holds {documents} documents {FOREIGN}: it has to be empty",
                collection.name, ctx.settings.firestore.project
            ));
        }
    }
    Ok(found)
}
