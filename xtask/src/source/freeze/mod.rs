//! The source held back: the database's new sessions are read-only, its other sessions are ended, and
//! the services' roles, which the environment names, cannot log in. What was before is on disk before
//! anything is changed, and comes back on every way out.

use super::Handling;
use crate::effects::cleanup::{Cleanup, Pending};
use crate::effects::postgres::{self, Connection};
use crate::effects::terminal::Terminal;
use crate::effects::wait::{Patience, Waiting};
use crate::run::ctx::Ctx;
use crate::run::freeze_log::{FreezeLog, Frozen, Open};
use crate::settings::{Server, Settings};
use crate::steps::StepName;
use crate::{refuse, sql, sql_file, sql_text};
use anyhow::{Context, Result};
use sqlx::Row;
use std::time::Duration;

/// How long a session may take to end.
const PATIENCE: Patience =
    Patience { deadline: Duration::from_secs(30), interval: Duration::from_millis(20) };

/// The instants before and after everything.
const EVER: (&str, &str) = ("-infinity", "infinity");

/// One source and the book of its freezes.
#[derive(Clone)]
pub struct Freezer {
    server: Server,
    roles: Vec<String>,
    /// `host:port/database`: as the book knows it.
    source: String,
    book: FreezeLog,
    terminal: Terminal,
    /// The command that undoes it by hand.
    unfreeze: String,
}

/// What the source is now.
struct SourceState {
    setting: Option<String>,
    now: String,
    /// Roles of the environment that can log in.
    roles: Vec<String>,
}

/// What a freeze came to.
pub enum Held {
    /// It has been frozen: undone by this.
    Now(Pending),
    /// It was frozen before, and stays so.
    Before(Open),
}

impl Freezer {
    pub fn new(settings: &Settings, book: FreezeLog, terminal: &Terminal) -> Freezer {
        let server = settings.source.clone();
        let mut roles = settings.policy.freeze_roles.clone();
        roles.sort();
        roles.dedup();
        Freezer {
            source: format!("{}:{}/{}", server.host, server.port, server.database),
            unfreeze: format!("cargo xtask unfreeze --env {}", settings.environment),
            server,
            roles,
            book,
            terminal: terminal.clone(),
        }
    }

    /// Of a run: its book stands beside its directory.
    pub fn of(ctx: &Ctx) -> Result<Freezer> {
        let runs = ctx.run.path().parent().context("a run's directory has no parent")?;
        Ok(Freezer::new(&ctx.settings, FreezeLog::at(runs), &ctx.terminal))
    }

