//! A backup of Firestore written into a database where nothing stands, or what an earlier call of this has written;
//! then everything that is there is read, and has to be what the backup recorded.

use super::documents::{self, root_of};
use super::manifest::{Collected, DocumentsContent};
use crate::findings::Values;
use crate::model::{AGAIN, grouped};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::settings;
use anyhow::{Context, Result, bail};
use datapath::digest::Digest;
use datapath::firestore::{Address, Firestore, Pace, Put, PutPace, Whole};
use datapath::sha256::{Sha256, in_place_of};
use futures_util::StreamExt;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Where the documents go.
pub struct Goal<'a> {
    pub firestore: &'a settings::Firestore,
    pub guard: Guard,
}

/// What is asked before anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing stands there but documents of the backup, as they are in it.
    EmptyOrEqual,
    /// Nobody else has ever been there: a drill's own.
    Scratch,
}

/// What a restore came to.
#[derive(Clone, Debug, Serialize)]
pub struct RestoredDocuments {
    pub written: u64,
    /// They stood there already, equal.
    pub there_before: u64,
    /// What was found there at the end, by collection.
    pub content: BTreeMap<String, Digest>,
    /// How it differs from what the backup recorded, a line each.
    pub differences: Vec<String>,
}

/// `ctx`: its run is the backup's directory.
///
/// # Errors
/// Refuses a database where others' documents stand, and names some; fails where it cannot be written. Typed again
/// it goes on. What differs at the end is in the result.
pub async fn restore_documents(
    ctx: &Ctx,
    content: &DocumentsContent,
    goal: &Goal<'_>,
) -> Result<RestoredDocuments> {
    let firestore = Firestore::connect(&Address::from(goal.firestore)).await?;
    if goal.guard == Guard::EmptyOrEqual {
        refuse_others(ctx, content, &firestore).await?;
    }
    let put = write(ctx, content, goal.firestore, &firestore).await?;
    if let Some(rejected) = put.rejected.first() {
        bail!(
            "{} documents are not taken, the first, {}, with {}: {}",
            grouped(put.rejected.len() as u64),
            shown(ctx, &rejected.id),
            rejected.code,
            rejected.message.replace(&rejected.id, "…")
        );
    }
    let there = found(&firestore).await?;
    Ok(RestoredDocuments {
        written: put.written,
        there_before: put.there,
        differences: differences(&content.collections, &there),
        content: there,
    })
}

/// Everything that a database holds, by collection.
async fn found(firestore: &Firestore) -> Result<BTreeMap<String, Digest>> {
    let root = firestore.documents_root();
    let mut there: BTreeMap<String, Digest> = BTreeMap::new();
    let at = firestore.instant("users").await?;
    let read = firestore.whole(at, |documents| {
        documents.iter().try_for_each(|document| {
            let one = Digest { rows: 1, sum: document.hash(root)?.into() };
            there.entry(document.collection()).or_default().add(one);
            Ok(())
        })
    });
    read.await?;
    Ok(there)
}

fn differences(recorded: &BTreeMap<String, Collected>, there: &BTreeMap<String, Digest>) -> Vec<String> {
    let mut lines = Vec::new();
    for (collection, Collected { content, .. }) in recorded {
        let found = there.get(collection).copied().unwrap_or_default();
        let (expected, rows) = (grouped(content.rows), grouped(found.rows));
        match found {
            found if found == *content => {}
            found if found.rows == content.rows => {
                lines.push(format!(
                    "{collection} has {rows} documents as the backup recorded, with other values"
                ));
            }
            _ => lines.push(format!("{collection} has {rows} documents, the backup recorded {expected}")),
        }
    }
    for (collection, found) in there.iter().filter(|(name, _)| !recorded.contains_key(*name)) {
        lines.push(format!("{collection} is not in the backup, {} documents", grouped(found.rows)));
    }
    lines
}

