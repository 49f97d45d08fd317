//! The migration cut on purpose: at every step of its journal and at any moment, by whatever happens to
//! tools, servers, networks and disks; resumed, and compared with an undisturbed run.

mod end;
mod fault;
pub mod live;
pub mod oracle;
pub mod point;
mod testbed;
pub mod verbs;
mod writer;

use crate::effects::terminal::Terminal;
use crate::lab::chaos::end::End;
use crate::lab::chaos::fault::{Choice, Cut, RESUME};
use crate::lab::chaos::oracle::Undisturbed;
use crate::lab::chaos::point::Point;
use crate::lab::chaos::testbed::Testbed;
use crate::model::{Stop, grouped};
use crate::settings::Environment;
use anyhow::{Result, ensure};
use fastrand::Rng;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

pub struct Plan {
    /// Cuts that meet a run, or what else is cut.
    pub cuts: usize,
    pub seed: u64,
    pub scale: u32,
}

/// What a campaign came to.
#[derive(Debug, Default, Serialize)]
pub struct Campaign {
    pub seed: u64,
    /// Cuts that met a run.
    pub cuts: usize,
    /// Those of them with a writer on the source.
    pub busy: usize,
    /// Cuts that came after the run had ended, or met nothing. They do not count.
    pub too_late: usize,
    pub runs: usize,
    pub resumes: usize,
    pub by_kind: BTreeMap<&'static str, usize>,
    /// Steps of the journal that a cut kept from their end.
    pub steps_cut: BTreeSet<Point>,
    /// Steps of the journal that no cut has met.
    pub steps_left: BTreeSet<Point>,
    /// How an end differs from the undisturbed one, a line each, with the cuts.
    pub differences: Vec<String>,
    /// Rows without an outcome, a line each, with the cuts.
    pub gaps: Vec<String>,
    pub seconds: f64,
}

/// One half with a quiet source, the other with a writer.
///
/// # Errors
/// Where servers do not come back, or the cuts come too late again and again.
pub async fn run(
    plan: &Plan,
    workspace: &Path,
    environment: Environment,
    terminal: &Terminal,
) -> Result<Campaign> {
    let started = Instant::now();
    let mut world = Testbed::open(workspace, environment, plan.scale, terminal).await?;
    let undisturbed = world.undisturbed().await?;
    let steps: Vec<Point> = undisturbed.steps.iter().cloned().collect();
    let steps_left = steps.iter().cloned().chain([RESUME]).collect();
    let choice = Choice { steps, length: undisturbed.length, disk: world.has_disk() };
    let mut campaign = Campaign { seed: plan.seed, steps_left, ..Campaign::default() };
    while campaign.cuts < plan.cuts {
        ensure!(campaign.runs < 10 + 3 * plan.cuts, "too many cuts come too late");
        campaign.one(&mut world, &choice, &undisturbed, plan.cuts, terminal).await?;
    }
    campaign.seconds = started.elapsed().as_secs_f64();
    world.stop().await?;
    Ok(campaign)
}

impl Campaign {
    /// The next run.
    async fn one(
        &mut self,
        world: &mut Testbed,
        choice: &Choice,
        undisturbed: &Undisturbed,
        wanted: usize,
        terminal: &Terminal,
    ) -> Result<()> {
        // What one run draws does not depend on how those before it ended.
        let mut rng = Rng::with_seed(self.seed.wrapping_add(self.runs as u64));
        self.runs += 1;
        let busy = self.cuts >= wanted / 2;
        let cuts = choice.draw(&mut rng, &self.steps_left);
        let end = world.cut_and_resume(&cuts, busy, undisturbed).await?;
        let planned: Vec<String> = cuts.iter().map(Cut::to_string).collect();
        let source = if busy { ", busy source" } else { "" };
        let name = format!("run {} ({}{source})", self.runs, planned.join(", then "));
        let differ = end.differences.len() + end.gaps.len();
        let same = if differ == 0 { "the same end".to_string() } else { format!("{differ} DIFFERENCES") };
        terminal.line(format!("  {:>3} {name}: {}; {same}", self.cuts + end.cuts.len(), end.how.join(", ")));
        end.differences.iter().chain(&end.gaps).for_each(|line| terminal.line(format!("        {line}")));
        self.add(&name, busy, cuts.len(), end);
        Ok(())
    }

    fn add(&mut self, name: &str, busy: bool, planned: usize, end: End) {
        self.cuts += end.cuts.len();
        self.busy += if busy { end.cuts.len() } else { 0 };
        self.too_late += planned - end.cuts.len();
        self.resumes += end.how.len() - 1;
        for cut in end.cuts {
            *self.by_kind.entry(cut.fault.kind()).or_default() += 1;
        }
        self.steps_left.retain(|step| !end.steps.contains(step));
        self.steps_cut.extend(end.steps);
        self.differences.extend(end.differences.into_iter().map(|line| format!("{name}: {line}")));
        self.gaps.extend(end.gaps.into_iter().map(|line| format!("{name}: {line}")));
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        for line in self.differences.iter().chain(&self.gaps) {
            out += &format!("{line}\n");
        }
        for (kind, count) in &self.by_kind {
            out += &format!("  {kind:<26} {count:>4}\n");
        }
        let names =
            |steps: &BTreeSet<Point>| steps.iter().map(Point::to_string).collect::<Vec<_>>().join(", ");
        out += &format!("steps of the journal that were cut: {}\n", names(&self.steps_cut));
        if !self.steps_left.is_empty() {
            out += &format!("steps of the journal that were NOT cut: {}\n", names(&self.steps_left));
        }
        out += &format!(
            "seed {}: {} cuts in {} runs, {} with a busy source ({} more came too late); {} of {} steps of the \
             journal cut, {} resumes, {} differences, {} ledger gaps, {:.0} s\n",
            self.seed,
            grouped(self.cuts as u64),
            grouped(self.runs as u64),
            self.busy,
            self.too_late,
            self.steps_cut.len(),
            self.steps_cut.len() + self.steps_left.len(),
            self.resumes,
            self.differences.len(),
            self.gaps.len(),
            self.seconds
        );
        out
    }

    /// # Errors
    /// `Stop::Differs` where an end differed, or a step was not cut.
    pub fn judge(&self) -> Result<()> {
        if !self.differences.is_empty() || !self.gaps.is_empty() {
            return Err(Stop::Differs(format!("see above, or `--seed {}` again", self.seed)).into());
        }
        if !self.steps_left.is_empty() {
            let left = self.steps_left.iter().map(Point::to_string).collect::<Vec<_>>().join(", ");
            return Err(Stop::Differs(format!("steps that no cut has met: {left}; more --cuts?")).into());
        }
        Ok(())
    }
}
