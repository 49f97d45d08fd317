//! The rest of a rehearsal: the cut-over, services that write, the way back, and forward once more.

use crate::checks::smoke::Side;
use crate::commands::rehearse_operations::{Operations, backed_up, hardened};
use crate::commands::rehearse_services::smoked;
use crate::commands::rollback::{self, Asked, text};
use crate::commands::{cutover, migrate, verify};
use crate::effects::cleanup::Cleanup;
use crate::lab::live::make_role;
use crate::lab::rollbacks::{Collisions, services_write};
use crate::model::{Existing, Service, Stop};
use crate::phases::p5_verify::Depth;
use crate::phases::rollback::{Compared, Scenario, Wanted};
use crate::run::ctx::{Ctx, Options};
use crate::run::dir::RunDir;
use crate::run::report::Report;
use crate::settings::Settings;
use crate::source::Handling;
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;

/// Every rehearsal writes the same.
const SEED: u64 = 1;

/// The shop's services in a rehearsal.
#[derive(Clone, Copy)]
pub struct Services<'a> {
    /// Where they put their logs.
    pub home: &'a Path,
    /// In the whole story: the new stores are hardened, backed up and drilled.
    pub operations: Option<Operations<'a>>,
}

/// Cuts the run over, lets services write where the scenario says that they did, and takes it back. `services`: if the
/// shop's own are started and smoked as well, on either side. The run as the tool works on it afterwards.
///
/// # Errors
/// `Stop::Differs` where something did not come back, or the services do not do what they are there for.
pub async fn there_and_back(
    ctx: &Arc<Ctx>,
    scenario: Scenario,
    services: Option<Services<'_>>,
    cleanup: &Cleanup,
) -> Result<Arc<Ctx>> {
    ctx.terminal.phase("Rehearsal: cut-over, services, and the way back");
    cutover::run(ctx, cutover::Way::default(), cleanup).await?;
    let mut ctx = ctx.clone();
    if scenario != Scenario::BeforeStart {
        if let Some(services) = services {
            ctx = in_service(&ctx, services, cleanup).await?;
        }
        services_write(&ctx.settings, SEED, Collisions::None).await?;
    }
    let ctx = &ctx;
    let wanted = Wanted { compared: Compared::All, ..Wanted::of(scenario) };
    let back = rollback::run(ctx, &Asked { wanted, wait: None, besides: false }, cleanup).await?.back;
    ctx.terminal.always(&text(&back, &format!("✓ taken back ({scenario})")));
    // Of one service alone the others are not back: nothing goes through the old gateway.
    if let (Some(services), Scenario::BeforeStart | Scenario::AfterStart) = (services, scenario) {
        smoked(ctx, Side::Old, services.home).await?;
    }
    match (back.left_behind(), back.received(), scenario) {
        (0, 0, Scenario::AfterStart | Scenario::Service(_)) => {
            Err(Stop::Differs("the services wrote nothing".into()).into())
        }
        (0, ..) => Ok(ctx.clone()),
        (left, ..) => Err(Stop::Differs(format!("{left} rows or documents did not come back")).into()),
    }
}

/// They work; also with the rights that `harden` leaves them.
async fn in_service(
    ctx: &Arc<Ctx>,
    Services { home, operations }: Services<'_>,
    cleanup: &Cleanup,
) -> Result<Arc<Ctx>> {
    smoked(ctx, Side::New, home).await?;
    let Some(operations) = operations else { return Ok(ctx.clone()) };
    let as_admin = hardened(ctx, operations, home).await?;
    smoked(ctx, Side::New, home).await?;
    backed_up(&as_admin, cleanup).await?;
    Ok(as_admin)
}

/// The shop's old service gets a role by which it alone can be let in again.
pub async fn role_of_its_own(settings: &mut Settings, service: Service) -> Result<()> {
    let role = format!("old_{}", service.key());
    make_role(settings, &role).await?.close().await?;
    settings.services.roles.insert(service, role);
    Ok(())
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
    cutover::run(&again, cutover::Way::default(), cleanup).await?;
    verify::run(&again, &[], Depth::Full).await
}
