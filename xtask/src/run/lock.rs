//! Never two runs on one environment at a time: a session of its own holds an advisory lock in every
//! database that a command works on, and names its holder. Whoever loses one stops writing.
//!
//! What was learnt: a session-level lock goes with its session. We hear of its end at once only while we
//! wait for an answer of it, so each look waits a moment on the server: whoever writes is stopped before
//! the next batch. The server hears of ours when that moment is over: so long is held what a killed run held.

use crate::effects::host;
use crate::effects::own_sessions::is_own;
use crate::effects::postgres::{self, Connection};
use crate::effects::wait::{self, Patience, State, Waiting};
use crate::model::Database;
use crate::run::ctx::{Ctx, session_name};
use crate::settings::Server;
use crate::{refuse, sql, sql_file};
use anyhow::{Context, Result, anyhow};
use futures_util::future::try_join_all;
use sqlx::Row;
use std::future::Future;
use std::time::Duration;

/// The lock's two numbers. `pg_locks` shows them as `classid` and `objid`.
const LOCK: [(&str, &str); 2] = [("class", "2020893043"), ("object", "1")];

/// How long a look whether the locks are still there waits on the server, in seconds.
const MOMENT: &str = "0.5";

/// A look that takes longer counts as a lock that is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the lock of a run that has just ended may take to go.
const GRACE: Patience = Patience { deadline: Duration::from_secs(3), interval: Duration::from_millis(100) };

/// Who holds the lock on a database.
pub struct Holder {
    pid: i32,
    began: String,
    name: String,
    since: String,
    client: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Holder { pid, name, since, client, .. } = self;
        write!(f, "`{name}`, process {pid} of the server, since {since}, from {client}, holds the lock")
    }
}

impl Holder {
    /// What to do about it.
    pub fn fix(&self, then: &str) -> String {
        let run = self.name.strip_prefix("xtask ").and_then(|name| name.split(' ').next());
        // `freeze` and `unfreeze` are no run's.
        let look = match run.filter(|run| run.starts_with(|c: char| c.is_ascii_digit())) {
            Some(run) => format!("`cargo xtask status --run {run}` on its host shows how far it is. "),
            None => String::new(),
        };
        format!(
            "{look}Wait for its end, {then}. If nobody is there any more: `SELECT pg_terminate_backend({})` in \
             that database frees it",
            self.pid
        )
    }
}

/// Who holds the lock on the database of this session; takes none.
async fn holder(session: &mut Connection) -> Result<Option<Holder>> {
    let rows = session.rows(&sql::bind(sql_file!("phases/lock/holder.sql"), &LOCK)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Holder {
        pid: row.try_get("pid")?,
        began: row.try_get("began")?,
        name: row.try_get("name")?,
        since: row.try_get("since")?,
        client: row.try_get("client")?,
    }))
}

/// Who holds it for longer than the lock of a run that has just ended may take to go.
pub async fn lasting_holder(session: &mut Connection) -> Result<Option<Holder>> {
    let free = wait::until(GRACE, async || {
        Ok(match holder(session).await? {
            Some(holder) => State::NotYet(holder),
            None => State::Ready(()),
        })
    });
    Ok(match free.await? {
        State::NotYet(holder) => Some(holder),
        State::Ready(()) => None,
    })
}

/// The other runs that are at work on these servers, a line each.
pub async fn others(ctx: &Ctx, servers: impl IntoIterator<Item = &Server>) -> Result<Vec<String>> {
    let found = holders(ctx, servers).await?.into_iter();
    Ok(found.map(|(holder, server)| format!("another run is at work on {server}: {holder}")).collect())
}

/// Who is at work on the servers, and on which of them; `None`: nobody.
///
/// # Errors
/// Where one of them does not let us look.
pub async fn at_work(ctx: &Ctx) -> Result<Option<(Holder, Vec<String>)>> {
    let found = holders(ctx, ctx.servers()).await?;
    let servers = found.iter().map(|(_, server)| server.label.clone()).collect();
    Ok(found.into_iter().next().map(|(holder, _)| (holder, servers)))
}

/// Who holds the lock of these servers, of those where somebody does.
async fn holders<'s>(
    ctx: &Ctx,
    servers: impl IntoIterator<Item = &'s Server>,
) -> Result<Vec<(Holder, &'s Server)>> {
    let look = servers.into_iter().map(|server| async move {
        let mut session = postgres::connect(server, &ctx.purpose("lock")).await?;
        let holder = lasting_holder(&mut session).await?;
        session.close().await?;
        anyhow::Ok(holder.map(|holder| (holder, server)))
    });
    Ok(try_join_all(look).await?.into_iter().flatten().collect())
}

/// The locks that a command holds.
pub struct Locks {
    held: Vec<HeldLock>,
}

struct HeldLock {
    server: String,
    pid: i32,
    session: Connection,
}

