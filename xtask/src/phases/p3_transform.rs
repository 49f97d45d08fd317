//! Phase 3, Firestore: users and sessions from their files into documents, streamed.

use crate::model::{Existing, Stop};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::stores::ownership;
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::document::Collection;
use datapath::document::{Document, DocumentReader};
use datapath::firestore::{Address, Firestore, Pace};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Documents in one piece between the reader of a file and those who write or compare.
pub const PIECE: usize = 500;

/// Looks at a collection that is still growing before it counts as somebody else's.
const LOOKS: usize = 5;

/// The phase in the journal: a run that has begun it may have written documents.
pub const STEP: &str = "3 firestore";

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
    let step = ctx.run.step(STEP)?;
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
    let name = format!("3 firestore {}", table.name);
    let step = ctx.run.step(&name)?;
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

/// A file's documents, in pieces.
pub type Documents = mpsc::Receiver<Vec<Document>>;

/// What the reader of a file saw.
#[derive(Debug, Default)]
pub struct FileRead {
    pub documents: u64,
    pub defaults: BTreeMap<String, u64>,
}

/// Reads a table's file as documents, in pieces, on a thread of its own: never more than a few pieces
/// are in memory. The handle ends with an error where the file is not the one that was exported.
pub fn documents(
    ctx: &Arc<Ctx>,
    table: &'static Table,
    export: &Export,
) -> Result<(Documents, JoinHandle<Result<FileRead>>)> {
    let file = table.file();
    let info = export.files.get(&file).with_context(|| format!("the manifest does not know {file}"))?.clone();
    let collection = table.collection().with_context(|| format!("{} is not a collection", table.name))?;
    let (sender, receiver) = mpsc::channel(4);
    let ctx = ctx.clone();
    let mut rows = crate::run::overlay::open(&ctx.run, export, &file)?;
    let reading = tokio::task::spawn_blocking(move || {
        let mut read = FileRead::default();
        let mut reader = DocumentReader::open(&mut rows, collection, ctx.settings.policy.null_policy)
            .with_context(|| format!("in {file}"))?;
        loop {
            let piece = reader.next(PIECE).with_context(|| format!("reading {file}"))?;
            if piece.is_empty() {
                break;
            }
            read.documents += piece.len() as u64;
            if sender.blocking_send(piece).is_err() {
                // Those who wanted the documents have given up; they say why.
                return Ok(read);
            }
        }
        read.defaults = reader.defaults();
        std::io::copy(&mut rows, &mut std::io::sink()).with_context(|| format!("reading {file}"))?;
        let found = rows.finish();
        if found.sha256 != info.sha256 {
            return Err(Stop::Differs(format!(
                "{file} is not the file that was exported: SHA-256 {} (expected {})",
                found.sha256, info.sha256
            ))
            .into());
        }
        Ok(read)
    });
    Ok((receiver, reading))
}

/// How many documents the collection holds, and whether they are all exactly what this run would write.
pub async fn holds(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    table: &'static Table,
    collection: &Collection,
    export: Option<&Export>,
) -> Result<(u64, bool)> {
    let mut there = firestore.count(collection.name).await?;
    let (Some(export), true) = (export, there > 0) else { return Ok((there, there == 0)) };
    for _ in 0..LOOKS {
        let own = own_documents(ctx, firestore, table, export).await?;
        // What a run that ended a moment ago had sent may still be arriving: then the count grows.
        let now = firestore.count(collection.name).await?;
        if now == there {
            return Ok((there, own == there));
        }
        there = now;
    }
    Ok((there, false))
}

/// How many documents of the collection are exactly what this run would write.
async fn own_documents(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    table: &'static Table,
    export: &Export,
) -> Result<u64> {
    let collection = table.collection().with_context(|| format!("{} is not a collection", table.name))?;
    let (mut documents, reading) = documents(ctx, table, export)?;
    let mut own = 0;
    while let Some(piece) = documents.recv().await {
        own += super::p5_verify::compare(firestore, collection, &piece).await?.equal;
    }
    reading.await.context("the reader of the file ended unexpectedly")??;
    Ok(own)
}
