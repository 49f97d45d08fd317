//! Documents of the run's files, and how they compare with what a collection holds.

use crate::findings::{Counts, Finding, FindingKind, Store, document_key};
use crate::model::Stop;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::run::overlay;
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::digest::Digest;
use datapath::document::{self, Collection, Document, DocumentReader, FieldDifference};
use datapath::firestore::{Address, Conflict, Firestore};
use datapath::ids::IdSet;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Documents in one piece between the reader of a file and those who write or compare.
pub const PIECE: usize = 500;

/// Looks at a collection that is still growing before it counts as another's.
pub const LOOKS: usize = 5;

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
    // Reading the file is faster than what is done with its documents.
    let (sender, receiver) = mpsc::channel(1);
    let ctx = ctx.clone();
    let mut rows = overlay::open(&ctx.run, export, &file)?;
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

/// Rows of a collection's table as documents, by the rows' ids. `header`: of the export's file.
pub fn of_rows<'a>(
    ctx: &Ctx,
    table: &Table,
    header: &[u8],
    rows: impl Iterator<Item = (i64, &'a Vec<u8>)>,
) -> Result<Vec<(i64, Document)>> {
    let collection = table.collection().with_context(|| format!("{} is not a collection", table.name))?;
    let (ids, rows): (Vec<i64>, Vec<&Vec<u8>>) = rows.unzip();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let csv = overlay::csv(header, rows.into_iter());
    let mut bytes = &csv[..];
    let policy = ctx.settings.policy.null_policy;
    let documents = DocumentReader::open(&mut bytes, collection, policy)?.next(ids.len())?;
    Ok(ids.into_iter().zip(documents).collect())
}

/// How often the fields of a file's documents take their defaults for NULL.
pub fn defaults_of(ctx: &Ctx, table: &Table, csv: &[u8]) -> Result<BTreeMap<String, u64>> {
    let collection = table.collection().with_context(|| format!("{} is not a collection", table.name))?;
    let mut bytes = csv;
    let mut reader = DocumentReader::open(&mut bytes, collection, ctx.settings.policy.null_policy)?;
    while !reader.next(PIECE)?.is_empty() {}
    Ok(reader.defaults())
}

/// How what a collection holds stands to what a run writes there.
#[derive(Debug, Default)]
pub struct Standing {
    pub there: u64,
    /// Exactly what the run writes.
    own: u64,
    /// How others differ from what the run writes in their place, some of them.
    differing: Vec<Finding>,
}

impl Standing {
    /// Whether they are all exactly what the run writes.
    pub fn is_own(&self) -> bool {
        self.others() == 0
    }

    /// How many are not.
    pub fn others(&self) -> u64 {
        self.there.saturating_sub(self.own)
    }
}

/// Compares what the collection holds with what the run would write, where it knows that already.
pub async fn standing(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    table: &'static Table,
    collection: &Collection,
    export: Option<&Export>,
) -> Result<Standing> {
    let mut there = firestore.count(collection.name).await?;
    let (Some(export), true) = (export, there > 0) else {
        return Ok(Standing { there, ..Standing::default() });
    };
    let mut standing = Standing::default();
    for _ in 0..LOOKS {
        standing = look(ctx, firestore, table, export).await?;
        // What a run that ended a moment ago had sent may still be arriving: then the count grows.
        standing.there = firestore.count(collection.name).await?;
        if standing.there == there {
            return Ok(standing);
        }
        there = standing.there;
    }
    // It grows on and on: nobody can say that it is all ours.
    Ok(Standing { own: 0, ..standing })
}

async fn look(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    table: &'static Table,
    export: &Export,
) -> Result<Standing> {
    let (mut documents, reading) = documents(ctx, table, export)?;
    let mut standing = Standing::default();
    while let Some(piece) = documents.recv().await {
        let compared = compare(firestore, table, &piece).await?;
        standing.own += compared.counts.equal;
        let room = ctx.max_diffs.saturating_sub(standing.differing.len());
        standing.differing.extend(compared.different.into_iter().take(room));
    }
    reading.await.context("the reader of the file ended unexpectedly")??;
    Ok(standing)
}

/// The documents that keep a collection from being this run's: those that differ, and those that the run
/// does not have. Some of them.
pub async fn not_own(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    table: &'static Table,
    collection: &Collection,
    export: &Export,
    standing: Standing,
) -> Result<Vec<Finding>> {
    let mut named = standing.differing;
    named.extend(extra(ctx, firestore, table, collection, export).await?);
    named.truncate(ctx.max_diffs);
    Ok(named)
}

