//! Loading the tables of one database: every statement by itself, when its turn has come, in whatever
//! session is free.
//!
//! What was learnt: the largest table decides. Its file goes in by pieces in parallel, so that
//! its slowest index (an inverted one: no server builds it with more than one process) begins early.

use crate::changes::{self, Children, Place, Written};
use crate::effects::idle::Idle;
use crate::effects::postgres::Connection;
use crate::effects::terminal::{INDEX, Task};
use crate::model::{Column, Database, Stop};
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::join::all;
use crate::run::manifest::{Export, TableExport};
use crate::sql;
use crate::stores::rows::{self, feed};
use crate::stores::schema::{self, STAGING};
use crate::stores::staging::BuildPlan;
use crate::tables::Table;
use anyhow::{Context, Result, ensure};
use datapath::files::Piece;
use sqlx::Row;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a table is for turns: the bytes of its file.
pub(super) fn weight(export: &Export, table: &Table) -> u64 {
    export.files.get(&table.file()).map_or(0, |file| file.bytes)
}

pub(super) struct Loading {
    ctx: Arc<Ctx>,
    export: Arc<Export>,
    database: Database,
    plan: BuildPlan,
    idle: Idle,
    /// By table: the transactions that have loaded it.
    transactions: Mutex<BTreeMap<&'static str, Vec<u32>>>,
    /// By table: what was proven, and who wrote it.
    proven: Mutex<BTreeMap<&'static str, Written>>,
}

impl Loading {
    pub fn new(ctx: Arc<Ctx>, export: Arc<Export>, database: Database, plan: BuildPlan) -> Loading {
        let (idle, transactions, proven) = Default::default();
        Loading { ctx, export, database, plan, idle, transactions, proven }
    }

    /// Rows and sequence of one table, then its indexes, keys and proof. Returns how what was loaded
    /// differs from what the snapshot held, if it does.
    ///
    /// # Errors
    /// `Stop::Differs` where anything went wrong and the file is not the one that was exported.
    pub async fn load(self: Arc<Self>, table: &'static Table) -> Result<Option<String>> {
        let loaded = self.clone().rows_and_rest(table).await;
        if let Ok(None) = loaded {
            return loaded;
        }
        let file = table.file();
        let info = self.export.files.get(&file).cloned().map(|info| BTreeMap::from([(file, info)]));
        match dir::damaged_files(&self.ctx.run, &info.unwrap_or_default())[..] {
            [] => loaded,
            ref damaged => Err(Stop::Differs(damaged.join("; ")).into()),
        }
    }

    async fn rows_and_rest(self: Arc<Self>, table: &'static Table) -> Result<Option<String>> {
        let record = self.export.tables.get(table.name);
        let record = record.with_context(|| format!("the run's manifest does not know {}", table.name))?;
        let mut session = self.session().await?;
        same_columns(&schema::columns(&mut session, STAGING, table.name).await?, table, record)?;
        self.free(session);
        self.clone().rows(table, record).await?;
        // Who builds an index lets others read.
        let ((), difference) = tokio::try_join!(self.clone().indexes(table), self.prove(table, record))?;
        let mut session = self.session().await?;
        let sequence = record.sequence;
        session.rows(&sql::set_sequence(STAGING, table.name, sequence.last, sequence.called)).await?;
        for key in self.plan.keys_of(table.name) {
            session.run(&key).await?;
        }
        self.free(session);
        Ok(difference)
    }

    /// Streams the table's file in.
    async fn rows(self: Arc<Self>, table: &'static Table, record: &TableExport) -> Result<()> {
        let rows = record.pieces.iter().map(|piece| piece.rows).sum();
        let task = self.waiting("import", table, rows);
        let (begins, mut from) = (task.starter(), 0);
        let pieces = record.pieces.iter().map(|piece| {
            let (loading, record, piece, start) = (self.clone(), record.clone(), *piece, from);
            let (begins, count) = (begins.clone(), task.counter());
            from += piece.bytes;
            async move {
                let _permit = loading.permit(table).await;
                begins();
                loading.piece(table, &record, start, piece).await?;
                count(piece.rows);
                Ok(())
            }
        });
        all(pieces).await?;
        task.done(rows);
        Ok(())
    }

