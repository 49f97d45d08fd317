//! What a role needs on a server and does not hold, asked of its catalogue.

use crate::effects::postgres::Connection;
use crate::run::ctx::Ctx;
use crate::settings::Server;
use crate::sql_text::SqlFile;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;
use std::fmt;

/// What a look at privileges came to.
pub struct Privileges {
    /// How many were asked for.
    pub all: usize,
    pub missing: Vec<Lacking>,
}

/// A prerequisite that is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    pub found: String,
    /// What gives it, with its semicolon.
    pub statement: String,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.found, self.statement)
    }
}

/// `query`: one of the files `privileges_….sql`, bound.
pub async fn look(connection: &mut Connection, query: &str) -> Result<Privileges> {
    let rows = connection.rows(query).await?;
    let mut missing = Vec::new();
    for row in &rows {
        if !row.try_get::<bool, _>("held")? {
            let (grant, statement): (String, String) = (row.try_get("grant")?, row.try_get("statement")?);
            missing.push(Lacking { found: format!("{grant} is missing"), statement: statement + ";" });
        }
    }
    Ok(Privileges { all: rows.len(), missing })
}

/// All that a run needs on the source.
pub async fn of_source(ctx: &Ctx, connection: &mut Connection) -> Result<Privileges> {
    let policy = &ctx.settings.policy;
    let limits = policy.max_active_sessions.is_some() || policy.max_replication_lag.is_some();
    let file = sql_file!("phases/0-doctor/privileges_source.sql");
    look(connection, &sql::bind(file, &[("limits", if limits { "true" } else { "false" })])).await
}

/// All that the way back needs there.
pub async fn of_rollback(ctx: &Ctx, connection: &mut Connection) -> Result<Privileges> {
    let tables = sql::array(ctx.tables.iter().map(|table| table.source));
    let file = sql_file!("phases/0-doctor/privileges_rollback.sql");
    look(connection, &sql::bind(file, &[("tables", &tables)])).await
}

/// The command that gives all of [`of_rollback`].
pub fn script_for_rollback(ctx: &Ctx) -> String {
    script(&ctx.settings.source, sql_file!("grants/rollback.sql"), "")
}

/// The command that gives all of [`of_source`].
pub fn script_for_source(ctx: &Ctx) -> String {
    script(&ctx.settings.source, sql_file!("grants/migrate_source.sql"), "")
}

/// The command that gives all grants of a file of `sql/grants`.
pub fn script(server: &Server, file: SqlFile, more: &str) -> String {
    let Server { host, port, database, user, .. } = server;
    let path = file.path;
    format!("psql -h {host} -p {port} -U postgres -d {database} -v role={user}{more} -f sql/{path}")
}
