//! Whether services are still there: sessions of their roles on the source, and anybody's on the targets.

use crate::effects::postgres::{self, Connection};
use crate::model::{Database, Service};
use crate::run::freeze_log::Side;
use crate::settings::Settings;
use crate::source::freeze::others::{self, EVER};
use anyhow::Result;
use std::collections::BTreeSet;

/// The sessions by which it looks.
pub(super) struct Looking {
    /// The services' roles on the source; none: none is known, and nothing is looked at there.
    pub roles: Vec<String>,
    source: Option<Connection>,
    targets: Vec<(String, Connection)>,
}

impl Looking {
    pub async fn begin(settings: &Settings, services: &[Service], side: Side) -> Result<Looking> {
        let roles = roles(settings, services);
        let source = match roles.is_empty() {
            true => None,
            false => Some(postgres::connect(&settings.source, "services").await?),
        };
        let mut targets = Vec::new();
        let databases: &[Database] = if side == Side::New { &Database::ALL } else { &[] };
        for database in databases.iter().filter(|d| services.iter().any(|s| s.database() == Some(**d))) {
            let server = settings.target(*database);
            targets.push((server.database.clone(), postgres::connect(server, "services").await?));
        }
        Ok(Looking { roles, source, targets })
    }

    /// Whether no state can be waited for.
    pub fn sees_nothing(&self) -> bool {
        self.source.is_none() && self.targets.is_empty()
    }

    /// Those that are there, in words.
    pub async fn left(&mut self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        if let Some(source) = &mut self.source {
            let sessions = others::sessions_of(source, "", EVER).await?;
            let theirs = sessions.iter().filter(|session| self.roles.contains(&session.role));
            left.extend(theirs.map(ToString::to_string));
        }
        for (database, connection) in &mut self.targets {
            let sessions = others::sessions_of(connection, "", EVER).await?;
            left.extend(sessions.iter().map(|session| format!("{session} in {database}")));
        }
        Ok(left)
    }

    pub async fn close(self) -> Result<()> {
        let targets = self.targets.into_iter().map(|(_, connection)| connection);
        for connection in self.source.into_iter().chain(targets) {
            connection.close().await?;
        }
        Ok(())
    }
}

/// By which these services log in to the source. One whose role is not named may be any that a freeze keeps out.
fn roles(settings: &Settings, services: &[Service]) -> Vec<String> {
    let own = |service: &Service| settings.services.roles.get(service);
    let mut roles: BTreeSet<&String> = services.iter().filter_map(own).collect();
    if services.iter().any(|service| own(service).is_none()) {
        roles.extend(&settings.policy.freeze_roles);
    }
    roles.into_iter().cloned().collect()
}
