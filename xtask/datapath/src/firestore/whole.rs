//! A Firestore database whole: every document of every collection, also of those that nobody knows of and of those
//! below documents, as of one instant; and written again where nothing stands.
//!
//! What was learnt: a query that names no collection and takes all descendants streams every document in the order
//! of the names, also below documents that are not there, on Google's servers and on the emulator. Both read it
//! at the time that is asked for: Google within the last hour, or seven days with point-in-time recovery.

use super::client::{Firestore, READ_TIMEOUT, total, within};
use super::instant::Instant;
use super::pace::{Limiter, Pace};
use super::submit::{Refusal, Rejected, submit};
use super::typed::Whole;
use super::wire::{self, Change, Version};
use anyhow::{Context, Result};
use backon::BackoffBuilder;
use futures_util::future::BoxFuture;
use gcloud_sdk::RequestTimeouts;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::prost::Message;
use gcloud_sdk::tonic::Status;
use std::collections::HashMap;

/// Documents that are passed on at once.
const PAGE: usize = 500;

/// What takes the pages of a listing.
type Pages<'a> = Box<dyn FnMut(Vec<Whole>) -> Result<()> + Send + 'a>;

/// What became of documents that were to be written where nothing stood.
#[derive(Debug, Default)]
pub struct Put {
    /// Written by this call, or by an attempt of it that was reported as failed.
    pub written: u64,
    /// They stood there already, equal.
    pub there: u64,
    /// The paths of documents that stand there, and are others: left alone.
    pub others: Vec<String>,
    pub rejected: Vec<Rejected>,
}

impl Firestore {
    /// `projects/…/databases/…/documents`, by which documents name each other.
    pub fn documents_root(&self) -> &str {
        &self.documents
    }

