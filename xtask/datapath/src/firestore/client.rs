//! A connection, and what every call shares: paths, time limits, patience.

use super::address::{Address, explain};
use super::instant::Instant;
use super::pace::{self, Pace};
use super::submit::Refusal;
use anyhow::Result;
use backon::Retryable;
use fs::firestore_client::FirestoreClient;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::tonic::{Request, Status};
use gcloud_sdk::{GoogleApi, GoogleAuthMiddleware, RequestTimeouts};
use std::sync::Arc;
use std::time::Duration;

pub(super) type Api = GoogleApi<FirestoreClient<GoogleAuthMiddleware>>;

/// The time limit of one reading call; of a stream: to the next message.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Attempts of one reading call.
const READ_ATTEMPTS: usize = 6;

/// A connection; clones share it.
#[derive(Clone)]
pub struct Firestore {
    pub(super) api: Arc<Api>,
    /// `projects/…/databases/…`
    pub(super) database: String,
    /// `projects/…/databases/…/documents`
    pub(super) documents: String,
    pub(super) address: Arc<Address>,
    /// For reads, deletions and single documents.
    pub(super) pace: Arc<Pace>,
    /// The instant at which documents are read and counted; `None`: now.
    pub(super) at: Option<Instant>,
}

impl Firestore {
    pub(super) fn new(api: Api, address: Address) -> Firestore {
        let pace = match address.emulator {
            Some(_) => Pace::for_emulator(),
            None => Pace::for_project(pace::START),
        };
        let pace = Arc::new(Pace { attempts: READ_ATTEMPTS, ..pace });
        let database = address.database_path();
        let documents = format!("{database}/documents");
        Firestore { api: Arc::new(api), database, documents, address: Arc::new(address), pace, at: None }
    }

    /// The same connection, which reads and counts documents as they were at that instant.
    pub fn as_of(&self, at: Instant) -> Firestore {
        Firestore { at: Some(at), ..self.clone() }
    }

    /// `projects/…/documents/users`
    pub(super) fn path(&self, collection: &str) -> String {
        format!("{}/{collection}", self.documents)
    }

    pub(super) fn client(&self) -> FirestoreClient<GoogleAuthMiddleware> {
        self.api.get()
    }

    pub(super) fn explain_refusal(&self, refusal: &Refusal) -> anyhow::Error {
        explain(&self.address, refusal)
    }

    /// Repeats a reading call while it fails in a way that may pass.
    pub(super) async fn patiently<T, F: Future<Output = Result<T, Status>>>(
        &self,
        call: impl FnMut() -> F,
    ) -> Result<T> {
        call.retry(self.pace.pauses())
            .sleep(tokio::time::sleep)
            .when(|status| Refusal::of(status).passes())
            .await
            .map_err(|status| self.explain_refusal(&Refusal::of(&status)))
    }
}

/// A call with time limits.
pub(super) fn within<T>(timeouts: RequestTimeouts, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(timeouts);
    request
}

/// A time limit for a whole call.
pub(super) fn total(limit: Duration) -> RequestTimeouts {
    RequestTimeouts::new().with_total(limit)
}
