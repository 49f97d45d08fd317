//! Collections: every document read back and compared, and the server's own count.

use super::cutover_state::CutoverState;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, Services, TableProof};
use crate::stores::documents::{self, Compared, compare, foreign};
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::document::Collection;
use datapath::firestore::{Address, Firestore};
use std::sync::{Arc, Mutex};

/// Requests for documents that are under way at once.
const READERS: usize = 4;

/// Documents that are asked for at once.
pub const AT_ONCE: usize = READERS * documents::PIECE;

/// A collection: every document by its fields, then the server's own count for what is there beside.
pub(super) async fn verify(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    table: &'static Table,
    collection: &'static Collection,
    cutover: CutoverState,
) -> Result<TableProof> {
    let firestore = Arc::new(Firestore::connect(&Address::from(&ctx.settings.firestore)).await?);
    let rows = export.files.get(&table.file()).and_then(|f| f.rows).unwrap_or_default();
    let task = ctx.terminal.task("verify", table.name, rows);
    let (documents, reading) = documents::documents(ctx, table, export)?;
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
                add(sum, compared, max_diffs);
            }
        }
    });
    // The server counts while the documents are read.
    let ((), there) = tokio::try_join!(
        async { crate::run::join::all(readers).await.map(drop) },
        firestore.count(collection.name)
    )?;
    let read = reading.await.context("the reader of the file ended unexpectedly")??;
    let sum = std::mem::take(&mut *sum.lock().map_err(|_| anyhow::anyhow!("a reader failed"))?);

    if cutover == CutoverState::After {
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
        proof.findings.extend(not_of_this_run(ctx, &firestore, export, table, collection).await?);
    }
    task.done(there);
    Ok(proof)
}

/// What one reader has found, of which no more is told than is wanted.
fn add(sum: &mut Compared, compared: Compared, max_diffs: usize) {
    sum.equal += compared.equal;
    sum.different += compared.different;
    for (all, some) in [(&mut sum.findings, compared.findings), (&mut sum.missing, compared.missing)] {
        let room = max_diffs.saturating_sub(all.len());
        all.extend(some.into_iter().take(room));
    }
}

/// A finding for each document that the run does not have, up to the limit.
async fn not_of_this_run(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    export: &Export,
    table: &'static Table,
    collection: &'static Collection,
) -> Result<Vec<String>> {
    let mut named = Vec::new();
    foreign(ctx, firestore, export, table, collection, |ids| {
        named.extend(ids.into_iter().map(|id| format!("{}/{id}: is not of this run", collection.name)));
        named.truncate(ctx.max_diffs);
        Ok(())
    })
    .await?;
    Ok(named)
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
