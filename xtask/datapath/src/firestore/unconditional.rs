//! Writing whatever stands there. Nothing that moves a shop's data may do so: it is for tests, which play
//! the services, and for the lab, which makes room in emulators of its own.

use super::client::Firestore;
use super::pace::Limiter;
use super::submit::{Rejected, submit};
use super::wire::Change;
use crate::document::Document;
use anyhow::{Context, Result, bail};
use futures_util::future::BoxFuture;

/// Writes that overwrite.
pub trait Unconditional {
    /// Deletes these documents; to delete what is not there is no error. Returns how many
    /// deletions Firestore confirmed, which is all of them.
    fn delete<'a>(&'a self, collection: &'a str, ids: &'a [String]) -> BoxFuture<'a, Result<u64>>;

    /// Writes one whole document, replacing what stands there.
    fn set<'a>(&'a self, collection: &'a str, document: &'a Document) -> BoxFuture<'a, Result<()>>;
}

impl Unconditional for Firestore {
    fn delete<'a>(&'a self, collection: &'a str, ids: &'a [String]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let mut deleted = 0;
            for ids in ids.chunks(self.pace.batch) {
                let changes = ids.iter().map(|id| Change::Delete(id.clone())).collect();
                deleted += submit_all(self, collection, changes)
                    .await
                    .with_context(|| format!("deleting from {collection}"))?;
            }
            Ok(deleted)
        })
    }

    fn set<'a>(&'a self, collection: &'a str, document: &'a Document) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let change = Change::Set(document.clone());
            let context = || format!("writing document {} of {collection}", document.id);
            submit_all(self, collection, vec![change]).await.with_context(context)?;
            Ok(())
        })
    }
}

/// A few changes, of which none may be rejected.
async fn submit_all(firestore: &Firestore, collection: &str, changes: Vec<Change>) -> Result<u64> {
    let sent = submit(&firestore.target(collection), changes, &firestore.pace, &Limiter::new(None)).await?;
    if let [first, ..] = sent.written.rejected.as_slice() {
        let Rejected { id, code, message } = first;
        let count = sent.written.rejected.len();
        bail!("Firestore refused {count} documents, the first, {id}, with {code}: {message}");
    }
    Ok(sent.written.documents)
}
