//! What every phase works with: the settings, the tables, the run's directory, the screen.

use crate::effects::dump::Tools;
use crate::effects::postgres::{self, Connection};
use crate::effects::terminal::Terminal;
use crate::model::Database;
use crate::run_dir::RunDir;
use crate::settings::Settings;
use crate::tables::Table;
use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    /// How many statements run at once on one server.
    pub jobs: usize,
    /// Keys shown of each difference.
    pub max_diffs: usize,
    on_source: Arc<Semaphore>,
}

/// What a context is made of beside settings, tables and run.
#[derive(Clone)]
pub struct Options {
    pub terminal: Terminal,
    pub tools: Tools,
    pub workspace: PathBuf,
    pub jobs: usize,
    pub max_diffs: usize,
}

impl Ctx {
    pub fn new(settings: Settings, tables: &'static [Table], run: RunDir, options: Options) -> Ctx {
        let Options { terminal, tools, workspace, jobs, max_diffs } = options;
        let on_source = Arc::new(Semaphore::new(jobs));
        Ctx { settings, tables, run, terminal, tools, workspace, jobs, max_diffs, on_source }
    }

    /// The name of sessions of this run, shown in `pg_stat_activity`.
    pub fn purpose(&self, what: &str) -> String {
        format!("{} {what}", self.run.id())
    }

    pub async fn target(&self, database: Database, what: &str) -> Result<Connection> {
        postgres::connect(self.settings.target(database), &self.purpose(what)).await
    }

    /// Waits until one more statement may run on the source.
    pub async fn turn_on_source(&self) -> Result<OwnedSemaphorePermit> {
        self.on_source.clone().acquire_owned().await.context("the run is ending")
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
