//! Who else is at work on the source: sessions that are not this process's own, and what writes without
//! being a session.

use crate::effects::own_sessions;
use crate::effects::postgres::{self, Connection};
use crate::effects::wait::{Patience, Waiting};
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;
use std::time::Duration;

/// How long a session may take to end.
const PATIENCE: Patience =
    Patience { deadline: Duration::from_secs(30), interval: Duration::from_millis(20) };

/// The instants before and after everything.
pub(in crate::source) const EVER: (&str, &str) = ("-infinity", "infinity");

/// What the sessions are for that freeze, and undo that.
pub(super) const FREEZING: &str = "freeze";

/// A session that is not this process's.
pub(in crate::source) struct SourceSession {
    pid: i32,
    began: String,
    pub role: String,
    application: String,
    /// A superuser's, which we are not.
    pub above_us: bool,
}

impl SourceSession {
    /// By its name, which anybody can set: for what only waits a little.
    pub fn is_of_this_tool(&self) -> bool {
        self.application.starts_with("xtask ")
    }
}

impl std::fmt::Display for SourceSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {} of {}", self.pid, self.role)?;
        match self.application.as_str() {
            "" => Ok(()),
            application => write!(f, " ({application})"),
        }
    }
}

/// Those of this database that began in this span of time.
pub(super) async fn sessions(connection: &mut Connection, span: (&str, &str)) -> Result<Vec<SourceSession>> {
    sessions_of(connection, "", span).await
}

/// The same of another database of the server; an empty name: of this one.
pub(in crate::source) async fn sessions_of(
    connection: &mut Connection,
    database: &str,
    (from, to): (&str, &str),
) -> Result<Vec<SourceSession>> {
    let own = own_sessions::keys();
    rows(connection, database, (from, to), &own).await
}

/// Ends what this command, or one that has gone, may still be about to change here: a statement that waits on the server
/// does not end with who sent it, and would come after what is done now.
pub(super) async fn end_freezing(connection: &mut Connection) -> Result<()> {
    let mut sessions = rows(connection, "", EVER, &[]).await?;
    sessions.retain(|session| session.application == postgres::name_of(FREEZING));
    end_these(connection, &sessions).await
}

async fn rows(
    connection: &mut Connection,
    database: &str,
    (from, to): (&str, &str),
    own: &[String],
) -> Result<Vec<SourceSession>> {
    let own = sql::array(own.iter().map(String::as_str));
    let values = [("database", database), ("from", from), ("to", to), ("own", own.as_str())];
    let query = sql::bind(sql_file!("phases/freeze/sessions.sql"), &values);
    let session = |row: &sqlx::postgres::PgRow| {
        Ok(SourceSession {
            pid: row.try_get("pid")?,
            began: row.try_get("began")?,
            role: row.try_get("role")?,
            application: row.try_get("application")?,
            above_us: row.try_get("above_us")?,
        })
    };
    connection.rows(&query).await?.iter().map(session).collect()
}

/// Ends the sessions that began then, and waits until they are gone; how many.
pub(super) async fn end(connection: &mut Connection, span: (&str, &str)) -> Result<usize> {
    let sessions = sessions(connection, span).await?;
    end_these(connection, &sessions).await?;
    Ok(sessions.len())
}

/// Ends these sessions, and waits until they are gone.
pub(in crate::source) async fn end_these(
    connection: &mut Connection,
    sessions: &[SourceSession],
) -> Result<()> {
    for session in sessions {
        let pid = session.pid.to_string();
        let query = sql::bind(sql_file!("phases/freeze/end.sql"), &[("pid", &pid)]);
        connection.run(&query).await.with_context(|| format!("ending {session}"))?;
    }
    for session in sessions {
        let values = [("pid", &*session.pid.to_string()), ("began", &session.began)];
        let query = sql::bind(sql_file!("phases/freeze/there.sql"), &values);
        let what = format!("{session} to end");
        let waiting = Waiting::begin(&what, PATIENCE);
        while connection.row(&query).await?.try_get(0)? {
            waiting.again(&"it is still there").await?;
        }
    }
    Ok(())
}

/// Who may keep a role or the database from being changed: a line each.
pub(super) async fn writing(connection: &mut Connection) -> Result<Vec<String>> {
    let rows = connection.rows(sql_file!("phases/freeze/writing.sql").text).await?;
    let line = |row: &sqlx::postgres::PgRow| {
        let text = |name: &str| row.try_get::<String, _>(name);
        let pid: i32 = row.try_get("pid")?;
        let (role, application, database) = (text("role")?, text("application")?, text("database")?);
        Ok(format!(
            "process {pid} of {role} ({application}), database {database}, which has written something; \
             `SELECT pg_terminate_backend({pid})` ends it"
        ))
    };
    rows.iter().map(line).collect()
}

/// What writes without being a session that could be ended: a line each, with what to do about it.
pub(super) async fn writers(connection: &mut Connection) -> Result<Vec<String>> {
    let rows = connection.rows(sql_file!("phases/freeze/writers.sql").text).await?;
    let line = |row: &sqlx::postgres::PgRow| {
        Ok(format!("{}: {}", row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?))
    };
    rows.iter().map(line).collect()
}