    /// One piece of a table's file, beginning at this byte, when its turn has come.
    async fn piece(
        &self,
        table: &'static Table,
        record: &TableExport,
        start: u64,
        piece: Piece,
    ) -> Result<()> {
        let mut reader = self.ctx.run.read_part(&table.file(), start, piece.bytes)?;
        let statement = sql::copy_in(STAGING, table.name, &record.target_columns, start == 0);
        let mut session = self.session().await?;
        session.run("BEGIN").await?;
        let (taken, mut session) = feed(session, &statement, &mut reader, table, record).await?;
        let transaction: String = session.row("SELECT pg_current_xact_id()::xid::text").await?.try_get(0)?;
        session.run("COMMIT").await?;
        self.free(session);
        lock(&self.transactions).entry(table.name).or_default().push(transaction.parse()?);
        if taken != piece.rows {
            return Err(Stop::Differs(format!(
                "{} is not the file that was exported: {taken} rows from byte {start} on, expected {}",
                table.file(),
                piece.rows
            ))
            .into());
        }
        Ok(())
    }

    /// The slowest first.
    async fn indexes(self: Arc<Self>, table: &'static Table) -> Result<()> {
        let statements = self.plan.indexes_of(table.name);
        let count = statements.len() as u64;
        let task = self.waiting(INDEX, table, count);
        let begins = task.starter();
        let builds = statements.into_iter().map(|statement| {
            let (loading, begins, built) = (self.clone(), begins.clone(), task.counter());
            async move {
                let _permit = loading.permit(table).await;
                begins();
                let mut session = loading.session().await?;
                session.run(&statement).await?;
                loading.free(session);
                built(1);
                Ok(())
            }
        });
        all(builds).await?;
        task.done(count);
        Ok(())
    }

    /// Nothing moves into place that is not what the snapshot held: what differs, if anything does.
    async fn prove(&self, table: &'static Table, record: &TableExport) -> Result<Option<String>> {
        let _permit = self.permit(table).await;
        let mut session = self.session().await?;
        let hash = self.export.snapshot.hash;
        let columns = &record.target_columns;
        let place = Place { schema: STAGING, table: table.name, children: Children::Included };
        let transactions = lock(&self.transactions).get(table.name).cloned().unwrap_or_default();
        changes::begin(&mut session, place).await?;
        let written = changes::written(&mut session, place, transactions).await?;
        let found = rows::content(&mut session, STAGING, table.name, columns, hash).await?;
        session.run("COMMIT").await?;
        self.free(session);
        match written {
            Ok(written) => drop(lock(&self.proven).insert(table.name, written)),
            Err(why) => self.ctx.terminal.detail(format!("{} will be digested again: {why}", table.name)),
        }
        let differing = record.content.differing(&found).len();
        Ok((differing > 0).then(|| {
            format!(
                "{}: {} rows expected, {} loaded, {differing} of {} ranges of ids differ",
                table.name,
                record.content.total().rows,
                found.total().rows,
                record.content.buckets.len()
            )
        }))
    }

    /// Ends the sessions; returns by table what was proven.
    pub async fn end(&self) -> Result<BTreeMap<&'static str, Written>> {
        self.idle.end().await?;
        Ok(std::mem::take(&mut *lock(&self.proven)))
    }

    fn waiting(&self, verb: &'static str, table: &Table, of: u64) -> Task {
        self.ctx.terminal.waiting(verb, table.name, of, &format!("its turn on {}", self.database))
    }

    async fn permit(&self, table: &Table) -> crate::run::permits::Permit {
        self.ctx.target_permit(self.database, weight(&self.export, table)).await
    }

    /// A session that builds in the staging schema: one that is idle, else a new one.
    async fn session(&self) -> Result<Connection> {
        let open = async {
            let mut session = self.ctx.target(self.database, "load").await?;
            session.run(&sql::for_building(STAGING)).await?;
            Ok(session)
        };
        self.idle.take(open).await
    }

    /// For sessions whose statement has come to its end; one that failed is dropped.
    fn free(&self, session: Connection) {
        self.idle.put(session);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn same_columns(columns: &[Column], table: &Table, record: &TableExport) -> Result<()> {
    let names = |columns: &[Column]| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    let (have, exported) = (names(columns), names(&record.target_columns));
    ensure!(
        have.iter().all(|c| exported.contains(c)) && exported.iter().all(|c| have.contains(c)),
        "{} has the columns {have:?}, sql/{} exports {exported:?}",
        table.name,
        table.export.path
    );
    Ok(())
}
