//! Reading: documents by their ids, all ids of a collection, and the server's own count.

use super::client::{Firestore, READ_TIMEOUT, total, within};
use super::instant::Instant;
use super::submit::Refusal;
use super::wire::{self, Depth, Version};
use crate::document::Value;
use crate::sha256::in_place_of;
use anyhow::{Context, Result};
use backon::BackoffBuilder;
use futures_util::future::BoxFuture;
use gcloud_sdk::RequestTimeouts;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::tonic::Status;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// A document as it was found.
pub type Fields = BTreeMap<String, Value>;

/// Ids, each with its document; None for one that is not there.
pub type Found = Vec<(String, Option<Fields>)>;

/// By id: the document, None where it is not there, and its version.
pub type Versions = BTreeMap<String, (Option<Fields>, Version)>;

/// What takes the pages of a listing: ids, each with the version that stands there.
pub(super) type Page<'a> = Box<dyn FnMut(Vec<(String, Version)>) -> Result<()> + Send + 'a>;

/// Ids a page of a listing.
const PAGE: usize = 5_000;

/// A count of a large collection takes Google up to a minute, then it gives up itself.
const COUNT_TIMEOUT: Duration = Duration::from_secs(90);

impl Firestore {
    /// The documents of a collection, counted by the server.
    ///
    /// # Errors
    /// No answer; Google itself gives up after a minute with DEADLINE_EXCEEDED.
    pub fn count<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<u64>> {
        self.count_to(collection, Depth::Root, self.at)
    }

    /// The same as it was at that instant.
    ///
    /// # Errors
    /// As of [`Firestore::count`].
    pub fn count_at<'a>(&'a self, collection: &'a str, at: Instant) -> BoxFuture<'a, Result<u64>> {
        self.count_to(collection, Depth::Root, Some(at))
    }

