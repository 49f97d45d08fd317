//! Writing and deleting, each document only where it is as it was seen: nothing that others wrote meanwhile
//! is overwritten. Batches from a channel, sent by several workers.

use super::client::{Firestore, total, within};
use super::pace::{Limiter, Pace};
use super::submit::{self, Conflict, Refusal, Rejected, Sent, Written, submit};
use super::wire::{self, Change, Version};
use crate::document::{self, Document};
use crate::sha256::in_place_of;
use anyhow::{Context, Result, bail};
use futures_util::future::BoxFuture;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::google::rpc;
use gcloud_sdk::tonic::Status;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

impl Firestore {
    /// Writes whole documents under their ids where nothing stands yet, from a channel of chunks of any
    /// size; ends when the channel does. A document that stands there already is read back: it is written
    /// if it equals ours (an attempt that was reported as failed), else a conflict and left alone. Memory:
    /// the batches under way. `written` is told how many documents each batch has put into Firestore. Ids
    /// must be unique.
    ///
    /// # Errors
    /// What concerns more than single documents: no permission, no database, no answer in all
    /// attempts, over 1,000 rejected. The receiver is dropped then, and the producer's next send
    /// fails. What had been written stays.
    pub fn write<'a>(
        &'a self,
        collection: &'a str,
        documents: mpsc::Receiver<Vec<Document>>,
        pace: &'a Pace,
        written: impl Fn(u64) + Send + Sync + 'static,
    ) -> BoxFuture<'a, Result<Written>> {
        self.write_from(collection, documents, pace, Box::new(written))
    }

    fn write_from<'a>(
        &'a self,
        collection: &'a str,
        documents: mpsc::Receiver<Vec<Document>>,
        pace: &'a Pace,
        written: Box<dyn Fn(u64) + Send + Sync>,
    ) -> BoxFuture<'a, Result<Written>> {
        Box::pin(async move {
            let job = Arc::new(Job {
                target: self.target(collection),
                source: Mutex::new(Source::new(documents)),
                pace: pace.clone(),
                limiter: Limiter::new(pace.limit),
                written,
            });
            let mut workers = JoinSet::new();
            for _ in 0..pace.workers.max(1) {
                workers.spawn(Arc::clone(&job).work());
            }
            // The workers alone hold the source now: with the last of them the receiver is dropped.
            drop(job);
            let mut total = Written::default();
            while let Some(worker) = workers.join_next().await {
                let part = worker.context("a writer of documents ended early")?;
                total.add(part.with_context(|| format!("writing {collection}"))?)?;
            }
            Ok(total)
        })
    }

    /// Does what is asked to documents that are still as they were read, and leaves the others alone.
    /// Returns the ids of those others. After a call that was answered too late a document can be among
    /// them although it was written: read it again.
    ///
    /// # Errors
    /// What concerns more than single documents, and documents that Firestore will not take.
    pub fn change<'a>(
        &'a self,
        collection: &'a str,
        changes: Vec<(Guarded, Version)>,
    ) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async move {
            let target = self.target(collection);
            let context = || format!("changing {collection}");
            let mut others = Vec::new();
            for batch in batches(&target.path, changes, self.pace.batch) {
                let limiter = Limiter::new(self.pace.limit);
                let sent = submit(&target, batch, &self.pace, &limiter).await.with_context(context)?;
                if let Some(Rejected { id, code, message }) = sent.written.rejected.first() {
                    // An id may be a token, which lets in whoever knows it.
                    let (id, message) = (in_place_of(id), message.replace(id, "…"));
                    bail!("Firestore refused {collection}/{id} with {code}: {message}");
                }
                others.extend(sent.unmet.iter().map(|change| change.id().to_owned()));
            }
            Ok(others)
        })
    }

    /// The whole database: paths take the place of ids.
    pub(super) fn whole_target(&self) -> Target {
        Target { firestore: self.clone(), collection: String::new(), path: self.documents.clone() }
    }

    pub(super) fn target(&self, collection: &str) -> Target {
        let (collection, path) = (collection.to_owned(), self.path(collection));
        Target { firestore: self.clone(), collection, path }
    }
}

/// What is to become of a document that is as it was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Guarded {
    /// Replaces it, or makes it where there was none.
    Set(Document),
    Delete(String),
}

