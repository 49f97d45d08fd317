//! Every prerequisite, with what fixes those that are not met.

use crate::checks::doctor;
use crate::health::{Health, Line, Lines, Verdict};
use crate::model::{Existing, Stop};
use crate::run::ctx::Ctx;
use crate::servers::compose_stack;
use crate::servers::docker::Engine;
use crate::servers::runtime::Runtime;
use crate::session::{Command, OldDatabase, Session, SourceArgs};
use anyhow::Result;
use std::sync::Arc;

/// Check every prerequisite, with the command that fixes it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also what a freeze of the source needs
    #[arg(long)]
    pub freeze: bool,
    /// Also what the way back to the old database needs
    #[arg(long)]
    pub rollback: bool,
    /// Why services cannot reach their databases: every container, from inside and from here
    #[arg(long)]
    pub network: bool,
}

impl Command for Args {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        if self.network {
            return network(session).await;
        }
        // Without it there is nothing to look at.
        session.environment()?;
        let found = Box::pin(session.found_containers(false)).await;
        let of_containers = match (&found, session.common.runtime) {
            (Ok(none), None | Some(Runtime::Auto | Runtime::Native)) if none.is_empty() => Vec::new(),
            _ => compose_stack::doctor::lines(&session.workspace).await,
        };
        let health = match found {
            Ok(found) => {
                session.containers = found;
                session.has_old_database(OldDatabase::Needed).await?;
                let ctx = session.looking(&SourceArgs::default(), Existing::Refuse)?;
                let wanted = doctor::Wanted { freeze: self.freeze, rollback: self.rollback };
                run(&ctx, wanted, of_containers).await
            }
            Err(error) => without_servers(of_containers, &error),
        };
        let next = if health.ready { "plan" } else { "doctor" };
        session.done(&health, health.text(), session.then(next))?;
        judge(&health)
    }
}

/// `doctor --network`: containers from inside; other servers from here.
async fn network(session: &Session<'_>) -> Result<()> {
    if session.common.stack.is_some() || !session.environment()?.uses_stack() {
        return super::connectivity::run(session).await;
    }
    let engine = Engine::connect().await?;
    let (workspace, environment, removed) = (&session.workspace, session.environment()?, session.removed()?);
    let looked = compose_stack::network::run(&engine, workspace, &environment, removed.as_ref()).await?;
    let next = if looked.health.ready { "stack status" } else { "doctor --network" };
    session.done(&looked, looked.text(), session.then(next))?;
    judge(&looked.health)
}

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
