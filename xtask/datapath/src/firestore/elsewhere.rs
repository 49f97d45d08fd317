//! What stands beside the collections at the root: collections of other names, and some of the same name
//! below documents.

use super::client::{Firestore, READ_TIMEOUT, total, within};
use super::instant::Instant;
use super::wire::{self, Depth};
use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use gcloud_sdk::RequestTimeouts;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::tonic::Status;

impl Firestore {
    /// The names of all collections at the root.
    pub fn root_collections(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        self.listed(None)
    }

    /// The same as they were at that instant.
    pub fn root_collections_at(&self, at: Instant) -> BoxFuture<'_, Result<Vec<String>>> {
        use fs::list_collection_ids_request::ConsistencySelector;
        self.listed(Some(ConsistencySelector::ReadTime(at.timestamp())))
    }

    fn listed(
        &self,
        consistency_selector: Option<fs::list_collection_ids_request::ConsistencySelector>,
    ) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async move {
            let (mut names, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = fs::ListCollectionIdsRequest {
                    parent: self.documents.clone(),
                    page_token,
                    consistency_selector,
                    ..Default::default()
                };
                let page = self.patiently(async || {
                    let request = within(total(READ_TIMEOUT), request.clone());
                    Ok(self.client().list_collection_ids(request).await?.into_inner())
                });
                let page = page.await.context("listing the collections")?;
                names.extend(page.collection_ids);
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return Ok(names);
                }
            }
        })
    }

    /// The documents of all collections of this name, the one at the root and those below documents,
    /// counted by the server.
    pub fn count_everywhere<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<u64>> {
        self.count_to(collection, Depth::Everywhere, None)
    }

    /// A collection's first documents, by their paths (`users/u1`).
    pub fn first_documents<'a>(
        &'a self,
        collection: &'a str,
        at_most: usize,
    ) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async move {
            let found = self.patiently(|| self.paths(collection, Depth::Root, None, at_most, |_| true));
            found.await.with_context(|| format!("listing {collection}"))
        })
    }

    /// Some of the documents in collections of this name below other documents, by their paths
    /// (`users/u1/user_sessions/s1`): as many as there are, `at_most` so many.
    pub fn below_documents<'a>(
        &'a self,
        collection: &'a str,
        at_most: usize,
    ) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async move {
            // At the root a path is a collection and a document, no more.
            let below = |path: &str| path.matches('/').count() > 1;
            let found = self.patiently(async || {
                // Those that follow our own collection first: without reading that for nothing.
                let last = format!("{}/{}", self.path(collection), char::MAX);
                let after = Some(last.as_str());
                let found = self.paths(collection, Depth::Everywhere, after, at_most, below).await?;
                match found.is_empty() {
                    true => self.paths(collection, Depth::Everywhere, None, at_most, below).await,
                    false => Ok(found),
                }
            });
            found.await.with_context(|| format!("looking for {collection} below documents"))
        })
    }

    /// The paths of some documents that are wanted, in their order: `at_most` so many.
    async fn paths(
        &self,
        collection: &str,
        depth: Depth,
        after: Option<&str>,
        at_most: usize,
        wanted: fn(&str) -> bool,
    ) -> Result<Vec<String>, Status> {
        let query = wire::names_request(&self.documents, collection, depth, after);
        let timeouts = RequestTimeouts::new().with_idle(READ_TIMEOUT);
        let mut answers = self.client().run_query(within(timeouts, query)).await?.into_inner();
        let mut found = Vec::new();
        while found.len() < at_most {
            let Some(answer) = answers.message().await? else { break };
            let name = answer.document.map(|document| document.name).unwrap_or_default();
            let path = name.strip_prefix(&self.documents).and_then(|path| path.strip_prefix('/'));
            found.extend(path.filter(|path| wanted(path)).map(str::to_owned));
        }
        Ok(found)
    }
}
