//! Every difference between the stores and what the run must have brought there, with what would repair it;
//! and the repair. All differences are found, not some of them, and memory stays bounded: only ranges of
//! ids whose digests differ are looked at, in the database, and told row by row.

use super::p5_verify;
use crate::model::{Database, Stop};
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::run::{dir, overlay};
use crate::sql::{self, Owner, Scope};
use crate::steps::StepName;
use crate::stores::reconcile::{self, Action, Change, OnChange, Reconciliation, Wanted};
use crate::stores::{documents, rows, schema};
use crate::tables::{self, Table};
use anyhow::{Context, Result};
use datapath::document::Collection;
use datapath::firestore::{Address, Firestore};
use serde::Serialize;
use std::sync::Arc;

/// What was found; rows and documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// Changed, or to be changed.
    pub changes: u64,
    /// Not as we last wrote them: left alone.
    pub conflicts: u64,
    /// Added by others since the cut-over: left alone, and no difference.
    pub theirs: u64,
    /// Findings that rows cannot repair.
    pub not_by_rows: u64,
}

impl Repaired {
    fn add(&mut self, other: Repaired) {
        self.changes += other.changes;
        self.conflicts += other.conflicts;
        self.theirs += other.theirs;
        self.not_by_rows += other.not_by_rows;
    }
}

/// `apply`: makes the changes; else only tells them.
///
/// # Errors
/// `Stop::Differs` where a file of the run is damaged: what should be there is not known then.
pub async fn run(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    owner: Owner,
    apply: bool,
    tell: &mut OnChange<'_>,
) -> Result<Repaired> {
    let files = ctx.tables.iter().flat_map(|table| overlay::files(export, &table.file())).collect();
    let damaged = dir::damaged_files(&ctx.run, &files);
    if !damaged.is_empty() {
        let what =
            format!("the run's files do not say any more what has to be there: {}", damaged.join("\n  "));
        return Err(Stop::Differs(what).into());
    }
    let step = ctx.run.step(if apply { StepName::Repair } else { StepName::LookForRepairs })?;
    let mut repaired = Repaired::default();
    for database in Database::ALL {
        let found = self::database(ctx, export, database, owner, apply, tell).await;
        repaired.add(found.with_context(|| format!("repairing {database}"))?);
    }
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    for table in ctx.tables {
        if let Some(collection) = table.collection() {
            let found = documents(ctx, export, &firestore, table, collection, owner, apply, tell).await;
            repaired.add(found.with_context(|| format!("repairing {}", collection.name))?);
        }
    }
    step.done(&format!("{} changes, {} conflicts", repaired.changes, repaired.conflicts))?;
    Ok(repaired)
}

async fn database(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    database: Database,
    owner: Owner,
    apply: bool,
    tell: &mut OnChange<'_>,
) -> Result<Repaired> {
    let mut repaired = Repaired {
        not_by_rows: not_by_rows(ctx, export, database, owner, tell).await?,
        ..Repaired::default()
    };
    let mut agreement = Reconciliation::begin(ctx, database, "repair", apply).await?;
    for table in tables::of_database(ctx.tables, database) {
        let record = export.tables.get(table.name).context("the run's manifest does not know this table")?;
        let connection = agreement.connection();
        if let Some(missing) = rows::missing_columns(connection, table, record).await? {
            tell(&finding(database, table.name, missing.text(ctx.values), None))?;
            repaired.not_by_rows += 1;
            continue;
        }
        let (columns, hash) = (&record.target_columns, export.snapshot.hash);
        let found = rows::content(connection, "public", table.name, columns, hash).await?;
        let buckets = record.content.differing(&found);
        if !buckets.is_empty() {
            let rows = overlay::open(&ctx.run, export, &table.file())?;
            agreement = agreement.compare(table, record, rows, b"", Scope::Buckets(&buckets), owner).await?;
        }
    }
    let left = agreement.left_alone(tell).await?;
    repaired.add(Repaired {
        changes: agreement.make(tell).await?,
        conflicts: left.conflicts,
        theirs: left.theirs,
        not_by_rows: left.twice,
    });
    agreement.end().await?;
    Ok(repaired)
}

/// Structure and sequences: told with the statement that repairs them, where there is one.
async fn not_by_rows(
    ctx: &Arc<Ctx>,
    export: &Export,
    database: Database,
    owner: Owner,
    tell: &mut OnChange<'_>,
) -> Result<u64> {
    let mut connection = ctx.target(database, "repair").await?;
    let wanted = schema::expected_definition(&mut connection, database).await?;
    let found = schema::definition(&mut connection, "public").await?;
    connection.close().await?;
    let mut findings = schema::repairs(database, &wanted, &found);
    // Rows that will be deleted have no say in what the next id is.
    let all = owner == Owner::Others;
    findings.extend(p5_verify::sequences(ctx, export, database, all).await?.0);
    for (because, statement) in &findings {
        tell(&finding(database, "", because.text(ctx.values), statement.clone()))?;
    }
    Ok(findings.len() as u64)
}

fn finding(database: Database, table: &str, because: String, writes: Option<String>) -> Change {
    Change {
        store: database.to_string(),
        table: table.to_string(),
        ids: Vec::new(),
        action: Action::NotByRows,
        writes,
        because: Some(because),
    }
}

#[allow(clippy::too_many_arguments, reason = "a collection with all that concerns it")]
async fn documents(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    firestore: &Firestore,
    table: &'static Table,
    collection: &'static Collection,
    owner: Owner,
    apply: bool,
    tell: &mut OnChange<'_>,
) -> Result<Repaired> {
    let mut repaired = Repaired::default();
    let mut take = |made: reconcile::Made| {
        let conflicts = made.conflicts.len() as u64;
        repaired.add(Repaired { changes: made.changed, conflicts, theirs: made.theirs, not_by_rows: 0 });
    };
    let (mut pieces, reading) = documents::documents(ctx, table, export)?;
    while let Some(piece) = pieces.recv().await {
        let wanted = piece.into_iter().map(|document| Wanted {
            id: document.id.clone(),
            last: Some(document.clone()),
            document: Some(document),
        });
        let wanted: Vec<Wanted> = wanted.collect();
        take(reconcile::documents(firestore, collection, &wanted, owner, apply, tell).await?);
    }
    reading.await.context("the reader of the file ended unexpectedly")??;
    let mut foreign = Vec::new();
    documents::foreign(ctx, firestore, export, table, collection, |ids| {
        foreign.extend(ids.into_iter().map(|id| Wanted { id, document: None, last: None }));
        Ok(())
    })
    .await?;
    take(reconcile::documents(firestore, collection, &foreign, owner, apply, tell).await?);
    Ok(repaired)
}

/// Whose the stores are.
pub fn owner(manifest: &crate::run::manifest::Manifest) -> sql::Owner {
    match manifest.cutover {
        Some(_) => Owner::Others,
        None => Owner::Us,
    }
}
