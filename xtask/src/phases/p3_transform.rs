//! Phase 3, Firestore: users and sessions from their files into documents, streamed.

use crate::model::Existing;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::steps::StepName;
use crate::stores::documents::{documents, holds};
use crate::stores::ownership;
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::document::Collection;
use datapath::firestore::{Address, Firestore, Pace};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Phase 3's result: what the documents took from the rules, by collection.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Imported {
    pub collections: BTreeMap<String, ImportedCollection>,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ImportedCollection {
    pub documents: u64,
    /// How often a field took its default for NULL (DESIGN rule 6).
    pub defaults: BTreeMap<String, u64>,
    /// Writes that were repeated after an error that passes.
    pub retried: u64,
}

/// # Errors
/// Refuses a collection that holds anything but this run's documents. Fails where a document is not
/// taken, naming it.
pub async fn run(ctx: &Arc<Ctx>, export: &Arc<Export>) -> Result<Imported> {
    let step = ctx.run.step(StepName::Firestore)?;
    let firestore = Arc::new(Firestore::connect(&Address::from(&ctx.settings.firestore)).await?);
    let mut imported = Imported::default();
    for table in ctx.tables {
        if let Some(collection) = table.collection() {
            let result = import(ctx, &firestore, table, collection, export).await;
            let result = result.with_context(|| format!("importing {} into Firestore", table.name))?;
            imported.collections.insert(table.name.to_string(), result);
        }
    }
    step.done("")?;
    Ok(imported)
}

async fn import(
    ctx: &Arc<Ctx>,
    firestore: &Arc<Firestore>,
    table: &'static Table,
    collection: &'static Collection,
    export: &Arc<Export>,
) -> Result<ImportedCollection> {
    let step = ctx.run.step(StepName::FirestoreTable(table.name.to_string()))?;
    let (there, own) = holds(ctx, firestore, table, collection, Some(export.as_ref())).await?;
    if !own && ctx.existing == Existing::Replace {
        ownership::remove_documents(ctx, firestore, table, collection, export).await?;
    } else if !own {
        refuse!("collection {} holds {there} documents, and not all are this run's", collection.name);
    }
    let rows = export.files.get(&table.file()).and_then(|f| f.rows).unwrap_or_default();
    let task = ctx.terminal.task("firestore", table.name, rows);
    let pace = match ctx.settings.firestore.emulator {
        Some(_) => Pace::for_emulator(),
        None => Pace::for_project(ctx.settings.firestore.rate),
    };
    let (documents, reading) = documents(ctx, table, export)?;
    let written = firestore.write(collection.name, documents, &pace, task.counter()).await;
    // A reader that failed ends the documents early: its error is the reason, whatever was written.
    let read = reading.await.context("the reader of the file ended unexpectedly")?;
    let (read, written) = (read?, written?);
    if let Some(rejected) = written.rejected.first() {
        anyhow::bail!(
            "Firestore does not take {} of {} documents, first {}/{}: {} ({})",
            written.rejected.len(),
            read.documents,
            collection.name,
            rejected.id,
            rejected.message,
            rejected.code
        );
    }
    task.done(written.documents);
    step.done(&format!("{} documents", written.documents))?;
    Ok(ImportedCollection { documents: written.documents, defaults: read.defaults, retried: written.retried })
}
