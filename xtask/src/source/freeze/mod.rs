//! The source held back: the database's new sessions are read-only, its other sessions are ended, and
//! the services' roles, which the environment names, cannot log in. What was before is on disk before
//! anything is changed, and comes back on every way out.

mod allowed;
mod held;
pub(in crate::source) mod others;

use super::Handling;
use crate::effects::cleanup::{Cleanup, Pending};
use crate::effects::host;
use crate::effects::postgres::{self, Connection};
use crate::effects::terminal::Terminal;
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::freeze_log::{FreezeLog, Frozen, Open};
use crate::run::lock::Locks;
use crate::run::lock_waits;
use crate::settings::{Server, Settings};
use crate::shown::utc;
use crate::steps::StepName;
use crate::{refuse, sql, sql_file};
use allowed::{Ends, look};
use anyhow::{Context, Result};
use others::EVER;
use sqlx::Row;
use std::time::Duration;

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
    /// What is frozen, for people.
    what: String,
    ends: Ends,
}

/// What a freeze came to.
pub enum Held {
    /// It has been frozen: undone by this.
    Now(Pending, Frozen),
    /// It was frozen before, and stays so.
    Before(Open),
}

impl Held {
    pub fn frozen(&self) -> &Frozen {
        match self {
            Held::Now(_, frozen) => frozen,
            Held::Before(open) => &open.frozen,
        }
    }
}

impl Freezer {
    pub fn new(settings: &Settings, book: FreezeLog, terminal: &Terminal) -> Freezer {
        let server = settings.source.clone();
        Freezer {
            source: FreezeLog::name_of(&server),
            unfreeze: format!(
                "cargo xtask unfreeze --env {} --backup-dir {}",
                settings.environment,
                book.runs().display()
            ),
            server,
            roles: settings.frozen_roles(),
            book,
            terminal: terminal.clone(),
            what: "the source".to_string(),
            ends: Ends::Anybody,
        }
    }

    /// A target of a run, whose services are held out while they are taken back. As their role is often the tool's own,
    /// none is kept from logging in.
    pub fn of_target(ctx: &Ctx, database: Database) -> Freezer {
        let server = ctx.settings.target(database).clone();
        Freezer {
            source: FreezeLog::name_of(&server),
            unfreeze: sql::let_write(&server.database),
            roles: Vec::new(),
            server,
            what: format!("{database} database"),
            ends: Ends::WhoIsThere,
            ..Freezer::of(ctx)
        }
    }

