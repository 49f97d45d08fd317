//! The migration cut on purpose: at every step of its journal and at any moment, by whatever happens to
//! tools, servers and networks; resumed, and compared with a run that nobody disturbed.

mod cut;
mod world;

use self::cut::{Cut, Moment};
use self::world::{Undisturbed, World};
use crate::effects::terminal::Terminal;
use crate::model::{Stop, grouped};
use crate::settings::Environment;
use anyhow::Result;
use fastrand::Rng;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

pub struct Plan {
    pub cuts: usize,
    pub seed: u64,
    pub scale: u32,
}

/// What a campaign came to.
#[derive(Debug, Default, Serialize)]
pub struct Campaign {
    pub seed: u64,
    pub cuts: usize,
    /// Runs that had ended before the cut came.
    pub too_late: usize,
    pub by_kind: BTreeMap<&'static str, usize>,
    /// Steps of the journal during which a run was cut.
    pub steps_cut: BTreeSet<String>,
    /// Steps of the journal that no cut has met.
    pub steps_left: BTreeSet<String>,
    pub resumes: usize,
    /// How an end differs from the undisturbed one, a line each, with the cut.
    pub differences: Vec<String>,
    /// Rows without an outcome, a line each, with the cut.
    pub gaps: Vec<String>,
    pub seconds: f64,
}

/// One half with a quiet source, the other with a writer.
pub async fn run(
    plan: &Plan,
    workspace: &Path,
    environment: Environment,
    terminal: &Terminal,
) -> Result<Campaign> {
    let started = Instant::now();
    let mut rng = Rng::with_seed(plan.seed);
    let mut world = World::open(workspace, environment, plan.scale, terminal).await?;
    let undisturbed = world.undisturbed().await?;
    let steps = undisturbed.steps(&mut rng);
    let mut campaign = Campaign { seed: plan.seed, cuts: plan.cuts, ..Campaign::default() };
    // The steps come first, and belong to the quiet half as far as they fit into it.
    let busy_from = (plan.cuts / 2).max(steps.len()).min(plan.cuts);
    for number in 0..plan.cuts {
        let cut = Cut::draw(&mut rng, number, &steps, undisturbed.length);
        let busy = number >= busy_from;
        campaign.one(&mut world, &cut, busy, &undisturbed, terminal, number).await?;
    }
    campaign.steps_left = steps.iter().filter(|s| !campaign.steps_cut.contains(*s)).cloned().collect();
    campaign.seconds = started.elapsed().as_secs_f64();
    world.stop()?;
    Ok(campaign)
}

impl Campaign {
    async fn one(
        &mut self,
        world: &mut World,
        cut: &Cut,
        busy: bool,
        undisturbed: &Undisturbed,
        terminal: &Terminal,
        number: usize,
    ) -> Result<()> {
        let name = format!("cut {} ({cut}{})", number + 1, if busy { ", busy source" } else { "" });
        let end = world.cut_and_resume(cut, busy, undisturbed).await?;
        *self.by_kind.entry(cut.fault.kind()).or_default() += 1;
        match (&cut.moment, end.met) {
            (_, false) => self.too_late += 1,
            (Moment::Step(step), true) => {
                self.steps_cut.insert(step.clone());
            }
            (Moment::After(_), true) => {}
        }
        self.resumes += end.resumes;
        let differ = end.differences.len() + end.gaps.len();
        terminal.line(format!(
            "  {name}: {}, {} resumed, {}",
            end.how,
            end.resumes,
            if differ == 0 { "the same end".to_string() } else { format!("{differ} DIFFERENCES") }
        ));
        self.differences.extend(end.differences.into_iter().map(|line| format!("{name}: {line}")));
        self.gaps.extend(end.gaps.into_iter().map(|line| format!("{name}: {line}")));
        Ok(())
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        for line in self.differences.iter().chain(&self.gaps) {
            out += &format!("{line}\n");
        }
        for (kind, count) in &self.by_kind {
            out += &format!("  {kind:<26} {count:>4}\n");
        }
        let left: Vec<&str> = self.steps_left.iter().map(String::as_str).collect();
        out += &format!(
            "seed {}: {} cuts ({} came too late), {} steps of the journal cut{}, {} resumed, {} differences, \
             {} ledger gaps, {:.0} s\n",
            self.seed,
            grouped(self.cuts as u64),
            self.too_late,
            self.steps_cut.len(),
            if left.is_empty() { String::new() } else { format!(", not cut: {}", left.join(", ")) },
            self.resumes,
            self.differences.len(),
            self.gaps.len(),
            self.seconds
        );
        out
    }

    /// # Errors
    /// `Stop::Differs` where an end differed, or a step was not cut although there were cuts enough.
    pub fn judge(&self) -> Result<()> {
        if !self.differences.is_empty() || !self.gaps.is_empty() {
            return Err(Stop::Differs(format!("see above, or `--seed {}` again", self.seed)).into());
        }
        let steps = self.steps_cut.len() + self.steps_left.len();
        if self.cuts >= steps && !self.steps_left.is_empty() {
            let left = self.steps_left.iter().cloned().collect::<Vec<_>>().join(", ");
            return Err(Stop::Differs(format!("steps that no cut has met: {left}")).into());
        }
        Ok(())
    }
}
