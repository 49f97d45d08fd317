//! Where a Firestore is, and how to get in.

use super::submit::Refusal;
use super::{Api, Firestore};
use anyhow::{Context, Result, anyhow, bail};
use futures_util::future::BoxFuture;
use gcloud_sdk::google::firestore::v1::firestore_client::FirestoreClient;
use gcloud_sdk::google_cloud_auth::credentials::{
    CacheableResource, Credentials, CredentialsProvider, EntityTag,
};
use gcloud_sdk::google_cloud_auth::errors::CredentialsError;
use gcloud_sdk::tonic::Code;
use gcloud_sdk::tonic::codegen::http::{Extensions, HeaderValue, header::AUTHORIZATION};
use gcloud_sdk::{GCP_DEFAULT_SCOPES, GoogleApi, GoogleAuthHeaders, GoogleAuthMiddlewareLayer, HeaderMap};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;

/// Where a Firestore is, and who asks.
#[derive(Debug, Clone)]
pub struct Address {
    pub project: String,
    /// `(default)` unless the project has several.
    pub database: String,
    /// `host:port` of an emulator; None: Google's own.
    pub emulator: Option<String>,
    /// A service account's key file; None: application default credentials. Not for an emulator.
    pub credentials: Option<PathBuf>,
}

impl Address {
    /// `projects/…/databases/…`
    pub(super) fn database_path(&self) -> String {
        format!("projects/{}/databases/{}", self.project, self.database)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.emulator {
            Some(host) => write!(f, "the Firestore emulator at {host}"),
            None => write!(f, "Firestore database {} of project {}", self.database, self.project),
        }
    }
}

const GOOGLE: &str = "https://firestore.googleapis.com";

/// A starting JVM answers its first call within seconds; a token and a TLS connection take less.
const PATIENCE: Duration = Duration::from_secs(15);

impl Firestore {
    /// Connects and asks for one document, so that what is wrong is known before anything starts.
    ///
    /// # Errors
    /// Says where, and what to check: nobody there, no credentials, no permission, no database.
    pub fn connect(address: &Address) -> BoxFuture<'_, Result<Firestore>> {
        Box::pin(async move {
            let ready = async {
                let api = open(address).await;
                let api = api.with_context(|| format!("connecting to {address}"))?;
                let firestore = Firestore::new(api, address.clone());
                match firestore.one_call("-ping-", &["-ping-".to_owned()]).await {
                    Ok(_) => anyhow::Ok(firestore),
                    Err(status) => Err(explain(address, &Refusal::of(&status))),
                }
            };
            match tokio::time::timeout(PATIENCE, ready).await {
                Ok(result) => result,
                Err(_) => bail!("{address} did not answer within {} s", PATIENCE.as_secs()),
            }
        })
    }
}

/// Opens the channel; nothing is asked yet.
async fn open(address: &Address) -> Result<Api> {
    let (url, auth) = match &address.emulator {
        Some(host) => {
            // For its error: the SDK's own is a page long and shows no address.
            TcpStream::connect(host).await.context("nobody answers; check that it is running")?;
            (format!("http://{host}"), Credentials::from(Owner::new()).into())
        }
        None => (GOOGLE.to_owned(), credentials(address).await?),
    };
    let open = async {
        let middleware = GoogleAuthMiddlewareLayer::new(auth, Some(address.database_path()))?;
        GoogleApi::from_function_with_middleware(FirestoreClient::new, url, middleware).await
    };
    // As text: the SDK's error says everything again as its own source.
    open.await.map_err(|error: gcloud_sdk::error::Error| anyhow!("{error}"))
}

async fn credentials(address: &Address) -> Result<GoogleAuthHeaders> {
    let scopes = GCP_DEFAULT_SCOPES.clone();
    let Some(path) = &address.credentials else {
        return GoogleAuthHeaders::from_adc_with_scopes(scopes).await.context(
            "looking for application default credentials; name a service account's key file, or \
             run: gcloud auth application-default login",
        );
    };
    let context = || format!("reading the service account's key file {}", path.display());
    let key = tokio::fs::read(path).await.with_context(context)?;
    let key = serde_json::from_slice(&key).with_context(context)?;
    GoogleAuthHeaders::from_service_account_key(key, scopes).await.with_context(context)
}

/// What a person should check when Firestore refuses.
pub(super) fn explain(address: &Address, refusal: &Refusal) -> anyhow::Error {
    let Address { project, database, .. } = address;
    let advice = match refusal.code {
        Code::PermissionDenied => format!(
            "check that the account has the role roles/datastore.user in project {project}, and \
             that the project's Firestore API is enabled"
        ),
        Code::Unauthenticated => "check the service account's key file (revoked? another \
             project's?), or run: gcloud auth application-default login"
            .to_owned(),
        Code::NotFound => format!(
            "check the names: project {project}, database {database} (gcloud firestore databases \
             list --project={project})"
        ),
        Code::FailedPrecondition => {
            format!("check that database {database} of project {project} is in native mode")
        }
        // UNKNOWN is what a broken connection becomes.
        Code::Unavailable | Code::Unknown => "check that it is running and can be reached".to_owned(),
        _ => return anyhow!("{address}: {refusal}"),
    };
    anyhow!("{address}: {refusal}; {advice}")
}

/// The token that Firebase's own tools send to emulators. With credentials of our own the SDK
/// looks for none on the machine.
#[derive(Debug)]
struct Owner {
    tag: EntityTag,
}

impl Owner {
    fn new() -> Owner {
        Owner { tag: EntityTag::new() }
    }
}

impl CredentialsProvider for Owner {
    async fn headers(
        &self,
        extensions: Extensions,
    ) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        if extensions.get::<EntityTag>() == Some(&self.tag) {
            return Ok(CacheableResource::NotModified);
        }
        let mut data = HeaderMap::new();
        data.insert(AUTHORIZATION, HeaderValue::from_static("Bearer owner"));
        Ok(CacheableResource::New { entity_tag: self.tag.clone(), data })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}
