//! Connections to PostgreSQL: made field by field, settings pinned, one for each COPY.
//!
//! What was learnt (sqlx): after a COPY stream that ended midway the next answers on that connection
//! are wrong. So a COPY owns its connection, and after an error the connection is dropped.
//! With a root certificate it goes on to trust the public authorities as well, which libpq does not:
//! under verify-ca that lets in whoever has any certificate of theirs. verify-full is the one to use.

use super::own_sessions;
use super::raw_words;
use super::silence::{LIMITS, heard};
use super::throttle::Throttle;
use super::tls;
use crate::model::{Column, ServerInfo};
use crate::settings::{Server, Tls};
use crate::{sql, sql_file};
use anyhow::{Context, Result, anyhow};
use datapath::postgres::{self, Activity, Copy, ServerError, cause};
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgRow, PgSslMode};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Executor, PgConnection, Row, SqlSafeStr, Statement, TypeInfo,
};
use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::time::Duration;

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(15);

/// The oldest server that knows the settings and functions that are used.
const OLDEST: u32 = 14;

/// A connection, and the name of its server for messages.
pub struct Connection {
    inner: PgConnection,
    label: String,
    /// With what is looked after it while it is silent; not there while it is being made.
    watch: Option<Watch>,
}

/// A session, and where it is.
struct Watch {
    server: Server,
    pid: i32,
    began: String,
}

/// Connects and pins the session's settings (DESIGN rules 7 and 17).
///
/// # Errors
/// Says which server, as whom, and what to check: not reachable, password, database, TLS.
pub async fn connect(server: &Server, purpose: &str) -> Result<Connection> {
    let (mut connection, row) = open(server, purpose).await?;
    let (pid, began): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    own_sessions::remember(pid, &began);
    connection.watch = Some(Watch { server: server.clone(), pid, began });
    Ok(connection)
}

/// Connects as a program that is not this tool: a rehearsal's shop. Nothing is pinned, and the session is ended
/// where others are.
pub async fn connect_as_another(server: &Server, application: &str) -> Result<Connection> {
    let options = options(server, application);
    match tokio::time::timeout(CONNECTING, postgres::connect(&options)).await {
        Ok(Ok(inner)) => Ok(Connection { inner, label: server.label.clone(), watch: None }),
        Ok(Err(error)) => Err(explain(server, error)),
        Err(_) => Err(anyhow!("{server} did not answer within 15 s")),
    }
}

fn options(server: &Server, application: &str) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .username(&server.user)
        .password(server.password.expose_secret())
        .database(&server.database)
        .application_name(application)
        .disable_statement_logging();
    match &server.tls {
        Tls::Disable => options.ssl_mode(PgSslMode::Disable),
        Tls::Require => options.ssl_mode(PgSslMode::Require),
        Tls::Verify { root, full } => {
            let mode = if *full { PgSslMode::VerifyFull } else { PgSslMode::VerifyCa };
            options.ssl_mode(mode).ssl_root_cert(root)
        }
    }
}

/// What the server calls this tool's sessions for a purpose.
pub fn name_of(purpose: &str) -> String {
    format!("xtask {purpose}")
}

/// Besides the connection, its process and when it began.
async fn open(server: &Server, purpose: &str) -> Result<(Connection, PgRow)> {
    let options = options(server, &name_of(purpose));
    let connecting = tokio::time::timeout(CONNECTING, postgres::connect(&options));
    let inner = match connecting.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(explain(server, error)),
        Err(_) => {
            return Err(anyhow!(
                "{server} did not answer within 15 s: is the address right, is a firewall in between?"
            ));
        }
    };
    if let Some(version) = inner.server_version_num().filter(|version| *version < OLDEST * 10_000) {
        return Err(anyhow!(
            "{server} is PostgreSQL {}.{}: {OLDEST} is the oldest that this tool works with",
            version / 10_000,
            version % 10_000
        ));
    }
    let mut connection = Connection { inner, label: server.label.clone(), watch: None };
    // Nobody looks after it yet.
    let row = tokio::time::timeout(CONNECTING, connection.row(&sql::session())).await;
    let row = row.map_err(|_| anyhow!("{server} let us in and then said nothing for 15 s"))??;
    let triggers: String = row.try_get(2)?;
    if triggers != "origin" {
        return Err(anyhow!(
            "sessions of {server} begin with session_replication_role = {triggers}: no foreign key would be \
             checked. Take it away: {}",
            sql::reset_replication_role(&server.user, &server.database)
        ));
    }
    Ok((connection, row))
}

