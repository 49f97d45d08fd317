//! The window cut on purpose: passes and the cut-over of a shop that goes on writing, by whatever happens to tools,
//! servers, networks and disks. In the end every store is compared with the old database.

mod bed;
mod window;

use self::bed::Bed;
use self::window::{Cuts, Window};
use super::Plan;
use crate::effects::terminal::Terminal;
use crate::model::{Stop, grouped};
use anyhow::{Result, ensure};
use fastrand::Rng;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// What a campaign came to.
#[derive(Debug, Default, Serialize)]
pub struct Campaign {
    pub seed: u64,
    /// Cuts that met a command.
    pub cuts: usize,
    /// Those of them that met a cut-over while the source was frozen.
    pub frozen: usize,
    /// Cuts that came after the command had ended, or met nothing. They do not count.
    pub too_late: usize,
    /// A window: a migration, passes and the cut-over, while the shop writes.
    pub windows: usize,
    /// Commands that were called once more.
    pub again: usize,
    /// How often the source was still read-only after a command had gone, and was said to be.
    pub left_frozen: usize,
    /// How often documents were lost with the emulator, and the loss was seen.
    pub losses_seen: usize,
    /// Of the shop's clients.
    pub transactions: u64,
    pub by_kind: BTreeMap<&'static str, usize>,
    /// A line each, with the window.
    pub failures: Vec<String>,
    pub seconds: f64,
}

/// `local`: the text of the environment that the shop's own is made of.
///
/// # Errors
/// Where servers do not come back, or the cuts come too late again and again.
pub async fn run(plan: &Plan, workspace: &Path, local: &str, terminal: &Terminal) -> Result<Campaign> {
    let started = Instant::now();
    let mut bed = Bed::open(workspace, local, plan.scale, terminal).await?;
    let choice = bed.undisturbed(plan.seed).await?;
    let mut campaign = Campaign { seed: plan.seed, ..Campaign::default() };
    while campaign.cuts < plan.cuts {
        ensure!(campaign.windows < 10 + plan.cuts, "too many cuts come too late");
        // What one window draws does not depend on how those before it ended.
        let seed = plan.seed.wrapping_add(campaign.windows as u64);
        let cuts = choice.draw(&mut Rng::with_seed(seed));
        let window = bed.window(&cuts, seed).await?;
        campaign.add(&cuts, window, terminal);
    }
    campaign.seconds = started.elapsed().as_secs_f64();
    bed.stop().await?;
    Ok(campaign)
}

impl Campaign {
    fn add(&mut self, cuts: &Cuts, window: Window, terminal: &Terminal) {
        self.windows += 1;
        let name = format!("window {} ({cuts})", self.windows);
        let same = match window.failures.len() {
            0 => "0 differences".to_string(),
            failures => format!("{failures} FAILURES"),
        };
        let met = self.cuts + window.met.len();
        terminal.line(format!("  {met:>3} {name}: {}; {same}", window.how.join(", ")));
        window.failures.iter().for_each(|line| terminal.line(format!("        {line}")));
        self.too_late += cuts.all().saturating_sub(window.met.len());
        self.cuts = met;
        self.frozen += window.frozen;
        self.again += window.again;
        self.left_frozen += window.left_frozen;
        self.losses_seen += usize::from(window.lost);
        self.transactions += window.transactions;
        for cut in window.met {
            *self.by_kind.entry(cut.fault.kind()).or_default() += 1;
        }
        self.failures.extend(window.failures.into_iter().map(|line| format!("{name}: {line}")));
    }

    pub fn text(&self) -> String {
        let mut out: String = self.failures.iter().map(|line| format!("{line}\n")).collect();
        for (kind, count) in &self.by_kind {
            out += &format!("  {kind:<26} {count:>4}\n");
        }
        out += &format!(
            "seed {}: {} cuts in {} windows, {} of them in the freeze ({} more came too late); {} transactions of the shop, \
             {} calls again; left frozen and said so {} times, lost documents seen {} times; {} failures, {:.0} s\n",
            self.seed,
            grouped(self.cuts as u64),
            grouped(self.windows as u64),
            self.frozen,
            self.too_late,
            grouped(self.transactions),
            self.again,
            self.left_frozen,
            self.losses_seen,
            self.failures.len(),
            self.seconds
        );
        out
    }

    /// # Errors
    /// `Stop::Differs` where a store was not what a command said, a source was frozen in silence, or nothing was cut
    /// in the freeze.
    pub fn judge(&self) -> Result<()> {
        if !self.failures.is_empty() {
            return Err(Stop::Differs(format!("see above, or `--seed {}` again", self.seed)).into());
        }
        if self.frozen == 0 {
            return Err(Stop::Differs("no cut has met a freeze; more --cuts?".to_string()).into());
        }
        Ok(())
    }
}
