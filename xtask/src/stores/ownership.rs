//! What earlier runs left in the targets, and `--replace`, which removes only what a run wrote and
//! has not been changed since (DESIGN rules 9, 10 and 13). A table is known by the digest that stands beside
//! it in its database; a document by the file of the run that wrote it, so its directory has to be there.

use crate::effects::postgres::Connection;
use crate::findings::{Finding, document_key};
use crate::model::{Database, Stop};
use crate::run::ctx::Ctx;
use crate::run::dir::{self, RunDir};
use crate::run::manifest::{Export, Published};
use crate::shown::utc;
use crate::steps::StepName;
use crate::stores::{documents, rows};
use crate::tables::{self, Table};
use crate::{refuse, sql, sql_file};
use anyhow::{Context, Result};
use datapath::document::{self, Collection, Document, NullPolicy};
use datapath::firestore::{Firestore, Guarded};
use datapath::ids::IdSet;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A run that brought something into a database, and what of each table.
pub struct PublishedRun {
    pub run: String,
    tables: String,
}

impl PublishedRun {
    /// Of each table what was brought; `None`: another version of this tool has written it down.
    pub fn wrote(&self) -> Option<BTreeMap<String, Published>> {
        serde_json::from_str(&self.tables).ok()
    }
}

/// The newest first.
pub async fn published_runs(connection: &mut Connection) -> Result<Vec<PublishedRun>> {
    if !connection.row(&sql::exists("xtask", "runs")).await?.try_get::<bool, _>(0)? {
        return Ok(Vec::new());
    }
    let rows = connection.rows(sql_file!("phases/4-import/published.sql").text).await?;
    rows.iter().map(|row| Ok(PublishedRun { run: row.try_get(0)?, tables: row.try_get(1)? })).collect()
}

/// Whether this run is the one that brought something here last.
pub async fn is_newest(ctx: &Ctx, connection: &mut Connection) -> Result<bool> {
    Ok(published_runs(connection).await?.first().is_some_and(|newest| newest.run == ctx.run.id()))
}

/// Which of these tables are not exactly what the newest run wrote into this database, a line each. Every row is
/// read: they are about to be removed, and in a transaction that writes row versions tell nothing.
pub async fn changed_tables(
    ctx: &Ctx,
    connection: &mut Connection,
    database: Database,
    there: &[(&str, u64)],
) -> Result<Vec<String>> {
    let server = ctx.settings.target(database);
    let Some(newest) = published_runs(connection).await?.into_iter().next() else {
        let filled = there.iter().filter(|(_, rows)| *rows > 0);
        let line = |(name, rows): &(&str, u64)| {
            format!("{name} in {server} holds {rows} rows, and no run of this tool is recorded there")
        };
        return Ok(filled.map(line).collect());
    };
    let run = &newest.run;
    let Some(tables) = newest.wrote() else {
        return Ok(vec![format!(
            "{server} holds run {run}, of which another version of this tool has written down something \
             that this one does not understand"
        )]);
    };
    let mut lines = Vec::new();
    for (name, rows) in there {
        let Some(wrote) = tables.get(*name) else {
            lines.push(format!("{name} in {server} holds {rows} rows; run {run} wrote nothing there"));
            continue;
        };
        let found = rows::content(connection, "public", name, &wrote.columns, wrote.hash).await?.total();
        if found != wrote.content {
            let how = match found.rows == wrote.content.rows {
                true => format!("holds {rows} rows like run {run}, but not the same ones"),
                false => format!("holds {rows} rows, run {run} wrote {}", wrote.content.rows),
            };
            lines.push(format!(
                "{name} in {server} {how}: it is left alone; `cargo xtask verify --run {run}` names the rows"
            ));
        }
    }
    Ok(lines)
}

/// An earlier run whose files tell what it wrote into Firestore.
struct EarlierRun {
    ctx: Arc<Ctx>,
    export: Export,
}

