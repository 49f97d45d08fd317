//! What the window costs: passes and the freeze of a shop whose clients write, at three sizes, and what the clients
//! see of it.

use super::measured::Size;
use crate::effects::terminal::{Terminal, Verbosity};
use crate::lab::itself;
use crate::lab::live::{Told, Writer, as_shop, role_of_the_shop};
use crate::model::grouped;
use crate::run::dir::{self, RunDir};
use crate::run::pass::TurnedRows;
use crate::servers::local::{self, Wanted};
use crate::servers::native::EmulatorChoice;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the clients write before a pass: what has changed by then is more each time.
const BEFORE_A_PASS: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(30)];
/// For the latency without anything of ours.
const QUIET: Duration = Duration::from_secs(10);
const SEED: u64 = 8;

/// One measurement of all of it. Seconds of wall time, milliseconds of a transaction.
#[derive(Debug, Default, Serialize)]
pub struct LiveResults {
    pub windows: Vec<Window>,
}

/// A window of the shop at one size.
#[derive(Debug, Serialize)]
pub struct Window {
    pub scale: u32,
    /// Of all tables of the source, when it was migrated.
    pub rows: u64,
    /// Of the clients together, without anything of ours.
    pub per_second: f64,
    pub passes: Vec<Pass>,
    /// From before the first statement that freezes to the recorded cut-over.
    pub frozen: f64,
    pub without: Latency,
    pub during_migrate: Latency,
    pub during_passes: Latency,
}

#[derive(Debug, Serialize)]
pub struct Pass {
    /// Changed rows that the stores got, lost or have otherwise.
    pub changed: u64,
    /// Rows that were read of the source, with those that depend on changed ones.
    pub read: u64,
    /// From its snapshot to its proof: by so much the stores are behind when it ends.
    pub seconds: f64,
}

/// Of a client's transaction, in milliseconds: the middle one, and the one that 99 of 100 stay below.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    pub median: f64,
    pub p99: f64,
}

impl From<Told> for Latency {
    fn from(told: Told) -> Latency {
        Latency { median: told.median, p99: told.p99 }
    }
}

/// Of what `catch-up` prints.
#[derive(Deserialize)]
struct Passes {
    passes: Vec<Passed>,
}

#[derive(Deserialize)]
struct Passed {
    tables: BTreeMap<String, TurnedRows>,
    read: u64,
    seconds: f64,
}

/// The servers of one size, and the tool on them.
struct Bed {
    stack: PathBuf,
    runs: PathBuf,
    environment: PathBuf,
}

/// A twenty-fifth, a fifth and the whole of the scale, as far as there are rows. `environment`: the text of the one that
/// the shop's is made of.
pub async fn run(
    scale: u32,
    workspace: &Path,
    environment: &str,
    terminal: &Terminal,
) -> Result<LiveResults> {
    let mut results = LiveResults::default();
    for scale in Size::ALL.iter().rev().filter_map(|size| size.scale(scale)) {
        terminal.phase(&format!("A shop of scale {scale}"));
        let window = measured(scale, workspace, environment, terminal).await?;
        terminal.line(format!("  the freeze: {:.1} s", window.frozen));
        results.windows.push(window);
    }
    Ok(results)
}

async fn measured(scale: u32, workspace: &Path, environment: &str, terminal: &Terminal) -> Result<Window> {
    let (environment, text) = itself::environment_of_shop(environment)?;
    let wanted = Wanted { workspace, scale, emulator: EmulatorChoice::Start, install: false };
    let quiet = Terminal::new(Verbosity::Quiet, true);
    let (stack, settings) = local::start(wanted, &environment, &quiet).await?;
    role_of_the_shop(&settings).await?;
    let home = stack.connections().dir.clone();
    let bed = Bed { runs: home.join("runs"), environment: home.join("shop.toml"), stack: home };
    fs::DirBuilder::new().mode(0o700).create(&bed.runs).with_context(|| bed.runs.display().to_string())?;
    itself::write_environment(&bed.environment, &text)?;
    let writer = Writer::start(&as_shop(&settings), SEED)?;
    let window = bed.window(scale, writer, terminal).await;
    stack.stop()?;
    window
}

impl Bed {
    async fn window(&self, scale: u32, mut writer: Writer, terminal: &Terminal) -> Result<Window> {
        tokio::time::sleep(QUIET).await;
        let without = writer.lap();
        self.tool(&["migrate", "--max-quarantine", "1000000"]).await?;
        let during_migrate = writer.lap().into();
        let (mut passes, mut seen) = (Vec::new(), Vec::new());
        for wait in BEFORE_A_PASS {
            // The first brings over what has changed during the migration, the others what has changed since.
            passes.push(self.pass().await?);
            seen.push(writer.lap());
            tokio::time::sleep(wait).await;
            writer.lap();
        }
        passes.push(self.pass().await?);
        seen.push(writer.lap());
        self.tool(&["cutover"]).await?;
        writer.stop().await?;
        for pass in &passes {
            terminal.line(format!("  a pass of {} rows: {:.1} s", grouped(pass.changed), pass.seconds));
        }
        let run = RunDir::open(&self.runs, "latest")?;
        let manifest = dir::load_manifest(run.path())?;
        let export = manifest.export.context("the run has no export")?;
        let frozen =
            manifest.cutover.and_then(|cutover| cutover.frozen_for).context("no freeze was timed")?;
        let worst = |of: fn(&Told) -> f64| seen.iter().map(of).fold(0.0, f64::max);
        ensure!(without.transactions > 0, "the clients could not write");
        Ok(Window {
            scale,
            rows: export.tables.values().map(|table| table.source_rows).sum(),
            per_second: without.per_second,
            passes,
            frozen,
            without: without.into(),
            during_migrate,
            during_passes: Latency { median: worst(|told| told.median), p99: worst(|told| told.p99) },
        })
    }

    async fn pass(&self) -> Result<Pass> {
        let said = self.tool(&["catch-up"]).await?;
        let passes: Passes = itself::result(&said).with_context(|| format!("reading {said}"))?;
        let passed = passes.passes.into_iter().next_back().context("no pass was made")?;
        let changed = passed.tables.values().map(TurnedRows::all).sum();
        Ok(Pass { changed, read: passed.read, seconds: passed.seconds })
    }

    /// What a command prints, which has to end well.
    async fn tool(&self, arguments: &[&str]) -> Result<String> {
        let program = itself::tool(arguments.iter().copied(), &self.stack, &self.runs)?;
        program.arg("--env").arg(&self.environment).args(["--json", "--quiet"]).read().await
    }
}

impl LiveResults {
    pub fn text(&self) -> String {
        let latency = |l: &Latency| format!("median {:.1} ms, 99 of 100 below {:.1} ms", l.median, l.p99);
        let mut out = String::new();
        for window in &self.windows {
            out += &format!(
                "scale {}: {} rows, {:.0} transactions a second\n  the freeze: {:.1} s\n",
                window.scale,
                grouped(window.rows),
                window.per_second,
                window.frozen
            );
            for pass in &window.passes {
                out += &format!(
                    "  a pass: {} rows changed, {} read, {:.1} s behind at its end\n",
                    grouped(pass.changed),
                    grouped(pass.read),
                    pass.seconds
                );
            }
            out += &format!("  a client without us: {}\n", latency(&window.without));
            out += &format!("  while it is migrated: {}\n", latency(&window.during_migrate));
            out += &format!("  during passes: {}\n", latency(&window.during_passes));
        }
        out
    }
}
