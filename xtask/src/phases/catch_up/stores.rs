//! A pass in the four stores: compared first, in all of them, with others kept from writing; then written,
//! proven and kept, each store by itself.

use super::extent::Extent;
use super::plan::{Plan, PlannedTable};
use crate::effects::postgres::Connection;
use crate::findings::{Words, document_key, escaped};
use crate::model::{Database, Stop};
use crate::remembered::{Remembered, TableThen};
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, Manifest};
use crate::sql::{self, BUCKET, FoundColumns, Held, Kind, Owner, Scope};
use crate::stores::reconcile::{self, Reconciliation, Wanted};
use crate::stores::{documents, ownership, remembering, rows};
use crate::tables::{self, Table};
use anyhow::{Context, Result};
use datapath::digest::{Content, Digest};
use datapath::document::{self, Document};
use datapath::firestore::{Address, Firestore};
use futures_util::future::try_join_all;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The stores, open: nobody else writes to the databases until they are closed.
pub struct Stores {
    ctx: Arc<Ctx>,
    firestore: Firestore,
    databases: Vec<OpenDatabase>,
    /// How long it took to open them, but for what a last pass leaves out.
    pub seconds: f64,
}

/// The stores, compared with what a pass is going to do.
pub struct Compared {
    /// By table, what must not be there any more.
    pub gone: BTreeMap<&'static str, Content>,
    stores: Stores,
    pub seconds: f64,
}

/// A pass in all stores.
pub struct Written {
    /// The targets' tables as they are remembered.
    pub remembered: Remembered,
    /// Until all was written and proven.
    pub seconds: f64,
}

struct OpenDatabase {
    agreement: Reconciliation,
    /// Its tables as they were proven, before this pass.
    before: BTreeMap<&'static str, TableThen>,
}

impl Stores {
    /// `before`: what they must hold. `export`: of a pass that was cut off, what they were to hold; a database may do so
    /// already.
    ///
    /// # Errors
    /// `Stop::Differs` where others have written; nothing has been changed then.
    pub async fn open(
        ctx: &Arc<Ctx>,
        manifest: &Manifest,
        before: &Export,
        export: Option<&Export>,
        extent: Extent,
    ) -> Result<Stores> {
        let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
        let mut stores = Stores { ctx: ctx.clone(), firestore, databases: Vec::new(), seconds: 0.0 };
        let began = Instant::now();
        let opening = Database::ALL.map(|database| open(ctx, manifest, before, export, database));
        let in_databases = async { anyhow::Ok((try_join_all(opening).await?, began.elapsed())) };
        let in_firestore = async {
            // Of a pass that was cut off some are written already.
            match extent.counts_documents() && export.is_none() {
                true => stores.counted(before).await,
                false => Ok(()),
            }
        };
        let ((databases, took), ()) = tokio::try_join!(in_databases, in_firestore)?;
        (stores.databases, stores.seconds) = (databases, took.as_secs_f64());
        Ok(stores)
    }

    /// Changes nothing.
    pub async fn release(self) -> Result<()> {
        try_join_all(self.databases.into_iter().map(OpenDatabase::release)).await?;
        Ok(())
    }

    /// # Errors
    /// `Stop::Differs` where others have written; nothing has been changed then.
    pub async fn compare(mut self, plan: &Plan) -> Result<Compared> {
        let began = Instant::now();
        let comparing =
            std::mem::take(&mut self.databases).into_iter().map(|database| database.compare(&self.ctx, plan));
        let (databases, in_firestore) = tokio::try_join!(try_join_all(comparing), self.in_firestore(plan))?;
        let (databases, gone): (Vec<_>, Vec<_>) = databases.into_iter().unzip();
        let gone = gone.into_iter().flatten().chain(in_firestore).collect();
        self.databases = databases;
        Ok(Compared { gone, stores: self, seconds: began.elapsed().as_secs_f64() })
    }

