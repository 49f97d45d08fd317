//! What every phase works with: the settings, the tables, the run's directory, the screen.

use crate::effects::dump::Tools;
use crate::effects::host;
use crate::effects::postgres::{self, Connection};
use crate::effects::terminal::Terminal;
use crate::effects::throttle::Throttle;
use crate::findings::Values;
use crate::model::{Database, Existing};
use crate::run::dir::RunDir;
use crate::run::manifest::ToolVersion;
use crate::run::permits::{Permit, Permits};
use crate::settings::{Server, Settings};
use crate::sql::{self, Reading, Treatment};
use crate::tables::Table;
use anyhow::Result;
use datapath::document::NullPolicy;
use datapath::sha256::Sha256;
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
    /// Whether customers' values are shown.
    pub values: Values,
    /// What becomes of an earlier run's rows and documents in the targets.
    pub existing: Existing,
    /// `user@host` of this process.
    who: String,
    /// How fast the source is read.
    pub throttle: Throttle,
    /// How many statements run at once on one host.
    pub jobs: usize,
    /// By host: servers on one host share its processors.
    permits: BTreeMap<String, Permits>,
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
    pub values: Values,
}

impl Ctx {
    pub fn new(settings: Settings, tables: &'static [Table], run: RunDir, options: Options) -> Ctx {
        let Options { terminal, tools, workspace, jobs, max_diffs, values } = options;
        let targets = Database::ALL.map(|database| settings.target(database));
        let hosts = [&settings.source].into_iter().chain(targets).map(|server| server.host.clone());
        let permits = hosts.map(|host| (host, Permits::new(jobs))).collect();
        let throttle = Throttle::new(settings.policy.source_rate);
        let (existing, who) = (Existing::Refuse, host::user_at_host());
        Ctx {
            settings,
            tables,
            run,
            terminal,
            tools,
            workspace,
            max_diffs,
            values,
            existing,
            who,
            throttle,
            jobs,
            permits,
        }
    }

    /// The same for another run: to read its files.
    pub fn of_run(&self, run: RunDir, null_policy: NullPolicy) -> Ctx {
        let mut settings = self.settings.clone();
        settings.policy.null_policy = null_policy;
        Ctx {
            settings,
            tables: self.tables,
            run,
            terminal: self.terminal.clone(),
            tools: self.tools.clone(),
            workspace: self.workspace.clone(),
            max_diffs: self.max_diffs,
            values: self.values,
            existing: self.existing,
            who: self.who.clone(),
            throttle: Throttle::new(None),
            jobs: self.jobs,
            permits: self.permits.clone(),
        }
    }

    /// How rows of the source become rows of the targets.
    pub fn treatment<'a>(&'a self, reading: &'a Reading) -> Treatment<'a> {
        let policy = &self.settings.policy;
        Treatment { reading, zone: &policy.source_zone, nulls: policy.null_policy }
    }

    /// The name of sessions of this run after `xtask`, shown in `pg_stat_activity`: run, what for, who.
    pub fn purpose(&self, what: &str) -> String {
        session_name(self.run.id(), what, &self.who)
    }

    pub async fn target(&self, database: Database, what: &str) -> Result<Connection> {
        postgres::connect(self.settings.target(database), &self.purpose(what)).await
    }

    /// A session on a target that looks, and does not wait for ever for a table that is locked.
    pub async fn looking(&self, database: Database, what: &str) -> Result<Connection> {
        let mut connection = self.target(database, what).await?;
        connection.run(sql::WAIT_FOR_LOCKS).await?;
        Ok(connection)
    }

    /// The same on the source.
    pub async fn looking_at_source(&self, what: &str) -> Result<Connection> {
        let mut connection = postgres::connect(&self.settings.source, &self.purpose(what)).await?;
        connection.run(sql::WAIT_FOR_LOCKS).await?;
        Ok(connection)
    }

    /// The source and the targets.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        let targets = Database::ALL.map(|database| self.settings.target(database));
        [&self.settings.source].into_iter().chain(targets)
    }

    /// Waits until one more statement may run on the source; `weight` as in [`Permits::acquire`].
    pub async fn source_permit(&self, weight: u64) -> Permit {
        self.permit(&self.settings.source, weight).await
    }

    /// Waits until one more statement may run on a target.
    pub async fn target_permit(&self, database: Database, weight: u64) -> Permit {
        self.permit(self.settings.target(database), weight).await
    }

    async fn permit(&self, server: &Server, weight: u64) -> Permit {
        match self.permits.get(&server.host) {
            Some(permits) => permits.acquire(weight).await,
            None => Permit::default(),
        }
    }

    /// Which tool and which SQL this run is made with.
    pub fn tool_version(&self) -> ToolVersion {
        ToolVersion { version: env!("CARGO_PKG_VERSION").into(), sql: self.sql_hash() }
    }

    /// SHA-256 of all SQL that shapes a run, so that two runs can be said to have used the same.
    pub fn sql_hash(&self) -> String {
        let mut hash = Sha256::new();
        for file in self.tables.iter().flat_map(|t| {
            [t.export, t.audit].into_iter().chain(t.document).chain(t.fragments.iter().copied())
        }) {
            hash.update(file.path.as_bytes());
            hash.update(file.text.as_bytes());
        }
        for database in Database::ALL {
            hash.update(crate::tables::schema(database).text.as_bytes());
        }
        hash.hex()
    }
}

/// PostgreSQL cuts a session's name off after 63 bytes: what is cut off is the end of the host's name.
pub fn session_name(run: &str, what: &str, who: &str) -> String {
    let name = format!("{run} {what} {who}");
    // Others than ASCII become `?`, one a byte.
    name.bytes().take(63 - "xtask ".len()).map(|b| if b.is_ascii() { char::from(b) } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_session_is_named_by_run_purpose_and_person_in_63_bytes() {
        let name = super::session_name("20260101_000000", "lock", "anna@laptop");
        assert_eq!(name, "20260101_000000 lock anna@laptop");
        let long = super::session_name("20260101_000000", "lock", &format!("josé@{}", "x".repeat(99)));
        assert_eq!(long.len() + "xtask ".len(), 63);
        assert!(long.starts_with("20260101_000000 lock jos??@xxx"), "{long}");
    }
}
