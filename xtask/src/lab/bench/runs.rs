//! One repetition: every run of it, measured, in turn. After each reference its rows are compared with
//! what our own export says: a reference that fails in silence would look fast.

use crate::effects::process::Program;
use crate::effects::terminal::Terminal;
use crate::journal::{Journal, Span};
use crate::lab::bench::figures::{Repetition, Run};
use crate::lab::bench::measured::{GuideStep, Measured, Size};
use crate::lab::bench::part::{Done, Part};
use crate::lab::bench::plan::{Plan, Reference};
use crate::lab::bench::references::{Node, References, succeeded};
use crate::lab::bench::servers::Shop;
use crate::lab::bench::warm;
use crate::lab::compare;
use crate::lab::itself;
use crate::lab::usage::{self, Ran};
use crate::run::dir::{self, RunDir};
use crate::run::manifest::{Export, Manifest};
use crate::steps::{Event, StepName};
use crate::tables::{TABLES, Table};
use crate::timing::{self, Timing};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;

pub struct Bench<'a> {
    pub plan: &'a Plan,
    pub shop: Shop,
    pub smaller: Vec<(Size, Shop)>,
    pub references: References,
    pub terminal: &'a Terminal,
    /// Of the first run: what every reference must arrive at, and what is counted.
    pub manifest: Option<Manifest>,
}

/// What bench reads of a report.
#[derive(Deserialize)]
struct Reported {
    proven: Option<bool>,
    tables: Vec<TableLine>,
    seconds: BTreeMap<String, f64>,
    peak_memory: Option<u64>,
}

#[derive(Deserialize)]
struct TableLine {
    source_rows: u64,
}

/// What bench reads of a forecast.
#[derive(Deserialize)]
struct Planned {
    timing: Timing,
}