impl Locks {
    /// On the source and all targets.
    pub async fn all(ctx: &Ctx) -> Result<Locks> {
        Locks::of(&ctx.purpose("lock"), ctx.servers()).await
    }

    /// For what only reads the source.
    pub async fn source(ctx: &Ctx) -> Result<Locks> {
        Locks::of(&ctx.purpose("lock"), [&ctx.settings.source]).await
    }

    /// For what asks nothing of the source.
    pub async fn targets(ctx: &Ctx) -> Result<Locks> {
        Locks::of(&ctx.purpose("lock"), Database::ALL.map(|database| ctx.settings.target(database))).await
    }

    /// On these, as whom they name.
    pub async fn these(purpose: &str, servers: &[Server]) -> Result<Locks> {
        Locks::of(purpose, servers).await
    }

    /// On the source, for `verb`, which holds it back or lets it go; none where this process has it already.
    ///
    /// # Errors
    /// Refuses where somebody else is at work there, and says who.
    pub async fn unless_ours(source: &Server, verb: &str) -> Result<Locks> {
        let purpose = session_name(verb, "lock", &host::user_at_host());
        let mut session = postgres::connect(source, &purpose).await?;
        let held = holder(&mut session).await?;
        session.close().await?;
        if held.is_some_and(|holder| is_own(holder.pid, &holder.began)) {
            return Ok(Locks { held: Vec::new() });
        }
        Locks::of(&purpose, [source]).await
    }

    /// Always in the same order: of two that begin together one gets the first lock, and so all.
    async fn of(purpose: &str, servers: impl IntoIterator<Item = &Server>) -> Result<Locks> {
        let mut locks = Locks { held: Vec::new() };
        for server in servers {
            let held = locks.take(purpose, server).await.map_err(crate::model::refused)?;
            locks.held.push(held);
        }
        Ok(locks)
    }

    async fn take(&self, purpose: &str, server: &Server) -> Result<HeldLock> {
        let mut session = postgres::connect(server, purpose).await?;
        let take = sql::bind(sql_file!("phases/lock/take.sql"), &LOCK);
        let pid: i32 = session.row("SELECT pg_backend_pid()").await?.try_get(0)?;
        let waiting = Waiting::begin(&"the lock", GRACE);
        loop {
            if session.row(&take).await?.try_get(0)? {
                return Ok(HeldLock { server: server.to_string(), pid, session });
            }
            let holder = holder(&mut session).await?;
            if waiting.again(&"another command has it").await.is_ok() {
                continue;
            }
            match holder {
                Some(holder) => return self.refuse(server, &holder),
                // It has been given back between the two statements, and somebody else may be at it.
                None => refuse!("the lock on {server} passes from one run to the next: try again"),
            }
        }
    }

    fn refuse(&self, server: &Server, holder: &Holder) -> Result<HeldLock> {
        if let Some(own) = self.held.iter().find(|held| held.pid == holder.pid) {
            refuse!("{server} and {} are one database: every store needs its own", own.server);
        }
        refuse!("another run is at work on {server}: {holder}. {}", holder.fix("then rerun the command"));
    }

    /// Does this work while the locks are there. Where one is lost, the work is dropped, and with it
    /// its sessions and tasks: nothing more is written.
    pub async fn guard<T>(mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let result = tokio::select! {
            biased;
            result = work => result,
            lost = self.watch() => return Err(lost),
        };
        self.release().await;
        result
    }

    /// Gives them back.
    pub async fn release(self) {
        for held in self.held {
            // The lock goes with its session in any case.
            let _ = held.session.close().await;
        }
    }

    /// Comes to its end when a lock is lost.
    async fn watch(&mut self) -> anyhow::Error {
        if self.held.is_empty() {
            // This process holds them elsewhere: who does looks after them. Without a wait nothing else would go on.
            std::future::pending::<()>().await;
        }
        loop {
            // The first that is lost, whatever the others wait for.
            if let Err(lost) = try_join_all(self.held.iter_mut().map(HeldLock::look)).await {
                return lost;
            }
        }
    }
}

impl HeldLock {
    async fn look(&mut self) -> Result<()> {
        let lost = || {
            format!(
                "the lock on {} was lost, and with it the certainty that no other run writes there: \
                 everything was stopped",
                self.server
            )
        };
        let query = sql::bind(sql_file!("phases/lock/held.sql"), &[LOCK[0], LOCK[1], ("moment", MOMENT)]);
        let row = tokio::time::timeout(PATIENCE, self.session.row(&query)).await;
        let row = row.map_err(|_| anyhow!("no answer within {} s", PATIENCE.as_secs()));
        let held: bool = row.and_then(|row| row).with_context(lost)?.try_get(0)?;
        if held { Ok(()) } else { Err(anyhow!("its session has another process now").context(lost())) }
    }
}
