//! Which documents of a collection have changed since an instant: a document's update time is the server's
//! own, and so is the time of a reading. Listing is five times slower than reading documents by their ids and
//! is billed like it, so it is for what a run does not know, and has no place while a source is frozen.

use super::client::{Firestore, READ_TIMEOUT, total, within};
use super::instant::Instant;
use super::wire::Version;
use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::tonic::Status;

/// A document that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Unchanged,
    /// Changed or new.
    Written,
}

impl Firestore {
    /// Remembers the present instant. Taken before a collection is read, so that what is written meanwhile is
    /// told as written since.
    ///
    /// # Errors
    /// No answer, or one without its time.
    pub fn instant<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<Instant>> {
        Box::pin(async move {
            // Of one that is not there: the answer has its time, and no collection has to be sorted for it.
            let request = fs::BatchGetDocumentsRequest {
                database: self.database.clone(),
                documents: vec![format!("{}/-", self.path(collection))],
                ..Default::default()
            };
            let asked = self.patiently(async || {
                let request = within(total(READ_TIMEOUT), request.clone());
                let mut answers = self.client().batch_get_documents(request).await?.into_inner();
                let mut at = None;
                while let Some(answer) = answers.message().await? {
                    at = at.or(answer.read_time);
                }
                at.map(Instant::from).ok_or_else(|| Status::unknown("an answer without its time"))
            });
            asked.await.with_context(|| format!("asking for the time of {collection}"))
        })
    }

    /// Every document that is there, in the order of the names: whether it has been written since. What stood
    /// there then and is not told is deleted. Held is one page.
    pub fn since<'a>(
        &'a self,
        collection: &'a str,
        then: Instant,
        mut tell: impl FnMut(String, Since) -> Result<()> + Send + 'a,
    ) -> BoxFuture<'a, Result<()>> {
        self.since_by_version(collection, then, move |id, _, since| tell(id, since))
    }

    /// The same with the version that stands there: what a guarded change goes by.
    pub fn since_by_version<'a>(
        &'a self,
        collection: &'a str,
        then: Instant,
        mut tell: impl FnMut(String, Version, Since) -> Result<()> + Send + 'a,
    ) -> BoxFuture<'a, Result<()>> {
        let page = move |listed: Vec<(String, Version)>| {
            listed.into_iter().try_for_each(|(id, version)| {
                let written = version.0.context("a document without its update time")?;
                let since = if Instant::from(written) > then { Since::Written } else { Since::Unchanged };
                tell(id, version, since)
            })
        };
        self.list_to(collection, Box::new(page))
    }
}