    /// Every document as it was at that instant, in the order of the names, some hundred at a time: constant
    /// memory. A stream that breaks off is resumed at the same instant. An error of `page` ends it.
    pub fn whole<'a>(
        &'a self,
        at: Instant,
        page: impl FnMut(Vec<Whole>) -> Result<()> + Send + 'a,
    ) -> BoxFuture<'a, Result<()>> {
        self.whole_to(at, Box::new(page))
    }

    fn whole_to<'a>(&'a self, at: Instant, mut page: Pages<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let context = || format!("reading every document as of {at}");
            let mut last = None;
            let mut pauses = self.pace.pauses().build();
            loop {
                let before = last.clone();
                let ended = self.whole_after(at, &mut last, &mut page).await.with_context(context)?;
                let Err(status) = ended else { return Ok(()) };
                if last != before {
                    pauses = self.pace.pauses().build();
                }
                let refusal = Refusal::of(&status);
                match pauses.next() {
                    Some(pause) if refusal.passes() => tokio::time::sleep(pause).await,
                    _ => return Err(self.explain_refusal(&refusal)).with_context(context),
                }
            }
        })
    }

    /// Beginning after `last` and moving it on.
    async fn whole_after(
        &self,
        at: Instant,
        last: &mut Option<String>,
        page: &mut Pages<'_>,
    ) -> Result<Result<(), Status>> {
        let query = wire::whole_request(&self.documents, at.timestamp(), last.as_deref());
        let timeouts = RequestTimeouts::new().with_idle(READ_TIMEOUT);
        let mut answers = match self.client().run_query(within(timeouts, query)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        let (mut documents, mut read) = (Vec::new(), None);
        let end = loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    let Some(document) = answer.document else { continue };
                    read = Some(document.name.clone());
                    documents.push(Whole::read(&self.documents, document)?);
                }
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            }
            if documents.len() == PAGE {
                page(std::mem::take(&mut documents))?;
                *last = read.take();
            }
        };
        if let Some(read) = read {
            page(documents)?;
            *last = Some(read);
        }
        Ok(end)
    }

    /// Writes documents where nothing stands, as many at once as one call takes; whatever stands there is compared
    /// and left alone. `paths` must be unique.
    ///
    /// # Errors
    /// What concerns more than single documents. What had been written stays.
    pub fn put<'a>(&'a self, documents: Vec<Whole>, pace: &'a PutPace) -> BoxFuture<'a, Result<Put>> {
        Box::pin(async move {
            let mut put = Put::default();
            let target = self.whole_target();
            for batch in batches(documents, pace.pace.batch) {
                let changes = batch
                    .into_iter()
                    .map(|whole| Change::Guarded(Box::new(Change::Whole(whole)), Version::ABSENT));
                let sent = submit(&target, changes.collect(), &pace.pace, &pace.limiter).await;
                let sent = sent.context("writing documents")?;
                put.written += sent.written.documents;
                put.rejected.extend(sent.written.rejected);
                self.compare(sent.unmet, &mut put).await?;
            }
            Ok(put)
        })
    }

    /// Tells those that stand there already apart: equal ones, and others.
    async fn compare(&self, unmet: Vec<Change>, put: &mut Put) -> Result<()> {
        if unmet.is_empty() {
            return Ok(());
        }
        let paths: Vec<String> = unmet.iter().map(|change| change.id().to_owned()).collect();
        let found = self.patiently(|| self.whole_in_one_call(&paths)).await;
        let found = found.with_context(|| format!("reading {} documents back", paths.len()))?;
        for change in unmet {
            let Change::Whole(wanted) = change.bare() else { continue };
            let there =
                found.get(&wanted.path).cloned().map(|document| Whole::read(&self.documents, document));
            let equal = match there.transpose()? {
                Some(there) => there.hash(&self.documents)? == wanted.hash(&self.documents)?,
                None => false,
            };
            match equal {
                true => put.there += 1,
                false => put.others.push(wanted.path.clone()),
            }
        }
        Ok(())
    }

    /// Those that are there, by path.
    async fn whole_in_one_call(&self, paths: &[String]) -> Result<HashMap<String, fs::Document>, Status> {
        use fs::batch_get_documents_response::Result::Found;
        let request = fs::BatchGetDocumentsRequest {
            database: self.database.clone(),
            documents: paths.iter().map(|path| self.path(path)).collect(),
            ..Default::default()
        };
        let mut answers =
            self.client().batch_get_documents(within(total(READ_TIMEOUT), request)).await?.into_inner();
        let mut found = HashMap::new();
        while let Some(answer) = answers.message().await? {
            if let Some(Found(document)) = answer.result {
                let path = wire::id_of(&self.documents, &document.name);
                let path = path.map_err(|error| Status::data_loss(error.to_string()))?.to_owned();
                found.insert(path, document);
            }
        }
        Ok(found)
    }
}

/// How fast documents are put; shared by all calls of one restore.
pub struct PutPace {
    pace: Pace,
    limiter: Limiter,
}

impl PutPace {
    pub fn new(pace: Pace) -> PutPace {
        PutPace { limiter: Limiter::new(pace.limit), pace }
    }

    /// Calls that may be under way at the same time.
    pub fn workers(&self) -> usize {
        self.pace.workers.max(1)
    }

    /// Documents that one call takes.
    pub fn batch(&self) -> usize {
        self.pace.batch.max(1)
    }
}

/// As many documents a batch as a call takes.
fn batches(documents: Vec<Whole>, at_most: usize) -> Vec<Vec<Whole>> {
    let mut batches: Vec<Vec<Whole>> = Vec::new();
    let mut bytes = 0;
    for whole in documents {
        let size = size(&whole);
        bytes += size;
        match batches.last_mut() {
            Some(batch) if batch.len() < at_most.max(1) && bytes <= wire::MESSAGE => batch.push(whole),
            _ => {
                batches.push(vec![whole]);
                bytes = size;
            }
        }
    }
    batches
}

/// About the bytes of a document's write, rather more.
fn size(whole: &Whole) -> usize {
    let fields = whole.fields.iter().map(|(name, value)| name.len() + value.encoded_len() + 24);
    fields.sum::<usize>() + whole.path.len() + 256
}