/// The runs that may have written documents, the most likely first, and those of them that are recorded in
/// a target, but whose directory is not beside this run's.
async fn runs(ctx: &Arc<Ctx>) -> Result<(Vec<RunDir>, Vec<String>)> {
    let parent = ctx.run.runs();
    let mut recorded: Vec<String> = Vec::new();
    for database in Database::ALL {
        let mut connection = ctx.target(database, "earlier").await?;
        recorded.extend(published_runs(&mut connection).await?.into_iter().map(|b| b.run));
        connection.close().await?;
    }
    let there: BTreeSet<String> = dir::ids(parent)?.into_iter().collect();
    let missing: BTreeSet<String> = recorded.iter().filter(|run| !there.contains(*run)).cloned().collect();
    let mut ids: Vec<String> = recorded.into_iter().filter(|run| there.contains(run)).collect();
    // A run that was cut off may have written documents and have no row in any database.
    for id in there.iter().rev() {
        let journal = dir::load_journal(&parent.join(id));
        if journal.is_ok_and(|journal| journal.times_begun(&StepName::Firestore) > 0) {
            ids.push(id.clone());
        }
    }
    let mut seen = BTreeSet::from([ctx.run.id().to_string()]);
    ids.retain(|id| seen.insert(id.clone()));
    let runs = ids.iter().map(|id| RunDir::open(parent, id)).collect::<Result<_>>()?;
    Ok((runs, missing.into_iter().collect()))
}

impl EarlierRun {
    /// `None`: it never came so far that it could have written a document.
    fn open(ctx: &Ctx, run: RunDir) -> Result<Option<EarlierRun>> {
        let manifest = run.load_manifest()?;
        if let Some(cutover) = &manifest.cutover {
            refuse!(
                "run {}: the services took over at {}: what is in the targets is theirs, and nothing takes \
                 its place",
                manifest.run,
                utc(&cutover.at)
            );
        }
        let Some(export) = manifest.export else { return Ok(None) };
        let null_policy = manifest.policy.map_or(NullPolicy::default(), |policy| policy.null_policy);
        Ok(Some(EarlierRun { ctx: Arc::new(ctx.of_run(run, null_policy)), export }))
    }

    fn id(&self) -> &str {
        self.ctx.run.id()
    }
}

/// What keeps a collection from being replaced: documents that are neither this run's (where it has an
/// export already) nor exactly what an earlier one wrote, a line each, and how many they are.
///
/// Of the ids only hashes are kept: 8 bytes each.
pub async fn changed_documents(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    table: &'static Table,
    collection: &Collection,
    export: Option<&Export>,
) -> Result<Vec<String>> {
    let there = firestore.count(collection.name).await?;
    if there == 0 {
        return Ok(Vec::new());
    }
    let mut known = Known { same: IdSet::default(), differing: BTreeMap::new() };
    if let Some(export) = export {
        known.look(ctx, firestore, table, collection, export).await?;
    }
    let (runs, missing) = runs(ctx).await?;
    for run in runs {
        if known.same.len() as u64 >= there {
            break;
        }
        let id = run.id().to_string();
        if let Some(earlier) = EarlierRun::open(ctx, run)? {
            let looked = known.look(&earlier.ctx, firestore, table, collection, &earlier.export).await;
            looked.with_context(|| format!("looking at what run {id} wrote into {}", collection.name))?;
        }
    }
    let (mut lines, mut strange) = (Vec::new(), 0_u64);
    firestore
        .ids(collection.name, |page| {
            for id in page.iter().filter(|id| !known.knows(id)) {
                strange += 1;
                if lines.len() < ctx.max_diffs {
                    lines.push(known.differing.get(id).cloned().unwrap_or_else(|| {
                        format!("{}: no run in {} wrote it", place(ctx, table, id), folder(ctx))
                    }));
                }
            }
            Ok(())
        })
        .await?;
    if strange > 0 {
        lines.push(format!(
            "collection {}: {strange} of {there} documents are not what an earlier run wrote: they are left alone",
            collection.name
        ));
        lines.extend(missing.iter().map(|run| {
            format!(
                "run {run} is recorded in a target, but its directory is not in {}: without its files nobody \
                 can tell which documents it wrote; name the place with --backup-dir",
                folder(ctx)
            )
        }));
    }
    Ok(lines)
}

/// A document's name, as it may be shown.
fn place(ctx: &Ctx, table: &Table, id: &str) -> String {
    format!("{}/{}", table.name, document_key(table, id).said(ctx.values))
}

fn folder(ctx: &Ctx) -> String {
    ctx.run.runs().display().to_string()
}

/// Documents of a collection that are what some run wrote.
struct Known {
    same: IdSet,
    /// By id: how it differs from what a run wrote there. Some of them only: they are for people.
    differing: BTreeMap<String, String>,
}

impl Known {
    fn knows(&self, id: &str) -> bool {
        self.same.contains(id)
    }

