//! Clients that write to the subject, each in transactions that end in every way there is.

use super::operation::{Operation, far, window};
use super::round::Round;
use crate::effects::postgres::{self, Connection};
use crate::effects::wait::{self, Patience, State};
use crate::settings::Server;
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;

const WRITERS: usize = 3;
const PATIENCE: Patience = Patience { deadline: Duration::from_secs(60), interval: Duration::from_millis(1) };
/// What an operation may end with where others write or rewrite beside it: a key that is there, a row that has
/// moved to another part, a deadlock, a lock that does not come.
const CONFLICTS: [&str; 4] = ["23505", "40001", "40P01", "55P03"];

/// How transactions may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    InEveryWay,
    /// Nothing is committed any more.
    RolledBack,
}

/// How one is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Commit,
    Rollback,
    /// Committed, without what stood behind a savepoint.
    SavepointRolledBack,
    /// Committed, with numbers of subtransactions.
    SavepointReleased,
    /// Prepared; committed or rolled back later.
    Prepare,
}

/// What was done, by what it is.
pub type Tally = BTreeMap<&'static str, usize>;

pub fn add(tally: &mut Tally, more: Tally) {
    more.into_iter().for_each(|(what, count)| *tally.entry(what).or_default() += count);
}

/// Whether others were in the way: what failed counts as rolled back.
pub fn is_conflict(error: &anyhow::Error) -> bool {
    postgres::code(error).is_some_and(|code| CONFLICTS.contains(&code.as_str()))
}

pub struct Writers {
    over: watch::Sender<bool>,
    shared: Arc<Shared>,
    writing: Vec<JoinHandle<Result<Tally>>>,
}

struct Shared {
    /// Held while a commit is under way.
    ends: RwLock<Ends>,
    /// That have ended.
    transactions: AtomicU64,
}

impl Writers {
    pub fn start(server: &Server, round: &Round, ends: Ends, seed: u64) -> Writers {
        let (over, end) = watch::channel(false);
        let shared = Arc::new(Shared { ends: RwLock::new(ends), transactions: AtomicU64::new(0) });
        let writing = (0..WRITERS).map(|number| {
            let writer = Writing {
                name: format!("writer-{seed}-{number}"),
                ids: round.ids,
                rng: Rng::with_seed(seed.wrapping_add(number as u64)),
                shared: shared.clone(),
                prepared: Vec::new(),
                tally: Tally::new(),
            };
            tokio::spawn(writer.until(server.clone(), end.clone()))
        });
        let writing = writing.collect();
        Writers { over, shared, writing }
    }

    /// Waits until so many more transactions have ended.
    pub async fn go_on(&self, transactions: u64) -> Result<()> {
        let begun = self.shared.transactions.load(Ordering::SeqCst);
        let what = format!("{transactions} transactions of the writers");
        let look = async || {
            let ended = self.shared.transactions.load(Ordering::SeqCst) - begun;
            let dead = self.writing.iter().all(JoinHandle::is_finished);
            Ok(if ended >= transactions || dead { State::Ready(()) } else { State::NotYet(ended) })
        };
        wait::for_state(what, PATIENCE, look).await
    }

    /// From now on; a commit that is under way has ended then.
    pub async fn end(&self, ends: Ends) {
        *self.shared.ends.write().await = ends;
    }

    /// Leaves nothing open, nor prepared.
    pub async fn stop(self) -> Result<Tally> {
        self.over.send_replace(true);
        let mut all = Tally::new();
        for writing in self.writing {
            let done = writing.await.context("a writer ended unexpectedly")??;
            add(&mut all, done);
        }
        Ok(all)
    }
}

struct Writing {
    name: String,
    ids: (i64, i64),
    rng: Rng,
    shared: Arc<Shared>,
    /// Names of transactions that still have to be ended.
    prepared: Vec<String>,
    tally: Tally,
}

