//! Firestore's documents, counted by the server.

use super::seen::FirestoreSeen;
use crate::run::ctx::Ctx;
use crate::tables::Home;
use anyhow::{Context, Result};
use datapath::firestore::{Address, Firestore};
use futures_util::future::try_join_all;
use std::time::Duration;

/// What does not answer by then is down: a call by itself is patient for longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn look(ctx: &Ctx) -> FirestoreSeen {
    let address = Address::from(&ctx.settings.firestore);
    let counted = tokio::time::timeout(PATIENCE, counted(ctx, &address)).await;
    let counted =
        counted.with_context(|| format!("{address} did not answer within {} s", PATIENCE.as_secs()));
    match counted.flatten() {
        Ok(seen) => seen,
        Err(error) => FirestoreSeen::Down { reason: format!("{error:#}") },
    }
}

async fn counted(ctx: &Ctx, address: &Address) -> Result<FirestoreSeen> {
    let firestore = Firestore::connect(address).await?;
    let collections = ctx.tables.iter().filter_map(|table| match &table.home {
        Home::Firestore(collection) => Some(collection.name),
        Home::Postgres(_) => None,
    });
    let counts = collections.map(|collection| {
        let firestore = &firestore;
        async move { anyhow::Ok((collection.to_string(), firestore.count(collection).await?)) }
    });
    Ok(FirestoreSeen::Up { documents: try_join_all(counts).await?.into_iter().collect() })
}
