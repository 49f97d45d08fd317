//! What a migration would come to. Touches nothing; `migrate --dry-run` is the same.

use crate::checks::forecast;
use crate::forecast::Forecast;
use crate::model::Stop;
use crate::run::ctx::Ctx;
use anyhow::Result;
use std::sync::Arc;

pub async fn run(ctx: &Arc<Ctx>) -> Result<Forecast> {
    ctx.terminal.phase("Plan: nothing is touched");
    Box::pin(forecast::run(ctx)).await
}

/// Ends as `migrate` would before it changed anything; the forecast has been shown.
pub fn judge(forecast: &Forecast) -> Result<()> {
    let blocking = forecast.hazards.iter().filter(|h| h.stops()).count();
    let obstacles = forecast.obstacles.len() + blocking;
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