impl Writing {
    async fn until(mut self, server: Server, over: watch::Receiver<bool>) -> Result<Tally> {
        let mut connection = postgres::connect(&server, "writer").await?;
        connection.run(sql_file!("chaos/changes/hurried.sql").text).await?;
        while !*over.borrow() {
            self.transaction(&mut connection).await?;
            if self.rng.u32(..3) == 0 {
                self.end_prepared(&mut connection).await?;
            }
            self.shared.transactions.fetch_add(1, Ordering::SeqCst);
        }
        while !self.prepared.is_empty() {
            self.end_prepared(&mut connection).await?;
        }
        connection.close().await?;
        Ok(self.tally)
    }

    fn done(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    async fn transaction(&mut self, connection: &mut Connection) -> Result<()> {
        let way = match self.rng.u32(..20) {
            0..3 => Way::Rollback,
            3..6 => Way::SavepointRolledBack,
            6..8 => Way::SavepointReleased,
            8..11 => Way::Prepare,
            _ => Way::Commit,
        };
        connection.run("BEGIN").await?;
        match self.write(connection, way).await {
            Ok(()) => self.end(connection, way).await,
            Err(error) if is_conflict(&error) => {
                self.done("in each other's way");
                connection.run("ROLLBACK").await
            }
            Err(error) => Err(error),
        }
    }

    async fn write(&mut self, connection: &mut Connection, way: Way) -> Result<()> {
        self.operation(connection).await?;
        match way {
            Way::SavepointRolledBack => {
                connection.run("SAVEPOINT s").await?;
                self.operation(connection).await?;
                connection.run("ROLLBACK TO s").await?;
            }
            Way::SavepointReleased => {
                connection.run("SAVEPOINT s").await?;
                self.operation(connection).await?;
                connection.run("RELEASE s").await?;
            }
            Way::Commit | Way::Rollback | Way::Prepare => {}
        }
        match self.rng.bool() {
            true => self.operation(connection).await,
            false => Ok(()),
        }
    }

    async fn operation(&mut self, connection: &mut Connection) -> Result<()> {
        let (operation, window) = (Operation::draw(&mut self.rng), window(&mut self.rng, self.ids));
        let mark = format!("{} {}", self.name, self.rng.u32(..));
        connection.run(&operation.statement(window, far(&mut self.rng), &mark)).await
    }

    async fn end(&mut self, connection: &mut Connection, way: Way) -> Result<()> {
        if way == Way::Prepare {
            let name = format!("{}-{}", self.name, self.rng.u64(..));
            let prepare = sql::bind(sql_file!("chaos/changes/prepare.sql"), &[("name", &name)]);
            connection.run(&prepare).await?;
            self.prepared.push(name);
            return Ok(());
        }
        let shared = self.shared.clone();
        let ends = shared.ends.read().await;
        if way == Way::Rollback || *ends == Ends::RolledBack {
            self.done("rolled back");
            return connection.run("ROLLBACK").await;
        }
        self.done(match way {
            Way::SavepointRolledBack => "with a savepoint rolled back",
            Way::SavepointReleased => "with a savepoint released",
            Way::Commit | Way::Rollback | Way::Prepare => "committed",
        });
        connection.run("COMMIT").await
    }

    async fn end_prepared(&mut self, connection: &mut Connection) -> Result<()> {
        if self.prepared.is_empty() {
            return Ok(());
        }
        let name = self.prepared.swap_remove(self.rng.usize(..self.prepared.len()));
        let shared = self.shared.clone();
        let ends = shared.ends.read().await;
        let (what, file) = match *ends == Ends::InEveryWay && self.rng.u32(..3) > 0 {
            true => ("prepared and committed late", sql_file!("chaos/changes/commit_prepared.sql")),
            false => ("prepared and rolled back", sql_file!("chaos/changes/rollback_prepared.sql")),
        };
        self.done(what);
        connection.run(&sql::bind(file, &[("name", &name)])).await
    }
}
