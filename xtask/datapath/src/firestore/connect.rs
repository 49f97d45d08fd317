//! How to get in.

use super::address::{Address, FailureKind, FirestoreError, HOST, UNREACHED, explain, unreached};
use super::client::{Api, Firestore};
use super::submit::Refusal;
use anyhow::{Context, Result, anyhow, bail};
use futures_util::future::BoxFuture;
use gcloud_sdk::error::ErrorKind as SdkErrorKind;
use gcloud_sdk::google::firestore::v1::firestore_client::FirestoreClient;
use gcloud_sdk::google_cloud_auth::credentials::{
    CacheableResource, Credentials, CredentialsProvider, EntityTag,
};
use gcloud_sdk::google_cloud_auth::errors::CredentialsError;
use gcloud_sdk::tonic::codegen::http::{Extensions, HeaderValue, header::AUTHORIZATION};
use gcloud_sdk::{GCP_DEFAULT_SCOPES, GoogleApi, GoogleAuthHeaders, GoogleAuthMiddlewareLayer, HeaderMap};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::net::TcpStream;

/// A starting JVM answers its first call within seconds; a token and a TLS connection take less.
const PATIENCE: Duration = Duration::from_secs(15);

impl Firestore {
    /// Connects and asks for one document, so that what is wrong is known before anything starts.
    ///
    /// # Errors
    /// Says where, and what to check: no answer, no credentials, no permission, no database.
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
                Err(_) => bail!("{address} did not answer within {} s; {UNREACHED}", PATIENCE.as_secs()),
            }
        })
    }
}

/// Opens the channel; nothing is asked yet.
async fn open(address: &Address) -> Result<Api> {
    let (url, auth) = match &address.emulator {
        Some(host) => {
            // For its error: the SDK's own is a page long and shows no address.
            TcpStream::connect(host).await.map_err(|error| match error.kind() {
                ErrorKind::ConnectionRefused => {
                    let text = format!("nobody answers at {host}; {UNREACHED}");
                    FirestoreError { kind: FailureKind::Connection, text }.into()
                }
                _ => unreached(host, &error, UNREACHED),
            })?;
            (format!("http://{host}"), Credentials::from(Owner::new()).into())
        }
        None => (format!("https://{HOST}"), credentials(address).await?),
    };
    let open = async {
        let middleware = GoogleAuthMiddlewareLayer::new(auth, Some(address.database_path()))?;
        GoogleApi::from_function_with_middleware(FirestoreClient::new, url, middleware).await
    };
    // As text: the SDK's error says everything again as its own source.
    open.await.map_err(|error: gcloud_sdk::error::Error| match error.kind() {
        SdkErrorKind::GrpcStatus(error) => unreached(HOST, error, "can this machine reach it?"),
        _ => anyhow!("{error}"),
    })
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
