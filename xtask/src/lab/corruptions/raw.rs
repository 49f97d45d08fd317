//! Documents of an emulator as the protocol has them, so that every type of value can be read and written:
//! also those that the tool itself never writes.

use anyhow::{Context, Result};
use fs::firestore_client::FirestoreClient;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::tonic::Request;
use gcloud_sdk::tonic::metadata::MetadataValue;
use gcloud_sdk::tonic::transport::{Channel, Endpoint};
use std::collections::HashMap;

pub use fs::value::ValueType;

/// A document's fields.
pub type Fields = HashMap<String, fs::Value>;

/// A value of this type.
pub fn value(value: ValueType) -> fs::Value {
    fs::Value { value_type: Some(value) }
}

pub struct Raw {
    client: FirestoreClient<Channel>,
    /// `projects/…/databases/…`
    database: String,
}

impl Raw {
    /// `host`: `host:port` of an emulator.
    pub async fn connect(host: &str, project: &str, database: &str) -> Result<Raw> {
        let endpoint = Endpoint::from_shared(format!("http://{host}")).context("the emulator's address")?;
        let channel = endpoint.connect().await.context("connecting to the emulator")?;
        let database = format!("projects/{project}/databases/{database}");
        Ok(Raw { client: FirestoreClient::new(channel), database })
    }

    fn name(&self, collection: &str, id: &str) -> String {
        format!("{}/documents/{collection}/{id}", self.database)
    }

    /// These documents, in any order; None for one that is not there.
    pub async fn read(&self, collection: &str, ids: &[String]) -> Result<Vec<(String, Option<Fields>)>> {
        use fs::batch_get_documents_response::Result::{Found, Missing};
        let request = fs::BatchGetDocumentsRequest {
            database: self.database.clone(),
            documents: ids.iter().map(|id| self.name(collection, id)).collect(),
            ..Default::default()
        };
        let answers = self.client.clone().batch_get_documents(with_owner(request)).await;
        let mut answers = answers.with_context(|| format!("reading {collection}"))?.into_inner();
        let mut found = Vec::new();
        let start = self.name(collection, "");
        let id = |name: &str| name.strip_prefix(&start).unwrap_or(name).to_string();
        while let Some(answer) = answers.message().await.with_context(|| format!("reading {collection}"))? {
            match answer.result {
                Some(Found(document)) => found.push((id(&document.name), Some(document.fields))),
                Some(Missing(name)) => found.push((id(&name), None)),
                None => {}
            }
        }
        Ok(found)
    }

    /// Puts documents in place, or takes them away, all at once.
    pub async fn write(&self, collection: &str, documents: &[(String, Option<Fields>)]) -> Result<()> {
        use fs::write::Operation::{Delete, Update};
        let write = |(id, fields): &(String, Option<Fields>)| {
            let name = self.name(collection, id);
            let operation = match fields {
                Some(fields) => Update(fs::Document { name, fields: fields.clone(), ..Default::default() }),
                None => Delete(name),
            };
            fs::Write { operation: Some(operation), ..Default::default() }
        };
        let writes = documents.iter().map(write).collect();
        let request = fs::CommitRequest { database: self.database.clone(), writes, ..Default::default() };
        let done = self.client.clone().commit(with_owner(request)).await;
        done.map(drop).with_context(|| format!("writing to {collection}"))
    }
}

/// As who may do everything on an emulator.
fn with_owner<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", MetadataValue::from_static("Bearer owner"));
    request
}
