//! What has changed since an instant, asked while everything happens to a table that may: its answer beside the
//! truth, which the campaign has read by itself at both instants.

mod judge;
mod looks;
mod maintenance;
mod operation;
mod round;
mod scene;
mod summary;
mod testbed;
mod writers;

use self::round::Round;
use self::testbed::Testbed;
use crate::effects::terminal::Terminal;
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Instant;
pub use summary::Campaign;

/// Between two lines that say how far it is.
const TOLD: usize = 20;

pub struct Plan {
    pub rounds: usize,
    pub seed: u64,
    /// The round of this number alone.
    pub only: Option<usize>,
}

/// # Errors
/// Where the server does not start, or a round could not be played.
pub async fn run(plan: &Plan, workspace: &Path, terminal: &Terminal) -> Result<Campaign> {
    let bed = Testbed::open(workspace).await?;
    let started = Instant::now();
    let mut campaign = Campaign { seed: plan.seed, ..Campaign::default() };
    for number in plan.only.map_or(1..=plan.rounds, |only| only..=only) {
        let round = Round::draw(plan.seed, number);
        let (verdict, done) = scene::play(&bed, &round).await.with_context(|| round.to_string())?;
        campaign.add(&round, &verdict, done);
        let failures: Vec<&String> = verdict.failures.iter().collect();
        if plan.only.is_some() || !failures.is_empty() {
            terminal.line(format!("  {round}: {} changes, {} failures", verdict.changes, failures.len()));
        }
        failures.into_iter().for_each(|failure| terminal.line(format!("        {failure}")));
        if number.is_multiple_of(TOLD) {
            let (seconds, changes) = (started.elapsed().as_secs_f64(), campaign.changes);
            terminal.line(format!("  {number:>5} rounds, {seconds:.0} s, {changes} changes"));
        }
    }
    campaign.seconds = started.elapsed().as_secs_f64();
    bed.stop()?;
    Ok(campaign)
}