    /// Compares the documents; by collection, what must not be there any more.
    async fn in_firestore(&self, plan: &Plan) -> Result<BTreeMap<&'static str, Content>> {
        let mut gone = BTreeMap::new();
        for planned in plan.tables.iter().filter(|planned| planned.table.collection().is_some()) {
            gone.insert(planned.table.name, hashes(&documents_of(&self.ctx, planned, &planned.last)?));
            self.documents(planned, false).await?;
        }
        Ok(gone)
    }

    /// A document more or less than the run wrote is another client's work.
    async fn counted(&self, before: &Export) -> Result<()> {
        for table in self.ctx.tables.iter().filter(|table| table.collection().is_some()) {
            let record = before.tables.get(table.name).context("the manifest does not know a table")?;
            let (there, wrote) = (self.firestore.count(table.name).await?, record.content.total().rows);
            if there != wrote {
                let what =
                    format!("collection {} holds {there} documents, the run wrote {wrote}", table.name);
                return Err(others(&self.ctx, &what));
            }
        }
        Ok(())
    }

    /// Compares a table's documents, and writes them where told to.
    async fn documents(&self, planned: &PlannedTable, apply: bool) -> Result<()> {
        let now = documents_of(&self.ctx, planned, &planned.wanted)?;
        let last = documents_of(&self.ctx, planned, &planned.last)?;
        let by_id = |documents: Vec<(i64, Document)>| -> BTreeMap<String, Document> {
            documents.into_iter().map(|(_, document)| (document.id.clone(), document)).collect()
        };
        let (mut now, mut last) = (by_id(now), by_id(last));
        let ids: BTreeSet<String> = now.keys().chain(last.keys()).cloned().collect();
        let wanted = ids.into_iter().map(|id| {
            let (document, last) = (now.remove(&id), last.remove(&id));
            Wanted { id, document, last }
        });
        let wanted: Vec<Wanted> = wanted.collect();
        let made =
            reconcile::documents(&self.firestore, planned.table, &wanted, Owner::Others, apply, &mut |_| {
                Ok(())
            })
            .await?;
        match made.conflicts.first_key_value() {
            None => Ok(()),
            Some((id, how)) => {
                let key = document_key(planned.table, id).said(self.ctx.values).to_string();
                Err(conflict(&self.ctx, planned.table, &key, how))
            }
        }
    }
}

impl Compared {
    /// Writes, proves and keeps, all stores at once.
    pub async fn write(self, plan: &Plan, export: &Export, extent: Extent) -> Result<Written> {
        let (mut stores, began) = (self.stores, Instant::now());
        let databases = std::mem::take(&mut stores.databases).into_iter();
        let closing = databases.map(|database| database.write(&stores.ctx, plan, export, (extent, began)));
        let in_firestore = async {
            for planned in plan.tables.iter().filter(|planned| planned.table.collection().is_some()) {
                stores.documents(planned, true).await?;
            }
            anyhow::Ok(began.elapsed())
        };
        let (written, in_firestore) = tokio::try_join!(try_join_all(closing), in_firestore)?;
        let last = written.iter().map(|(_, took)| *took).fold(in_firestore, Duration::max);
        let remembered = written.into_iter().flat_map(|(remembered, _)| remembered).collect();
        Ok(Written { remembered, seconds: last.as_secs_f64() })
    }
}

fn others(ctx: &Ctx, what: &str) -> anyhow::Error {
    let what = format!(
        "others have written to a store: {what}. Nothing has been changed; the stores hold what they held. `cargo xtask \
         verify --run {0}` shows what, `cargo xtask repair --run {0}` puts it right",
        ctx.run.id()
    );
    Stop::Differs(what).into()
}

fn conflict(ctx: &Ctx, table: &Table, key: &str, how: &Words) -> anyhow::Error {
    others(ctx, &format!("{} id {key}: {}", table.name, escaped(how.said(ctx.values))))
}

/// One database, as it was proven last.
async fn open(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    before: &Export,
    export: Option<&Export>,
    database: Database,
) -> Result<OpenDatabase> {
    let mut agreement = Reconciliation::begin(ctx, database, "catch-up", true).await?;
    let is_written = match export {
        Some(export) => is_written(ctx, agreement.connection(), export, database).await?,
        None => false,
    };
    let before = match is_written {
        true => BTreeMap::new(),
        false => unchanged(ctx, manifest, before, database).await?,
    };
    Ok(OpenDatabase { agreement, before })
}

/// Whether a database has got the pass already, before it was cut off.
async fn is_written(
    ctx: &Ctx,
    connection: &mut Connection,
    export: &Export,
    database: Database,
) -> Result<bool> {
    let newest = ownership::published_runs(connection).await?.into_iter().next();
    let Some(wrote) = newest.filter(|newest| newest.run == ctx.run.id()).and_then(|newest| newest.wrote())
    else {
        return Ok(false);
    };
    let same = |table: &Table| {
        let record = export.tables.get(table.name).map(|record| record.content.total());
        wrote.get(table.name).map(|published| published.content) == record
    };
    Ok(tables::of_database(ctx.tables, database).all(same))
}

/// Nobody else has written to a database's tables: by their versions, else by their digests. Returns those that
/// versions tell of.
async fn unchanged(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    before: &Export,
    database: Database,
) -> Result<BTreeMap<&'static str, TableThen>> {
    let mut connection = ctx.looking(database, "catch-up").await?;
    let mut remembered = BTreeMap::new();
    for table in ctx.tables.iter().filter(|table| table.database() == Some(database)) {
        let record = before.tables.get(table.name).context("the manifest does not know a table")?;
        let then = manifest.remembered.get(table.name);
        if let Some(then) = then
            && remembering::unchanged(ctx, &mut connection, table.name, record, then).await?.is_some()
        {
            remembered.insert(table.name, then.clone());
            continue;
        }
        let (columns, hash) = (&record.target_columns, before.snapshot.hash);
        let found = rows::content(&mut connection, "public", table.name, columns, hash).await?;
        if found != record.content {
            let (there, wrote) = (found.total().rows, record.content.total().rows);
            let how = match there == wrote {
                true => format!("{} is not what the run wrote", table.name),
                false => format!("{} holds {there} rows, the run wrote {wrote}", table.name),
            };
            return Err(others(ctx, &how));
        }
    }
    connection.close().await?;
    Ok(remembered)
}

