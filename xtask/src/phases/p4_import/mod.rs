//! Phase 4, PostgreSQL: the three databases in parallel; in each the rows first, then keys,
//! indexes, references and sequences, then the proof, and only then the tables move into place.
//! Statistics come last: nothing here needs them, and the tables are not in use yet.

mod loading;

use self::loading::{Loading, weight};
use crate::effects::postgres;
use crate::model::{Database, Stop};
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::steps::StepName;
use crate::stores::ownership::{self, record};
use crate::stores::readiness;
use crate::stores::remembering;
use crate::stores::schema::STAGING;
use crate::stores::staging;
use crate::stores::swap;
use crate::tables::{self, Table};
use crate::{refuse, sql};
use anyhow::{Context, Result};
use std::sync::Arc;

/// # Errors
/// Refuses a database that holds anything but this run's rows; fails, leaving nothing, where a file is
/// not the one that was exported or the loaded tables do not prove to be what the snapshot held.
pub async fn run(ctx: &Arc<Ctx>, export: &Arc<Export>) -> Result<()> {
    databases(ctx, export).await?;
    statistics(ctx, export).await
}

/// The phase without the statistics, to be compared with those who collect none.
pub async fn databases(ctx: &Arc<Ctx>, export: &Arc<Export>) -> Result<()> {
    let step = ctx.run.step(StepName::Import)?;
    let imports = Database::ALL.map(|database| import(ctx.clone(), export.clone(), database));
    if let Err(error) = crate::run::join::all(imports).await {
        staging::discard(ctx).await;
        return Err(error);
    }
    step.done("")
}

/// What the planner knows of the tables (DESIGN fault 28).
async fn statistics(ctx: &Arc<Ctx>, export: &Export) -> Result<()> {
    let step = ctx.run.step(StepName::Statistics)?;
    let analyze = |ctx: Arc<Ctx>, table: &'static Table, database, weight| async move {
        let _permit = ctx.target_permit(database, weight).await;
        let mut connection = ctx.target(database, "statistics").await?;
        connection.run(&sql::analyze("public", table.name)).await?;
        connection.close().await
    };
    let tables = ctx.tables.iter().filter_map(|table| Some((table, table.database()?)));
    crate::run::join::all(
        tables.map(|(table, database)| analyze(ctx.clone(), table, database, weight(export, table))),
    )
    .await?;
    step.done("")
}

async fn import(ctx: Arc<Ctx>, export: Arc<Export>, database: Database) -> Result<()> {
    let step = ctx.run.step(StepName::ImportDatabase(database))?;
    let (found, complete) = readiness::database(&ctx, database, Some(&export)).await?;
    if complete {
        ctx.terminal.line(format!("  {database} holds exactly this run's rows already: skipped"));
        ownership::recorded(&ctx, &export, database).await?;
        return step.done("was complete");
    }
    if !found.is_empty() {
        refuse!("{}", found.join("\n  "));
    }
    let mut connection = ctx.target(database, "import").await?;
    let plan = staging::prepare(&mut connection, database, &export.snapshot.reading.wide).await?;
    let references = plan.references();
    let loading = Arc::new(Loading::new(ctx.clone(), export.clone(), database, plan));
    let tables = tables::of_database(ctx.tables, database);
    let loads = tables.map(|table| {
        let loading = loading.clone();
        async move { loading.load(table).await }
    });
    let loaded = async {
        let differences =
            crate::run::join::all(loads).await.with_context(|| format!("loading {database}"))?;
        unproven(differences.into_iter().flatten().collect())?;
        // They need all tables of the database to be there.
        connection.run(&sql::for_building(STAGING)).await?;
        for reference in references {
            connection.run(&reference).await?;
        }
        Ok(())
    };
    loaded.await.map_err(|error| unpublished(database, error))?;
    let proven = loading.end().await?;
    let record = serde_json::to_string(&record(&ctx, &export, database))?;
    swap::publish(&ctx, &mut connection, database, &record).await?;
    let remembered = remembering::loaded(&ctx, &mut connection, &export, &proven).await?;
    ctx.run.change_manifest(|manifest| {
        manifest.remembered.extend(remembered);
        Ok(())
    })?;
    connection.close().await?;
    step.done("published")
}

fn unproven(differences: Vec<String>) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    let differences = differences.join("; ");
    Err(Stop::Differs(format!("what was loaded is not what the snapshot held: {differences}")).into())
}

/// Rows that break a key, a reference or a NOT NULL (SQLSTATE class 23), and what cannot be read as rows
/// (22), are not what the snapshot held either: a difference, not an error.
fn unpublished(database: Database, error: anyhow::Error) -> anyhow::Error {
    let code = postgres::code(&error);
    let why = match error.chain().find_map(|e| e.downcast_ref()) {
        Some(Stop::Differs(why)) => why.clone(),
        _ if code.is_some_and(|code| code.starts_with("22") || code.starts_with("23")) => {
            postgres::without_values(&error)
        }
        _ => return error,
    };
    Stop::Differs(format!("{database} was not published: {why}")).into()
}
