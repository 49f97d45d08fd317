//! Everything that is asked of the source, at one instant: the changed rows, and those that depend on them.
//!
//! A row of the export is a function of its row in the source and of what other rows show: whether they are
//! there, their outcome, and the value that they share. `Table::depends`, `shared` and `each_pass` say which.
//! Read again are the changed keys, all that is in quarantine, and the dependents of every row that shows
//! something else than before; kept is what differs from what the run holds.

use super::extent::Extent;
use super::held::{HeldRows, HeldTable, Turned};
use super::scan::{Looked, Scanned, Which};
use crate::changes::{self, Ended};
use crate::effects::postgres::Connection;
use crate::model::Stop;
use crate::refuse;
use crate::remembered::Remembered;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, SnapshotInfo};
use crate::source::rows;
use crate::source::snapshot::worker;
use crate::sql::{self, Only, Rows};
use crate::tables::Table;
use crate::timing::PassSeconds;
use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use sqlx::Row as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// One table's rows that are not what they were.
pub struct TableTurned {
    pub table: &'static Table,
    /// The line of names of the export's file.
    pub header: Vec<u8>,
    pub rows: BTreeMap<i64, Turned>,
    /// Those in quarantine now that were not before, as the source has them: a file.
    pub quarantine: Vec<u8>,
    /// How many rows were read.
    pub read: u64,
}

/// What a pass found.
pub struct Seen {
    pub snapshot: SnapshotInfo,
    /// Parents before children.
    pub tables: Vec<TableTurned>,
    /// The source's tables for the next pass, by `schema.table`.
    pub remembered: Remembered,
    /// The transactions that had ended at that instant, with our own that came next; `None`: others came in between.
    pub ended: Option<Ended>,
    /// Rows of the source.
    pub source_rows: u64,
    /// How long it took to look for changes, and to read them.
    pub seconds: PassSeconds,
}

/// Reads what has changed, and what depends on it.
pub async fn read(
    ctx: &Arc<Ctx>,
    export: &Export,
    held: &mut HeldRows,
    looked: Looked,
    extent: Extent,
) -> Result<Seen> {
    let Looked { snapshot, ended, mut scanned, seconds: look } = looked;
    let began = Instant::now();
    let reading = SourceReader { ctx, export, info: &snapshot.info };
    let mut found = rows_of_all(&reading, held, &mut scanned).await?;
    let seconds = PassSeconds { look, read: began.elapsed().as_secs_f64(), ..PassSeconds::default() };
    if !extent.is_last() {
        try_join_all(found.iter().map(|turned| reading.audited(turned))).await?;
    }
    if extent == Extent::Audit {
        for turned in &found {
            reading.audit(turned, held.table_mut(turned.table)?).await?;
        }
    }
    found.sort_by_key(|turned| ctx.tables.iter().position(|table| table.name == turned.table.name));
    let info = snapshot.info.clone();
    snapshot.release().await?;
    let source_rows = scanned.values().map(|of_table| of_table.rows).sum();
    let (remembered, ended) = flushed(ctx, scanned, ended).await?;
    Ok(Seen { snapshot: info, tables: found, remembered, ended, source_rows, seconds })
}

/// The changed rows of all tables, each read once those have been on which its rows depend.
async fn rows_of_all(
    reading: &SourceReader<'_>,
    held: &mut HeldRows,
    scanned: &mut BTreeMap<&'static str, Scanned>,
) -> Result<Vec<TableTurned>> {
    let mut shows = Shows::new();
    let mut waiting: Vec<&'static Table> = reading.ctx.tables.iter().collect();
    let (mut reads, mut found) = (FuturesUnordered::new(), Vec::new());
    loop {
        let (ready, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|table| table.depends.iter().all(|(_, on)| shows.contains_key(on)));
        waiting = later;
        for table in ready {
            let of_table = scanned.get_mut(table.name).context("a table was not looked at")?;
            let which = std::mem::replace(&mut of_table.which, Which::All);
            reads.push(reading.of(table, held.take(table)?, (which, of_table.rows), shows.clone()));
        }
        let Some(read) = reads.next().await else { break };
        let (turned, shown, of_table) = read?;
        shows.insert(turned.table.name, Arc::new(shown));
        held.tables.insert(turned.table.name, of_table);
        found.push(turned);
    }
    match waiting.first() {
        None => Ok(found),
        Some(table) => bail!("{} depends on itself, or on a table that is not migrated", table.name),
    }
}