/// What stands there has to be the backup's own, where anything does.
async fn refuse_others(ctx: &Ctx, content: &DocumentsContent, firestore: &Firestore) -> Result<()> {
    if firestore.root_collections().await?.is_empty() {
        return Ok(());
    }
    let own = own(ctx, content).await?;
    let (mut others, mut named) = (0u64, Vec::new());
    let root = firestore.documents_root();
    let at = firestore.instant("users").await?;
    let read = firestore.whole(at, |documents| {
        for document in documents {
            if own.get(&key(&document.path)) == Some(&document.hash(root)?) {
                continue;
            }
            others += 1;
            if named.len() < ctx.max_diffs {
                let which =
                    if own.contains_key(&key(&document.path)) { "differs" } else { "is not in the backup" };
                named.push(format!("{} {which}", shown(ctx, &document.path)));
            }
        }
        Ok(())
    });
    read.await?;
    if others > 0 {
        refuse!(
            "{} documents in Firestore {root} are not the backup's; a restore overwrites none:\n  {}\nName an \
             empty database with --into PROJECT or PROJECT/DATABASE, or remove them by hand. {AGAIN}",
            grouped(others),
            named.join("\n  ")
        );
    }
    Ok(())
}

/// The hash of every document of the backup, by its path's: 16 bytes for each.
async fn own(ctx: &Ctx, content: &DocumentsContent) -> Result<HashMap<u64, i64>> {
    let (files, root) = (files(ctx, content), root_of(&content.firestore));
    let read = tokio::task::spawn_blocking(move || {
        let mut own = HashMap::new();
        for (_, file) in files {
            documents::read(&file, |document| {
                own.insert(key(&document.path), document.hash(&root)?);
                Ok(())
            })?;
        }
        anyhow::Ok(own)
    });
    read.await.context("reading the backup")?
}

fn key(path: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(path.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finish()[..8]);
    u64::from_be_bytes(first)
}

fn files(ctx: &Ctx, content: &DocumentsContent) -> Vec<(String, PathBuf)> {
    let file = |(name, of): (&String, &Collected)| (name.clone(), ctx.run.file(&of.file));
    content.collections.iter().map(file).collect()
}

async fn write(
    ctx: &Ctx,
    content: &DocumentsContent,
    settings: &settings::Firestore,
    firestore: &Firestore,
) -> Result<Put> {
    let pace = PutPace::new(match settings.emulator {
        Some(_) => Pace::for_emulator(),
        None => Pace::for_project(settings.rate),
    });
    let total = content.collections.values().map(|collected| collected.content.rows).sum();
    let task = ctx.terminal.task("restore", "documents", total);
    let (sender, mut receiver) = mpsc::channel(2);
    let (files, batch) = (files(ctx, content), pace.batch());
    let (from, to) = (root_of(&content.firestore), firestore.documents_root().to_string());
    let reading = tokio::task::spawn_blocking(move || send(&files, batch, &from, &to, &sender));
    let batches = futures_util::stream::poll_fn(|context| receiver.poll_recv(context));
    let mut putting = batches.map(|batch| firestore.put(batch, &pace)).buffer_unordered(pace.workers());
    let mut total = Put::default();
    while let Some(put) = putting.next().await {
        let Put { written, there, others, rejected } = put?;
        task.add(written + there);
        total.written += written;
        total.there += there;
        total.others.extend(others);
        total.rejected.extend(rejected);
    }
    drop(putting);
    reading.await.context("reading the backup")??;
    task.done(total.written + total.there);
    Ok(total)
}

/// Every document, in batches.
fn send(
    files: &[(String, PathBuf)],
    at_most: usize,
    from: &str,
    to: &str,
    sender: &mpsc::Sender<Vec<Whole>>,
) -> Result<()> {
    let mut batch = Vec::with_capacity(at_most);
    for (_, file) in files {
        documents::read(file, |document| {
            batch.push(document.moved(from, to));
            if batch.len() == at_most {
                // Whoever has given up says why.
                let _ = sender.blocking_send(std::mem::take(&mut batch));
            }
            Ok(())
        })?;
    }
    if !batch.is_empty() {
        let _ = sender.blocking_send(batch);
    }
    Ok(())
}

/// A document's path; its id may be a token, which lets in whoever knows it.
fn shown(ctx: &Ctx, path: &str) -> String {
    match (ctx.values, path.rsplit_once('/')) {
        (Values::Masked, Some((collection, id))) => format!("{collection}/{}", in_place_of(id)),
        _ => path.to_string(),
    }
}
