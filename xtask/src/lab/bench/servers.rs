//! The servers that bench measures on: one source that stays, targets that are recreated for every run,
//! and a fresh emulator for every run, because clearing one frees none of its memory.

use crate::effects::postgres;
use crate::effects::terminal::Terminal;
use crate::lab::emulator::{fresh_emulator, host};
use crate::lab::usage;
use crate::model::Database;
use crate::servers::local::{self, Wanted};
use crate::servers::native::{Connections, EmulatorChoice, Stack};
use crate::settings::{Environment, Settings};
use crate::sql::{self, Rows};
use crate::sql_text;
use crate::tables::{self, TABLES};
use anyhow::{Context, Result};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Servers with a filled monolith.
pub struct Shop {
    stack: Stack,
    emulator: Option<Stack>,
    environment: Environment,
    pub settings: Settings,
    /// Private, inside the stack's directory: goes with it.
    pub work: PathBuf,
}

/// Where the servers' processor time stands, in seconds.
#[derive(Clone, Copy)]
pub struct Spent {
    pub postgres: f64,
    pub emulator: f64,
}

impl Shop {
    /// Starts the servers, fills the monolith, and leaves it as a server that has run for a while: with
    /// statistics, and with its rows' hint bits set, so that the first run is like the others.
    pub async fn open(
        workspace: &Path,
        environment: Environment,
        scale: u32,
        terminal: &Terminal,
    ) -> Result<Shop> {
        let emulator = fresh_emulator(workspace).await?;
        let host = host(&emulator)?;
        let wanted = Wanted { workspace, scale, emulator: EmulatorChoice::Running(host), install: false };
        let (stack, settings) = local::start(wanted, &environment, terminal).await?;
        let mut connection = postgres::connect(&settings.source, "bench").await?;
        connection.run("VACUUM ANALYZE").await?;
        connection.close().await?;
        let work = stack.connections().dir.join("bench");
        for dir in
            [work.clone(), work.join("stack"), work.join("select"), work.join("schema"), work.join("warm")]
        {
            fs::DirBuilder::new().mode(0o700).create(&dir).with_context(|| dir.display().to_string())?;
        }
        let shop = Shop { stack, emulator: Some(emulator), environment, settings, work };
        shop.write_statements().await?;
        Ok(shop)
    }

    /// What the references need: each table's SELECT, the schemas, and which table goes where.
    async fn write_statements(&self) -> Result<()> {
        let mut connection = postgres::connect(&self.settings.source, "bench").await?;
        let mut list = String::new();
        for table in TABLES {
            let reading = sql::Reading::default();
            let select = sql::expand(TABLES, table.export, &reading)?;
            let shape = connection.describe(&Rows::shape(&select)).await?;
            let zone = &self.settings.policy.source_zone;
            let treatment =
                sql::Treatment { reading: &reading, zone, nulls: self.settings.policy.null_policy };
            let rows = Rows::new(table, select, shape, treatment)?;
            let home = table.database().map_or("firestore", Database::name);
            let columns: Vec<String> =
                rows.target_columns().iter().map(|c| sql_text::ident(&c.name)).collect();
            list += &format!("{home}\t{}\t{}\n", table.name, columns.join(", "));
            self.write(&format!("select/{}.sql", table.name), &rows.migrated())?;
        }
        connection.close().await?;
        for database in Database::ALL {
            self.write(&format!("schema/{database}.sql"), tables::schema(database).text)?;
        }
        self.write("tables", &list)
    }

    /// A file of the working directory.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.work.join(name);
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut f| f.write_all(text.as_bytes()))
            .with_context(|| format!("writing {}", path.display()))
    }

    /// Targets as they were before the first run, and a fresh emulator; what earlier runs wrote is gone.
    pub async fn renew(&mut self) -> Result<()> {
        // The old one first: two of them are a lot of memory.
        if let Some(old) = self.emulator.take() {
            old.stop()?;
        }
        let workspace = self.stack.connections().workspace.clone();
        let (emulator, ()) = tokio::try_join!(fresh_emulator(&workspace), self.renew_databases())?;
        self.use_emulator(emulator)
    }

    /// The same for what does not come near the emulator.
    pub async fn renew_databases(&self) -> Result<()> {
        let runs = self.runs();
        if runs.is_dir() {
            fs::remove_dir_all(&runs).with_context(|| format!("removing {}", runs.display()))?;
        }
        local::renew(&self.settings, self.stack.connections()).await?;
        // What stays goes to disk now, so that no run pays for another.
        nix::unistd::sync();
        Ok(())
    }

    fn use_emulator(&mut self, emulator: Stack) -> Result<()> {
        let mut connections: Connections = self.stack.connections().clone();
        connections.emulator.clone_from(&emulator.connections().emulator);
        self.settings = local::settings(&self.environment, &connections)?;
        self.write("stack/stack.json", &serde_json::to_string_pretty(&connections)?)?;
        self.emulator = Some(emulator);
        Ok(())
    }

    /// For `--stack`.
    pub fn stack_dir(&self) -> PathBuf {
        self.work.join("stack")
    }

    /// For `--backup-dir`.
    pub fn runs(&self) -> PathBuf {
        self.work.join("runs")
    }

    pub fn port(&self, server: &str) -> Result<String> {
        Ok(self.stack.connections().server(server)?.port.to_string())
    }

    /// Of every database's user.
    pub fn password(&self) -> &str {
        &self.stack.connections().superuser_password
    }

    pub fn emulator_host(&self) -> Result<String> {
        host(self.emulator.as_ref().context("there is no emulator")?)
    }

    pub fn spent(&self) -> Result<Spent> {
        let postgres: Vec<u32> = self.stack.connections().postgres.iter().map(|s| s.pid).collect();
        let emulator = self.emulator.iter().filter_map(|e| e.connections().emulator.as_ref()?.pid);
        Ok(Spent {
            postgres: usage::cpu_of(&postgres)?,
            emulator: usage::cpu_of(&emulator.collect::<Vec<_>>())?,
        })
    }

    pub fn stop(self) -> Result<()> {
        if let Some(emulator) = self.emulator {
            emulator.stop()?;
        }
        self.stack.stop()
    }
}
