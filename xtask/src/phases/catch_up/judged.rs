//! Whether the source's tables are still those that the run was judged by: what would keep `migrate` from beginning
//! stops a pass, too. What rows bring ends in quarantine, and its limit decides (`pass`).

use crate::hazards::{self, Blocked, Found};
use crate::model::Stop;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::shown::{escaped, utc};
use crate::source::assess::{self, catalogue::Catalogue};
use crate::source::snapshot::Snapshot;
use anyhow::{Context, Result};
use std::sync::Arc;

/// Looks at all of it.
///
/// # Errors
/// Refuses where a hazard blocks that was not accepted for the run, and where a column would be read otherwise.
pub async fn judged(ctx: &Arc<Ctx>, export: &Export) -> Result<Catalogue> {
    let assessed = assess::again(ctx).await.context("assessing the source")?;
    let stopping: Vec<Found> = assessed.hazards.iter().filter(|found| found.stops()).cloned().collect();
    if !stopping.is_empty() {
        let text = format!(
            "{} has hazards, and {} of them block:\n{}{}",
            ctx.settings.source,
            stopping.len(),
            hazards::text(&stopping),
            ways_out(ctx, export, &stopping)
        );
        return Err(anyhow::Error::new(Stop::Refused(text)).context(Blocked(assessed.hazards)));
    }
    let others = export.snapshot.reading.columns_read_otherwise(&assessed.reading);
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(|column| escaped(column)).collect();
        refuse!(
            "{} has another length or type than at the run's snapshot. {}",
            others.join(", "),
            ways_out(ctx, export, &[])
        );
    }
    Ok(assessed.catalogue)
}

/// Whether it is as it was judged last, now that the snapshot holds the tables and nobody can change them.
pub async fn still(
    ctx: &Arc<Ctx>,
    export: &Export,
    snapshot: &mut Snapshot,
    last: &mut Catalogue,
) -> Result<()> {
    let now = snapshot.catalogue(ctx).await?;
    if !last.differences(&now).is_empty() {
        *last = judged(ctx, export).await?;
    }
    Ok(())
}

fn ways_out(ctx: &Ctx, export: &Export, stopping: &[Found]) -> String {
    let as_of = utc(&export.as_of().taken);
    let again = format!(
        "Nothing has been changed: the stores hold the source as of {as_of}. Put that right in the source, then `cargo \
         xtask catch-up --run {}`",
        ctx.run.id()
    );
    if stopping.iter().any(|found| !found.acceptable) {
        return again;
    }
    let names = ctx.settings.policy.accepted.iter().chain(stopping.iter().map(|found| &found.name));
    let accept: String = names.map(|name| format!(" --accept {name}")).collect();
    format!("{again}; or start over with what is there now: `cargo xtask migrate --replace{accept}`")
}
