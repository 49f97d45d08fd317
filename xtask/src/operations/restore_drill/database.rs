//! A database's backup restored into a scratch server.

use super::scratch::Scratch;
use super::seen::Seen;
use crate::checks::perf;
use crate::effects::postgres;
use crate::operations::store_backups::{DatabaseContent, DrillFinding, StoreManifest};
use crate::run::ctx::Ctx;
use crate::run::dir::RunDir;
use crate::source::restore::{self, ARCHIVE};
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;
use std::sync::Arc;

/// `ctx`: its run is the backup's directory.
///
/// # Errors
/// Where the scratch server cannot be asked; what is wrong with the backup is a finding.
pub async fn drill(
    ctx: &Arc<Ctx>,
    manifest: &StoreManifest,
    content: &DatabaseContent,
    scratch: &Scratch,
) -> Result<Seen> {
    let (target, database) = (manifest.target, &content.server.database);
    let database_of = target.database().context("a database's backup of no database")?;
    let there = in_place_of_the_store(ctx, scratch, target.name(), database)?;
    let server = &there.settings.source;
    let mut seen = Seen::default();
    make(ctx, content, scratch, target.name(), database).await?;
    let task = ctx.terminal.task("restore", database, 0);
    let archive = ctx.run.file(ARCHIVE);
    if let Err(error) = ctx.tools.restore(server, &ctx.purpose("drill"), &archive, ctx.jobs).await {
        seen.findings.push(DrillFinding::Restore { line: format!("{error:#}") });
        return Ok(seen);
    }
    task.done(manifest.rows());
    let mut connection = postgres::connect(server, &ctx.purpose("drill")).await?;
    seen.restored_on = Some(format!("PostgreSQL {}", connection.info().await?.version));
    connection.run(sql::ANALYZE_ALL).await?;
    let proof = restore::compare(&there, &content.backup).await?;
    seen.findings.extend(proof.differences.iter().map(|d| DrillFinding::Content { line: d.to_string() }));
    seen.content = proof.content;
    if let Some(why) = proof.definitions_not_compared {
        ctx.terminal.line(format!("definitions are not compared: {why}"));
    }
    for (query, ran) in perf::on_new(&mut connection, database_of).await {
        match ran {
            Ok(rows) => drop(seen.queries.insert(query.to_string(), rows)),
            Err(line) => seen.findings.push(DrillFinding::Query { query: query.to_string(), line }),
        }
    }
    connection.close().await?;
    Ok(seen)
}

/// The context with the scratch database in the place of the store.
fn in_place_of_the_store(ctx: &Ctx, scratch: &Scratch, label: &str, database: &str) -> Result<Arc<Ctx>> {
    let run = RunDir::open(ctx.run.runs(), ctx.run.id())?;
    let mut there = ctx.of_run(run, ctx.settings.policy.null_policy);
    there.settings.source = scratch.server(label, database)?;
    Ok(Arc::new(there))
}

/// The empty database, and the roles that the dump speaks of.
async fn make(
    ctx: &Ctx,
    content: &DatabaseContent,
    scratch: &Scratch,
    label: &str,
    database: &str,
) -> Result<()> {
    let server = scratch.server(label, "postgres")?;
    let mut connection = postgres::connect(&server, &ctx.purpose("drill")).await?;
    let roles = serde_json::to_string(&content.roles)?;
    let query = sql::bind(sql_file!("phases/store-backup/missing_roles.sql"), &[("roles", &roles)]);
    for row in connection.rows(&query).await? {
        let statement: String = row.try_get("statement")?;
        connection.run(&statement).await?;
    }
    let owner = content.backup.properties.as_ref().map_or("postgres", |properties| &properties.owner);
    connection.run(&sql::create_database(database, owner)).await?;
    connection.close().await
}