    /// Compares what stands in the collection with what the run of `ctx` writes.
    async fn look(
        &mut self,
        ctx: &Arc<Ctx>,
        firestore: &Firestore,
        table: &'static Table,
        collection: &Collection,
        export: &Export,
    ) -> Result<()> {
        let (mut documents, reading) = documents::documents(ctx, table, export)?;
        while let Some(piece) = documents.recv().await {
            let found = documents::differences(firestore, collection, &piece).await?;
            let there = piece.iter().zip(found).filter_map(|(document, found)| Some((document, found?)));
            for (document, differences) in there {
                match differences.first() {
                    None => self.same.insert(&document.id),
                    Some(first) if self.differing.len() < 1_000 => {
                        let place = place(ctx, table, &document.id);
                        let how = Finding::field(table, &document.id, first).difference(ctx.values);
                        let line = format!("{place}: is not what run {} wrote: {how}", ctx.run.id());
                        self.differing.entry(document.id.clone()).or_insert(line);
                    }
                    Some(_) => {}
                }
            }
        }
        reading.await.context("the reader of the file ended unexpectedly")??;
        Ok(())
    }
}

/// Removes the documents of earlier runs from a collection: each one that is exactly what a run wrote, if
/// nobody writes to it between the look at it and its removal.
///
/// # Errors
/// `Stop::Differs` where documents are left that no run wrote, naming them.
pub async fn remove_documents(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    table: &'static Table,
    collection: &Collection,
    export: &Export,
) -> Result<()> {
    for run in runs(ctx).await?.0 {
        let Some(earlier) = EarlierRun::open(ctx, run)? else { continue };
        if firestore.count(collection.name).await? == 0 {
            return Ok(());
        }
        let (mut documents, reading) = documents::documents(&earlier.ctx, table, &earlier.export)?;
        let task = ctx.terminal.task("remove", collection.name, 0);
        let mut removed = 0;
        while let Some(piece) = documents.recv().await {
            let gone = remove(firestore, collection, &piece).await?;
            task.add(gone);
            removed += gone;
        }
        reading.await.context("the reader of the file ended unexpectedly")??;
        task.done(removed);
        ctx.run.note(
            &StepName::ReplaceDocuments(collection.name.to_string()),
            &format!("{removed} documents of run {} removed", earlier.id()),
        )?;
    }
    match changed_documents(ctx, firestore, table, collection, Some(export)).await?[..] {
        [] => Ok(()),
        ref conflicts => {
            let what = format!(
                "another client has written to {} while it was replaced:\n  {}",
                collection.name,
                conflicts.join("\n  ")
            );
            Err(Stop::Differs(what).into())
        }
    }
}

/// Removes those of the documents that are there and exactly these, and returns how many are gone.
async fn remove(firestore: &Firestore, collection: &Collection, documents: &[Document]) -> Result<u64> {
    let ids: Vec<String> = documents.iter().map(|d| d.id.clone()).collect();
    let mut found = firestore.read_versions(collection.name, &ids).await?;
    let same = documents.iter().filter_map(|document| {
        let (fields, version) = found.remove(&document.id)?;
        let same = document::differences(document, &fields?).is_empty();
        same.then(|| (Guarded::Delete(document.id.clone()), version))
    });
    let same: Vec<_> = same.collect();
    let sent = same.len();
    let changed = firestore.change(collection.name, same).await?;
    // Among them are those whose removal was reported as failed, and then asked for once more.
    let there = firestore.read(collection.name, &changed).await?;
    let left = there.iter().filter(|(_, fields)| fields.is_some()).count();
    Ok((sent - left) as u64)
}

/// The manifest's row in the target.
pub fn record(ctx: &Ctx, export: &Export, database: Database) -> serde_json::Value {
    let tables = tables::of_database(ctx.tables, database);
    let entry = |t: &Table| {
        let record = export.tables.get(t.name)?;
        let published = Published {
            content: record.content.total(),
            columns: record.target_columns.clone(),
            hash: export.snapshot.hash,
        };
        Some((t.name.to_string(), serde_json::json!(published)))
    };
    tables.filter_map(entry).collect::<serde_json::Map<_, _>>().into()
}

/// Writes the manifest's row where a database that holds this run's rows names no run: somebody has emptied
/// that table.
pub async fn recorded(ctx: &Ctx, export: &Export, database: Database) -> Result<()> {
    let mut connection = ctx.target(database, "import").await?;
    if published_runs(&mut connection).await?.is_empty() {
        let record = serde_json::to_string(&record(ctx, export, database))?;
        connection.run("BEGIN").await?;
        connection.run(sql_file!("phases/4-import/runs.sql").text).await?;
        connection.run(&sql::record_run(ctx.run.id(), &record)).await?;
        connection.run("COMMIT").await?;
    }
    connection.close().await
}
