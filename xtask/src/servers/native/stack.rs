//! A running stack: started, kept or stopped.

use crate::servers::native::connections::Connections;
use crate::servers::native::home::Home;
use crate::servers::native::leftovers::remove_leftovers;
use crate::servers::native::machine::{self, missing};
use crate::servers::native::options::Options;
use crate::servers::native::record::Record;
use crate::servers::native::{emulator, postgres};
use anyhow::{Context, Result, anyhow, bail};
use std::path::Path;

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
        async { if options.postgres { postgres::start(home, &record, options).await } else { Ok(()) } },
        emulator::start(home, &record, &options.emulator),
    )?;
    let leftovers = match cleaning.await.context("removing leftovers")? {
        Ok(lines) => lines,
        Err(error) => vec![format!("{error:#}")],
    };
    Ok((record.finish(), leftovers))
}