    pub fn book(&self) -> &FreezeLog {
        &self.book
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// The command that undoes it by hand.
    pub fn unfreeze(&self) -> &str {
        &self.unfreeze
    }

    /// The freeze that has not been undone.
    pub fn open(&self) -> Result<Option<Open>> {
        self.book.open(&self.source)
    }

    async fn connect(&self) -> Result<Connection> {
        postgres::connect(&self.server, "freeze").await
    }

    /// # Errors
    /// Refuses with everything at once that keeps this source from being frozen.
    pub async fn preflight(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        if let Some(open) = self.open()? {
            self.still_holds(&mut connection, &open).await?;
        } else {
            self.look(&mut connection).await?;
        }
        connection.close().await
    }

    /// A freeze that was undone by hand in part cannot be built upon.
    async fn still_holds(&self, connection: &mut Connection, open: &Open) -> Result<()> {
        let (changed, roles) = self.left(connection, &open.frozen).await?;
        if !changed || roles != open.frozen.roles {
            refuse!(
                "{} was frozen at {} and has been changed by hand since. Bring it back first: `{}`",
                self.server,
                open.at,
                self.unfreeze
            );
        }
        Ok(())
    }

    /// What is still as the freeze made it: the setting, and the roles.
    async fn left(&self, connection: &mut Connection, frozen: &Frozen) -> Result<(bool, Vec<String>)> {
        let row = connection.row(sql_file!("phases/freeze/state.sql").text).await?;
        let on = row.try_get::<Option<String>, _>("setting")?.as_deref() == Some("on");
        let mut roles = Vec::new();
        for role in &frozen.roles {
            let query = sql::bind(sql_file!("phases/freeze/role.sql"), &[("role", role)]);
            let rows = connection.rows(&query).await?;
            match rows.first() {
                Some(row) if !row.try_get::<bool, _>("can_login")? => roles.push(role.clone()),
                _ => {}
            }
        }
        Ok((on, roles))
    }

    async fn look(&self, connection: &mut Connection) -> Result<SourceState> {
        let row = connection.row(sql_file!("phases/freeze/state.sql").text).await?;
        let text = |name: &str| row.try_get::<String, _>(name);
        let (me, owner) = (sql_text::ident(&text("me")?), sql_text::ident(&text("owner")?));
        let database = sql_text::ident(&self.server.database);
        let mut wrong = Vec::new();
        if !row.try_get::<bool, _>("owns")? {
            wrong.push(format!("{me} does not own the database {database}: GRANT {owner} TO {me}"));
        }
        if !row.try_get::<bool, _>("signals")? {
            wrong.push(format!("{me} may not end sessions: GRANT pg_signal_backend TO {me}"));
        }
        if let Some(prepared) = row.try_get::<Option<String>, _>("prepared")? {
            wrong.push(format!(
                "prepared transactions could still be committed: {prepared}. COMMIT PREPARED or ROLLBACK \
                 PREPARED them"
            ));
        }
        let roles = self.roles_that_log_in(connection, &me, &mut wrong).await?;
        for row in connection.rows(sql_file!("phases/freeze/overriding.sql").text).await? {
            let role: String = row.try_get(0)?;
            if !self.roles.contains(&role) && role != self.server.user {
                wrong.push(format!(
                    "role {role} has default_transaction_read_only = off of its own, which a freeze does \
                     not change: name it in freeze_roles, or ALTER ROLE {} RESET default_transaction_read_only",
                    sql_text::ident(&role)
                ));
            }
        }
        for session in self.sessions(connection, EVER).await? {
            if session.above_us {
                wrong.push(format!("{session} is a superuser's, which {me} may not end: end it yourself"));
            }
        }
        if !wrong.is_empty() {
            refuse!(
                "{} cannot be frozen:\n  {}\nNothing has been changed: mend this, then type the same command \
                 again",
                self.server,
                wrong.join("\n  ")
            );
        }
        Ok(SourceState { setting: row.try_get("setting")?, now: text("now")?, roles })
    }

    async fn roles_that_log_in(
        &self,
        connection: &mut Connection,
        me: &str,
        wrong: &mut Vec<String>,
    ) -> Result<Vec<String>> {
        let mut can = Vec::new();
        for role in &self.roles {
            let name = sql_text::ident(role);
            let query = sql::bind(sql_file!("phases/freeze/role.sql"), &[("role", role)]);
            let rows = connection.rows(&query).await?;
            let Some(row) = rows.first() else {
                wrong.push(format!("freeze_roles names {role}, which is no role of this server"));
                continue;
            };
            if row.try_get::<bool, _>("is_me")? {
                wrong.push(format!("freeze_roles names {role}, as which this tool itself logs in"));
            } else if row.try_get::<bool, _>("can_login")? {
                if !row.try_get::<bool, _>("alterable")? {
                    wrong.push(format!(
                        "{me} may not take the LOGIN of {role} away: ALTER ROLE {me} CREATEROLE (from \
                         PostgreSQL 16 on also GRANT {name} TO {me} WITH ADMIN OPTION)"
                    ));
                }
                can.push(role.clone());
            }
        }
        Ok(can)
    }

    /// Freezes the source, unless it is. Its undoing is noted in `cleanup` before anything is changed.
    ///
    /// # Errors
    /// As [`Freezer::preflight`]; where it fails in between, what was changed has been undone.
    pub async fn freeze(&self, run: Option<&str>, cleanup: &Cleanup) -> Result<Held> {
        let mut connection = self.connect().await?;
        if let Some(open) = self.open()? {
            self.still_holds(&mut connection, &open).await?;
            connection.close().await?;
            self.terminal.line(format!(
                "the source has been frozen since {} and stays so: `{}` undoes it",
                open.at, self.unfreeze
            ));
            return Ok(Held::Before(open));
        }
        let state = self.look(&mut connection).await?;
        let frozen = Frozen {
            since: state.now,
            run: run.map(String::from),
            setting: state.setting,
            roles: state.roles,
        };
        self.book.freeze(&self.source, &frozen)?;
        let pending = cleanup.add(self.unfreeze.clone(), {
            let (freezer, frozen) = (self.clone(), frozen.clone());
            move || {
                let (freezer, frozen) = (freezer.clone(), frozen.clone());
                async move {
                    let undone = freezer.undo(&frozen).await?;
                    freezer
                        .terminal
                        .line(format!("the source is not frozen any more: {}", undone.join("; ")));
                    Ok(())
                }
            }
        });
        match self.change(connection, &frozen).await {
            Ok(()) => Ok(Held::Now(pending)),
            Err(error) => {
                cleanup.undo(pending).await.context(format!("after {error:#}: undoing it"))?;
                Err(error.context(format!("freezing {}", self.server)))
            }
        }
    }

    async fn change(&self, mut connection: Connection, frozen: &Frozen) -> Result<()> {
        connection.run(&sql::freeze(&self.server.database, &frozen.roles)).await?;
        let row = connection.row(sql_file!("phases/freeze/state.sql").text).await?;
        let changed: String = row.try_get("now")?;
        let mut ended = self.end(&mut connection, EVER).await?;
        // A session that was logging in a moment ago may have read the settings before they changed, and
        // be shown only now. Until it is in, nothing shows it: there is no state to wait for.
        tokio::time::sleep(Duration::from_millis(200)).await;
        ended += self.end(&mut connection, (EVER.0, &changed)).await?;
        connection.close().await?;
        let roles = match frozen.roles.as_slice() {
            [] => String::new(),
            roles => format!(", {} cannot log in", roles.join(", ")),
        };
        self.terminal
            .line(format!("the source is frozen: new sessions are read-only{roles}, {ended} sessions ended"));
        Ok(())
    }

    async fn sessions(
        &self,
        connection: &mut Connection,
        (from, to): (&str, &str),
    ) -> Result<Vec<SourceSession>> {
        let query = sql::bind(sql_file!("phases/freeze/sessions.sql"), &[("from", from), ("to", to)]);
        let session = |row: &sqlx::postgres::PgRow| {
            Ok(SourceSession {
                pid: row.try_get(0)?,
                role: row.try_get(1)?,
                application: row.try_get(2)?,
                above_us: row.try_get(3)?,
            })
        };
        connection.rows(&query).await?.iter().map(session).collect()
    }

    /// Ends the sessions that began then, and waits until they are gone; how many.
    async fn end(&self, connection: &mut Connection, span: (&str, &str)) -> Result<usize> {
        let sessions = self.sessions(connection, span).await?;
        for session in &sessions {
            let pid = session.pid.to_string();
            let query = sql::bind(sql_file!("phases/freeze/end.sql"), &[("pid", &pid)]);
            connection.run(&query).await.with_context(|| format!("ending {session}"))?;
        }
        for session in &sessions {
            let pid = session.pid.to_string();
            let query = sql::bind(sql_file!("phases/freeze/there.sql"), &[("pid", &pid)]);
            let what = format!("{session} to end");
            let waiting = Waiting::begin(&what, PATIENCE);
            while connection.row(&query).await?.try_get(0)? {
                waiting.again(&"it is still there").await?;
            }
        }
        Ok(sessions.len())
    }

    /// Brings back what was before, where it is still as the freeze made it; says what it did.
    pub async fn undo(&self, frozen: &Frozen) -> Result<Vec<String>> {
        let mut connection = self.connect().await?;
        let (on, roles) = self.left(&mut connection, frozen).await?;
        let as_before = frozen.setting.as_deref() == Some("on");
        let setting = (on && !as_before).then_some(frozen.setting.as_deref());
        connection.run(&sql::unfreeze(&self.server.database, &roles, setting)).await?;
        // Whoever began while it was frozen is read-only until its end.
        let ended = match setting {
            Some(_) => self.end(&mut connection, (&frozen.since, EVER.1)).await?,
            None => 0,
        };
        connection.close().await?;
        self.book.unfreeze(&self.source)?;

        let mut undone = vec![match (setting, as_before) {
            (Some(None), _) => "default_transaction_read_only reset".to_string(),
            (Some(Some(value)), _) => format!("default_transaction_read_only = {value} as before"),
            (None, true) => "default_transaction_read_only was on before, too".to_string(),
            (None, false) => "default_transaction_read_only had been changed already".to_string(),
        }];
        undone.extend(roles.iter().map(|role| format!("{role} can log in")));
        let others = frozen.roles.iter().filter(|role| !roles.contains(role));
        undone.extend(others.map(|role| format!("{role} could log in already")));
        if ended > 0 {
            undone.push(format!("{ended} sessions ended that had begun read-only"));
        }
        Ok(undone)
    }

    /// What `default_transaction_read_only` of the database is, where it has one.
    pub async fn setting(&self) -> Result<Option<String>> {
        let mut connection = self.connect().await?;
        let row = connection.row(sql_file!("phases/freeze/state.sql").text).await?;
        let setting = row.try_get("setting")?;
        connection.close().await?;
        Ok(setting)
    }
}

/// A session that is not this tool's.
struct SourceSession {
    pid: i32,
    role: String,
    application: String,
    /// A superuser's, which we are not.
    above_us: bool,
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

/// Before a run begins: can the source be frozen, where that is wanted?
pub async fn preflight(ctx: &Ctx, handling: &Handling) -> Result<()> {
    match handling.freeze {
        Some(_) => Freezer::of(ctx)?.preflight().await,
        None => Ok(()),
    }
}

/// Does the work with the source frozen, where that is wanted, and undoes it whatever comes of it. Where
/// the work is dropped midway, `main` undoes it.
pub async fn during<T>(ctx: &Ctx, handling: &Handling, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(cleanup) = &handling.freeze else { return work.await };
    let step = ctx.run.step(StepName::Freeze)?;
    let held = Freezer::of(ctx)?.freeze(Some(ctx.run.id()), cleanup).await?;
    let result = work.await;
    if let Held::Now(pending) = held {
        let undone = cleanup.undo(pending).await;
        return match (result, undone) {
            (result, Ok(())) => {
                step.done("undone")?;
                result
            }
            (Ok(_), Err(error)) => Err(error.context("the work is done, but the source is still frozen")),
            (Err(error), Err(undoing)) => {
                ctx.terminal.warn(format!("the source is still frozen: {undoing:#}"));
                Err(error)
            }
        };
    }
    step.done("was frozen before, and stays so")?;
    result
}
