//! What every phase works with: the settings, the tables, the run's directory, the screen.

use crate::effects::dump::Tools;
use crate::effects::postgres::{self, Connection};
use crate::effects::terminal::Terminal;
use crate::model::Database;
use crate::run_dir::RunDir;
use crate::settings::{Server, Settings};
use crate::tables::Table;
use crate::turns::{Turn, Turns};
use anyhow::Result;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The context of one run.
pub struct Ctx {
    pub settings: Settings,
    /// What is migrated: `TABLES`, or a variant of it in a test that looks for a mistake being found.
    pub tables: &'static [Table],
    pub run: RunDir,
    pub terminal: Terminal,
    pub tools: Tools,
    /// The root of this project's checkout.
    pub workspace: PathBuf,
    /// Keys shown of each difference.
    pub max_diffs: usize,
    /// How many statements run at once on one host.
    pub jobs: usize,
    /// By host: servers on one host share its processors.
    turns: BTreeMap<String, Turns>,
}

/// What a context is made of beside settings, tables and run.
#[derive(Clone)]
pub struct Options {
    pub terminal: Terminal,
    pub tools: Tools,
    pub workspace: PathBuf,
    /// How many statements run at once on one host.
    pub jobs: usize,
    pub max_diffs: usize,
}

impl Ctx {
    pub fn new(settings: Settings, tables: &'static [Table], run: RunDir, options: Options) -> Ctx {
        let Options { terminal, tools, workspace, jobs, max_diffs } = options;
        let targets = Database::ALL.map(|database| settings.target(database));
        let hosts = [&settings.source].into_iter().chain(targets).map(|server| server.host.clone());
        let turns = hosts.map(|host| (host, Turns::new(jobs))).collect();
        Ctx { settings, tables, run, terminal, tools, workspace, max_diffs, jobs, turns }
    }

    /// The name of sessions of this run, shown in `pg_stat_activity`.
    pub fn purpose(&self, what: &str) -> String {
        format!("{} {what}", self.run.id())
    }

    pub async fn target(&self, database: Database, what: &str) -> Result<Connection> {
        postgres::connect(self.settings.target(database), &self.purpose(what)).await
    }

    /// Waits until one more statement may run on the source; `weight` as in [`Turns::take`].
    pub async fn turn_on_source(&self, weight: u64) -> Turn {
        self.turn(&self.settings.source, weight).await
    }

    /// Waits until one more statement may run on a target.
    pub async fn turn_on_target(&self, database: Database, weight: u64) -> Turn {
        self.turn(self.settings.target(database), weight).await
    }

    async fn turn(&self, server: &Server, weight: u64) -> Turn {
        match self.turns.get(&server.host) {
            Some(turns) => turns.take(weight).await,
            None => Turn::default(),
        }
    }

    /// SHA-256 of all SQL that shapes a run, so that two runs can be said to have used the same.
    pub fn sql_hash(&self) -> String {
        let mut hash = Sha256::new();
        for file in self
            .tables
            .iter()
            .flat_map(|t| [t.export, t.audit].into_iter().chain(t.fragments.iter().copied()))
        {
            hash.update(file.path);
            hash.update(file.text);
        }
        for database in Database::ALL {
            hash.update(crate::tables::schema(database).text);
        }
        crate::run_dir::hex(&hash.finalize())
    }
}
