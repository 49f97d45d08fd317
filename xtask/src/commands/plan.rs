//! What a migration would come to. Touches nothing; `migrate --dry-run` is the same.

use crate::checks::forecast;
use crate::forecast::Forecast;
use crate::model::{Existing, Stop};
use crate::run::ctx::Ctx;
use crate::session::{Command, OldDatabase, Servers, Session, SourceArgs};
use anyhow::Result;
use std::sync::Arc;

/// Estimate a migration: rows, hazards, time, disk, cost
///
/// Nothing is written. `migrate --dry-run` is the same.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    fn old_database(&self) -> OldDatabase {
        OldDatabase::Needed
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        show(session, &self.source, Existing::Refuse).await
    }
}

/// `plan`, and `migrate --dry-run`.
pub async fn show(session: &Session<'_>, args: &SourceArgs, existing: Existing) -> Result<()> {
    let ctx = session.looking(args, existing)?;
    let mut forecast = session.unblocked(run(&ctx).await)?;
    forecast.obstacles.extend(session.unrehearsed(&ctx)?);
    let judged = judge(&forecast);
    session.done(&forecast, forecast.text(), next(session, &forecast, &judged))?;
    judged
}

/// Where nothing but the quarantine is in the way, its rows have been named: one of the two ways out.
fn next(session: &Session<'_>, forecast: &Forecast, judged: &Result<()>) -> String {
    match judged {
        Ok(()) => session.then("migrate"),
        Err(error) if matches!(error.downcast_ref(), Some(Stop::Quarantine(_))) => {
            session.then(&format!("migrate --max-quarantine {}", forecast.quarantined))
        }
        Err(_) => session.then("doctor"),
    }
}

pub async fn run(ctx: &Arc<Ctx>) -> Result<Forecast> {
    ctx.terminal.phase("Plan: nothing is touched");
    Box::pin(forecast::run(ctx)).await
}

/// Ends as `migrate` would before it changed anything; the forecast has been shown.
pub fn judge(forecast: &Forecast) -> Result<()> {
    let blocking = forecast.hazards.iter().filter(|h| h.stops()).count();
    let obstacles = forecast.obstacles.len() + blocking + usize::from(forecast.disk.too_small().is_some());
    if obstacles > 0 {
        return Err(
            Stop::Refused(format!("migrate would be refused for {obstacles} reasons: see above")).into()
        );
    }
    match forecast.too_many_quarantined() {
        Some(too_many) => Err(Stop::Quarantine(format!("migrate would end with {too_many}")).into()),
        None => Ok(()),
    }
}