/// As many changes a batch as a call takes.
fn batches(path: &str, changes: Vec<(Guarded, Version)>, at_most: usize) -> Vec<Vec<Change>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for (change, version) in changes {
        let (change, size) = match change {
            Guarded::Set(document) => {
                let size = wire::size_at_most(path, &document);
                (Change::Set(document), size)
            }
            Guarded::Delete(id) => (Change::Delete(id), 1024),
        };
        bytes += size;
        let full = |batch: &Vec<Change>| batch.len() >= at_most.max(1) || bytes > wire::MESSAGE;
        if batches.last().is_some_and(|batch| !batch.is_empty() && full(batch)) {
            batches.push(Vec::new());
            bytes = size;
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(Change::Guarded(Box::new(change), version));
        }
    }
    batches
}

/// One collection as a place to write to.
pub(super) struct Target {
    pub(super) firestore: Firestore,
    collection: String,
    /// `projects/…/documents/users`
    path: String,
}

impl submit::Server for Target {
    async fn batch_write(&self, changes: &[Change], timeout: Duration) -> Result<Vec<rpc::Status>, Status> {
        let writes = changes.iter().map(|change| change.to_write(&self.path));
        // What cannot be written is treated as what the server finds malformed: one row is lost.
        let writes =
            writes.collect::<Result<_>>().map_err(|error| Status::invalid_argument(error.to_string()))?;
        let database = self.firestore.database.clone();
        let request = fs::BatchWriteRequest { database, writes, ..Default::default() };
        let answer = self.firestore.client().batch_write(within(total(timeout), request)).await?;
        Ok(answer.into_inner().status)
    }

    fn explain(&self, refusal: &Refusal) -> anyhow::Error {
        self.firestore.explain_refusal(refusal)
    }
}

impl Target {
    /// Tells documents that stand there already apart: ours, and others'.
    async fn read_back(&self, unmet: Vec<Change>) -> Result<Written> {
        let mut written = Written::default();
        let ids: Vec<String> = unmet.iter().map(|change| change.id().to_owned()).collect();
        let found = self.firestore.read(&self.collection, &ids).await?;
        for (change, (id, fields)) in unmet.iter().zip(found) {
            let Change::Set(document) = change.bare() else {
                bail!("{id} was to be deleted, not written");
            };
            let differences = fields.map(|fields| document::differences(document, &fields));
            if differences.as_ref().is_some_and(Vec::is_empty) {
                written.documents += 1;
                continue;
            }
            written.conflicting += 1;
            written.conflicts.push(Conflict { id, differences });
        }
        Ok(written)
    }
}

/// What the workers of one write share.
struct Job {
    target: Target,
    source: Mutex<Source>,
    pace: Pace,
    limiter: Limiter,
    written: Box<dyn Fn(u64) + Send + Sync>,
}

impl Job {
    async fn work(self: Arc<Self>) -> Result<Written> {
        let mut total = Written::default();
        loop {
            let batch = self.source.lock().await.batch(&self.target.path, self.pace.batch).await;
            if batch.is_empty() {
                return Ok(total);
            }
            let Sent { mut written, unmet } = submit(&self.target, batch, &self.pace, &self.limiter).await?;
            written.add(self.target.read_back(unmet).await?)?;
            (self.written)(written.documents);
            total.add(written)?;
        }
    }
}

/// The producer's chunks, regrouped into batches.
struct Source {
    chunks: mpsc::Receiver<Vec<Document>>,
    chunk: Peekable<std::vec::IntoIter<Document>>,
}

impl Source {
    fn new(chunks: mpsc::Receiver<Vec<Document>>) -> Source {
        Source { chunks, chunk: Vec::new().into_iter().peekable() }
    }

    /// The next documents that fit into one call, at least one; none at the end of the channel.
    async fn batch(&mut self, path: &str, at_most: usize) -> Vec<Change> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < at_most.max(1) {
            let Some(document) = self.chunk.peek() else {
                match self.chunks.recv().await {
                    Some(chunk) => self.chunk = chunk.into_iter().peekable(),
                    None => break,
                }
                continue;
            };
            bytes += wire::size_at_most(path, document);
            if bytes > wire::MESSAGE && !batch.is_empty() {
                break;
            }
            batch.extend(
                self.chunk.next().map(|d| Change::Guarded(Box::new(Change::Set(d)), Version::ABSENT)),
            );
        }
        batch
    }
}