impl Bench<'_> {
    pub async fn repetition(&mut self) -> Result<Repetition> {
        let mut done = Repetition::default();
        self.ours(&mut done).await?;
        self.smaller(&mut done).await?;
        if self.plan.references.contains(&Reference::Guide) {
            self.guide(&mut done).await?;
        }
        if self.plan.references.contains(&Reference::Pipes) {
            self.pipes(&mut done).await?;
        }
        Ok(done)
    }

    /// The whole, as it was predicted, its verification, and plain counts of the same; then the parts, each on
    /// empty targets.
    async fn ours(&mut self, done: &mut Repetition) -> Result<()> {
        self.renew().await?;
        migration(&self.shop, Size::Whole, self.terminal, done).await?;
        if self.manifest.is_none() {
            self.manifest = Some(RunDir::open(&self.shop.runs(), "latest")?.load_manifest()?);
        }
        let (ran, spent) = measured(&self.shop, tool(&self.shop, &["verify", "--json"])?).await?;
        let ran = succeeded("verify", ran)?;
        let report: Reported = itself::result(&ran.stdout).context("reading verify's report")?;
        ensure!(report.proven == Some(true), "verify found differences");
        note(self.terminal, done, Measured::Verify, Run::new(&ran, spent));
        if self.plan.references.contains(&Reference::Count) {
            self.looks(done).await?;
        }
        self.renew().await?;
        note(self.terminal, done, Measured::Rows, self.part(Part::Rows).await?);
        note(self.terminal, done, Measured::Documents, self.part(Part::Documents).await?);
        Ok(())
    }

    /// What looks again at what is proven, each look right before the count that it is compared with.
    async fn looks(&self, done: &mut Repetition) -> Result<()> {
        for (part, measured) in [
            (Part::Content, Measured::Content),
            (Part::TargetCounts, Measured::TargetCounts),
            (Part::Structure, Measured::Structure),
            (Part::References, Measured::References),
            (Part::SourceCheck, Measured::SourceCheck),
            (Part::SourceCounts, Measured::SourceCounts),
        ] {
            note(self.terminal, done, measured, self.part(part).await?);
        }
        Ok(())
    }

    /// Empty databases, an empty emulator at its full speed.
    async fn renew(&mut self) -> Result<()> {
        self.shop.renew().await?;
        warm::up(&self.shop, &self.references).await
    }

    async fn smaller(&mut self, done: &mut Repetition) -> Result<()> {
        for (size, shop) in &mut self.smaller {
            shop.renew().await?;
            warm::up(shop, &self.references).await?;
            migration(shop, *size, self.terminal, done).await?;
        }
        Ok(())
    }

    async fn guide(&mut self, done: &mut Repetition) -> Result<()> {
        self.renew().await?;
        for step in GuideStep::ALL {
            if step == GuideStep::Firestore && !matches!(self.references.node, Node::Ready(_)) {
                continue;
            }
            let command = self.references.script("guide.sh", &step.to_string(), &self.shop)?;
            let (ran, spent) = measured(&self.shop, command).await?;
            let ran = succeeded(&format!("guide.sh {step}"), ran)?;
            note(self.terminal, done, Measured::Guide(step), Run::new(&ran, spent));
        }
        self.arrived("guide.sh", matches!(self.references.node, Node::Ready(_))).await
    }

    async fn pipes(&mut self, done: &mut Repetition) -> Result<()> {
        self.shop.renew_databases().await?;
        let command = self.references.script("pipes.sh", "move", &self.shop)?;
        let (ran, spent) = measured(&self.shop, command).await?;
        let ran = succeeded("pipes.sh", ran)?;
        note(self.terminal, done, Measured::Pipes, Run::new(&ran, spent));
        self.arrived("pipes.sh", false).await
    }

    /// Takes the schemas apart, once.
    pub async fn prepare_pipes(&mut self) -> Result<()> {
        self.shop.renew_databases().await?;
        let command = self.references.script("pipes.sh", "prepare", &self.shop)?;
        succeeded("pipes.sh prepare", usage::run(command).await?).map(drop)
    }

    /// Every table holds what our export says, with its keys and indexes, every collection as many
    /// documents (JavaScript's dates have no microseconds: their content differs).
    async fn arrived(&self, name: &str, documents: bool) -> Result<()> {
        let export = self.export()?;
        let mut differences = compare::databases(&self.shop.settings, export).await?;
        if documents {
            differences.extend(compare::counts(&self.shop.settings, export).await?);
        }
        if !differences.is_empty() {
            bail!("{name} did not move what it should have: {}", differences.join("; "));
        }
        Ok(())
    }

    fn export(&self) -> Result<&Export> {
        let manifest = self.manifest.as_ref().context("there is no run of ours yet")?;
        manifest.export.as_ref().context("our own run has no export")
    }

    /// A part of ours in a process of its own.
    async fn part(&self, part: Part) -> Result<Run> {
        let name = &part.name();
        let (ran, spent) = measured(&self.shop, tool(&self.shop, &["bench-part", name, "--json"])?).await?;
        let ran = succeeded(&format!("bench-part {name}"), ran)?;
        let said: Done = itself::result(&ran.stdout).with_context(|| format!("reading what {name} said"))?;
        self.counted(part, &said.counts)?;
        let run = Run { phases: said.seconds, peak_memory: said.peak_memory, ..Run::new(&ran, spent) };
        Ok(match said.passes {
            Some(passes) => run.once_of(passes),
            None => run,
        })
    }

    /// What was counted is what our own run has found: a count of less would be measured as a cheap one.
    fn counted(&self, part: Part, counts: &BTreeMap<String, u64>) -> Result<()> {
        let expected: BTreeMap<String, u64> = match part {
            Part::Content | Part::TargetCounts => {
                let tables = &self.export()?.tables;
                let of = |table: &Table| {
                    Some((table.name.to_string(), tables.get(table.name)?.content.total().rows))
                };
                TABLES.iter().filter(|table| table.database().is_some()).filter_map(of).collect()
            }
            Part::SourceCheck | Part::SourceCounts => {
                let backup = self.manifest.as_ref().and_then(|manifest| manifest.backup.as_ref());
                let raw = &backup.context("our own run has no backup")?.raw;
                raw.iter().map(|(name, digest)| (name.clone(), digest.rows)).collect()
            }
            Part::Rows | Part::Documents | Part::Structure | Part::References => BTreeMap::new(),
        };
        let name = part.name();
        ensure!(*counts == expected, "{name} found {counts:?}, our own run {expected:?}");
        Ok(())
    }

    pub fn stop(self) -> Result<()> {
        for (_, shop) in self.smaller {
            shop.stop()?;
        }
        self.shop.stop()
    }
}

