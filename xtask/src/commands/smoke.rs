//! Whether the services do what they are there for, as their customers ask them (`checks/smoke`). What it comes to
//! is noted in the journal of the run that is cut over.

use crate::checks::smoke::{self, Outcome, Plan, Scenario, Side, Step};
use crate::effects::cleanup::Cleanup;
use crate::identity::ServerName;
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::{dir, servers};
use crate::session::{Command, OldDatabase, Servers, Session};
use crate::steps::CommandName;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Test the services as a customer would
///
/// They answer, take an order and a review, and log it: looked up in the databases, and removed again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Scenarios: names in xtask/smoke, or with a / the paths of files [default: all of that folder]
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// How long the services may take until they answer
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = smoke::patience)]
    wait: Duration,
    /// Leave what is made, and say what takes it away
    #[arg(long)]
    keep: bool,
    /// Write the result as JUnit XML, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The services are those of the old database: before the cut-over, or after a rollback
    #[arg(long)]
    old: bool,
    /// Only say what would be asked
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// The run that it is noted in, or `latest`: the newest that is cut over
    #[arg(long, default_value = "latest", value_name = "RUN")]
    run: String,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    fn old_database(&self) -> OldDatabase {
        if self.old { OldDatabase::Needed } else { OldDatabase::NotNeeded }
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let side = if self.old { Side::Old } else { Side::New };
        let scenarios = smoke::load(&session.workspace.join("xtask/smoke"), &self.scenarios)?;
        if self.dry_run {
            let asked = serde_json::json!({ "would_ask": would_ask(&scenarios, side) });
            return session.done(&asked, foreseen(&scenarios, side), session.then(again(side)));
        }
        let token = match scenarios.iter().any(Scenario::wants_token) {
            true => session.environment()?.token(session.variables)?,
            false => None,
        };
        let (ctx, manifest) = session.run_in_service(&self.run)?;
        session.permitted(&ctx.settings)?;
        if let Some(manifest) = &manifest {
            servers::belongs(&ctx, manifest, looked_at(side), &[]).await?;
        }
        let mut junit = self.junit.map(writable).transpose()?;
        let services = ctx.settings.services.clone();
        let plan = Plan { side, scenarios, services, token, wait: self.wait, keep: self.keep };
        let outcome = run(&ctx, &plan, session.cleanup).await?;
        if let Some((file, path)) = &mut junit {
            let written = file.write_all(smoke::junit(&outcome, ctx.values).as_bytes());
            written.with_context(|| format!("writing {}", path.display()))?;
        }
        if manifest.is_none() {
            session.terminal.line("no run here is cut over: nothing is noted");
        }
        let next = match (outcome.failed(), &manifest) {
            (0, Some(_)) if side == Side::New => session.then(&format!("verify --run {}", ctx.run.id())),
            (0, _) => "look after the services".to_string(),
            _ => format!("fix the services, then {}", session.then(again(side))),
        };
        session.done(&outcome.json(ctx.values), outcome.text(ctx.values), next)?;
        outcome.judge()
    }
}

/// Noted in the run, where there is one.
pub async fn run(ctx: &Arc<Ctx>, plan: &Plan, cleanup: &Cleanup) -> Result<Outcome> {
    let work = Box::pin(smoke::run(ctx, plan, cleanup));
    match dir::has_begun(ctx.run.path()) {
        true => visibly(ctx, CommandName::Smoke, work).await,
        false => work.await,
    }
}

fn again(side: Side) -> &'static str {
    if side == Side::Old { "smoke --old" } else { "smoke" }
}

/// The databases that are looked into.
fn looked_at(side: Side) -> &'static [ServerName] {
    match side {
        Side::New => &ServerName::TARGETS,
        Side::Old => &[ServerName::Source],
    }
}

/// Before anything is asked: a result that cannot be kept is found out too late otherwise.
fn writable(path: PathBuf) -> Result<(File, PathBuf)> {
    match File::create(&path) {
        Ok(file) => Ok((file, path)),
        Err(error) => refuse!("{} cannot be written: {error}", path.display()),
    }
}

fn would_ask(scenarios: &[Scenario], side: Side) -> serde_json::Value {
    let step = |step: &Step| serde_json::json!({ "name": step.name, "what": step.what.to_string() });
    let scenario = |scenario: &Scenario| {
        let steps: Vec<serde_json::Value> = asked(scenario, side).map(step).collect();
        serde_json::json!({ "name": scenario.name, "about": scenario.about, "steps": steps })
    };
    scenarios.iter().map(scenario).collect()
}

fn asked(scenario: &Scenario, side: Side) -> impl Iterator<Item = &Step> {
    scenario.steps.iter().filter(move |step| step.only.is_none_or(|only| only == side))
}

fn foreseen(scenarios: &[Scenario], side: Side) -> String {
    let mut out = String::from("Would wait until the services answer, and then:\n");
    for scenario in scenarios {
        out += &format!("{}: {}\n", scenario.name, scenario.about);
        for step in asked(scenario, side) {
            out += &format!("  {}: {}\n", step.name, step.what);
        }
    }
    out
}
