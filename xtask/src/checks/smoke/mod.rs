//! `smoke`: whether the services do what they are there for (guide 5.3, 5.4). Asked over HTTP as their customers ask
//! them, looked after in the databases themselves; what a scenario makes it takes back, also where it fails or
//! is interrupted.

mod flow;
mod junit;
mod logs;
mod masking;
mod ready;
mod result;
mod scenario;
mod undo;
mod world;

pub use junit::junit;
pub use result::{Checked, Outcome, Verdict};
pub use scenario::{Scenario, Side, Step, load, patience};
pub use world::Plan;

use crate::effects::cleanup::Cleanup;
use crate::effects::http::Http;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::steps::StepName;
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use world::World;

/// Waits for the services, plays the scenarios, and cleans up.
///
/// # Errors
/// Refuses what cannot be begun; fails where it could not look. What is wrong with the services is in the outcome.
pub async fn run(ctx: &Arc<Ctx>, plan: &Plan, cleanup: &Cleanup) -> Result<Outcome> {
    can_be_begun(plan)?;
    let began = Instant::now();
    let step = ctx.run.step(match plan.side {
        Side::New => StepName::Smoke,
        Side::Old => StepName::SmokeOld,
    })?;
    let id = format!("xtask-smoke-{:016x}", fastrand::u64(..));
    let mut world = World { ctx, plan, cleanup, http: Http::new()?, id, silent: BTreeMap::new() };
    ctx.terminal.phase("Smoke: the services answer");
    let (mut checks, silent) = ready::wait(&world).await?;
    world.silent = silent;
    let mut left = Vec::new();
    for scenario in &plan.scenarios {
        ctx.terminal.phase(&format!("Smoke: {}", scenario.about));
        let (checked, kept) = flow::run(&world, scenario).await?;
        checks.extend(checked);
        left.extend(kept);
    }
    let outcome = Outcome { side: plan.side.name(), checks, left, seconds: began.elapsed().as_secs_f64() };
    match outcome.failed() {
        0 => step.done(&outcome.summary())?,
        _ => step.failed(&outcome.summary())?,
    }
    Ok(outcome)
}

/// # Errors
/// Refuses before anything is asked of anybody.
fn can_be_begun(plan: &Plan) -> Result<()> {
    if plan.services.endpoints.is_empty() {
        refuse!("the environment does not say where the services answer: [services] gateway = \"http://…\"");
    }
    if plan.token.is_none()
        && let Some(scenario) = plan.scenarios.iter().find(|scenario| scenario.wants_token())
    {
        refuse!(
            "the scenario {} wants the test token, and the environment names none: [services] token = \
             {{ file = \"path\" }} or {{ env = \"VARIABLE\" }}",
            scenario.name
        );
    }
    Ok(())
}
