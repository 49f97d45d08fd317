//! An old database that is not there any more under its name, for all other commands: those that need it are told when
//! that was, and the others do without it.

use super::record::{FILE, Record, Retired};
use crate::identity::{Identity, ServerName};
use crate::run::dir::{self, RunDir};
use crate::servers::compose_stack::Removed;
use crate::settings::{Server, Tls};
use crate::shown::utc;
use anyhow::Result;
use secrecy::SecretString;
use std::path::Path;

/// A run whose old database has been retired, or dropped.
#[derive(Clone, Debug)]
pub struct Gone {
    pub run: String,
    pub servers: Identity,
    record: Record,
    /// Why nothing can be done there, and what brings it back: a sentence.
    pub why: String,
}

impl Gone {
    /// The newest of this environment. A run that cannot be read is none: whoever works on it is told so.
    pub fn of_environment(runs: &Path, environment: &str) -> Result<Option<Gone>> {
        if !runs.is_dir() {
            return Ok(None);
        }
        for id in dir::ids(runs)?.into_iter().rev() {
            if !runs.join(&id).join(FILE).exists() {
                continue;
            }
            let Ok(manifest) = dir::load_manifest(&runs.join(&id)) else { continue };
            if manifest.environment != environment {
                continue;
            }
            let run = RunDir::open(runs, &id)?;
            let record = Record::load(&run)?;
            let Some(why) = why(&run, &record) else { return Ok(None) };
            return Ok(Some(Gone { run: id, servers: manifest.servers, record, why }));
        }
        Ok(None)
    }

    /// Nothing but its archive is left of it.
    pub fn is_dropped(&self) -> bool {
        self.record.dropped.is_some()
    }

    /// Its container, where that went with it.
    pub fn removed(&self) -> Option<Removed> {
        let removed = self.record.removed.as_ref()?;
        let source = self.servers.databases.get(&ServerName::Source)?;
        let server = Server {
            label: ServerName::Source.to_string(),
            host: source.host.clone(),
            port: source.port,
            database: source.database.clone(),
            user: "postgres".to_string(),
            password: SecretString::default(),
            password_from: "a container that has been removed".to_string(),
            tls: Tls::Disable,
        };
        Some(Removed { containers: removed.containers.clone(), server })
    }
}

/// `None`: it has its name.
pub(super) fn why(run: &RunDir, record: &Record) -> Option<String> {
    match (&record.retired, &record.dropped) {
        (_, Some(at)) => Some(format!(
            "the old database was decommissioned: run {} dropped it at {}, and there is none to work on or to go back \
             to. Its archive is in {}",
            run.id(),
            utc(at),
            run.runs().join("archive").display()
        )),
        (Some(Retired { at, name }), None) => Some(format!(
            "the old database was decommissioned: it was retired at {} and is called {name}: `cargo xtask \
             decommission --undo --run {}` gives it its name back, then rerun the command",
            utc(at),
            run.id()
        )),
        (None, None) => None,
    }
}
