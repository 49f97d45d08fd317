//! `stack.json` while its servers start.

use crate::effects::random;
use crate::servers::native::connections::{Connections, EmulatorServer, PostgresServer, SERVERS, canonical};
use crate::servers::native::home::Home;
use anyhow::Result;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// stack.json while the servers start: every change is on disk before the next step.
pub(super) struct Record(Mutex<Connections>);

impl Record {
    pub fn new(home: &Home, workspace: &Path) -> Result<Record> {
        let connections = Connections {
            dir: home.dir().to_owned(),
            workspace: canonical(workspace)?,
            started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            superuser_password: random::hex(24)?,
            postgres: Vec::new(),
            emulator: None,
            keep: false,
        };
        connections.write()?;
        Ok(Record(Mutex::new(connections)))
    }

    pub fn password(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).superuser_password.clone()
    }

    pub fn postgres(&self, server: PostgresServer) -> Result<()> {
        self.change(|connections| {
            connections.postgres.retain(|other| other.name != server.name);
            connections.postgres.push(server);
            connections.postgres.sort_by_key(|one| SERVERS.iter().position(|name| *name == one.name));
        })
    }

    pub fn emulator(&self, server: EmulatorServer) -> Result<()> {
        self.change(|connections| connections.emulator = Some(server))
    }

    fn change(&self, change: impl FnOnce(&mut Connections)) -> Result<()> {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut connections);
        connections.write()
    }

    pub fn finish(self) -> Connections {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
