//! Single changes to what the stores and the run's files hold, and to what tables are: each looked at on its
//! own and undone. A verification has to name the place, and nothing else; and where nothing has been changed,
//! nothing at all.

mod corruption;
mod definitions;
mod documents;
mod expectation;
mod files;
pub(in crate::lab) mod held;
mod oracle;
mod plan;
pub(in crate::lab) mod raw;
mod rows;
mod shop;
mod summary;
mod values;
mod world;

use self::corruption::Corruption;
use self::held::Held;
use self::oracle::Books;
use self::plan::Plan;
use self::shop::{SHOWN, Shop};
use self::world::World;
use crate::effects::terminal::Terminal;
use crate::findings::Values;
use crate::model::Stop;
use crate::run::manifest::Proof;
use crate::settings::Environment;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Instant;
pub use summary::{Left, Summary};

/// After so many corruptions one look at what nobody has changed.
const UNDISTURBED: usize = 10;

/// Of so many looks one by the binary as well.
const BINARY: usize = 50;

/// Between two lines that say how far it is.
const TOLD: usize = 100;

/// What is wanted of a campaign.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub corruptions: usize,
    pub seed: u64,
    pub scale: u32,
    /// A single one of them.
    pub only: Option<usize>,
}

struct Campaign<'a> {
    shop: Shop,
    world: World,
    books: Books,
    plan: Plan,
    wanted: Wanted,
    terminal: &'a Terminal,
    summary: Summary,
}