/// A connection error in words that say what to do.
fn explain(server: &Server, error: sqlx::Error) -> anyhow::Error {
    let code = error.as_database_error().and_then(|e| e.code().map(|c| c.into_owned()));
    let advice = match (code.as_deref(), &error) {
        (Some("28P01"), _) => {
            format!("the server refuses this user or password: check {}", server.password_from)
        }
        (Some("28000"), _) => format!(
            "the server lets nobody in like this (role missing, or pg_hba.conf): check user, database and \
             tls = \"{}\"",
            server.tls.mode()
        ),
        (Some("3D000"), _) => "there is no database of this name on that server".to_string(),
        (Some("53300"), _) => "the server has no connection left: lower --jobs".to_string(),
        (Some(OUT_OF_MEMORY), _) => MORE_LOCKS.to_string(),
        (Some("57P03"), _) => "the server is starting or stopping: try again in a moment".to_string(),
        (_, sqlx::Error::Io(io)) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            "nothing listens there: is the server started, is the port right?".to_string()
        }
        // Only its text tells it from others.
        (_, sqlx::Error::Io(io)) if io.to_string().contains("lookup address") => {
            raw_words::remember(&error.to_string());
            return anyhow!("{server}: no address is known for the host {}: is its name right?", server.host);
        }
        _ => tls::advice(server, &error).unwrap_or_else(|| "could not connect".to_string()),
    };
    raw_words::remember(&error.to_string());
    anyhow::Error::new(ServerError(error)).context(format!("{server}: {advice}"))
}

fn of_database(error: &anyhow::Error) -> Option<&dyn sqlx::error::DatabaseError> {
    cause(error)?.as_database_error()
}

/// The SQLSTATE of an error of the server.
pub fn code(error: &anyhow::Error) -> Option<String> {
    of_database(error)?.code().map(|code| code.into_owned())
}

const OUT_OF_MEMORY: &str = "53200";

/// What helps a server that has no room for another lock.
const MORE_LOCKS: &str = "the server has no room for the locks of all tables and indexes at once: raise \
     max_locks_per_transaction (64, if nobody has set it) and restart the server";

/// Whether the server has no room for another lock: each table, index and sequence that is made or dropped is one.
pub fn has_no_room_for_locks(error: &anyhow::Error) -> bool {
    code(error).as_deref() == Some(OUT_OF_MEMORY)
}

/// The server's own words of an error.
pub fn message(error: &anyhow::Error) -> Option<String> {
    Some(of_database(error)?.message().to_string())
}

/// What the server says beside the message of an error: which objects it is about.
pub fn detail(error: &anyhow::Error) -> Option<String> {
    let error = of_database(error)?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    error.detail().map(|detail| format!("({})", detail.replace('\n', "; ")))
}

/// The words of a server without the value that they quote, after a colon: `invalid input syntax for type
/// integer: "x"`.
pub fn unquoted(message: &str) -> &str {
    message.split(": \"").next().unwrap_or_default()
}

/// An error with its causes in one line, without the value that it quotes.
pub fn without_values(error: &anyhow::Error) -> String {
    unquoted(&format!("{error:#}")).to_string()
}

