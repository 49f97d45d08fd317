//! Collections: every document read back and compared, and the server's own count.

use super::cutover_state::CutoverState;
use crate::findings::{Counts, Finding, FindingKind, Store};
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, Services, TableProof};
use crate::stores::documents::{self, Compared, compare};
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::digest::Digest;
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
    let (expected, sum, there) = read_back(ctx, &firestore, export, table).await?;
    let found = sum.counts.equal + sum.counts.different;
    let counts = Counts { extra: there.saturating_sub(found), ..sum.counts };
    let mut proof = TableProof {
        expected_rows: expected,
        found_rows: there,
        counts,
        findings: sum.missing,
        ..TableProof::default()
    };
    if cutover == CutoverState::After {
        // Counted while the services write.
        proof.found_rows = found + counts.extra;
        proof.services = Some(Services { added: counts.extra, changed: counts.different });
        if counts.missing > 0 {
            proof.findings.insert(0, Finding::lost(table, counts.missing));
        }
        return Ok(proof);
    }
    let room = ctx.max_diffs.saturating_sub(proof.findings.len());
    proof.findings.extend(sum.different.into_iter().take(room));
    if there != expected {
        proof.findings.insert(0, Finding::count(table, expected, there));
    }
    if counts.extra > 0 && ctx.max_diffs > 0 {
        proof.findings.extend(documents::extra(ctx, &firestore, table, collection, export).await?);
    }
    let told_twice = export.snapshot.hash.is_exact();
    if proof.is_green() && told_twice && sum.digest != self::expected(export, table)? {
        proof.counts.other += 1;
        let finding = Finding::new(FindingKind::Digest, Store::Firestore, table.name);
        proof.findings.push(finding.detail(
            "the documents are what this tool makes of the run's file, and not what PostgreSQL made of the \
             source's rows (sql/tables): a mistake in this tool",
        ));
    }
    Ok(proof)
}

/// Reads every document of the run's file back: how many there should be, how they compare, and how many
/// the server counts meanwhile.
async fn read_back(
    ctx: &Arc<Ctx>,
    firestore: &Arc<Firestore>,
    export: &Export,
    table: &'static Table,
) -> Result<(u64, Compared, u64)> {
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
                let compared = compare(&firestore, table, &piece).await?;
                count(piece.len() as u64);
                let sum = &mut *sum.lock().map_err(|_| anyhow::anyhow!("another reader failed"))?;
                add(sum, compared, max_diffs);
            }
        }
    });
    let ((), there) = tokio::try_join!(
        async { crate::run::join::all(readers).await.map(drop) },
        firestore.count(table.name)
    )?;
    let read = reading.await.context("the reader of the file ended unexpectedly")??;
    let sum = std::mem::take(&mut *sum.lock().map_err(|_| anyhow::anyhow!("a reader failed"))?);
    task.done(there);
    Ok((read.documents, sum, there))
}

/// The digest of the documents as PostgreSQL told them.
fn expected(export: &Export, table: &Table) -> Result<Digest> {
    let record = export.tables.get(table.name).context("the run's manifest does not know this table")?;
    Ok(record.content.total())
}

/// What one reader has found, of which no more is kept than is wanted.
fn add(sum: &mut Compared, compared: Compared, max_diffs: usize) {
    sum.counts.add(compared.counts);
    sum.digest.add(compared.digest);
    for (all, some) in [(&mut sum.different, compared.different), (&mut sum.missing, compared.missing)] {
        let room = max_diffs.saturating_sub(all.len());
        all.extend(some.into_iter().take(room));
    }
}
