//! Disposable local servers without Docker: four PostgreSQL servers and Google's Firestore emulator.
//!
//! They listen on free ports of 127.0.0.1, live in one private directory and go with the [`Stack`]
//! that started them: on success, failure, Ctrl-C (a dropped value). What a killed tool leaves behind
//! is removed by the next start. Linux only: /proc tells which processes are ours.
//!
//! ```text
//! <tmp>/xtask-stack-1a2b3c4d/
//!     lock          held while the tool runs; free = kept on purpose, or a leftover
//!     stack.json    Connections, 0600, written before the first process and after each
//!     source/  product/  order/  gateway/  emulator/      data, owned by the servers' account
//!     initdb.log  source.log  …  emulator.log
//! ```

mod emulator;
mod home;
mod leftovers;
mod machine;
mod postgres;
mod processes;

/// Private directories with a lock, for others that leave things running.
pub(super) mod private {
    pub use super::emulator::answers;
    pub use super::home::{is_ours, locked_directory, private_file as file, remove};
    pub use super::leftovers::{Lock, is_older, lock};
    pub use super::machine::{entries, random_hex, temp_roots};
}

pub use leftovers::{KeptStack, ServerState, kept, remove_leftovers, take_down};
pub use machine::{Missing, describe, emulator_jar, missing, postgres_bindir};

use anyhow::{Context, Result, anyhow, bail};
use home::Home;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The PostgreSQL servers of a stack, in the order in which people name them.
pub const SERVERS: [&str; 4] = ["source", "product", "order", "gateway"];

/// How to start a stack.
#[derive(Clone, Debug)]
pub struct Options {
    /// The four PostgreSQL servers, all or none.
    pub postgres: bool,
    pub emulator: EmulatorChoice,
    /// `false` (quicker) where losing the data in a power cut does not matter: in a rehearsal.
    pub fsync: bool,
}

/// Where the Firestore emulator comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmulatorChoice {
    Start,
    /// Use a running one (`host:port`); it is asked whether it answers, and left alone at the end.
    Running(String),
    None,
}

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

    fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("writing stack.json")?;
        home::replace_file(&self.dir.join(home::STACK_JSON), &text)
    }
}

/// Running servers. Dropping it stops them and removes their directory.
pub struct Stack {
    connections: Connections,
    home: Home,
    leftovers: Vec<String>,
}

impl Stack {
    /// Starts everything in parallel and returns when every server answers; removes leftovers of
    /// killed tools meanwhile. If one server fails, or the future is dropped, the others are stopped
    /// and the directory is removed. The error says which one and why, with the end of its log.
    pub async fn start(workspace: &Path, options: Options) -> Result<Stack> {
        let lacking = missing(&options.emulator);
        if !lacking.is_empty() {
            bail!("{}", machine::describe(&lacking));
        }
        let home = Home::create()?;
        let started = start_in(&home, workspace, &options).await;
        match started {
            Ok((connections, leftovers)) => Ok(Stack { connections, home, leftovers }),
            Err(error) => Err(match home.stop() {
                Ok(()) => error,
                Err(left) => anyhow!("{error:#}\nand cleaning up failed: {left:#}"),
            }),
        }
    }

    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// What [`remove_leftovers`] did while this stack started: a line for each.
    pub fn leftovers(&self) -> &[String] {
        &self.leftovers
    }

    /// Leaves everything running after this process: marks stack.json with `keep`, forgets the
    /// children. Where the mark cannot be written everything is stopped, because the next start would
    /// take it for a leftover.
    pub fn keep(mut self) -> Result<Connections> {
        self.connections.keep = true;
        self.connections.write().context("marking the servers as kept")?;
        self.home.let_go();
        Ok(self.connections)
    }

    /// Stops all and removes the directory, in about a tenth of a second, blocking. Errors say what
    /// could not be stopped or removed.
    pub fn stop(self) -> Result<()> {
        self.home.stop()
    }
}

async fn start_in(home: &Home, workspace: &Path, options: &Options) -> Result<(Connections, Vec<String>)> {
    let record = Record::new(home, workspace)?;
    let cleaning = tokio::task::spawn_blocking(remove_leftovers);
    tokio::try_join!(
        async { if options.postgres { postgres::start(home, &record, options.fsync).await } else { Ok(()) } },
        emulator::start(home, &record, &options.emulator),
    )?;
    let leftovers = match cleaning.await.context("removing leftovers")? {
        Ok(lines) => lines,
        Err(error) => vec![format!("{error:#}")],
    };
    Ok((record.finish(), leftovers))
}

/// stack.json while the servers start: every change is on disk before the next step.
struct Record(Mutex<Connections>);

impl Record {
    fn new(home: &Home, workspace: &Path) -> Result<Record> {
        let connections = Connections {
            dir: home.dir().to_owned(),
            workspace: canonical(workspace)?,
            started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            superuser_password: machine::random_hex(24)?,
            postgres: Vec::new(),
            emulator: None,
            keep: false,
        };
        connections.write()?;
        Ok(Record(Mutex::new(connections)))
    }

    fn password(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).superuser_password.clone()
    }

    fn postgres(&self, server: PostgresServer) -> Result<()> {
        self.change(|connections| {
            connections.postgres.retain(|other| other.name != server.name);
            connections.postgres.push(server);
            connections.postgres.sort_by_key(|one| SERVERS.iter().position(|name| *name == one.name));
        })
    }

    fn emulator(&self, server: EmulatorServer) -> Result<()> {
        self.change(|connections| connections.emulator = Some(server))
    }

    fn change(&self, change: impl FnOnce(&mut Connections)) -> Result<()> {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut connections);
        connections.write()
    }

    fn finish(self) -> Connections {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn canonical(workspace: &Path) -> Result<PathBuf> {
    workspace.canonicalize().with_context(|| format!("looking for the workspace {}", workspace.display()))
}