fn note(terminal: &Terminal, done: &mut Repetition, measured: Measured, run: Run) {
    terminal.line(format!("  {measured:<40} {:>7.2} s {:>7.2} s CPU", run.seconds, run.whole_cpu()));
    done.runs.insert(measured, run);
}

/// What `plan` expects of a migration, and the migration.
async fn migration(shop: &Shop, size: Size, terminal: &Terminal, done: &mut Repetition) -> Result<()> {
    note(terminal, done, Measured::Plan(size), plan(shop).await?);
    note(terminal, done, Measured::Migrate(size), migrate(shop).await?);
    Ok(())
}

/// By its sample alone: what ran on this machine before must not decide how good it is.
async fn plan(shop: &Shop) -> Result<Run> {
    let (ran, spent) = measured(shop, tool(shop, &["plan", "--json"])?).await?;
    let ran = succeeded("plan", ran)?;
    let planned: Planned = itself::result(&ran.stdout).context("reading what plan said")?;
    Ok(Run { predicted: Some(planned.timing.sampled.total()), ..Run::new(&ran, spent) })
}

/// The whole migration, with its phases as the report has them and its steps as the journal has them.
async fn migrate(shop: &Shop) -> Result<Run> {
    let (ran, spent) = measured(shop, tool(shop, &["migrate", "--json"])?).await?;
    let ran = succeeded("migrate", ran)?;
    let report: Reported = itself::result(&ran.stdout).context("reading migrate's report")?;
    ensure!(report.proven == Some(true), "the migration was not proven");
    let mut run = Run::new(&ran, spent);
    run.peak_memory = report.peak_memory;
    run.rows = Some(report.tables.iter().map(|t| t.source_rows).sum());
    run.phases = report.seconds;
    let (path, _) = dir::find(&shop.runs(), "latest", None)?;
    run.phases.extend(seconds(&dir::load_journal(&path)?)?);
    Ok(run)
}

/// Seconds of every step that came to its end, by its key.
fn seconds(journal: &Journal) -> Result<BTreeMap<String, f64>> {
    let steps = journal.commands.iter().flat_map(|command| &command.steps);
    let took = |step: &Span<StepName>| {
        let ended = step.ended.as_ref().context("a step that is done has no end")?;
        let (began, ended): (jiff::Timestamp, jiff::Timestamp) = (step.began.parse()?, ended.parse()?);
        Ok((timing::Part::Step(step.step.clone()).key(), ended.duration_since(began).as_secs_f64()))
    };
    steps.filter(|step| step.event == Event::Done).map(took).collect()
}

/// This program itself, on the shop's servers.
fn tool(shop: &Shop, arguments: &[&str]) -> Result<Program> {
    Ok(itself::tool(arguments, &shop.stack_dir(), &shop.runs())?.arg("--quiet"))
}

/// Runs it; also what the servers spent meanwhile.
async fn measured(shop: &Shop, program: Program) -> Result<(Ran, (f64, f64))> {
    let before = shop.spent()?;
    let ran = usage::run(program).await?;
    let after = shop.spent()?;
    Ok((ran, (after.postgres - before.postgres, after.emulator - before.emulator)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_the_journal() {
        let line = |at: &str, step: &str, event: &str| {
            format!("{{\"at\":\"2026-01-01T00:00:0{at}Z\",\"step\":\"{step}\",\"event\":\"{event}\"}}\n")
        };
        let text = line("0.000", "2 export", "start")
            + &line("1.000", "3 firestore", "start")
            + &line("2.500", "2 export", "done")
            + &line("3.000", "3 firestore", "ended early");
        let seconds = seconds(&Journal::read(&text)).unwrap();
        assert_eq!(seconds, BTreeMap::from([("step_2_export".to_string(), 2.5)]));
    }
}