    pub(super) fn count_to<'a>(
        &'a self,
        collection: &'a str,
        depth: Depth,
        at: Option<Instant>,
    ) -> BoxFuture<'a, Result<u64>> {
        use fs::run_aggregation_query_request::ConsistencySelector::ReadTime;
        Box::pin(async move {
            let consistency_selector = at.map(|at| ReadTime(at.timestamp()));
            let request = wire::count_request(&self.documents, collection, depth);
            let request = fs::RunAggregationQueryRequest { consistency_selector, ..request };
            let count = self.patiently(async || {
                let request = within(total(COUNT_TIMEOUT), request.clone());
                let mut answers = self.client().run_aggregation_query(request).await?.into_inner();
                while let Some(answer) = answers.message().await? {
                    if let Some(count) = wire::count_from(&answer) {
                        return Ok(count);
                    }
                }
                Err(Status::unknown("an answer without a count"))
            });
            count.await.with_context(|| format!("counting {collection}"))
        })
    }

    /// Reads these documents in one call, some hundred ids at most, in the order of the ids; None
    /// for one that is not there.
    pub fn read<'a>(&'a self, collection: &'a str, ids: &'a [String]) -> BoxFuture<'a, Result<Found>> {
        Box::pin(async move {
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let context = || format!("reading {} documents of {collection}", ids.len());
            let answer = self.patiently(|| self.one_call(collection, ids)).await;
            let mut found = answer.with_context(context)?;
            // An id that is asked for twice (a damaged file) is answered once.
            let twice = found.len() < ids.len();
            let mut take = |id: &String| match found.get(id) {
                Some(fields) if twice => Some((id.clone(), fields.clone())),
                _ => found.remove_entry(id),
            };
            ids.iter()
                .map(|id| {
                    take(id).with_context(|| format!("{}: no answer for {}", context(), in_place_of(id)))
                })
                .collect()
        })
    }

    /// The same with the version of each: what a guarded change goes by.
    pub fn read_versions<'a>(
        &'a self,
        collection: &'a str,
        ids: &'a [String],
    ) -> BoxFuture<'a, Result<Versions>> {
        Box::pin(async move {
            if ids.is_empty() {
                return Ok(BTreeMap::new());
            }
            let answer = self.patiently(|| self.versions_in_one_call(collection, ids)).await;
            answer.with_context(|| format!("reading {} documents of {collection}", ids.len()))
        })
    }

    /// The ids of all documents of a collection, in the order of their names, some thousand at a
    /// time: constant memory. A stream that breaks off is resumed. An error of `page` ends it.
    pub fn ids<'a>(
        &'a self,
        collection: &'a str,
        mut page: impl FnMut(Vec<String>) -> Result<()> + Send + 'a,
    ) -> BoxFuture<'a, Result<()>> {
        self.list_to(collection, Box::new(move |listed| page(listed.into_iter().map(|(id, _)| id).collect())))
    }

    pub(super) fn list_to<'a>(
        &'a self,
        collection: &'a str,
        mut page: Page<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let context = || format!("listing {collection}");
            let mut last = None;
            let mut pauses = self.pace.pauses().build();
            loop {
                let before = last.clone();
                let names = self.names_after(collection, &mut last, &mut page).await;
                let Err(status) = names.with_context(context)? else {
                    return Ok(());
                };
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

    /// One BatchGet, unordered.
    pub(super) async fn one_call(
        &self,
        collection: &str,
        ids: &[String],
    ) -> Result<HashMap<String, Option<Fields>>, Status> {
        let found: HashMap<_, _> = self.versions_in_one_call(collection, ids).await?;
        Ok(found.into_iter().map(|(id, (fields, _))| (id, fields)).collect())
    }

    async fn versions_in_one_call<M>(&self, collection: &str, ids: &[String]) -> Result<M, Status>
    where
        M: Default + Extend<(String, (Option<Fields>, Version))>,
    {
        use fs::batch_get_documents_request::ConsistencySelector::ReadTime;
        use fs::batch_get_documents_response::Result::{Found, Missing};
        let path = self.path(collection);
        let request = fs::BatchGetDocumentsRequest {
            database: self.database.clone(),
            documents: ids.iter().map(|id| format!("{path}/{id}")).collect(),
            consistency_selector: self.at.map(|at| ReadTime(at.timestamp())),
            ..Default::default()
        };
        let request = within(total(READ_TIMEOUT), request);
        let mut answers = self.client().batch_get_documents(request).await?.into_inner();
        let mut found = M::default();
        let id_of = |name: &str| match wire::id_of(&path, name) {
            Ok(id) => Ok(id.to_owned()),
            Err(error) => Err(Status::data_loss(error.to_string())),
        };
        while let Some(answer) = answers.message().await? {
            match answer.result {
                Some(Found(document)) => {
                    let id = id_of(&document.name)?;
                    let version = Version(document.update_time);
                    found.extend([(id, (Some(wire::from_wire(document.fields)), version))]);
                }
                Some(Missing(name)) => {
                    found.extend([(id_of(&name)?, (None, Version::ABSENT))]);
                }
                None => {}
            }
        }
        Ok(found)
    }

    /// Streams names, beginning after `last` and moving it on. One query for all of them, because
    /// each query sorts the whole collection on the emulator.
    async fn names_after(
        &self,
        collection: &str,
        last: &mut Option<String>,
        page: &mut Page<'_>,
    ) -> Result<Result<(), Status>> {
        let path = self.path(collection);
        let query = wire::names_request(&self.documents, collection, Depth::Root, last.as_deref());
        let timeouts = RequestTimeouts::new().with_idle(READ_TIMEOUT);
        let mut answers = match self.client().run_query(within(timeouts, query)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        let mut ids = Vec::new();
        let end = loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    let Some(document) = answer.document else {
                        continue;
                    };
                    ids.push((wire::id_of(&path, &document.name)?.to_owned(), Version(document.update_time)));
                    *last = Some(document.name);
                }
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            }
            if ids.len() == PAGE {
                page(std::mem::take(&mut ids))?;
            }
        };
        if !ids.is_empty() {
            page(ids)?;
        }
        Ok(end)
    }
}
