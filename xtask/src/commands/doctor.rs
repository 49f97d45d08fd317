//! Every prerequisite, with what mends those that are not met.

use crate::ctx::Ctx;
use crate::health::{Health, Verdict};
use crate::model::Stop;
use crate::phases::doctor;
use anyhow::Result;
use std::sync::Arc;

pub async fn run(ctx: &Arc<Ctx>, wanted: doctor::Wanted) -> Health {
    ctx.terminal.phase("Doctor: the prerequisites");
    ctx.terminal.line(format!(
        "  Firestore gets one probe document in the collection {}, and it is removed again",
        doctor::PROBE
    ));
    Box::pin(doctor::run(ctx, wanted)).await
}

/// What is not met as the error that gives exit code 4; the lines have been shown.
pub fn judge(health: &Health) -> Result<()> {
    if health.ready {
        return Ok(());
    }
    let (missing, unknown) = (health.count(Verdict::NotMet), health.count(Verdict::NotLookedAt));
    let beside = if unknown > 0 { format!(" ({unknown} could not be looked at)") } else { String::new() };
    Err(Stop::Refused(format!("{missing} prerequisites are not met{beside}: see above")).into())
}
