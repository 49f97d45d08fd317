//! A disposable server with the subject's database, and another one beside it.

use super::round::{Older, Round};
use crate::effects::postgres::{self, Connection};
use crate::servers::local;
use crate::servers::native::{EmulatorChoice, Options, Stack};
use crate::settings::Server;
use crate::{sql, sql_file};
use anyhow::Result;
use std::path::Path;

const OPTIONS: Options =
    Options { postgres: true, emulator: EmulatorChoice::None, fsync: false, prepared_transactions: 50 };

pub struct Testbed {
    stack: Stack,
    /// The subject's database.
    pub server: Server,
    elsewhere: Server,
}

impl Testbed {
    pub async fn open(workspace: &Path) -> Result<Testbed> {
        let stack = Stack::start(workspace, OPTIONS).await?;
        let server = |database| local::server(stack.connections(), "source", database, "postgres");
        let (server, elsewhere) = (server("postgres")?, server("elsewhere")?);
        let mut connection = postgres::connect(&server, "chaos").await?;
        connection.run(sql_file!("chaos/changes/databases.sql").text).await?;
        connection.run(sql_file!("chaos/changes/instants.sql").text).await?;
        connection.close().await?;
        Ok(Testbed { stack, server, elsewhere })
    }

    pub async fn connect(&self) -> Result<Connection> {
        postgres::connect(&self.server, "chaos").await
    }

    /// A writing transaction that is open.
    pub async fn older(&self, older: Older) -> Result<Connection> {
        let server = match older {
            Older::Here => &self.server,
            Older::Elsewhere => &self.elsewhere,
        };
        let mut connection = postgres::connect(server, "older").await?;
        connection.run(sql_file!("chaos/changes/older.sql").text).await?;
        Ok(connection)
    }

    /// The subject of a round, empty.
    pub async fn renew(&self, connection: &mut Connection, round: &Round) -> Result<()> {
        connection.run(round.shape.file().text).await
    }

    pub async fn fill(&self, connection: &mut Connection, round: &Round) -> Result<()> {
        let (first, last) = (round.ids.0.to_string(), round.ids.1.to_string());
        let values = [("first", &*first), ("last", &*last)];
        connection.run(&sql::bind(sql_file!("chaos/changes/fill.sql"), &values)).await
    }

    pub fn stop(self) -> Result<()> {
        self.stack.stop()
    }
}
