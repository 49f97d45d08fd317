//! The way back, again and again: migrate, cut over, let the services write, go back; by the next run's export it is
//! told whether anything was lost, invented or changed.

mod judge;
mod state;
mod workload;

use self::judge::Round;
use self::state::Named;
pub use self::workload::Collisions;
use super::itself;
use super::signal::signal;
use crate::effects::postgres;
use crate::effects::terminal::Terminal;
use crate::model::{Stop, grouped};
use crate::phases::rollback::Back;
use crate::run::dir::{self, RunDir};
use crate::servers::local::{self, Wanted};
use crate::servers::native::EmulatorChoice;
use crate::settings::{Environment, Settings};
use crate::tables::TABLES;
use crate::{sql, sql_file};
use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use nix::sys::signal::Signal;
use serde::Serialize;
use sqlx::Row;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A command that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two lines that say how far it is.
const TOLD: usize = 10;
/// In one round, at most.
const CUTS: usize = 2;

pub struct Plan {
    pub rounds: usize,
    pub seed: u64,
    /// How often the way back is killed on its way.
    pub cuts: usize,
}

/// What a campaign came to.
#[derive(Debug, Default, Serialize)]
pub struct Campaign {
    pub seed: u64,
    pub rounds: usize,
    /// How often the way back was killed before it had come to its end.
    pub cuts: usize,
    /// Rows and documents that the stores received.
    pub received: u64,
    /// Of them those that the tool listed: they did not come back, or not as they are.
    pub listed: usize,
    pub failures: Vec<String>,
    pub seconds: f64,
}

impl Campaign {
    fn count(&self, word: &str) -> usize {
        self.failures.iter().filter(|line| line.contains(&format!(": {word}:"))).count()
    }

    pub fn text(&self) -> String {
        let mut out: String = self.failures.iter().map(|line| format!("{line}\n")).collect();
        out += &format!(
            "seed {}: {} rounds, {} cuts, {} rows and documents received, {} listed; {} lost, {} invented, {} changed, {} \
             touched that nobody had written; {:.0} s\n",
            self.seed,
            self.rounds,
            self.cuts,
            grouped(self.received),
            self.listed,
            self.count("LOST"),
            self.count("INVENTED"),
            self.count("CHANGED"),
            self.count("TOUCHED"),
            self.seconds
        );
        out
    }

    /// # Errors
    /// `Stop::Differs` where a law was broken, or nothing was looked at.
    pub fn judge(&self) -> Result<()> {
        if self.failures.is_empty() && self.received > 0 {
            return Ok(());
        }
        Err(Stop::Differs(format!("{} failures in {} rounds", self.failures.len(), self.rounds)).into())
    }
}

/// What services write, by this seed.
pub async fn services_write(settings: &Settings, seed: u64, collisions: Collisions) -> Result<()> {
    let before = state::stores(settings).await?;
    workload::write(settings, &before, &mut Rng::with_seed(seed), collisions).await
}

/// The servers that everything happens on.
struct Bed {
    stack: PathBuf,
    runs: PathBuf,
    settings: Settings,
    /// How long the last way back took that was not killed.
    took: Option<Duration>,
}

