//! Where local and disposable servers run: in containers, or as processes of this machine.

use crate::effects::cleanup::Cleanup;
use crate::effects::terminal::Terminal;
use crate::servers::docker::{Disposable, Engine, remove_leftovers};
use crate::servers::local::{self, Wanted};
use crate::servers::{compose_stack, native};
use crate::settings::{Environment, Settings};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// Containers, by Docker's engine and Compose
    Docker,
    /// Processes of this machine, which need neither
    Native,
    /// Docker where it is ready, else native; which, and why, is said
    Auto,
}

/// What it came to.
pub enum Taken {
    Docker(Engine),
    Native,
}

/// Decides, and says why where there was a choice. `dotenv`: the containers' passwords have to be there.
pub async fn choose(runtime: Runtime, workspace: &Path, dotenv: bool, terminal: &Terminal) -> Result<Taken> {
    match runtime {
        Runtime::Native => Ok(Taken::Native),
        Runtime::Docker => Ok(Taken::Docker(compose_stack::ready(workspace, dotenv, terminal).await?)),
        Runtime::Auto => match compose_stack::ready(workspace, dotenv, terminal).await {
            Ok(engine) => {
                let Engine { version, host, .. } = &engine;
                terminal
                    .line(format!("runtime: docker, because engine {version} at {host} has all it needs"));
                Ok(Taken::Docker(engine))
            }
            Err(why) => {
                terminal.line(format!("runtime: native, because {why:#}"));
                Ok(Taken::Native)
            }
        },
    }
}

/// The servers of a rehearsal.
pub enum Servers {
    Native(Box<native::Stack>),
    Docker(Box<Disposable>),
}

impl Servers {
    /// Running, with databases, roles and a filled monolith.
    pub async fn start(
        taken: Taken,
        wanted: Wanted<'_>,
        environment: &Environment,
        terminal: &Terminal,
        cleanup: &Cleanup,
    ) -> Result<(Servers, Settings)> {
        let engine = match taken {
            Taken::Docker(engine) => engine,
            Taken::Native => {
                let (stack, settings) = local::start(wanted, environment, terminal).await?;
                return Ok((Servers::Native(Box::new(stack)), settings));
            }
        };
        terminal.phase("Containers: 4 × PostgreSQL, Firestore emulator");
        remove_leftovers(&engine).await?.iter().for_each(|line| terminal.line(format!("  {line}")));
        let stack = Disposable::start(&engine, wanted.workspace, cleanup).await?;
        let settings = compose_stack::settings(environment, &stack.containers, None)?;
        compose_stack::answering(&settings, &stack.containers).await?;
        local::fill(&settings.source, wanted.scale, terminal).await?;
        Ok((Servers::Docker(Box::new(stack)), settings))
    }

    /// A private directory that goes with the servers.
    pub fn home(&self) -> &Path {
        match self {
            Servers::Native(stack) => &stack.connections().dir,
            Servers::Docker(stack) => stack.home(),
        }
    }

    /// What has become of the servers, for a command that failed on them.
    pub async fn post_mortem(&self, settings: &Settings) -> Vec<String> {
        match self {
            Servers::Native(_) => Vec::new(),
            Servers::Docker(stack) => compose_stack::post_mortem(&stack.containers, settings).await,
        }
    }

    /// Stops the servers, or leaves them and says how to connect.
    pub async fn end(self, settings: &Settings, keep: bool) -> Result<Option<Kept>> {
        match (self, keep) {
            (Servers::Native(stack), true) => {
                let connections = stack.keep()?;
                let how_to_connect = local::how_to_connect(settings, &connections);
                Ok(Some(Kept { home: None, how_to_connect }))
            }
            (Servers::Native(stack), false) => {
                stack.stop().context("stopping the local servers")?;
                Ok(None)
            }
            (Servers::Docker(stack), true) => {
                let how_to_connect = compose_stack::how_to_connect(&stack.containers, settings);
                Ok(Some(Kept { home: Some(stack.keep()?), how_to_connect }))
            }
            (Servers::Docker(stack), false) => {
                stack.stop().await.context("removing the containers")?;
                Ok(None)
            }
        }
    }
}

/// Servers that stay.
pub struct Kept {
    /// What `--stack` has to name, where they are not found without it.
    pub home: Option<PathBuf>,
    pub how_to_connect: String,
}
