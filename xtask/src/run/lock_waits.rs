//! Tables that a session keeps locked: no wait for them is endless, and the message names the session.

use crate::effects::postgres;
use crate::model::Stop;
use crate::run::ctx::Ctx;
use crate::settings::Server;
use crate::sql_file;
use anyhow::Result;
use sqlx::Row;

/// Whether a lock that could not be had is why something failed.
pub fn is_cause(error: &anyhow::Error) -> bool {
    postgres::code(error).as_deref() == Some("55P03")
}

/// An error as it is; where a lock is its cause, as a refusal that names those who hold it.
pub async fn explained(ctx: &Ctx, server: &Server, error: anyhow::Error) -> anyhow::Error {
    if !is_cause(&error) {
        return error;
    }
    let who = match holders(ctx, server).await {
        Ok(holders) if holders.is_empty() => "nobody any more: rerun the command".to_string(),
        Ok(holders) => {
            format!("by\n  {}\nWait for its end, or end it; then rerun the command", holders.join("\n  "))
        }
        Err(unknown) => format!("by whom cannot be seen ({unknown:#})"),
    };
    Stop::Refused(format!("a table of {server} is locked, {who}: {error:#}")).into()
}

/// The same for who looks at several servers: those who hold a lock on any of them are named.
pub async fn named(ctx: &Ctx, error: anyhow::Error) -> anyhow::Error {
    if !is_cause(&error) || error.is::<Locked>() {
        return error;
    }
    let mut who = Vec::new();
    for server in ctx.servers() {
        match holders(ctx, server).await {
            Ok(holders) => who.extend(holders.iter().map(|holder| format!("{server}: {holder}"))),
            Err(unknown) => who.push(format!("{server}: by whom cannot be seen ({unknown:#})")),
        }
    }
    if who.is_empty() {
        who.push("nobody any more".to_string());
    }
    error.context(Locked(who))
}

/// Those who are named already.
#[derive(Debug)]
struct Locked(Vec<String>);

impl std::fmt::Display for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = self.0.join("\n  ");
        write!(f, "a table is locked, by\n  {who}\nWait for its end, or end it; then rerun the command")
    }
}

/// A line each.
async fn holders(ctx: &Ctx, server: &Server) -> Result<Vec<String>> {
    let mut connection = postgres::connect(server, &ctx.purpose("locks")).await?;
    let rows = connection.rows(sql_file!("phases/lock/tables.sql").text).await?;
    connection.close().await?;
    let line = |row: &sqlx::postgres::PgRow| {
        let text = |name: &str| row.try_get::<String, _>(name);
        let pid: i32 = row.try_get("pid")?;
        let (tables, role, application) = (text("tables")?, text("role")?, text("application")?);
        let (client, since, does) = (text("client")?, text("since")?, text("does")?);
        Ok(format!(
            "process {pid} of {role} ({application}), from {client}, since {since}: {does} {tables}; \
             `SELECT pg_terminate_backend({pid})` ends it"
        ))
    };
    rows.iter().map(line).collect()
}
