//! The rehearsal with a shop that goes on writing: migrated, caught up with and cut over meanwhile.

use super::cutover::{self, Way};
use super::{catch_up, migrate};
use crate::effects::cleanup::Cleanup;
use crate::lab::live::{self, Writer};
use crate::model::{Stop, grouped};
use crate::run::ctx::Ctx;
use crate::run::report::Report;
use crate::source::Handling;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::time::Instant;

/// Passes before the cut-over.
const PASSES: usize = 3;

/// # Errors
/// `Stop::Differs` where a store does not hold what the old database holds in the end.
pub async fn played(ctx: &Arc<Ctx>, cleanup: &Cleanup) -> Result<Report> {
    let say = |line: String| ctx.terminal.always(&line);
    let mut writer = Writer::start(&live::as_shop(&ctx.settings), 8)?;
    let report = migrate::run(ctx, &Handling::default()).await?;
    say(format!("live: migrated while {:.0} transactions a second were written", writer.lap().per_second));
    for _ in 0..PASSES {
        let passed = catch_up::once(ctx).await?;
        let told = writer.lap();
        say(format!(
            "live: pass of {} rows, {} read, in {:.1} s; {:.0} transactions a second, median {:.1} ms, 99 of 100 below \
             {:.1} ms",
            grouped(passed.rows()),
            grouped(passed.read),
            passed.seconds,
            told.per_second,
            told.median,
            told.p99
        ));
    }
    let done = cutover::run(ctx, Way { hold: true, ..Way::default() }, cleanup).await?;
    let over = Instant::now();
    let told = writer.stop().await?;
    let first = told.first_refused.context("no client was ever refused")?;
    done.judge()?;
    let frozen = done.recorded.context("it had been cut over before")?.duration_since(first);
    say(format!(
        "live: read-only for {:.1} s, from the first write that was refused to the recorded cut-over; the full proof took \
         {:.1} s after that",
        frozen.as_secs_f64(),
        over.duration_since(first).saturating_sub(frozen).as_secs_f64()
    ));
    let export = ctx.run.load_manifest()?.export.context("the run has no export")?;
    let differences = live::differences(ctx, &export).await?;
    if !differences.is_empty() {
        let what = format!("the stores are not what the old database is:\n  {}", differences.join("\n  "));
        return Err(Stop::Differs(what).into());
    }
    say("live: ✓ every store holds what the old database holds, by its own SELECTs: 0 differences"
        .to_string());
    Ok(report)
}
