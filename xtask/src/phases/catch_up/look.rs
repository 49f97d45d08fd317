//! Whether the source is still what the last pass saw.

use super::scan::place;
use crate::changes;
use crate::effects::idle::Idle;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::join;
use crate::run::manifest::Manifest;
use crate::tables::Table;
use anyhow::Result;
use std::sync::Arc;

/// No table of the source has changed since the last pass.
///
/// # Errors
/// Refuses, naming those that have, and those of which versions do not tell.
pub async fn unchanged(ctx: &Arc<Ctx>, manifest: &Manifest) -> Result<()> {
    let idle = Arc::new(Idle::default());
    let look = |table: &'static Table| {
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
    let changed: Vec<String> = join::all(ctx.tables.iter().map(look)).await?.into_iter().flatten().collect();
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