/// What the server answers, as long as it can be expected to.
async fn answer<T>(watch: Option<&Watch>, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T> {
    match watch {
        Some(watch) => Ok(heard(LIMITS, work, || false, || lost(watch)).await?.map_err(ServerError)?),
        None => Ok(work.await.map_err(ServerError)?),
    }
}

/// The same of a COPY, of which each message counts. While we keep the server waiting it owes us nothing.
async fn copied_by<T>(
    watch: Option<&Watch>,
    activity: &Activity,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(watch) = watch else { return work.await };
    let mut last = 0;
    let moved = || {
        let messages = activity.messages();
        std::mem::replace(&mut last, messages) != messages || !activity.waits_for_the_server()
    };
    heard(LIMITS, work, moved, || lost(watch)).await?
}

/// Why a session that has been silent will not answer, seen from a second connection; `None`: it is at work.
fn lost(watch: &Watch) -> Pin<Box<dyn Future<Output = Option<String>> + Send + '_>> {
    let Watch { server, pid: process, began } = watch;
    Box::pin(async move {
        let values = [("pid", &*process.to_string()), ("began", began)];
        let look = sql::bind(sql_file!("phases/connection/silent.sql"), &values);
        let seen = async {
            let (mut second, _) = open(server, "look").await?;
            let rows = second.rows(&look).await?;
            second.close().await?;
            let waits = |row: &PgRow| anyhow::Ok((row.try_get::<bool, _>("waits")?, row.try_get("state")?));
            rows.first().map(waits).transpose()
        };
        match seen.await {
            Ok(Some((false, _))) => None,
            Ok(Some((true, state))) => {
                let state: String = state;
                Some(format!("process {process} of {server} waits for us ({state})"))
            }
            Ok(None) => Some(format!("{server} has no process {process} of ours any more")),
            Err(error) => Some(format!("a second connection fails ({error:#})")),
        }
    })
}

impl Connection {
    /// Runs one or several statements.
    pub async fn run(&mut self, text: &str) -> Result<()> {
        let ran = answer(self.watch.as_ref(), postgres::run(&mut self.inner, text.to_string())).await;
        ran.map_err(|error| self.told(error, text))
    }

    /// Runs a statement that holds a secret: in an error stands `what` in its place, and nothing that
    /// the server says of the statement.
    pub async fn run_secret(&mut self, what: &str, text: &str) -> Result<()> {
        let ran = answer(self.watch.as_ref(), postgres::run(&mut self.inner, text.to_string())).await;
        ran.map_err(|error| {
            let code = code(&error).unwrap_or_default();
            anyhow!("{}: {what} failed (SQLSTATE {code})", self.label)
        })
    }

    /// Runs a statement that holds values of customers: in an error `masked` stands in its place, and no
    /// value that the server quotes.
    pub async fn run_masked(&mut self, masked: &str, text: &str) -> Result<()> {
        let ran = answer(self.watch.as_ref(), postgres::run(&mut self.inner, text.to_string())).await;
        let place = format!("{}: {}", self.label, first_line(masked));
        ran.map_err(|error| match of_database(&error) {
            // Class 22, what cannot be read as a value, says which: after a colon.
            Some(said) if said.code().is_some_and(|code| code.starts_with("22")) => {
                anyhow!("{place}: {}", unquoted(said.message()))
            }
            _ => error.context(place),
        })
    }

    pub async fn rows(&mut self, text: &str) -> Result<Vec<PgRow>> {
        let rows = answer(self.watch.as_ref(), postgres::rows(&mut self.inner, text.to_string())).await;
        rows.map_err(|error| self.told(error, text))
    }

