//! bench: what the migration costs, against what it could cost. On disposable servers, in interleaved
//! repetitions: ours, the guide, the pipes and plain counts in turn. Judged on the median of the ratios
//! of each repetition, so that a machine that is busy for a while slows both sides of a ratio.
//!
//! What is compared: the whole of `migrate` (backup and proof included) with the whole of the guide (which
//! proves nothing); and parts, each run by itself in a process of its own (`bench-part`), with the same
//! part of the references. The servers run without fsync; our files are synced to disk all the same.

pub mod figures;
pub mod page;
pub mod part;
mod references;
mod runs;
mod servers;
mod tables;
mod warm;

use crate::effects::terminal::Terminal;
use crate::lab::usage::{self, Machine};
use crate::model::{Stop, grouped};
use crate::refuse;
use crate::settings::Environment;
use anyhow::{Context, Result};
use clap::ValueEnum;
use figures::{Figure, Repetition, Verdict};
use references::{Node, References};
use serde::Serialize;
use servers::Shop;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What we are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// The guide's phases 1 to 4 as repaired shell
    Guide,
    /// Parallel psql pipes into bare tables: the practical limit
    Pipes,
    /// Plain count(*) of everything
    Count,
}

/// What to measure, and where to put it.
pub struct Plan {
    pub scale: u32,
    pub references: Vec<Reference>,
    pub repeat: usize,
    pub out: PathBuf,
}

/// The figures, and how they came about: `bench.json`.
#[derive(Debug, Serialize)]
pub struct Results {
    pub finished: String,
    pub scale: u32,
    /// Of the source, all tables.
    pub rows: u64,
    /// The scale that growth is measured from.
    pub smaller: Option<u32>,
    pub smaller_rows: u64,
    pub machine: Machine,
    pub versions: Vec<(String, String)>,
    /// Why nothing is judged; `None`: the figures' verdicts count.
    pub not_judged: Option<String>,
    pub seconds: f64,
    pub figures: Vec<Figure>,
    /// Each repetition's runs.
    pub repetitions: Vec<Repetition>,
}

/// Floors are for a machine of this many cores.
const CORES: usize = 4;
const SCALE: u32 = 25;
const REPEAT: usize = 5;

/// Measures everything, and writes `bench.json` and `bench.html`.
pub async fn run(
    plan: &Plan,
    workspace: &Path,
    environment: &dyn Fn() -> Result<Environment>,
    terminal: &Terminal,
) -> Result<Results> {
    if plan.repeat == 0 {
        refuse!("--repeat 0 measures nothing");
    }
    let started = Instant::now();
    let node = references::node(workspace, plan.references.contains(&Reference::Guide)).await;
    if let Node::Missing(why) = &node {
        terminal.warn(format!("the guide's Firestore import is not measured: {why}"));
    }
    let smaller = (plan.scale >= 5).then_some(plan.scale / 5);
    let quiet = Terminal::new(crate::effects::terminal::Verbosity::Quiet, true);
    terminal.phase(&format!("Servers with a monolith of scale {}", plan.scale));
    let shop = Shop::open(workspace, environment()?, plan.scale, &quiet).await?;
    let small = match smaller {
        Some(scale) => Some(Shop::open(workspace, environment()?, scale, &quiet).await?),
        None => None,
    };
    let references = References::new(workspace, node)?;
    let versions = references.versions().await;
    let mut bench = runs::Bench { plan, shop, small, references, terminal, export: None };
    if plan.references.contains(&Reference::Pipes) {
        bench.prepare_pipes().await?;
    }
    let mut repetitions = Vec::new();
    for n in 1..=plan.repeat {
        terminal.phase(&format!("Repetition {n} of {}", plan.repeat));
        repetitions.push(bench.repetition().await?);
    }
    bench.stop()?;

    let first = repetitions.first().context("nothing was measured")?;
    let machine = usage::machine();
    let results = Results {
        finished: crate::run::dir::now(),
        scale: plan.scale,
        rows: first.rows,
        smaller,
        smaller_rows: first.smaller_rows,
        not_judged: not_judged(plan, &machine),
        figures: figures::figures(&repetitions, plan.scale, smaller),
        machine,
        versions,
        seconds: started.elapsed().as_secs_f64(),
        repetitions,
    };
    save(&results, &plan.out)?;
    Ok(results)
}

fn not_judged(plan: &Plan, machine: &Machine) -> Option<String> {
    let mut why = Vec::new();
    if machine.cores < CORES {
        why.push(format!("this machine has {} cores, {CORES} are needed", machine.cores));
    }
    if plan.scale < SCALE {
        why.push(format!("the scale is {}, floors are for {SCALE}", plan.scale));
    }
    if plan.repeat < REPEAT {
        why.push(format!("{} repetitions, {REPEAT} are needed", plan.repeat));
    }
    (!why.is_empty()).then(|| why.join("; "))
}

fn save(results: &Results, out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let write = |name: &str, text: String| {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    write("bench.json", serde_json::to_string_pretty(results)?)?;
    write("bench.html", page::page(results))
}

impl Results {
    /// For a person: the figures, then what was measured.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{}\n\n{}\n\n",
            tables::figure_table(&self.figures),
            tables::run_table(&self.repetitions)
        );
        out += &format!(
            "scale {}, {} rows; {} repetitions in {:.0} min; {} cores\n",
            self.scale,
            grouped(self.rows),
            self.repetitions.len(),
            self.seconds / 60.0,
            self.machine.cores
        );
        if let Some(why) = &self.not_judged {
            out += &format!("not judged: {why}\n");
        }
        out
    }

    /// Exit code 3 where a floor is missed and the figures count.
    pub fn check(&self) -> Result<()> {
        let missed: Vec<&str> =
            self.figures.iter().filter(|f| f.verdict == Verdict::Missed).map(|f| f.name.as_str()).collect();
        if self.not_judged.is_none() && !missed.is_empty() {
            return Err(Stop::Differs(format!("floors missed: {}", missed.join("; "))).into());
        }
        Ok(())
    }
}