/// # Errors
/// Where servers do not come up, or what was changed could not be changed back.
pub async fn run(
    wanted: Wanted,
    workspace: &Path,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<Summary> {
    let (shop, world, books) = Shop::open(workspace, environment, wanted.scale, terminal).await?;
    let started = Instant::now();
    let plan = Plan::new(&world, wanted.seed);
    let left = Left { columns_and_fields: world.columns_and_fields(), kinds: plan.kinds().clone() };
    let summary = Summary::new(wanted.seed, plan.len(), plan.all(), left);
    let mut campaign = Campaign { shop, world, books, plan, wanted, terminal, summary };
    terminal.phase(&format!("{} ways and places", campaign.plan.len()));
    campaign.undisturbed(wanted.only.is_some()).await?;
    // Whatever came after it could not be judged.
    ensure!(campaign.summary.failures.is_empty(), "the migrated shop is red before anything was changed");
    let numbers = wanted.only.map_or(1..=wanted.corruptions, |only| only..=only);
    for number in numbers {
        campaign.one(number).await.with_context(|| format!("corruption {number}"))?;
        if number.is_multiple_of(UNDISTURBED) || wanted.only.is_some() {
            campaign.undisturbed(number.is_multiple_of(UNDISTURBED * BINARY)).await?;
        }
        if number.is_multiple_of(TOLD) {
            let seconds = started.elapsed().as_secs_f64();
            terminal.line(format!("  {number:>5} corruptions, {seconds:.0} s, {}", campaign.summary.state()));
        }
    }
    campaign.summary.seconds = started.elapsed().as_secs_f64();
    campaign.shop.stop()?;
    Ok(campaign.summary)
}

impl Campaign<'_> {
    /// One corruption: done, looked at, undone.
    async fn one(&mut self, number: usize) -> Result<()> {
        let (corruption, max_diffs, site) = self.plan.corruption(&self.world, number)?;
        let place = site.place(&self.world);
        let now = self.shop.apply(&self.world, &corruption.change).await;
        let now = now.with_context(|| format!("{}, {}", corruption.kind, corruption.place))?;
        let mut complaints = self.looked_at(&corruption, &now, max_diffs, self.by_binary(number)).await?;
        complaints.extend(self.not_as_planned(&corruption, &now));
        self.shop.undo(&self.world, &corruption, &now).await.with_context(|| {
            format!(
                "undoing {}, {} (before that: {})",
                corruption.kind,
                corruption.place,
                complaints.join("; ")
            )
        })?;
        self.summary.tried(&corruption.kind, corruption.store, &place, complaints.is_empty());
        if self.wanted.only.is_some() {
            self.terminal.line(format!("  {number}: {}: {}", corruption.kind, corruption.place));
        }
        if !complaints.is_empty() {
            let Wanted { seed, scale, .. } = self.wanted;
            let again = format!("cargo xtask chaos --seed {seed} --only {number} --scale {scale}");
            let what = format!("{number} {}: {}", corruption.kind, corruption.place);
            self.fail(format!("{what}: {}\n    again: {again}", complaints.join("\n    ")));
        }
        Ok(())
    }

    fn by_binary(&self, number: usize) -> bool {
        number.is_multiple_of(BINARY) || self.wanted.only.is_some()
    }

    /// What is wrong with what verify says of it.
    async fn looked_at(
        &mut self,
        corruption: &Corruption,
        now: &Held,
        max_diffs: usize,
        by_binary: bool,
    ) -> Result<Vec<String>> {
        let expected = oracle::expected(&self.world, &self.books, Some(corruption), now, max_diffs);
        let mut complaints = Vec::new();
        if expected.is_nothing() {
            complaints.push("nothing has been changed".to_string());
        }
        match self.shop.look(max_diffs).await {
            // An error is no finding.
            Err(error) => complaints.push(format!("ERROR: {error:#}")),
            Ok(proof) => {
                complaints.extend(expected.complaints(&proof));
                if by_binary {
                    complaints.extend(self.binary(&proof, max_diffs).await?);
                }
            }
        }
        Ok(complaints)
    }

    /// The one value that was to be changed, or more than that.
    fn not_as_planned(&self, corruption: &Corruption, now: &Held) -> Option<String> {
        let planned = corruption.only.as_ref()?;
        let done = oracle::only_change(&self.world, now);
        (done.as_ref() != Some(planned)).then(|| format!("changed {done:?} in place of {planned:?}"))
    }

    /// Nobody has changed anything since the last look.
    async fn undisturbed(&mut self, by_binary: bool) -> Result<()> {
        self.shop.rewrite().await?;
        self.summary.undisturbed += 1;
        let max_diffs = SHOWN[self.summary.undisturbed % SHOWN.len()];
        let expected = oracle::expected(&self.world, &self.books, None, &self.world.held, max_diffs);
        let complaints = match self.shop.look(max_diffs).await {
            Err(error) => vec![format!("ERROR: {error:#}")],
            Ok(proof) => {
                let mut complaints = expected.complaints(&proof);
                if by_binary {
                    complaints.extend(self.binary(&proof, max_diffs).await?);
                }
                complaints
            }
        };
        if !complaints.is_empty() {
            self.summary.false_alarms += 1;
            self.fail(format!(
                "look {} at what nobody has changed: {}",
                self.summary.undisturbed,
                complaints.join("; ")
            ));
        }
        Ok(())
    }

    /// How the binary differs from what was seen in this process.
    async fn binary(&mut self, proof: &Proof, max_diffs: usize) -> Result<Vec<String>> {
        self.summary.by_binary += 1;
        let said = self.shop.binary(max_diffs).await?;
        let red = i32::from(Stop::Differs(String::new()).exit_code());
        let code = if proof.is_green() { 0 } else { red };
        let mut findings = Vec::new();
        for finding in proof.findings() {
            findings.push(serde_json::to_value(finding.said(Values::Shown))?.to_string());
        }
        findings.sort();
        let mut complaints = Vec::new();
        if said.code != Some(code) {
            complaints.push(format!("the binary ends with {:?}, expected {code}: {}", said.code, said.err));
        }
        if said.findings != findings {
            complaints.push(format!("the binary finds {:?}, here {findings:?}", said.findings));
        }
        Ok(complaints)
    }

    fn fail(&mut self, line: String) {
        self.terminal.line(format!("  ✗ {line}"));
        self.summary.failures.push(line);
    }
}
