//! What a running stack says of itself: `stack.json` in its directory.

use crate::servers::native::home;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The PostgreSQL servers of a stack, in the order in which people name them.
pub const SERVERS: [&str; 4] = ["source", "product", "order", "gateway"];

/// What a person or program needs to connect: `stack.json` in the stack's directory. Not `Debug`,
/// because it holds the password.
#[derive(Clone, Serialize, Deserialize)]
pub struct Connections {
    pub dir: PathBuf,
    /// The workspace that started it, canonical.
    pub workspace: PathBuf,
    /// When, in UTC: `2026-01-31T23:59:59.123Z`. Sorts by time.
    pub started: String,
    /// Of the superuser `postgres`, the same on all four servers.
    pub superuser_password: String,
    /// In the order of [`SERVERS`]; fewer while they are being started.
    pub postgres: Vec<PostgresServer>,
    pub emulator: Option<EmulatorServer>,
    /// Whether it goes on after the tool that started it.
    pub keep: bool,
}

/// One PostgreSQL server on 127.0.0.1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PostgresServer {
    /// One of [`SERVERS`].
    pub name: String,
    pub port: u16,
    /// The postmaster.
    pub pid: u32,
    pub data: PathBuf,
    pub log: PathBuf,
}

/// The Firestore emulator; without `pid` and `log` where we use a running one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmulatorServer {
    /// What `FIRESTORE_EMULATOR_HOST` takes: `127.0.0.1:41234`.
    pub host_port: String,
    pub pid: Option<u32>,
    pub log: Option<PathBuf>,
}

impl Connections {
    /// Of the stack in that directory, kept or held by another tool.
    pub fn read(dir: &Path) -> Result<Connections> {
        let file = dir.join(home::STACK_JSON);
        let text = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("understanding {}", file.display()))
    }

    /// The server of that name; an error where the stack has none.
    pub fn server(&self, name: &str) -> Result<&PostgresServer> {
        (self.postgres.iter().find(|server| server.name == name))
            .with_context(|| format!("{} has no server {name}", self.dir.display()))
    }

    pub(super) fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("writing stack.json")?;
        home::replace_file(&self.dir.join(home::STACK_JSON), &text)
    }
}

/// The workspace as every tool names it.
pub(super) fn canonical(workspace: &Path) -> Result<PathBuf> {
    workspace.canonicalize().with_context(|| format!("looking for the workspace {}", workspace.display()))
}
