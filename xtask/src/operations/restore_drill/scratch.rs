//! Servers that a drill has to itself: processes of this machine in a temporary directory, or containers, gone at its
//! end, however it ends.

use crate::effects::cleanup::Cleanup;
use crate::effects::random;
use crate::operations::store_backups::StoreManifest;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::servers::docker::{self, Disposable, MONOLITH};
use crate::servers::native::{self, EmulatorChoice, Options, Stack};
use crate::servers::runtime::{self, Runtime, Taken};
use crate::servers::{compose_stack, local};
use crate::settings::{Firestore, Server};
use anyhow::{Context, Result};

pub enum Scratch {
    Processes(Box<Stack>),
    Containers(Box<Disposable>),
}

impl Scratch {
    /// Those that these backups need. Where nothing is asked for: processes, and where this machine lacks the
    /// programs, containers.
    ///
    /// # Errors
    /// Refuses where this machine has neither, and says what installs them.
    pub async fn start(
        ctx: &Ctx,
        backups: &[&StoreManifest],
        asked: Option<Runtime>,
        cleanup: &Cleanup,
    ) -> Result<Scratch> {
        let postgres = backups.iter().any(|manifest| manifest.target.database().is_some());
        let documents = backups.iter().any(|manifest| manifest.target.database().is_none());
        let emulator = if documents { EmulatorChoice::Start } else { EmulatorChoice::None };
        let missing = native::missing(&emulator);
        let wanted = match asked {
            None if missing.is_empty() => Runtime::Native,
            asked => asked.unwrap_or(Runtime::Auto),
        };
        match runtime::choose(wanted, &ctx.workspace, false, &ctx.terminal).await? {
            Taken::Docker(engine) => Scratch::containers(ctx, &engine, cleanup).await,
            Taken::Native if missing.is_empty() => Scratch::processes(ctx, postgres, emulator).await,
            Taken::Native => refuse!(
                "{}\nThey are for scratch servers, into which backups are restored; with a Docker engine, --scratch docker \
                 takes containers",
                native::describe(&missing)
            ),
        }
    }

    async fn processes(ctx: &Ctx, postgres: bool, emulator: EmulatorChoice) -> Result<Scratch> {
        ctx.terminal.line("scratch servers, as processes of this machine");
        let options = Options { postgres, emulator, ..Options::default() };
        let stack = Stack::start(&ctx.workspace, options).await.context("starting the scratch servers")?;
        stack.leftovers().iter().for_each(|line| ctx.terminal.line(format!("  {line}")));
        Ok(Scratch::Processes(Box::new(stack)))
    }

    async fn containers(ctx: &Ctx, engine: &docker::Engine, cleanup: &Cleanup) -> Result<Scratch> {
        ctx.terminal.line("scratch servers, as containers");
        let removed = docker::remove_leftovers(engine).await?;
        removed.iter().for_each(|line| ctx.terminal.line(format!("  {line}")));
        let stack = Disposable::start(engine, &ctx.workspace, cleanup).await;
        let stack = stack.context("starting the scratch servers")?;
        compose_stack::answers(&compose_stack::server(&stack.containers, "scratch", MONOLITH)?).await?;
        Ok(Scratch::Containers(Box::new(stack)))
    }

    /// As a superuser, where no database has this store's name: of the containers that is the monolith's.
    pub fn server(&self, label: &str, database: &str) -> Result<Server> {
        match self {
            Scratch::Processes(stack) => local::server(stack.connections(), label, database, "postgres"),
            Scratch::Containers(stack) => {
                let server = compose_stack::server(&stack.containers, label, MONOLITH)?;
                Ok(Server { database: database.to_string(), ..server })
            }
        }
    }

    /// A project of its own, in which nothing stands.
    pub fn firestore(&self, of: &Firestore) -> Result<Firestore> {
        let emulator = match self {
            Scratch::Processes(stack) => {
                let emulator = stack.connections().emulator.as_ref();
                emulator.context("the scratch has no emulator")?.host_port.clone()
            }
            Scratch::Containers(stack) => compose_stack::emulator(&stack.containers)?,
        };
        Ok(Firestore {
            project: format!("demo-drill-{}", random::hex(4)?),
            database: "(default)".to_string(),
            emulator: Some(emulator),
            credentials: None,
            ..of.clone()
        })
    }

    pub async fn stop(self) -> Result<()> {
        let stopped = match self {
            Scratch::Processes(stack) => stack.stop(),
            Scratch::Containers(stack) => stack.stop().await,
        };
        stopped.context("stopping the scratch servers")
    }
}