/// A look counts for the next one once everything that it saw is on disk.
async fn flushed(
    ctx: &Ctx,
    scanned: BTreeMap<&'static str, Scanned>,
    ended: Ended,
) -> Result<(Remembered, Option<Ended>)> {
    let mut connection = ctx.looking_at_source("flushed").await?;
    let flushed = changes::flushed(&mut connection).await?;
    connection.close().await?;
    let mut remembered = Remembered::default();
    for table in ctx.tables {
        let Some(of_table) = scanned.get(table.name) else { continue };
        match flushed.clone().and(of_table.remembered.clone()) {
            Ok(then) => drop(remembered.insert(format!("public.{}", table.source), then)),
            Err(why) => ctx.terminal.detail(format!("the next pass reads {} whole: {why}", table.source)),
        }
    }
    Ok((remembered, flushed.ok().and_then(|own| ended.with(own))))
}

struct SourceReader<'a> {
    ctx: &'a Ctx,
    export: &'a Export,
    info: &'a SnapshotInfo,
}

/// By table that was read before, the rows that show something else than before.
type Shows = BTreeMap<&'static str, Arc<BTreeSet<i64>>>;

impl SourceReader<'_> {
    /// One table, with what is held of it; it is `counted` rows. Besides, the rows that show something else.
    async fn of(
        &self,
        table: &'static Table,
        mut held: HeldTable,
        (which, counted): (Which, u64),
        shows: Shows,
    ) -> Result<(TableTurned, BTreeSet<i64>, HeldTable)> {
        let began = Instant::now();
        let (turned, shown) = self.table(table, &mut held, which, &shows).await?;
        self.counted(&turned, &held, counted)?;
        self.ctx.terminal.lap(&format!("read {} rows of {}", turned.read, table.source), began);
        Ok((turned, shown, held))
    }

    async fn table(
        &self,
        table: &'static Table,
        held: &mut HeldTable,
        which: Which,
        parents: &Shows,
    ) -> Result<(TableTurned, BTreeSet<i64>)> {
        let mut connection = worker(self.ctx, self.info, "catch-up").await?;
        connection.run(sql::PAGES_IN_MEMORY).await?;
        let rows = rows::of(self.ctx, &mut connection, &self.info.reading, (table, self.export)).await?;
        let mut turned =
            TableTurned { table, header: Vec::new(), rows: BTreeMap::new(), quarantine: Vec::new(), read: 0 };
        let mut shows = BTreeSet::new();
        match which {
            Which::All => connection = self.take(connection, &rows, held, &mut turned, None).await?,
            Which::Ids(mut ids) => {
                ids.extend(held.quarantined());
                ids.extend(self.dependents(&mut connection, table, parents).await?);
                connection = self.take(connection, &rows, held, &mut turned, Some(&ids)).await?;
                (connection, shows) = self.sharing(connection, &rows, held, &mut turned, ids).await?;
            }
        }
        turned.quarantine = self.evidence(connection, &rows, &turned).await?;
        shows.extend(turned.rows.iter().filter(|(_, row)| row.shows()).map(|(id, _)| *id));
        Ok((turned, shows))
    }

    /// Rows that depend on others which show something else now, and those that are read in each pass.
    async fn dependents(
        &self,
        connection: &mut Connection,
        table: &Table,
        parents: &Shows,
    ) -> Result<BTreeSet<i64>> {
        let mut queries = Vec::new();
        for (column, parent) in table.depends {
            let ids: Vec<i64> = parents.get(parent).into_iter().flat_map(|ids| ids.iter().copied()).collect();
            if !ids.is_empty() {
                queries.push(sql::rows_of_parents(table.source, column, &ids));
            }
        }
        if let Some(file) = table.each_pass {
            queries.push(sql::expand(self.ctx.tables, file, &self.info.reading)?);
        }
        let mut ids = BTreeSet::new();
        for query in queries {
            for row in connection.rows(&query).await? {
                ids.insert(row.try_get(0)?);
            }
        }
        Ok(ids)
    }

    /// Of a value that appears, or goes, everybody who has it decides about the others: they show something else.
    async fn sharing(
        &self,
        connection: Connection,
        rows: &Rows,
        held: &mut HeldTable,
        turned: &mut TableTurned,
        read: BTreeSet<i64>,
    ) -> Result<(Connection, BTreeSet<i64>)> {
        let mut shows = BTreeSet::new();
        let values =
            turned.rows.values().filter(|row| row.shows()).flat_map(|row| row.shared.iter().flatten());
        let values: Vec<String> = values.collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let Some(column) = turned.table.shared.filter(|_| !values.is_empty()) else {
            return Ok((connection, shows));
        };
        let copy = rows.copy_only(self.info.hash, Only::Column(column, &values));
        let take = |id: i64, row: rows::Row| {
            shows.insert(id);
            if !read.contains(&id) {
                turned.read += 1;
                let row = held.turned(id, Some(row))?;
                turned.rows.extend(row.map(|row| (id, row)));
            }
            Ok(())
        };
        let (_, connection) = rows::read(connection, &copy, take).await?;
        Ok((connection, shows))
    }

    /// Reads rows, and keeps those that are not what is held. `ids`: of these; else all.
    async fn take(
        &self,
        connection: Connection,
        rows: &Rows,
        held: &mut HeldTable,
        turned: &mut TableTurned,
        ids: Option<&BTreeSet<i64>>,
    ) -> Result<Connection> {
        let (mut there, hash) = (BTreeSet::new(), self.info.hash);
        let copy = match ids {
            Some(ids) => rows.copy_only(hash, Only::Ids(&ids.iter().copied().collect::<Vec<_>>())),
            None => rows.copy_sorted(hash),
        };
        let take = |id: i64, row: rows::Row| {
            ensure!(there.insert(id), "the SELECT gives the row with id {id} more than once");
            let row = held.turned(id, Some(row))?;
            turned.rows.extend(row.map(|row| (id, row)));
            Ok(())
        };
        let (header, connection) = rows::read(connection, &copy, take).await?;
        turned.header = header;
        turned.read += there.len() as u64;
        let asked: Vec<i64> = match ids {
            Some(ids) => ids.iter().copied().collect(),
            None => held.ids.to_vec(),
        };
        for id in asked.into_iter().filter(|id| !there.contains(id)) {
            let row = held.turned(id, None)?;
            turned.rows.extend(row.map(|row| (id, row)));
        }
        Ok(connection)
    }

    /// The rules told a second time must agree about what has changed.
    async fn audited(&self, turned: &TableTurned) -> Result<()> {
        let there = turned.rows.iter().filter_map(|(id, row)| Some((*id, row.outcome_now()?)));
        let told: BTreeMap<i64, &str> = there.collect();
        if told.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = told.keys().copied().collect();
        let mut connection = worker(self.ctx, self.info, "audit").await?;
        connection.run(sql::PAGES_IN_MEMORY).await?;
        rows::audited(self.ctx, &mut connection, &self.info.reading, turned.table, &ids, told).await?;
        connection.close().await
    }

    async fn evidence(&self, connection: Connection, rows: &Rows, turned: &TableTurned) -> Result<Vec<u8>> {
        let reason = |(id, row): (&i64, &Turned)| Some((*id, row.quarantined()?.to_string()));
        let quarantined: Vec<(i64, String)> = turned.rows.iter().filter_map(reason).collect();
        let mut file = Vec::new();
        if quarantined.is_empty() {
            connection.close().await?;
            return Ok(file);
        }
        let copy = rows.copy_quarantine(turned.table, &quarantined, &self.info.reading);
        let take = |line: &[u8]| {
            file.extend_from_slice(line);
            Ok(())
        };
        connection.copy_rows(&copy, take).await?.close().await?;
        Ok(file)
    }

    /// The rows that are known now are as many as the table has, counted on another way (DESIGN rule 2).
    fn counted(&self, turned: &TableTurned, held: &HeldTable, counted: u64) -> Result<()> {
        let before = held.ids.len() as u64;
        let come = turned.rows.values().filter(|row| row.then.is_none()).count() as u64;
        let gone = turned.rows.values().filter(|row| row.now.is_none()).count() as u64;
        if before + come - gone != counted {
            let what = format!(
                "{}: {counted} rows are there; the run knew {before}, of which {gone} are gone, and {come} have come. \
                 Nothing has been changed",
                turned.table.source
            );
            return Err(Stop::Differs(what).into());
        }
        if gone == before && before > 0 && counted == 0 {
            refuse!(
                "{} has been emptied (TRUNCATE, or all {before} rows deleted): a pass does not follow that. Nothing has \
                 been changed. If it is meant, start over: `cargo xtask migrate --replace`",
                turned.table.source
            );
        }
        Ok(())
    }

    /// Every row against what is held, at the same instant: what differs must be what was found.
    async fn audit(&self, found: &TableTurned, held: &mut HeldTable) -> Result<()> {
        let (whole, _) = self.table(found.table, held, Which::All, &Shows::new()).await?;
        let missed = whole.rows.keys().filter(|id| !found.rows.contains_key(id));
        let missed: Vec<String> = missed.take(10).map(i64::to_string).collect();
        if !missed.is_empty() {
            let what = format!(
                "{}: by its changes and what depends on them a pass did not find id {}. Nothing has been changed. \
                 This is a fault of the tool: migrate again, `cargo xtask migrate --replace`",
                found.table.source,
                missed.join(", ")
            );
            return Err(Stop::Differs(what).into());
        }
        Ok(())
    }
}
