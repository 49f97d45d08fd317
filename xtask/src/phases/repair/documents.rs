//! One collection: its documents are compared with those of the run's file, twice where any differ: they
//! are counted before they are told.

use super::summary::{Repaired, TableSummary};
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::sql::Owner;
use crate::stores::documents;
use crate::stores::reconcile::{self, Action, OnChange, Wanted};
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::firestore::Firestore;
use std::sync::Arc;

/// What there is to do.
pub(super) async fn count(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    firestore: &Firestore,
    table: &'static Table,
    owner: Owner,
) -> Result<TableSummary> {
    let mut summary = TableSummary::new("firestore", table.name);
    let found = make(ctx, export, firestore, table, owner, false, &mut |change| {
        match change.action {
            Action::Insert => summary.missing += 1,
            Action::Update => summary.different += 1,
            Action::Delete => summary.extra += 1,
            Action::Conflict => summary.conflicts += 1,
            Action::Alter | Action::AddedByOthers | Action::NotByThisCommand => {}
        }
        Ok(())
    })
    .await?;
    summary.theirs = found.theirs;
    Ok(summary)
}

/// Whether nothing has to be told.
pub(super) fn is_right(counted: &TableSummary) -> bool {
    TableSummary { theirs: 0, ..counted.clone() }.is_empty()
}

/// Tells of each document that is not as it has to be; `apply`: and changes it.
pub(super) async fn make(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    firestore: &Firestore,
    table: &'static Table,
    owner: Owner,
    apply: bool,
    tell: &mut OnChange<'_>,
) -> Result<Repaired> {
    let collection = table.collection().with_context(|| format!("{} is not a collection", table.name))?;
    let mut repaired = Repaired::default();
    let mut take = |made: reconcile::Made| {
        let conflicts = made.conflicts.len() as u64;
        repaired.add(Repaired {
            changes: made.changed,
            conflicts,
            theirs: made.theirs,
            ..Repaired::default()
        });
    };
    let (mut pieces, reading) = documents::documents(ctx, table, export)?;
    while let Some(piece) = pieces.recv().await {
        let wanted = piece.into_iter().map(|document| Wanted {
            id: document.id.clone(),
            last: Some(document.clone()),
            document: Some(document),
        });
        let wanted: Vec<Wanted> = wanted.collect();
        take(reconcile::documents(firestore, table, &wanted, owner, apply, tell).await?);
    }
    reading.await.context("the reader of the file ended unexpectedly")??;
    let mut foreign = Vec::new();
    documents::foreign(ctx, firestore, export, table, collection, |ids| {
        foreign.extend(ids.into_iter().map(|id| Wanted { id, document: None, last: None }));
        Ok(())
    })
    .await?;
    take(reconcile::documents(firestore, table, &foreign, owner, apply, tell).await?);
    Ok(repaired)
}