    /// Of a run: its book stands beside its directory.
    pub fn of(ctx: &Ctx) -> Freezer {
        Freezer::new(&ctx.settings, FreezeLog::at(ctx.run.runs()), &ctx.terminal)
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

    /// Roles that can write although it is frozen.
    fn let_in_before(&self) -> Result<Vec<String>> {
        Ok(self.open()?.map(|open| open.let_in).unwrap_or_default())
    }

    async fn connect(&self) -> Result<Connection> {
        let mut connection = postgres::connect(&self.server, others::FREEZING).await?;
        connection.run(sql::WAIT_FOR_LOCKS).await?;
        Ok(connection)
    }

    /// # Errors
    /// Refuses with everything at once that keeps this source from being frozen.
    pub async fn preflight(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        if let Some(open) = self.open()? {
            self.still_holds(&mut connection, &open).await?;
        } else {
            look(&mut connection, &self.server, &self.roles, self.ends).await?;
        }
        connection.close().await
    }

    /// A freeze that was undone by hand in part cannot be built upon.
    async fn still_holds(&self, connection: &mut Connection, open: &Open) -> Result<()> {
        let wrong =
            held::changed(connection, &self.server, (&self.roles, &open.let_in), &open.frozen).await?;
        if !wrong.is_empty() {
            refuse!(
                "{} was frozen at {} and has been changed by hand since:\n  {}\nFix this, or bring it back \
                 first: `{}`",
                self.server,
                utc(&open.at),
                wrong.join("\n  "),
                self.unfreeze
            );
        }
        Ok(())
    }

    /// Everything is as the freeze made it, nobody else is there, and nothing could write.
    ///
    /// # Errors
    /// Refuses with all that is otherwise.
    pub async fn still_frozen(&self, frozen: &Frozen) -> Result<()> {
        let mut connection = self.connect().await?;
        let mut wrong: Vec<String> = held::book(self.open()?.as_ref(), frozen).into_iter().collect();
        let let_in = self.let_in_before()?;
        let roles = (&self.roles[..], &let_in[..]);
        wrong.extend(held::changed(&mut connection, &self.server, roles, frozen).await?);
        wrong.extend(held::strangers(&mut connection).await?);
        connection.close().await?;
        if !wrong.is_empty() {
            refuse!(
                "{} is not as the freeze made it:\n  {}\nFix this and rerun the command",
                self.server,
                wrong.join("\n  ")
            );
        }
        Ok(())
    }

    /// The lock on the source, unless this command has it: nobody else freezes it, undoes that, or is at
    /// work there meanwhile.
    pub async fn alone(&self, verb: &str) -> Result<Locks> {
        Locks::unless_ours(&self.server, verb).await
    }

    /// Freezes the source, unless it is. Its undoing is noted in `cleanup` before anything is changed.
    ///
    /// # Errors
    /// As [`Freezer::preflight`]; where it fails in between, what was changed has been undone.
    pub async fn freeze(&self, run: Option<&str>, cleanup: &Cleanup) -> Result<Held> {
        let locks = self.alone("freeze").await?;
        let held = self.freeze_alone(run, cleanup).await;
        locks.release().await;
        held
    }

    async fn freeze_alone(&self, run: Option<&str>, cleanup: &Cleanup) -> Result<Held> {
        let mut connection = self.connect().await?;
        if let Some(open) = self.open()? {
            self.still_holds(&mut connection, &open).await?;
            connection.close().await?;
            self.terminal.line(format!(
                "{} has been frozen since {} and stays so: `{}` undoes it",
                self.what,
                utc(&open.at),
                self.unfreeze
            ));
            return Ok(Held::Before(open));
        }
        let state = look(&mut connection, &self.server, &self.roles, self.ends).await?;
        let frozen = Frozen {
            since: state.now,
            run: run.map(String::from),
            by: Some(host::user_at_host()),
            setting: state.setting,
            roles: state.roles,
        };
        self.book.freeze(&self.source, &frozen)?;
        let pending = cleanup.add(format!("{} is frozen", self.what), self.unfreeze.clone(), {
            let (freezer, frozen) = (self.clone(), frozen.clone());
            move || {
                let (freezer, frozen) = (freezer.clone(), frozen.clone());
                async move { freezer.undo_again(&frozen).await }
            }
        });
        match self.change(connection, &frozen).await {
            Ok(()) => Ok(Held::Now(pending, frozen)),
            Err(error) => {
                cleanup.undo(pending).await.context(format!("after {error:#}: undoing it"))?;
                Err(error.context(format!("freezing {}", self.server)))
            }
        }
    }

    async fn change(&self, mut connection: Connection, frozen: &Frozen) -> Result<()> {
        if let Err(error) = connection.run(&sql::freeze(&self.server.database, &frozen.roles)).await {
            return Err(self.kept_waiting(error).await);
        }
        // A session that was logging in a moment ago may have read the settings before they changed, and
        // be shown only now. Until it is in, nothing shows it: there is no state to wait for. Those that were in
        // before work on meanwhile, so that nobody is kept waiting by it.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let ended = others::end(&mut connection, EVER).await?;
        // What has begun since the first look.
        let writers = others::writers(&mut connection).await?;
        if !writers.is_empty() {
            refuse!("{} can still be written:\n  {}", self.server, writers.join("\n  "));
        }
        connection.close().await?;
        let roles = match frozen.roles.as_slice() {
            [] => String::new(),
            roles => format!(", {} cannot log in", roles.join(", ")),
        };
        self.terminal.line(format!(
            "{} is frozen: new sessions are read-only{roles}, {ended} sessions ended",
            self.what
        ));
        Ok(())
    }

    /// The error; where we waited for somebody, with who it may be.
    async fn kept_waiting(&self, error: anyhow::Error) -> anyhow::Error {
        if !lock_waits::is_cause(&error) {
            return error;
        }
        let looked = async { others::writing(&mut self.connect().await?).await };
        let who = match looked.await {
            Ok(writing) if writing.is_empty() => "nobody any more".to_string(),
            Ok(writing) => writing.join("\n  "),
            Err(unknown) => format!("by whom cannot be seen ({unknown:#})"),
        };
        error.context(format!(
            "a role or the database is being changed, by\n  {who}\nWait for its end, or end it"
        ))
    }

    /// As the way out of a command, also of one that was cut off and has lost its lock: only what it froze
    /// itself, and only if nobody has gone on from there.
    async fn undo_again(&self, frozen: &Frozen) -> Result<()> {
        let locks = self.alone("unfreeze").await?;
        let undone = match self.open()? {
            Some(open) if open.frozen == *frozen => {
                // Also by the command that is being cut off now: what it has recorded stays.
                if let Some(run) = open.cutover {
                    refuse!("run {run} has been cut over: the source stays frozen");
                }
                self.undo(frozen).await?
            }
            Some(open) => {
                refuse!("it was frozen again at {} by another command, and stays so", utc(&open.at))
            }
            // The book does not know it: what is still as it was made is brought back all the same.
            None => self.undo(frozen).await?,
        };
        locks.release().await;
        self.terminal.line(format!("{} is not frozen any more: {}", self.what, undone.join("; ")));
        Ok(())
    }

    /// The same of the freeze that has not been undone; `None`: there is none.
    pub async fn undo_open(&self) -> Result<Option<Vec<String>>> {
        match self.open()? {
            Some(open) => self.undo(&open.frozen).await.map(Some),
            None => Ok(None),
        }
    }

    /// Brings back what was before, where it is still as the freeze made it; says what it did.
    pub async fn undo(&self, frozen: &Frozen) -> Result<Vec<String>> {
        let mut connection = self.connect().await?;
        others::end_freezing(&mut connection).await?;
        let (on, roles) = held::left(&mut connection, frozen).await?;
        let let_in = self.let_in_before()?;
        for role in &let_in {
            connection.run(&sql::role_as_others(&self.server.database, role)).await?;
        }
        let as_before = frozen.setting.as_deref() == Some("on");
        let setting = (on && !as_before).then_some(frozen.setting.as_deref());
        connection.run(&sql::unfreeze(&self.server.database, &roles, setting)).await?;
        // Whoever began while it was frozen is read-only until its end.
        let ended = match setting {
            Some(_) => others::end(&mut connection, (&frozen.since, EVER.1)).await?,
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
        let others = frozen.roles.iter().filter(|role| !roles.contains(role) && !let_in.contains(role));
        undone.extend(others.map(|role| format!("{role} could log in already")));
        if ended > 0 {
            undone.push(format!("{ended} sessions ended that had begun read-only"));
        }
        Ok(undone)
    }

    /// # Errors
    /// Refuses a role that this tool may not let in alone.
    pub async fn may_let_in(&self, role: &str) -> Result<()> {
        let mut connection = self.connect().await?;
        let mut wrong = Vec::new();
        allowed::roles_that_log_in(&mut connection, &[role.to_string()], &self.server.user, &mut wrong)
            .await?;
        connection.close().await?;
        if !wrong.is_empty() {
            refuse!("{role} cannot be let in again by {}: {}", self.server.user, wrong.join("; "));
        }
        Ok(())
    }

    /// One role can write although the database stays frozen, until that is undone.
    pub async fn let_in(&self, role: &str) -> Result<()> {
        let frozen = self.open()?.map(|open| open.frozen);
        let log_in = frozen.is_some_and(|frozen| frozen.roles.iter().any(|kept_out| kept_out == role));
        self.book.let_in(&self.source, role)?;
        let mut connection = self.connect().await?;
        connection.run(&sql::let_role_write(&self.server.database, role, log_in)).await?;
        connection.close().await
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

/// Before a run begins: can the source be frozen, where that is wanted?
pub async fn preflight(ctx: &Ctx, handling: &Handling) -> Result<()> {
    match handling.freeze {
        Some(_) => Freezer::of(ctx).preflight().await,
        None => Ok(()),
    }
}

/// Does the work with the source frozen, where that is wanted, and undoes it whatever comes of it. Where
/// the work is dropped midway, `main` undoes it.
pub async fn during<T>(ctx: &Ctx, handling: &Handling, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(cleanup) = &handling.freeze else { return work.await };
    let step = ctx.run.step(StepName::Freeze)?;
    let held = Freezer::of(ctx).freeze(Some(ctx.run.id()), cleanup).await?;
    let result = work.await;
    if let Held::Now(pending, _) = held {
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
