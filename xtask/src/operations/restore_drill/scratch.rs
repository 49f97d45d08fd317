//! Servers that a drill has to itself: processes of this machine in a temporary directory, gone at its end, however
//! it ends.

use crate::operations::store_backups::StoreManifest;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::servers::local;
use crate::servers::native::{self, EmulatorChoice, Options, Stack};
use crate::settings::{Firestore, Server};
use anyhow::{Context, Result};

pub struct Scratch {
    stack: Stack,
}

impl Scratch {
    /// Those that these backups need.
    ///
    /// # Errors
    /// Refuses where this machine lacks the programs, and says what installs them.
    pub async fn start(ctx: &Ctx, backups: &[&StoreManifest]) -> Result<Scratch> {
        let postgres = backups.iter().any(|manifest| manifest.target.database().is_some());
        let documents = backups.iter().any(|manifest| manifest.target.database().is_none());
        let emulator = if documents { EmulatorChoice::Start } else { EmulatorChoice::None };
        let missing = native::missing(&emulator);
        if !missing.is_empty() {
            refuse!(
                "{}\nThey are for scratch servers, into which backups are restored",
                native::describe(&missing)
            );
        }
        ctx.terminal.line("scratch servers, as processes of this machine");
        let options = Options { postgres, emulator, ..Options::default() };
        let stack = Stack::start(&ctx.workspace, options).await.context("starting the scratch servers")?;
        stack.leftovers().iter().for_each(|line| ctx.terminal.line(format!("  {line}")));
        Ok(Scratch { stack })
    }

    /// As the superuser of the server for this store.
    pub fn server(&self, label: &str, database: &str) -> Result<Server> {
        local::server(self.stack.connections(), label, database, "postgres")
    }

    /// A project of its own, in which nothing stands.
    pub fn firestore(&self, of: &Firestore) -> Result<Firestore> {
        let emulator = self.stack.connections().emulator.as_ref().context("the scratch has no emulator")?;
        Ok(Firestore {
            project: format!("demo-drill-{:08x}", fastrand::u32(..)),
            database: "(default)".to_string(),
            emulator: Some(emulator.host_port.clone()),
            credentials: None,
            ..of.clone()
        })
    }

    pub fn stop(self) -> Result<()> {
        self.stack.stop().context("stopping the scratch servers")
    }
}