    /// The one row that a query must return.
    pub async fn row(&mut self, text: &str) -> Result<PgRow> {
        let mut rows = self.rows(text).await?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            _ => Err(anyhow!("{}: not one row: {}", self.label, first_line(text))),
        }
    }

    /// The names and types of the columns that a query returns.
    pub async fn describe(&mut self, text: &str) -> Result<Vec<Column>> {
        let statement = (&mut self.inner).prepare(AssertSqlSafe(text.to_string()).into_sql_str());
        let statement = answer(self.watch.as_ref(), statement)
            .await
            .with_context(|| format!("{}: {}", self.label, first_line(text)))?;
        let column = |c: &sqlx::postgres::PgColumn| Column {
            name: c.name().to_string(),
            kind: c.type_info().name().to_lowercase(),
        };
        Ok(statement.columns().iter().map(column).collect())
    }

    pub async fn info(&mut self) -> Result<ServerInfo> {
        let row = self
            .row(
                "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
                        current_setting('server_encoding'), pg_database_size(current_database())",
            )
            .await?;
        Ok(ServerInfo {
            major: u32::try_from(row.try_get::<i32, _>(0)? / 10_000)?,
            version: row.try_get(1)?,
            encoding: row.try_get(2)?,
            bytes: u64::try_from(row.try_get::<i64, _>(3)?)?,
        })
    }

    /// Streams a `COPY … TO STDOUT` in CSV, row by row, the header first. Takes the connection, because
    /// nothing can be trusted on it after an error.
    pub async fn copy_rows(
        mut self,
        text: &str,
        row: impl FnMut(&[u8]) -> Result<()> + Send,
    ) -> Result<Connection> {
        let (place, activity) = (self.place(text), Activity::default());
        let copy = Copy { statement: text, place: &place, activity: &activity };
        let copied = copy.out(&mut self.inner, Box::new(row), None);
        copied_by(self.watch.as_ref(), &activity, copied).await?;
        Ok(self)
    }

    /// The same at a pace: while the reader waits, the server cannot send.
    pub async fn copy_rows_slowly(
        mut self,
        text: &str,
        throttle: &Throttle,
        row: impl FnMut(&[u8]) -> Result<()> + Send,
    ) -> Result<()> {
        throttle.free().await;
        let (place, activity) = (self.place(text), Activity::default());
        let copy = Copy { statement: text, place: &place, activity: &activity };
        let pace = Box::new(|bytes| throttle.pass(bytes).boxed());
        let copied = copy.out(&mut self.inner, Box::new(row), Some(pace));
        copied_by(self.watch.as_ref(), &activity, copied).await
    }

    /// Feeds a `COPY … FROM STDIN` from a reader. Returns the number of rows that the server took. Takes
    /// the connection like `copy_rows`; gives it back when all is well.
    pub async fn copy_in(mut self, text: &str, from: impl Read + Send) -> Result<(u64, Connection)> {
        let (place, activity) = (self.place(text), Activity::default());
        let copy = Copy { statement: text, place: &place, activity: &activity };
        let copied = copy.into(&mut self.inner, Box::new(from));
        let rows = copied_by(self.watch.as_ref(), &activity, copied).await?;
        Ok((rows, self))
    }

    /// An error of a statement, with what helps where that is known.
    fn told(&self, error: anyhow::Error, text: &str) -> anyhow::Error {
        let place = self.place(text);
        raw_words::remember(&format!(
            "{place}: {}",
            cause(&error).map(ToString::to_string).unwrap_or_default()
        ));
        match has_no_room_for_locks(&error) {
            true => error.context(format!("{place}: {MORE_LOCKS}")),
            false => error.context(place),
        }
    }

    /// The server and the statement, for an error.
    fn place(&self, text: &str) -> String {
        format!("{}: {}", self.label, first_line(text))
    }

    pub async fn close(self) -> Result<()> {
        use sqlx::Connection as _;
        self.inner.close().await.context("closing a connection")
    }
}

/// Enough of a statement to recognise it in a message.
fn first_line(text: &str) -> String {
    let line =
        text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with("--")).unwrap_or_default();
    let next = text.lines().map(str::trim).filter(|l| !l.is_empty()).nth(1).unwrap_or_default();
    let line = if line.len() < 10 { format!("{line} {next}") } else { line.to_string() };
    match line.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