/// A finding for each document that the run does not have, up to the limit.
pub async fn extra(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    table: &'static Table,
    collection: &Collection,
    export: &Export,
) -> Result<Vec<Finding>> {
    let mut named = Vec::new();
    foreign(ctx, firestore, export, table, collection, |ids| {
        let extra = || Finding::new(FindingKind::Extra, Store::Firestore, table.name);
        named.extend(ids.into_iter().map(|id| extra().key(document_key(table, &id))));
        named.truncate(ctx.max_diffs);
        Ok(())
    })
    .await?;
    Ok(named)
}

/// How each of these documents differs from what stands in its place; `None`: nothing does.
pub async fn differences(
    firestore: &Firestore,
    collection: &Collection,
    documents: &[Document],
) -> Result<Vec<Option<Vec<FieldDifference>>>> {
    let ids: Vec<String> = documents.iter().map(|d| d.id.clone()).collect();
    let found = firestore.read(collection.name, &ids).await?;
    let differences = documents
        .iter()
        .zip(found)
        .map(|(document, (_, fields))| Some(document::differences(document, &fields?)));
    Ok(differences.collect())
}

/// What was there already of a file's documents.
#[derive(Debug, Default)]
pub struct Already {
    /// Exactly as this run writes them.
    pub own: u64,
    /// Others in the place of ours, some of them.
    pub conflicts: Vec<Conflict>,
}

/// Passes on the documents that are not there yet: what is there already is not written again.
pub async fn only_missing(
    firestore: &Firestore,
    collection: &Collection,
    max_diffs: usize,
    mut documents: Documents,
    missing: mpsc::Sender<Vec<Document>>,
) -> Result<Already> {
    let mut already = Already::default();
    while let Some(piece) = documents.recv().await {
        let found = differences(firestore, collection, &piece).await?;
        let mut rest = Vec::new();
        for (document, differences) in piece.into_iter().zip(found) {
            match differences {
                None => rest.push(document),
                Some(differences) if differences.is_empty() => already.own += 1,
                Some(_) if already.conflicts.len() >= max_diffs => {}
                differences => already.conflicts.push(Conflict { id: document.id, differences }),
            }
        }
        if !rest.is_empty() && missing.send(rest).await.is_err() {
            // Those who write have given up; they say why.
            break;
        }
    }
    Ok(already)
}

/// The result for some documents.
#[derive(Debug, Default)]
pub struct Compared {
    /// What is extra is not among those that were asked for.
    pub counts: Counts,
    /// Of those that are there, by the document as it was found.
    pub digest: Digest,
    /// What differs and what is missing, apart: only one of them is damage after the cut-over.
    pub missing: Vec<Finding>,
    pub different: Vec<Finding>,
}

/// Reads these documents back and compares every field.
pub async fn compare(firestore: &Firestore, table: &Table, documents: &[Document]) -> Result<Compared> {
    let ids: Vec<String> = documents.iter().map(|d| d.id.clone()).collect();
    let found = firestore.read(table.name, &ids).await?;
    let mut compared = Compared::default();
    for (document, (id, fields)) in documents.iter().zip(found) {
        let Some(fields) = fields else {
            compared.counts.missing += 1;
            let missing = Finding::new(FindingKind::Missing, Store::Firestore, table.name);
            compared.missing.push(missing.key(document_key(table, &id)));
            continue;
        };
        compared.digest.add(Digest { rows: 1, sum: document::hash(&id, &fields).into() });
        let differences = document::differences(document, &fields);
        if differences.is_empty() {
            compared.counts.equal += 1;
        } else {
            compared.counts.different += 1;
            compared.different.extend(differences.iter().map(|d| Finding::field(table, &id, d)));
        }
    }
    Ok(compared)
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
    let (mut documents, reading) = documents(ctx, table, export)?;
    let mut expected = IdSet::default();
    while let Some(piece) = documents.recv().await {
        piece.iter().for_each(|d| expected.insert(&d.id));
    }
    reading.await.context("the reader of the file ended unexpectedly")??;
    firestore
        .ids(collection.name, |page| found(page.into_iter().filter(|id| !expected.contains(id)).collect()))
        .await
}

/// What a collection holds of the run's documents, by their fields as they are read back.
pub async fn content(
    ctx: &Arc<Ctx>,
    export: &Export,
    table: &'static Table,
    collection: &Collection,
) -> Result<Digest> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let (mut documents, reading) = documents(ctx, table, export)?;
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
