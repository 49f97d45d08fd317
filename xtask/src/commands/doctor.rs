//! Every prerequisite, with what mends those that are not met.

use crate::checks::doctor;
use crate::health::{Health, Line, Lines, Verdict};
use crate::model::Stop;
use crate::run::ctx::Ctx;
use anyhow::Result;
use std::sync::Arc;

/// `of_containers`: what was found of them, where the servers are some.
pub async fn run(ctx: &Arc<Ctx>, wanted: doctor::Wanted, of_containers: Vec<Line>) -> Health {
    ctx.terminal.phase("Doctor: the prerequisites");
    ctx.terminal.line(format!(
        "  Firestore gets one probe document in the collection {}, and it is removed again",
        doctor::PROBE
    ));
    let mut lines = of_containers;
    lines.extend(Box::pin(doctor::run(ctx, wanted)).await);
    Health::new(lines)
}

/// There are no containers to look into; `why`: none were found.
pub fn without_servers(mut of_containers: Vec<Line>, why: &anyhow::Error) -> Health {
    let mut servers = Lines::of("the environment");
    servers.not_looked_at(&["servers"], &format!("{why:#}"));
    of_containers.extend(servers.lines);
    Health::new(of_containers)
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
