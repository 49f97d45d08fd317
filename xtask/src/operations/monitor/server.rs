//! One server's measurements. What it does not tell this role is said; that it does not answer is a measurement.

use super::seen::{Activity, Database, Measured, Replication, Sequence, ServerSeen, Since, Table};
use crate::effects::clock;
use crate::effects::disk;
use crate::effects::postgres::{self, Connection};
use crate::run::statements::{self, Asked};
use crate::settings::Server;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::path::Path;

/// Tables that are looked at, and statements that are shown.
const TABLES: &str = "5";
const SLOWEST: usize = 10;

/// What shows a role everything that is asked for here.
const MONITOR: &str = "GRANT pg_monitor TO its role";

pub(super) async fn look(server: &Server, purpose: &str) -> ServerSeen {
    match measured(server, purpose).await {
        Ok(measured) => ServerSeen::Up(Box::new(measured)),
        Err(error) => ServerSeen::Down { reason: format!("{error:#}") },
    }
}

async fn measured(server: &Server, purpose: &str) -> Result<Measured> {
    let mut connection = postgres::connect(server, purpose).await?;
    connection.run(sql::LOOK_BRIEFLY).await?;
    let mut look = Look { connection, measured: Measured::default() };
    look.activity().await?;
    look.database().await?;
    look.replication().await?;
    look.tables().await?;
    look.sequences().await?;
    look.triggers().await?;
    look.statements().await?;
    look.disk().await?;
    look.connection.close().await?;
    Ok(look.measured)
}

struct Look {
    connection: Connection,
    measured: Measured,
}

impl Look {
    /// What the server answers; where it refuses, that is noted, and the rest is looked at.
    async fn rows(&mut self, what: &str, query: &str) -> Result<Vec<PgRow>> {
        match self.connection.rows(query).await {
            Ok(rows) => Ok(rows),
            Err(error) => match postgres::message(&error) {
                Some(message) => {
                    self.hidden(&format!("{what}: {message}"));
                    Ok(Vec::new())
                }
                None => Err(error),
            },
        }
    }

    fn hidden(&mut self, what: &str) {
        self.measured.not_seen.push(what.to_string());
    }

    async fn activity(&mut self) -> Result<()> {
        let rows = self.rows("sessions", sql_file!("monitor/activity.sql").text).await?;
        let now = clock::seconds_now();
        let Some(row) = rows.first() else { return Ok(()) };
        let since = |at: &str, who: &str| -> Result<Option<Since>> {
            let (at, who): (Option<f64>, Option<String>) = (row.try_get(at)?, row.try_get(who)?);
            Ok(at.map(|at| Since { at, who: who.unwrap_or_default() }))
        };
        self.measured.activity = Some(Activity {
            allowed: row.try_get::<i32, _>("allowed")?.into(),
            sessions: row.try_get("sessions")?,
            waiting: row.try_get("waiting")?,
            oldest_transaction: since("oldest", "oldest_of")?,
            idle_in_transaction: since("idle_since", "idle_of")?,
            clock: row.try_get::<f64, _>("clock")? - now,
        });
        let hidden: i64 = row.try_get("hidden")?;
        if hidden > 0 {
            self.hidden(&format!("what {hidden} sessions of others do: {MONITOR}"));
        }
        Ok(())
    }

    async fn database(&mut self) -> Result<()> {
        let rows = self.rows("statistics", sql_file!("monitor/database.sql").text).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        self.measured.database = Some(Database {
            hits: row.try_get("hits")?,
            reads: row.try_get("reads")?,
            deadlocks: row.try_get("deadlocks")?,
            since: row.try_get("since")?,
            bytes: row.try_get("bytes")?,
            used_ids: row.try_get("used_ids")?,
        });
        Ok(())
    }

    async fn replication(&mut self) -> Result<()> {
        let rows = self.rows("replication", sql_file!("monitor/replication.sql").text).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        self.measured.replication = Some(Replication {
            standby: row.try_get("standby")?,
            lag: row.try_get("lag")?,
            held: row.try_get("held")?,
        });
        Ok(())
    }

    async fn tables(&mut self) -> Result<()> {
        let query = sql::bind(sql_file!("monitor/tables.sql"), &[("number", TABLES)]);
        let rows = self.rows("dead rows", &query).await?;
        let table = |row: &PgRow| {
            Ok(Table { table: row.try_get("table")?, live: row.try_get("live")?, dead: row.try_get("dead")? })
        };
        self.measured.tables = rows.iter().map(table).collect::<Result<_>>()?;
        Ok(())
    }

    async fn sequences(&mut self) -> Result<()> {
        let rows = self.rows("sequences", sql_file!("monitor/sequences.sql").text).await?;
        let (mut found, mut hidden) = (Vec::new(), Vec::new());
        for row in &rows {
            let (name, remaining): (String, Option<f64>) = (row.try_get("name")?, row.try_get("remaining")?);
            match remaining {
                Some(remaining) => found.push(Sequence { name, table: row.try_get("table")?, remaining }),
                None => hidden.push(name),
            }
        }
        self.measured.sequences = found;
        if !hidden.is_empty() {
            let names = hidden.join(", ");
            self.hidden(&format!(
                "where {names} stand: GRANT SELECT ON ALL SEQUENCES IN SCHEMA … TO its role"
            ));
        }
        Ok(())
    }

    async fn triggers(&mut self) -> Result<()> {
        let before = self.measured.not_seen.len();
        let rows = self.rows("triggers", sql_file!("monitor/triggers.sql").text).await?;
        if self.measured.not_seen.len() == before {
            let names = rows.iter().map(|row| Ok(row.try_get(0)?));
            self.measured.disabled_triggers = Some(names.collect::<Result<_>>()?);
        }
        Ok(())
    }

    async fn statements(&mut self) -> Result<()> {
        match statements::ask(&mut self.connection).await? {
            Asked::Counted(counted) => {
                if counted.hidden > 0 {
                    self.hidden(&format!("{} statements of others: {MONITOR}", counted.hidden));
                }
                let mut statements = counted.statements;
                statements.sort_by(|a, b| b.mean_ms.total_cmp(&a.mean_ms));
                statements.truncate(SLOWEST);
                self.measured.slowest = statements;
            }
            Asked::NotThere(why) => self.hidden(&format!("slow statements: {why}")),
        }
        Ok(())
    }

    async fn disk(&mut self) -> Result<()> {
        let rows = self.rows("disk", sql_file!("phases/restore/server.sql").text).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        let Some(directory) = row.try_get::<Option<String>, _>("data_directory")? else {
            self.hidden(&format!("where its files are: {MONITOR}"));
            return Ok(());
        };
        let directory = Path::new(&directory);
        if disk::is_of_a_server_here(directory, row.try_get("started")?) {
            self.measured.disk = Some(disk::room(directory)?);
        }
        Ok(())
    }
}
