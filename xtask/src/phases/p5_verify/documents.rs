//! Collections: every document read back and compared, and the server's own count.

use super::Era;
use crate::phases::p3_transform;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::run::manifest::Services;
use crate::run::manifest::TableProof;
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::digest::Digest;
use datapath::document::Collection;
use datapath::document::{self, Document};
use datapath::firestore::{Address, Firestore};
use datapath::ids::IdSet;
use std::sync::{Arc, Mutex};

/// Requests for documents that are under way at once.
const READERS: usize = 4;

/// Documents that are asked for at once.
pub const AT_ONCE: usize = READERS * p3_transform::PIECE;

/// What became of some documents.
#[derive(Debug, Default)]
pub struct Compared {
    /// There, and exactly as expected.
    pub equal: u64,
    /// There, but different.
    pub different: u64,
    /// What differs and what is missing, apart: only one of them is damage after the cut-over.
    pub missing: Vec<String>,
    pub findings: Vec<String>,
}

/// Reads these documents back and compares every field.
pub async fn compare(
    firestore: &Firestore,
    collection: &Collection,
    documents: &[Document],
) -> Result<Compared> {
    let ids: Vec<String> = documents.iter().map(|d| d.id.clone()).collect();
    let found = firestore.read(collection.name, &ids).await?;
    let mut compared = Compared::default();
    for (document, (id, fields)) in documents.iter().zip(found) {
        let name = || format!("{}/{id}", collection.name);
        let Some(fields) = fields else {
            compared.missing.push(format!("{}: is missing", name()));
            continue;
        };
        let differences = document::differences(document, &fields);
        if differences.is_empty() {
            compared.equal += 1;
        } else {
            compared.different += 1;
            compared.findings.extend(differences.iter().map(|d| format!("{}: {d}", name())));
        }
    }
    Ok(compared)
}

/// A collection: every document by its fields, then the server's own count for what is there beside.
pub(super) async fn verify(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    table: &'static Table,
    collection: &'static Collection,
    era: Era,
) -> Result<TableProof> {
    let firestore = Arc::new(Firestore::connect(&Address::from(&ctx.settings.firestore)).await?);
    let rows = export.files.get(&table.file()).and_then(|f| f.rows).unwrap_or_default();
    let task = ctx.terminal.task("verify", table.name, rows);
    let (documents, reading) = p3_transform::documents(ctx, table, export)?;
    let documents = Arc::new(tokio::sync::Mutex::new(documents));
    let sum = Arc::new(Mutex::new(Compared::default()));
    let max_diffs = ctx.max_diffs;
    let readers = (0..READERS).map(|_| {
        let (documents, firestore, sum, count) =
            (documents.clone(), firestore.clone(), sum.clone(), task.counter());
        async move {
            loop {
                let piece = documents.lock().await.recv().await;
                let Some(piece) = piece else { return Ok(()) };
                let compared = compare(&firestore, collection, &piece).await?;
                count(piece.len() as u64);
                let sum = &mut *sum.lock().map_err(|_| anyhow::anyhow!("another reader failed"))?;
                sum.equal += compared.equal;
                sum.different += compared.different;
                for (all, some) in
                    [(&mut sum.findings, compared.findings), (&mut sum.missing, compared.missing)]
                {
                    let room = max_diffs.saturating_sub(all.len());
                    all.extend(some.into_iter().take(room));
                }
            }
        }
    });
    // The server counts while the documents are read.
    let ((), there) = tokio::try_join!(
        async { crate::phases::all(readers).await.map(drop) },
        firestore.count(collection.name)
    )?;
    let read = reading.await.context("the reader of the file ended unexpectedly")??;
    let sum = std::mem::take(&mut *sum.lock().map_err(|_| anyhow::anyhow!("a reader failed"))?);

    if era == Era::Services {
        task.done(there);
        return Ok(after_cutover(collection, read.documents, there, sum));
    }
    let mut proof = TableProof { expected_rows: read.documents, found_rows: there, ..TableProof::default() };
    if there != read.documents {
        proof
            .findings
            .push(format!("{}: {} documents expected, {there} found", collection.name, read.documents));
    }
    let room = max_diffs.saturating_sub(sum.missing.len());
    proof.findings.extend(sum.missing.into_iter().chain(sum.findings.into_iter().take(room)));
    if there != sum.equal + sum.different {
        let room = ctx.max_diffs;
        let mut named = Vec::new();
        foreign(ctx, &firestore, export, table, collection, |ids| {
            named.extend(ids.into_iter().map(|id| format!("{}/{id}: is not of this run", collection.name)));
            named.truncate(room);
            Ok(())
        })
        .await?;
        proof.findings.extend(named);
    }
    task.done(there);
    Ok(proof)
}

/// What a collection holds of the run's documents, by their fields as they are read back.
pub async fn content(
    ctx: &Arc<Ctx>,
    export: &Export,
    table: &'static Table,
    collection: &Collection,
) -> Result<Digest> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let (mut documents, reading) = p3_transform::documents(ctx, table, export)?;
    let mut content = Digest::default();
    while let Some(piece) = documents.recv().await {
        let ids: Vec<String> = piece.into_iter().map(|d| d.id).collect();
        for (id, fields) in firestore.read(collection.name, &ids).await? {
            if let Some(fields) = fields {
                content.add(Digest { rows: 1, sum: document::hash(&id, &fields).into() });
            }
        }
    }
    reading.await.context("the reader of the file ended unexpectedly")??;
    Ok(content)
}

/// Counted while the services write: what there is more than the run's documents are theirs.
fn after_cutover(collection: &Collection, expected: u64, there: u64, sum: Compared) -> TableProof {
    let of_run = sum.equal + sum.different;
    let added = there.saturating_sub(of_run);
    let mut proof = TableProof {
        expected_rows: expected,
        found_rows: of_run + added,
        services: Some(Services { added, changed: sum.different }),
        ..TableProof::default()
    };
    if of_run < expected {
        let missing = expected - of_run;
        proof.findings.push(format!("{}: {missing} of the run's documents are missing", collection.name));
    }
    proof.findings.extend(sum.missing);
    proof
}

/// The ids of documents that are in the collection, but not in the run's file, some thousand at a time.
/// Of the expected ids only hashes are kept: 8 bytes each.
pub async fn foreign(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    export: &Export,
    table: &'static Table,
    collection: &Collection,
    mut found: impl FnMut(Vec<String>) -> Result<()> + Send,
) -> Result<()> {
    let (mut documents, reading) = p3_transform::documents(ctx, table, export)?;
    let mut expected = IdSet::default();
    while let Some(piece) = documents.recv().await {
        piece.iter().for_each(|d| expected.insert(&d.id));
    }
    reading.await.context("the reader of the file ended unexpectedly")??;
    firestore
        .ids(collection.name, |page| found(page.into_iter().filter(|id| !expected.contains(id)).collect()))
        .await
}
