//! What the way back costs, against restoring the dump and against a bare listing of the documents' names, in the same
//! run on the same servers: with nothing written since the cut-over, and with one row in a hundred changed.

use crate::effects::dump::Tools;
use crate::effects::postgres;
use crate::effects::terminal::Terminal;
use crate::lab::itself;
use crate::model::{Database, Stop};
use crate::phases::rollback::{Back, BackPart};
use crate::run::dir::RunDir;
use crate::servers::local::{self, Wanted};
use crate::servers::native::{self, EmulatorChoice};
use crate::settings::{Environment, Settings};
use crate::tables::{self, TABLES, Table};
use crate::{sql, sql_file};
use anyhow::{Context, Result, ensure};
use datapath::firestore::{Address, Firestore};
use serde::Serialize;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// One measurement of all of it. Seconds of wall time.
#[derive(Debug, Serialize)]
pub struct BackResults {
    pub scale: u32,
    /// `pg_restore` of the run's dump into an empty database.
    pub restore: f64,
    /// The names of all documents, and nothing else.
    pub listing: f64,
    /// `rollback before-start`, nothing written.
    pub before_start: Back,
    /// `rollback after-start`, with one row in a hundred changed.
    pub after_start: Back,
    pub rows_changed: u64,
    pub ratios: Vec<Ratio>,
}

/// A figure that was to be reached.
#[derive(Debug, Serialize)]
pub struct Ratio {
    pub what: &'static str,
    pub reached: f64,
    pub at_most: f64,
}

impl BackResults {
    pub fn text(&self) -> String {
        let parts = |back: &Back| {
            let part = |(part, seconds): (&BackPart, &f64)| format!("{part:?} {seconds:.2} s");
            back.seconds.0.iter().map(part).collect::<Vec<_>>().join(", ")
        };
        let mut out = format!(
            "scale {}: pg_restore of the dump {:.2} s, listing the documents {:.2} s\n  before-start, nothing written: {}\n  \
             after-start, {} rows changed: {}\n",
            self.scale,
            self.restore,
            self.listing,
            parts(&self.before_start),
            self.rows_changed,
            parts(&self.after_start)
        );
        for Ratio { what, reached, at_most } in &self.ratios {
            let holds = if reached <= at_most { "✓" } else { "✗" };
            out += &format!("  {holds} {what}: {reached:.3}, at most {at_most}\n");
        }
        out
    }

    /// # Errors
    /// `Stop::Differs` where a figure was not reached.
    pub fn check(&self) -> Result<()> {
        let missed: Vec<&str> =
            self.ratios.iter().filter(|r| r.reached > r.at_most).map(|r| r.what).collect();
        if missed.is_empty() {
            return Ok(());
        }
        Err(Stop::Differs(format!("not reached: {}", missed.join("; "))).into())
    }
}

/// The servers, and the tool on them.
struct Bed {
    stack: PathBuf,
    runs: PathBuf,
    settings: Settings,
}

pub async fn run(
    scale: u32,
    workspace: &Path,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<BackResults> {
    let wanted = Wanted { workspace, scale, emulator: EmulatorChoice::Start, install: false };
    let (stack, settings) = local::start(wanted, environment, terminal).await?;
    let home = stack.connections().dir.clone();
    let runs = home.join("runs");
    fs::DirBuilder::new().mode(0o700).create(&runs).with_context(|| runs.display().to_string())?;
    let bed = Bed { stack: home, runs, settings };
    let results = bed.measure(scale).await;
    stack.stop()?;
    results
}

impl Bed {
    async fn measure(&self, scale: u32) -> Result<BackResults> {
        self.forward().await?;
        let (restore, listing) = (self.restore().await?, self.listing().await?);
        let before_start = self.back("before-start").await?;
        ensure!(before_start.received() == 0, "somebody has written to the stores");
        self.forward().await?;
        self.one_percent().await?;
        let after_start = self.back("after-start").await?;
        let rows_changed = after_start.received();
        ensure!(rows_changed > 0, "nothing was changed");
        let of_postgres = |back: &Back| {
            let parts = [BackPart::Databases, BackPart::OldDatabase, BackPart::Marks];
            parts.iter().filter_map(|part| back.seconds.0.get(part)).sum::<f64>()
        };
        let collections = before_start.seconds.0.get(&BackPart::Collections).copied().unwrap_or_default();
        let ratio = |what, reached, at_most| Ratio { what, reached, at_most };
        let ratios = vec![
            ratio(
                "before-start, PostgreSQL, of restoring the dump",
                of_postgres(&before_start) / restore,
                0.1,
            ),
            ratio("after-start, PostgreSQL, of restoring the dump", of_postgres(&after_start) / restore, 0.2),
            ratio("looking at the documents, of listing their names", collections / listing, 1.3),
        ];
        Ok(BackResults { scale, restore, listing, before_start, after_start, rows_changed, ratios })
    }

    async fn forward(&self) -> Result<()> {
        self.tool(&["migrate", "--replace", "--quiet"]).await?;
        self.tool(&["cutover"]).await.map(drop)
    }

    async fn back(&self, scenario: &str) -> Result<Back> {
        let said = self.tool(&["rollback", scenario, "--json"]).await?;
        itself::result(&said).with_context(|| format!("reading {said}"))
    }

    async fn restore(&self) -> Result<f64> {
        let source = &self.settings.source;
        let mut scratch = source.clone();
        scratch.database = "bench_restored".into();
        let mut connection = postgres::connect(source, "bench").await?;
        connection.run("SET default_transaction_read_only = off").await?;
        connection.run(&sql::create_database(&scratch.database, &source.user)).await?;
        let archive = RunDir::open(&self.runs, "latest")?.file("full_backup.dump");
        let tools = Tools { bindir: native::postgres_bindir()? };
        let started = Instant::now();
        tools.restore(&scratch, "bench", &archive, 4).await?;
        let seconds = started.elapsed().as_secs_f64();
        connection.run(&sql::drop_database(&scratch.database)).await?;
        connection.close().await?;
        Ok(seconds)
    }

    async fn listing(&self) -> Result<f64> {
        let firestore = Firestore::connect(&Address::from(&self.settings.firestore)).await?;
        let started = Instant::now();
        let mut names = 0;
        for collection in TABLES.iter().filter_map(Table::collection) {
            let page = |page: Vec<String>| {
                names += page.len();
                Ok(())
            };
            firestore.ids(collection.name, page).await?;
        }
        ensure!(names > 0, "there are no documents");
        Ok(started.elapsed().as_secs_f64())
    }

    async fn one_percent(&self) -> Result<()> {
        for database in Database::ALL {
            let mut connection = postgres::connect(self.settings.target(database), "bench").await?;
            for table in tables::of_database(TABLES, database) {
                let change = sql::bind(sql_file!("bench/one_percent.sql"), &[("table", table.name)]);
                connection.run(&change).await?;
            }
            connection.close().await?;
        }
        Ok(())
    }

    /// What a command says, which has to end well.
    async fn tool(&self, arguments: &[&str]) -> Result<String> {
        itself::tool(arguments.iter().copied(), &self.stack, &self.runs)?.read().await
    }
}
