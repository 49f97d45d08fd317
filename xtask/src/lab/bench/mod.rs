//! bench: what the migration costs, against what it could cost. On disposable servers, in interleaved
//! repetitions: ours, the guide, the pipes and plain counts in turn. Judged on the median of the ratios
//! of each repetition, so that a machine that is busy for a while slows both sides of a ratio. What it costs
//! is processor seconds, of the tool, its children and PostgreSQL; beside them stands how long it takes.
//!
//! What is compared: the whole of `migrate` (backup and proof included) with the whole of the guide (which
//! proves nothing); and parts, each run by itself in a process of its own (`bench-part`), with the same
//! part of the references. The servers run without fsync; our files are synced to disk all the same.

pub mod back;
mod counts;
pub mod figures;
mod floors;
pub mod live;
pub mod measured;
pub mod page;
pub mod part;
mod plan;
mod references;
mod results;
mod runs;
mod servers;
mod tables;
mod warm;

pub use plan::{Plan, Reference};
pub use results::Results;

use crate::effects::terminal::Terminal;
use crate::lab::usage;
use crate::refuse;
use crate::settings::Environment;
use anyhow::{Context, Result};
use measured::{Measured, Size};
use references::{Node, References};
use servers::Shop;
use std::fs;
use std::path::Path;
use std::time::Instant;

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
    let quiet = Terminal::new(crate::effects::terminal::Verbosity::Quiet, true);
    terminal.phase(&format!("Servers with a monolith of scale {}", plan.scale));
    let shop = open(workspace, environment()?, plan.scale, &quiet).await?;
    let mut smaller = Vec::new();
    for size in [Size::Fifth, Size::TwentyFifth] {
        if let Some(scale) = size.scale(plan.scale) {
            smaller.push((size, open(workspace, environment()?, scale, &quiet).await?));
        }
    }
    let references = References::new(workspace, node)?;
    let versions = references.versions().await;
    let mut bench = runs::Bench { plan, shop, smaller, references, terminal, manifest: None };
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
    let rows = first.run(Measured::Migrate(Size::Whole)).and_then(|run| run.rows);
    let rows = rows.context("the migration did not say how many rows there are")?;
    let machine = usage::machine();
    let results = Results {
        finished: crate::run::dir::now(),
        scale: plan.scale,
        rows,
        not_judged: plan.not_judged(),
        figures: floors::figures(&repetitions, plan.scale, machine.cores),
        machine,
        versions,
        seconds: started.elapsed().as_secs_f64(),
        repetitions,
    };
    save(&results, &plan.out)?;
    Ok(results)
}

/// Servers on which nothing runs cold.
async fn open(workspace: &Path, environment: Environment, scale: u32, terminal: &Terminal) -> Result<Shop> {
    let shop = Shop::open(workspace, environment, scale, terminal).await?;
    warm::prepare(&shop, scale)?;
    Ok(shop)
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
