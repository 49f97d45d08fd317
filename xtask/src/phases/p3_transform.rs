//! Phase 3, Firestore: users and sessions from their files into documents, streamed. A document is written
//! only where none stands: what others have written is left alone and named (DESIGN rule 13).

use crate::findings::{Finding, FindingKind, Store, document_key};
use crate::model::{Existing, Stop};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::steps::StepName;
use crate::stores::documents::{Already, Documents, documents, only_missing};
use crate::stores::readiness::{self, Holds};
use crate::stores::{marks, ownership};
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::document::Collection;
use datapath::firestore::{Address, Conflict, Firestore, Pace, Written};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Phase 3's result: what the documents took from the rules, by collection.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Imported {
    pub collections: BTreeMap<String, ImportedCollection>,
}

impl Imported {
    /// How often each collection's fields took their defaults for NULL.
    pub fn defaults(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        self.collections
            .iter()
            .map(|(name, collection)| (name.clone(), collection.defaults.clone()))
            .collect()
    }
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ImportedCollection {
    pub documents: u64,
    /// How often a field took its default for NULL (DESIGN rule 6).
    pub defaults: BTreeMap<String, u64>,
    /// Writes that were repeated after an error that passes.
    pub retried: u64,
}

/// What every collection held before this command wrote anything.
#[derive(Debug)]
pub struct Looked(BTreeMap<&'static str, Holds>);

/// Looks at what stands in the collections, before this command has written to any store.
///
/// # Errors
/// Refuses collections that hold anything but this run's documents, or what is to be replaced, and names
/// the documents.
pub async fn look(ctx: &Arc<Ctx>, export: &Export) -> Result<Looked> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let (mut looked, mut in_the_way) = (BTreeMap::new(), Vec::new());
    for table in ctx.tables {
        if let Some(collection) = table.collection() {
            let (lines, holds) =
                readiness::collection(ctx, &firestore, table, collection, Some(export)).await?;
            in_the_way.extend(lines);
            looked.insert(table.name, holds);
        }
    }
    if !in_the_way.is_empty() {
        refuse!(
            "another client has written to Firestore:\n  {}\nNo store has been changed. Stop who writes there, and see \
             what becomes of these documents; then go on",
            in_the_way.join("\n  ")
        );
    }
    Ok(Looked(looked))
}

/// # Errors
/// `Stop::Differs` where others have written documents since the look, naming them: they are left alone, all
/// others are written. Fails where a document is not taken, naming it.
pub async fn run(ctx: &Arc<Ctx>, export: &Arc<Export>, looked: &Looked) -> Result<Imported> {
    let step = ctx.run.step(StepName::Firestore)?;
    marks::claim_firestore(ctx).await?;
    let firestore = Arc::new(Firestore::connect(&Address::from(&ctx.settings.firestore)).await?);
    let (mut imported, mut conflicts) = (Imported::default(), Conflicts::default());
    for table in ctx.tables {
        if let Some(collection) = table.collection() {
            let holds = looked.0.get(table.name).copied().context("nobody has looked at this collection")?;
            let result = import(ctx, &firestore, table, collection, export, holds, &mut conflicts).await;
            let result = result.with_context(|| format!("importing {} into Firestore", table.name))?;
            imported.collections.insert(table.name.to_string(), result);
        }
    }
    conflicts.judge(ctx)?;
    step.done("")?;
    Ok(imported)
}

#[allow(clippy::too_many_arguments, reason = "a collection with all that concerns it")]
async fn import(
    ctx: &Arc<Ctx>,
    firestore: &Arc<Firestore>,
    table: &'static Table,
    collection: &'static Collection,
    export: &Arc<Export>,
    holds: Holds,
    conflicts: &mut Conflicts,
) -> Result<ImportedCollection> {
    let step = ctx.run.step(StepName::FirestoreTable(table.name.to_string()))?;
    let mut empty = holds == Holds::Nothing;
    if holds == Holds::Others && ctx.existing == Existing::Replace {
        ownership::remove_documents(ctx, firestore, table, collection, export).await?;
        empty = firestore.count(collection.name).await? == 0;
    }
    let rows = export.files.get(&table.file()).and_then(|f| f.rows).unwrap_or_default();
    let task = ctx.terminal.task("firestore", table.name, rows);
    let (documents, reading) = documents(ctx, table, export)?;
    let written = match empty {
        true => {
            let written = write(ctx, firestore, collection, documents, task.counter()).await;
            written.map(|written| (Already::default(), written))
        }
        false => {
            let (sender, missing) = mpsc::channel(4);
            tokio::try_join!(
                only_missing(firestore, collection, ctx.max_diffs, documents, sender),
                write(ctx, firestore, collection, missing, task.counter())
            )
        }
    };
    // A reader that failed ends the documents early: its error is the reason, whatever was written.
    let read = reading.await.context("the reader of the file ended unexpectedly")?;
    let (read, (already, written)) = (read?, written?);
    if let Some(rejected) = written.rejected.first() {
        let key = document_key(table, &rejected.id);
        let id = key.said(ctx.values);
        anyhow::bail!(
            "Firestore does not take {} of {} documents, first {}/{id}: {} ({})",
            written.rejected.len(),
            read.documents,
            collection.name,
            rejected.message.replace(&rejected.id, id),
            rejected.code
        );
    }
    let there = written.documents + already.own;
    let found = already.conflicts.into_iter().chain(written.conflicts);
    conflicts.add(table, read.documents.saturating_sub(there), found);
    task.done(there);
    step.done(&format!("{there} documents, {} of them there before", already.own))?;
    Ok(ImportedCollection { documents: there, defaults: read.defaults, retried: written.retried })
}

async fn write(
    ctx: &Ctx,
    firestore: &Firestore,
    collection: &Collection,
    documents: Documents,
    counter: impl Fn(u64) + Send + Sync + 'static,
) -> Result<Written> {
    let pace = match ctx.settings.firestore.emulator {
        Some(_) => Pace::for_emulator(),
        None => Pace::for_project(ctx.settings.firestore.rate),
    };
    firestore.write(collection.name, documents, &pace, counter).await
}

/// Documents of others where ours should stand.
#[derive(Debug, Default)]
struct Conflicts {
    documents: u64,
    /// Some of them.
    found: Vec<(&'static Table, Conflict)>,
}

impl Conflicts {
    fn add(&mut self, table: &'static Table, documents: u64, found: impl Iterator<Item = Conflict>) {
        self.documents += documents;
        self.found.extend(found.map(|conflict| (table, conflict)));
    }

    fn judge(&self, ctx: &Ctx) -> Result<()> {
        if self.documents == 0 {
            return Ok(());
        }
        let findings = self.found.iter().take(ctx.max_diffs).flat_map(|(table, conflict)| {
            let id = &conflict.id;
            match &conflict.differences {
                Some(differences) => differences.iter().map(|d| Finding::field(table, id, d)).collect(),
                None => {
                    let missing = Finding::new(FindingKind::Missing, Store::Firestore, table.name);
                    vec![missing.key(document_key(table, id))]
                }
            }
        });
        let lines: Vec<String> = findings.map(|finding| finding.text(ctx.values)).collect();
        let what = format!(
            "another client has written to Firestore meanwhile: {} documents are not as this run writes them, and are \
             left alone:\n  {}\nStop who writes there; what becomes of these documents is for a person to decide",
            self.documents,
            lines.join("\n  ")
        );
        Err(Stop::Differs(what).into())
    }
}
