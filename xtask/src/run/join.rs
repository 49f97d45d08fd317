//! Tasks of a run, all at once.

use anyhow::{Context, Result};
use std::future::Future;
use tokio::task::JoinSet;

/// Runs all of them at once, each on a task of its own, and returns their results in order. The
/// first error ends the others, as does dropping the future.
pub async fn all<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
) -> Result<Vec<T>> {
    let mut set = JoinSet::new();
    for (index, task) in tasks.into_iter().enumerate() {
        set.spawn(async move { (index, task.await) });
    }
    let mut results = Vec::with_capacity(set.len());
    while let Some(joined) = set.join_next().await {
        let (index, result) = joined.context("a task of the run ended unexpectedly")?;
        results.push((index, result?));
    }
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