impl OpenDatabase {
    /// Besides, by table, what it must not hold any more.
    async fn compare(
        self,
        ctx: &Ctx,
        plan: &Plan,
    ) -> Result<(OpenDatabase, BTreeMap<&'static str, Content>)> {
        let OpenDatabase { mut agreement, before } = self;
        let (mut gone, hash) = (BTreeMap::new(), plan.before.snapshot.hash);
        let database = Some(agreement.database);
        for planned in plan.tables.iter().filter(|planned| planned.table.database() == database) {
            let record = &plan.before.tables[planned.table.name];
            let (wanted, last) = (planned.csv(&planned.wanted), planned.csv(&planned.last));
            let (found, scope) = (FoundColumns::default(), Scope::WantedOrLast);
            let compared =
                agreement.compare(planned.table, record, &wanted[..], &last, &found, scope, Owner::Others);
            agreement = compared.await?;
            for kind in [Kind::Conflict, Kind::DuplicateKey] {
                if let Some((id, how)) = agreement.found(planned.table, kind).await?.first_key_value() {
                    return Err(conflict(ctx, planned.table, &id.to_string(), how));
                }
            }
            gone.insert(
                planned.table.name,
                agreement.digest(planned.table.name, record, hash, Held::Last).await?,
            );
        }
        Ok((OpenDatabase { agreement, before }, gone))
    }

    async fn release(mut self) -> Result<()> {
        self.agreement.connection().run("ROLLBACK").await
    }

    /// Its tables as they are remembered, and when all was written, `began` being when it was begun.
    async fn write(
        self,
        ctx: &Arc<Ctx>,
        plan: &Plan,
        export: &Export,
        (extent, began): (Extent, Instant),
    ) -> Result<(Remembered, Duration)> {
        let (database, hash) = (self.agreement.database, export.snapshot.hash);
        let ours: Vec<&PlannedTable> =
            plan.tables.iter().filter(|planned| planned.table.database() == Some(database)).collect();
        if ours.is_empty() {
            self.release().await?;
            return Ok((Remembered::default(), Duration::ZERO));
        }
        let OpenDatabase { mut agreement, mut before } = self;
        before.retain(|table, _| ours.iter().any(|planned| planned.table.name == *table));
        let what = || {
            format!(
                "bringing pass {} into {database}; other stores may have it already: once this is put right there, \
                 `cargo xtask catch-up --run {}` completes it",
                plan.number,
                ctx.run.id()
            )
        };
        agreement.make(&mut |_| Ok(())).await.with_context(what)?;
        for planned in &ours {
            let (name, record) = (planned.table.name, &plan.before.tables[planned.table.name]);
            let found = agreement.digest(name, record, hash, Held::Found).await?;
            if found != planned.come {
                let what = format!(
                    "{name}: {} rows were read in the source, what {database} holds of them has another digest; \
                     {database} has not been changed",
                    planned.wanted.len()
                );
                return Err(Stop::Differs(what).into());
            }
        }
        let record = ownership::record(ctx, export, database).to_string();
        let connection = agreement.connection();
        connection.run(&sql::record_run(ctx.run.id(), &record)).await?;
        let transaction: String = connection.row(sql::OWN_TRANSACTION).await?.try_get(0)?;
        agreement.end().await?;
        let took = began.elapsed();
        if extent.is_last() {
            return Ok((Remembered::default(), took));
        }
        let mut connection = ctx.looking(database, "catch-up").await?;
        let transaction = transaction.parse().context("the number of a transaction")?;
        let remembered = remembering::caught_up(ctx, &mut connection, export, &before, transaction).await?;
        connection.close().await?;
        Ok((remembered, took))
    }
}

fn documents_of(
    ctx: &Ctx,
    planned: &PlannedTable,
    rows: &BTreeMap<i64, Vec<u8>>,
) -> Result<Vec<(i64, Document)>> {
    documents::of_rows(ctx, planned.table, &planned.header, rows.iter().map(|(id, row)| (*id, row)))
}

/// What a collection holds of them, by the ids of their rows.
fn hashes(documents: &[(i64, Document)]) -> Content {
    let mut content = Content::default();
    for (id, document) in documents {
        let fields = document.fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        let digest = Digest { rows: 1, sum: document::hash(&document.id, &fields).into() };
        content.buckets.entry(id / BUCKET).or_default().add(digest);
    }
    content
}
