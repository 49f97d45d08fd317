//! The only place that talks to Firestore, Google's own or an emulator.
//!
//! What was learnt:
//! - Documents are written with raw BatchWrite calls, by `gcloud-sdk` alone: the writers of the crate
//!   `firestore` have no status per document, an unbounded queue, a throttle of 500 ms, or do not
//!   repeat what failed (see `firestore/submit.rs`).
//! - The emulator takes 5,000 writes a batch but no message over 4 MiB; Google 10 MiB and, in its
//!   own SDKs, 20 documents. The same document twice in a batch fails it; apart, both are written
//!   and the last one wins: ids are made unique before.
//! - BatchGet is by far the fastest way to read everything (117k documents/s against 21k by query;
//!   ListDocuments does not finish on the emulator). Its answers come in any order, one document a
//!   message, so the limit of 4 MiB a message is never met.
//! - A time limit on tonic's request surfaces as CANCELLED; `RequestTimeouts` is the way.
//! - NOT_FOUND of a whole call means database or project: a missing document is a normal answer.

mod connect;
mod pace;
mod submit;
mod wire;
mod write;

pub use connect::Address;
pub use pace::{Limit, Pace};
pub use submit::{Rejected, Written};
pub use wire::Version;
pub use write::Guarded;

use crate::document::Value;
use anyhow::{Context, Result};
use backon::{BackoffBuilder, Retryable};
use fs::firestore_client::FirestoreClient;
use futures_util::future::BoxFuture;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::tonic::{Request, Status};
use gcloud_sdk::{GoogleApi, GoogleAuthMiddleware, RequestTimeouts};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use submit::Refusal;

/// A document as it was found.
pub type Fields = BTreeMap<String, Value>;

type Api = GoogleApi<FirestoreClient<GoogleAuthMiddleware>>;

/// A connection; clones share it.
#[derive(Clone)]
pub struct Firestore {
    api: Arc<Api>,
    /// `projects/…/databases/…`
    database: String,
    /// `projects/…/databases/…/documents`
    documents: String,
    address: Arc<Address>,
    /// For reads, deletions and single documents.
    pace: Arc<Pace>,
}

/// What takes the pages of [`Firestore::ids`].
type Page<'a> = Box<dyn FnMut(Vec<String>) -> Result<()> + Send + 'a>;

/// Ids a page of [`Firestore::ids`].
const PAGE: usize = 5_000;

/// A count of a large collection takes Google up to a minute, then it gives up itself.
const COUNT_TIMEOUT: Duration = Duration::from_secs(90);

/// Attempts of one reading call, and its time limit (of a stream: to the next message).
const READ_ATTEMPTS: usize = 6;
const READ_TIMEOUT: Duration = Duration::from_secs(60);

impl Firestore {
    fn new(api: Api, address: Address) -> Firestore {
        let pace = match address.emulator {
            Some(_) => Pace::for_emulator(),
            None => Pace::for_project(pace::START),
        };
        let pace = Arc::new(Pace { attempts: READ_ATTEMPTS, ..pace });
        let database = address.database_path();
        let documents = format!("{database}/documents");
        Firestore { api: Arc::new(api), database, documents, address: Arc::new(address), pace }
    }

    /// The documents of a collection, counted by the server.
    ///
    /// # Errors
    /// No answer; Google itself gives up after a minute with DEADLINE_EXCEEDED.
    pub fn count<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let request = wire::count_request(&self.documents, collection);
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
    pub fn read<'a>(
        &'a self,
        collection: &'a str,
        ids: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<(String, Option<Fields>)>>> {
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
                .map(|id| take(id).with_context(|| format!("{}: no answer for {id}", context())))
                .collect()
        })
    }

    /// The same with the version of each: what a guarded change goes by.
    pub fn read_versions<'a>(
        &'a self,
        collection: &'a str,
        ids: &'a [String],
    ) -> BoxFuture<'a, Result<BTreeMap<String, (Option<Fields>, Version)>>> {
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
        page: impl FnMut(Vec<String>) -> Result<()> + Send + 'a,
    ) -> BoxFuture<'a, Result<()>> {
        self.ids_to(collection, Box::new(page))
    }

    fn ids_to<'a>(&'a self, collection: &'a str, mut page: Page<'a>) -> BoxFuture<'a, Result<()>> {
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

    /// `projects/…/documents/users`
    fn path(&self, collection: &str) -> String {
        format!("{}/{collection}", self.documents)
    }

    fn client(&self) -> FirestoreClient<GoogleAuthMiddleware> {
        self.api.get()
    }

    fn explain_refusal(&self, refusal: &Refusal) -> anyhow::Error {
        connect::explain(&self.address, refusal)
    }

    /// Repeats a reading call while it fails in a way that may pass.
    async fn patiently<T, F: Future<Output = Result<T, Status>>>(
        &self,
        call: impl FnMut() -> F,
    ) -> Result<T> {
        call.retry(self.pace.pauses())
            .sleep(tokio::time::sleep)
            .when(|status| Refusal::of(status).passes())
            .await
            .map_err(|status| self.explain_refusal(&Refusal::of(&status)))
    }

    /// One BatchGet, unordered.
    async fn one_call(
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
        use fs::batch_get_documents_response::Result::{Found, Missing};
        let path = self.path(collection);
        let request = fs::BatchGetDocumentsRequest {
            database: self.database.clone(),
            documents: ids.iter().map(|id| format!("{path}/{id}")).collect(),
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
                    found.extend([(id_of(&name)?, (None, Version(None)))]);
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
        let query = wire::names_request(&self.documents, collection, last.as_deref());
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
                    ids.push(wire::id_of(&path, &document.name)?.to_owned());
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

/// A call with time limits.
fn within<T>(timeouts: RequestTimeouts, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(timeouts);
    request
}

fn total(limit: Duration) -> RequestTimeouts {
    RequestTimeouts::new().with_total(limit)
}
