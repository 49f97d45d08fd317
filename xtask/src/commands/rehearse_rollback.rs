//! The rest of a rehearsal: the cut-over, services that write, the way back, and forward once more.

use crate::commands::rollback::{self, text};
use crate::commands::{cutover, migrate, verify};
use crate::effects::cleanup::Cleanup;
use crate::lab::rollbacks::{Collisions, services_write};
use crate::model::{Existing, Stop};
use crate::phases::p5_verify::Depth;
use crate::phases::rollback::{Deltas, Scenario};
use crate::run::ctx::{Ctx, Options};
use crate::run::dir::RunDir;
use crate::run::report::Report;
use crate::source::Handling;
use anyhow::Result;
use std::sync::Arc;

/// Every rehearsal writes the same.
const SEED: u64 = 1;

/// Cuts the run over, lets services write where the scenario says that they did, and takes it back.
///
/// # Errors
/// `Stop::Differs` where something did not come back.
pub async fn there_and_back(ctx: &Arc<Ctx>, scenario: Scenario, cleanup: &Cleanup) -> Result<()> {
    ctx.terminal.phase("Rehearsal: cut-over, services, and the way back");
    cutover::run(ctx, cleanup).await?;
    if scenario == Scenario::AfterStart {
        services_write(&ctx.settings, SEED, Collisions::None).await?;
    }
    let back = rollback::run(ctx, scenario, Deltas::Apply, cleanup).await?;
    ctx.terminal.always(&text(&back, &format!("✓ taken back ({})", scenario.name())));
    match (back.left_behind(), back.received(), scenario) {
        (0, 0, Scenario::AfterStart) => Err(Stop::Differs("the services wrote nothing".into()).into()),
        (0, ..) => Ok(()),
        (left, ..) => Err(Stop::Differs(format!("{left} rows or documents did not come back")).into()),
    }
}

/// The same shop once more: migrated in the place of what was taken back, cut over, verified.
pub async fn forward_again(ctx: &Arc<Ctx>, options: Options, cleanup: &Cleanup) -> Result<Report> {
    let mut again = Ctx::new(ctx.settings.clone(), ctx.tables, RunDir::create(ctx.run.runs())?, options);
    again.existing = Existing::Replace;
    let again = Arc::new(again);
    let report = migrate::run(&again, &Handling::default()).await?;
    if report.proven != Some(true) {
        return Ok(report);
    }
    cutover::run(&again, cleanup).await?;
    verify::run(&again, &[], Depth::Full).await
}
