//! One repetition: every run of it, measured, in turn. After each reference its rows are compared with
//! what our own export says: a reference that fails in silence would look fast.

use crate::effects::process::Program;
use crate::effects::terminal::Terminal;
use crate::journal::{Journal, Span};
use crate::lab::bench::figures::{Repetition, Run};
use crate::lab::bench::measured::{GuideStep, Measured};
use crate::lab::bench::part::Done;
use crate::lab::bench::plan::{Plan, Reference};
use crate::lab::bench::references::{Node, References, succeeded};
use crate::lab::bench::servers::Shop;
use crate::lab::bench::warm;
use crate::lab::compare;
use crate::lab::itself;
use crate::lab::usage::{self, Ran};
use crate::run::dir::{self, RunDir};
use crate::run::manifest::Export;
use crate::steps::{Event, StepName};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;

pub struct Bench<'a> {
    pub plan: &'a Plan,
    pub shop: Shop,
    /// With a monolith of a fifth of the size.
    pub small: Option<Shop>,
    pub references: References,
    pub terminal: &'a Terminal,
    /// Of the first run: what every reference must arrive at.
    pub export: Option<Export>,
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

    /// The whole, its verification and plain counts of the same; then the parts, each on empty targets.
    async fn ours(&mut self, done: &mut Repetition) -> Result<()> {
        self.renew().await?;
        let (run, rows) = migrate(&self.shop).await?;
        done.rows = rows;
        self.note(done, Measured::Migrate, run);
        if self.export.is_none() {
            self.export = RunDir::open(&self.shop.runs(), "latest")?.load_manifest()?.export;
        }
        let (ran, spent) = measured(&self.shop, tool(&self.shop, &["verify", "--json"])?).await?;
        let ran = succeeded("verify", ran)?;
        let report: Reported = serde_json::from_str(&ran.stdout).context("reading verify's report")?;
        ensure!(report.proven == Some(true), "verify found differences");
        self.note(done, Measured::Verify, Run::new(&ran, spent));
        if self.plan.references.contains(&Reference::Count) {
            let run = self.part("count").await?;
            self.note(done, Measured::Count, run);
        }
        self.renew().await?;
        let run = self.part("rows").await?;
        self.note(done, Measured::Rows, run);
        let run = self.part("documents").await?;
        self.note(done, Measured::Documents, run);
        self.renew().await?;
        let run = self.part("move").await?;
        self.note(done, Measured::Move, run);
        Ok(())
    }

    /// Empty databases, an empty emulator at its full speed.
    async fn renew(&mut self) -> Result<()> {
        self.shop.renew().await?;
        warm::up(&self.shop, &self.references).await
    }

    async fn smaller(&mut self, done: &mut Repetition) -> Result<()> {
        let Some(small) = &mut self.small else { return Ok(()) };
        small.renew().await?;
        warm::up(small, &self.references).await?;
        let (run, rows) = migrate(small).await?;
        done.smaller_rows = rows;
        self.note(done, Measured::SmallerMigrate, run);
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
            self.note(done, Measured::Guide(step), Run::new(&ran, spent));
        }
        self.arrived("guide.sh", matches!(self.references.node, Node::Ready(_))).await
    }

    async fn pipes(&mut self, done: &mut Repetition) -> Result<()> {
        self.shop.renew_databases().await?;
        let command = self.references.script("pipes.sh", "move", &self.shop)?;
        let (ran, spent) = measured(&self.shop, command).await?;
        let ran = succeeded("pipes.sh", ran)?;
        self.note(done, Measured::Pipes, Run::new(&ran, spent));
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
        let export = self.export.as_ref().context("our own run has no export")?;
        let mut differences = compare::databases(&self.shop.settings, export).await?;
        if documents {
            differences.extend(compare::counts(&self.shop.settings, export).await?);
        }
        if !differences.is_empty() {
            bail!("{name} did not move what it should have: {}", differences.join("; "));
        }
        Ok(())
    }

    /// A part of ours in a process of its own.
    async fn part(&self, name: &str) -> Result<Run> {
        let (ran, spent) = measured(&self.shop, tool(&self.shop, &["bench-part", name, "--json"])?).await?;
        let ran = succeeded(&format!("bench-part {name}"), ran)?;
        let said: Done =
            serde_json::from_str(&ran.stdout).with_context(|| format!("reading what {name} said"))?;
        let mut run = Run::new(&ran, spent);
        run.phases = said.seconds;
        run.peak_memory = said.peak_memory;
        if let (false, Some(export)) = (said.counts.is_empty(), &self.export) {
            let expected =
                export.files.iter().filter_map(|(name, f)| Some((name.strip_suffix(".csv")?, f.rows?)));
            for (table, rows) in expected.filter(|(table, _)| said.counts.contains_key(*table)) {
                ensure!(said.counts.get(table) == Some(&rows), "count(*) of {table} is not {rows}");
            }
        }
        Ok(run)
    }

    fn note(&self, done: &mut Repetition, measured: Measured, run: Run) {
        self.terminal.line(format!("  {measured:<36} {:>7.2} s", run.seconds));
        done.runs.insert(measured, run);
    }

    pub fn stop(self) -> Result<()> {
        if let Some(small) = self.small {
            small.stop()?;
        }
        self.shop.stop()
    }
}

/// The whole migration, with the phases as its journal has them, and the rows of the source.
async fn migrate(shop: &Shop) -> Result<(Run, u64)> {
    let (ran, spent) = measured(shop, tool(shop, &["migrate", "--json"])?).await?;
    let ran = succeeded("migrate", ran)?;
    let report: Reported = serde_json::from_str(&ran.stdout).context("reading migrate's report")?;
    ensure!(report.proven == Some(true), "the migration was not proven");
    let mut run = Run::new(&ran, spent);
    run.peak_memory = report.peak_memory;
    run.phases = report.seconds;
    let (path, _) = dir::find(&shop.runs(), "latest", None)?;
    run.phases.extend(seconds(&dir::load_journal(&path)?)?);
    Ok((run, report.tables.iter().map(|t| t.source_rows).sum()))
}

/// Seconds of every step that came to its end, by its name.
fn seconds(journal: &Journal) -> Result<BTreeMap<String, f64>> {
    let steps = journal.commands.iter().flat_map(|command| &command.steps);
    let took = |step: &Span<StepName>| {
        let ended = step.ended.as_ref().context("a step that is done has no end")?;
        let (began, ended): (jiff::Timestamp, jiff::Timestamp) = (step.began.parse()?, ended.parse()?);
        Ok((step.step.to_string(), ended.duration_since(began).as_secs_f64()))
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
        assert_eq!(seconds, BTreeMap::from([("2 export".to_string(), 2.5)]));
    }
}
