//! Whether the source is still what the last pass saw.

use super::extent::Extent;
use super::held::HeldRows;
use super::reading::{TableTurned, read};
use super::scan::{look, place};
use crate::changes::{self, Ended};
use crate::effects::idle::Idle;
use crate::hazards::SAMPLE;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::join;
use crate::run::manifest::{Export, Manifest};
use crate::shown::utc;
use crate::tables::Table;
use anyhow::{Context, Result};
use std::sync::Arc;

/// A server that takes the place of the source holds, row by row, what the run does as of its last pass. Where row
/// versions do not tell, which those of another server do not, every row is read.
///
/// # Errors
/// Refuses, naming tables and some rows that are others.
pub async fn same_source(ctx: &Arc<Ctx>, manifest: &Manifest, export: &Export) -> Result<()> {
    let mut held = HeldRows::read(ctx, export).await?;
    let looked = look(ctx, manifest, export, &mut held, Extent::Changes).await?;
    let seen = read(ctx, export, &mut held, looked, Extent::Changes).await?;
    let line = |turned: &TableTurned| {
        let some: Vec<String> = turned.rows.keys().take(SAMPLE).map(i64::to_string).collect();
        let more = if turned.rows.len() > SAMPLE { ", …" } else { "" };
        format!("{}: {} rows, id {}{more}", turned.table.source, turned.rows.len(), some.join(", "))
    };
    let others: Vec<String> = seen.tables.iter().filter(|turned| !turned.rows.is_empty()).map(line).collect();
    if !others.is_empty() {
        refuse!(
            "{} does not hold what the last pass of run {} read, as of {}:\n  {}\nIt is not the run's source. Nothing has \
             been changed: put it right there, or start over with what it holds: `cargo xtask migrate --replace`",
            ctx.settings.source,
            ctx.run.id(),
            utc(&export.as_of().taken),
            others.join("\n  ")
        );
    }
    Ok(())
}

/// No table of the source has changed since the last pass. `ended`: which transactions had ended for that pass; where no
/// other has since, no table has to be looked at.
///
/// # Errors
/// Refuses, naming those that have, and those of which versions do not tell.
pub async fn unchanged(ctx: &Arc<Ctx>, manifest: &Manifest, ended: Option<&Ended>) -> Result<()> {
    if let Some(ended) = ended
        && none_ended(ctx, manifest, ended).await?
    {
        return Ok(());
    }
    let idle = Arc::new(Idle::default());
    let look_at = |table: &'static Table| {
        let name = format!("public.{}", table.source);
        let (ctx, idle, then) = (ctx.clone(), idle.clone(), manifest.caught_up.get(&name).cloned());
        async move {
            let Some(then) = then else { return Ok(Some(format!("{name}: it was not remembered"))) };
            let _permit = ctx.source_permit(then.leaves.values().map(|leaf| leaf.buckets.rows()).sum()).await;
            let mut connection = idle.take(ctx.looking_at_source("changes")).await?;
            changes::begin(&mut connection, place(table)).await?;
            let since = changes::since(&mut connection, place(table), &then).await?;
            connection.run("COMMIT").await?;
            idle.put(connection);
            anyhow::Ok(match since {
                changes::Since::Unchanged { .. } => None,
                changes::Since::Changed { about } => Some(format!("{name}: about {about} rows")),
                changes::Since::Unknown(why) => Some(format!("{name}: {why}")),
            })
        }
    };
    let changed: Vec<String> =
        join::all(ctx.tables.iter().map(look_at)).await?.into_iter().flatten().collect();
    idle.end().await?;
    if !changed.is_empty() {
        refuse!(
            "the source is not what the last pass saw:\n  {}\nNothing has been cut over: `cargo xtask catch-up --run \
             {1}`, then `cargo xtask cutover --run {1}` again",
            changed.join("\n  "),
            ctx.run.id()
        );
    }
    Ok(())
}

async fn none_ended(ctx: &Ctx, manifest: &Manifest, ended: &Ended) -> Result<bool> {
    let remembered = |table: &Table| manifest.caught_up.get(&format!("public.{}", table.source));
    let Some(all) = ctx.tables.iter().map(remembered).collect::<Option<Vec<_>>>() else { return Ok(false) };
    let first = all.first().context("there are no tables")?;
    let mut connection = ctx.looking_at_source("changes").await?;
    let none = changes::none_ended_since(&mut connection, &first.history, ended).await?;
    connection.close().await?;
    Ok(none)
}
