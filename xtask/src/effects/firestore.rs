//! The only place that talks to Firestore, Google's own or an emulator.
//!
//! What was learnt (crate `firestore` 0.61.1; its `client()` is outside semver, hence the exact
//! version):
//! - Documents are written with raw BatchWrite calls. The crate's streaming writer has no status a
//!   document, an unbounded queue and a throttle of 500 ms; its simple one does not repeat what
//!   failed (see `firestore/submit.rs`).
//! - The emulator takes 5,000 writes a batch but no message over 4 MiB; Google 10 MiB and, in its
//!   own SDKs, 20 documents. The same document twice in a batch fails it; apart, both are written
//!   and the last one wins: ids are made unique before.
//! - BatchGet is by far the fastest way to read everything (117k documents/s against 21k by query;
//!   ListDocuments does not finish on the emulator). Its answers come in any order, one document a
//!   message, so the limit of 4 MiB a message is never met.
//! - A time limit on the crate's request surfaces as CANCELLED; `RequestTimeouts` is the way.
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
use firestore::FirestoreDb;
use firestore::gcloud_sdk::google::firestore::v1 as fs;
use firestore::gcloud_sdk::tonic::{Request, Status};
use firestore::gcloud_sdk::{GoogleAuthMiddleware, RequestTimeouts};
use fs::firestore_client::FirestoreClient;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use submit::Refusal;

/// A document as it was found.
pub type Fields = BTreeMap<String, Value>;

/// A connection; clones share it.
#[derive(Debug, Clone)]
pub struct Firestore {
    db: FirestoreDb,
    address: Arc<Address>,
    /// For reads, deletions and single documents.
    pace: Arc<Pace>,
}

/// Ids a page of [`Firestore::ids`].
const PAGE: usize = 5_000;

/// A count of a large collection takes Google up to a minute, then it gives up itself.
const COUNT_TIMEOUT: Duration = Duration::from_secs(90);

/// Attempts of one reading call, and its time limit (of a stream: to the next message).
const READ_ATTEMPTS: usize = 6;
const READ_TIMEOUT: Duration = Duration::from_secs(60);

impl Firestore {
    fn new(db: FirestoreDb, address: Address) -> Firestore {
        let pace = match address.emulator {
            Some(_) => Pace::for_emulator(),
            None => Pace::for_project(pace::START),
        };
        let pace = Arc::new(Pace { attempts: READ_ATTEMPTS, ..pace });
        Firestore { db, address: Arc::new(address), pace }
    }

    /// The documents of a collection, counted by the server.
    ///
    /// # Errors
    /// No answer; Google itself gives up after a minute with DEADLINE_EXCEEDED.
    pub async fn count(&self, collection: &str) -> Result<u64> {
        let request = wire::count_request(self.db.get_documents_path(), collection);
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
    }

    /// Reads these documents in one call, some hundred ids at most, in the order of the ids; None
    /// for one that is not there.
    pub async fn read(&self, collection: &str, ids: &[String]) -> Result<Vec<(String, Option<Fields>)>> {
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
        ids.iter().map(|id| take(id).with_context(|| format!("{}: no answer for {id}", context()))).collect()
    }

    /// The same with the version of each: what a guarded change goes by.
    pub async fn read_versions(
        &self,
        collection: &str,
        ids: &[String],
    ) -> Result<BTreeMap<String, (Option<Fields>, Version)>> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let answer = self.patiently(|| self.versions_in_one_call(collection, ids)).await;
        answer.with_context(|| format!("reading {} documents of {collection}", ids.len()))
    }

    /// The ids of all documents of a collection, in the order of their names, some thousand at a
    /// time: constant memory. A stream that breaks off is resumed. An error of `page` ends it.
    pub async fn ids(&self, collection: &str, mut page: impl FnMut(Vec<String>) -> Result<()>) -> Result<()> {
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
    }

    /// `projects/…/documents/users`
    fn path(&self, collection: &str) -> String {
        format!("{}/{collection}", self.db.get_documents_path())
    }

    fn client(&self) -> FirestoreClient<GoogleAuthMiddleware> {
        self.db.client().get()
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
            database: self.db.get_database_path().clone(),
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
        page: &mut impl FnMut(Vec<String>) -> Result<()>,
    ) -> Result<Result<(), Status>> {
        let path = self.path(collection);
        let query = wire::names_request(self.db.get_documents_path(), collection, last.as_deref());
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