/// # Errors
/// Where the servers do not start, or a command of a round fails.
pub async fn run(
    plan: &Plan,
    workspace: &Path,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<Campaign> {
    let wanted = Wanted { workspace, scale: 0, emulator: EmulatorChoice::Start, install: false };
    let (stack, settings) = local::start(wanted, environment, terminal).await?;
    let home = stack.connections().dir.clone();
    let runs = home.join("runs");
    fs::DirBuilder::new().mode(0o700).create(&runs).with_context(|| runs.display().to_string())?;
    let mut bed = Bed { stack: home, runs, settings, took: None };
    let (started, mut rng) = (Instant::now(), Rng::with_seed(plan.seed));
    let mut campaign = Campaign { seed: plan.seed, ..Campaign::default() };
    bed.migrate().await?;
    for number in 1..=plan.rounds {
        let cuts = plan.cuts.saturating_sub(campaign.cuts).min(CUTS);
        let round = bed.round(&mut rng, cuts).await;
        let round = round.with_context(|| format!("round {number}, seed {}", plan.seed))?;
        campaign.cuts += round.cuts;
        let (failures, listed) = judge::judge(&round);
        campaign.rounds += 1;
        campaign.received += round.back.received();
        campaign.listed += listed;
        for failure in failures {
            terminal.line(format!("  round {number}: {failure}"));
            campaign.failures.push(format!("round {number}: {failure}"));
        }
        if number.is_multiple_of(TOLD) {
            let seconds = started.elapsed().as_secs_f64();
            terminal.line(format!("  {number:>5} rounds, {seconds:.0} s, {} received", campaign.received));
        }
    }
    campaign.seconds = started.elapsed().as_secs_f64();
    stack.stop()?;
    Ok(campaign)
}

impl Bed {
    /// From a cut-over to the next export.
    async fn round(&mut self, rng: &mut Rng, cuts: usize) -> Result<Round> {
        self.tool(&["cutover"], &[0]).await?;
        let (old_before, stores_before) =
            (state::old(&self.settings).await?, state::stores(&self.settings).await?);
        workload::write(&self.settings, &stores_before, rng, Collisions::Some).await?;
        let stores_after = state::stores(&self.settings).await?;
        self.tool(&["rollback", "after-start", "--dry-run", "--json"], &[0]).await?;
        ensure!(state::old(&self.settings).await? == old_before, "a plan has changed the old database");
        let (back, cuts) = self.back(rng, cuts).await?;
        let old_after = state::old(&self.settings).await?;
        self.migrate().await?;
        let told = self.told()?;
        Ok(Round { old_before, old_after, stores_before, stores_after, back, cuts, told })
    }

    /// The way back, killed at any moment of its course before it may come to its end; and how often it was.
    async fn back(&mut self, rng: &mut Rng, cuts: usize) -> Result<(Back, usize)> {
        let arguments = ["rollback", "after-start", "--json"];
        let mut killed = 0;
        for _ in 0..self.took.map_or(0, |_| cuts) {
            let after = self.took.unwrap_or_default().mul_f64(rng.f64());
            let program = itself::tool(arguments, &self.stack, &self.runs)?;
            let (said, _) = program
                .observed(move |pid| {
                    std::thread::sleep(after);
                    signal(pid, Signal::SIGKILL)
                })
                .await?;
            killed += usize::from(said.status.signal() == Some(Signal::SIGKILL as i32));
        }
        let started = Instant::now();
        let mut last = None;
        // What a killed call has left on the servers may take a moment to end.
        for _ in 0..PATIENCE.as_secs() {
            let said = self.tool(&arguments, &[0, 3]).await;
            let done = match &said {
                Ok(_) => true,
                // By the call that was killed a moment too late.
                Err(error) => format!("{error:#}").contains("was taken back already"),
            };
            if done {
                if killed == 0 {
                    self.took = Some(started.elapsed());
                }
                return Ok((self.remembered().await?, killed));
            }
            last = said.err();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bail!("killed {killed} times, it does not come to its end: {last:?}")
    }

    /// What the old database remembers of the newest run's way back.
    async fn remembered(&self) -> Result<Back> {
        let run = dir::ids(&self.runs)?.pop().context("there is no run")?;
        let mut connection = postgres::connect(&self.settings.source, "chaos").await?;
        let query = sql::bind(sql_file!("phases/rollback/recorded.sql"), &[("run", &run)]);
        let summary: String = connection.row(&query).await?.try_get("summary")?;
        connection.close().await?;
        serde_json::from_str(&summary).with_context(|| format!("reading {summary}"))
    }

    async fn migrate(&self) -> Result<()> {
        self.tool(&["migrate", "--replace", "--max-quarantine", "1000000"], &[0]).await.map(drop)
    }

    /// The rows that the newest run read in the old database.
    fn told(&self) -> Result<BTreeMap<&'static str, BTreeMap<i64, Named>>> {
        let newest = dir::ids(&self.runs)?.pop().context("there is no run")?;
        let run = RunDir::open(&self.runs, &newest)?;
        TABLES.iter().map(|table| Ok((table.name, state::told(&run, table)?))).collect()
    }

    /// A command's stdout.
    async fn tool(&self, arguments: &[&str], codes: &[i32]) -> Result<String> {
        let program = itself::tool(arguments.iter().copied(), &self.stack, &self.runs)?;
        let ended = tokio::time::timeout(PATIENCE, program.observed(|_| Ok(()))).await;
        let (said, ()) = ended.with_context(|| format!("{} hangs", arguments.join(" ")))??;
        let code = said.status.code().unwrap_or(-1);
        let stderr = String::from_utf8_lossy(&said.stderr);
        ensure!(
            codes.contains(&code),
            "{}: exit code {code}: {}",
            arguments.join(" "),
            itself::in_one_line(&stderr)
        );
        Ok(String::from_utf8(said.stdout)?)
    }
}
