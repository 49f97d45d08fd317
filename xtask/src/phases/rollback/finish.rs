//! After the old database has what the stores held: numbers, marks, documents, and the old services let in. Each can be
//! repeated; what was cut off is completed by the same call.

use super::going::Going;
use super::summary::{Back, BackPart};
use super::{put, service};
use crate::model::{Database, Service};
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::manifest::{Export, RolledBack, ServiceBack};
use crate::source::freeze::Freezer;
use crate::sql;
use crate::stores::marks::{self, MarkState};
use crate::stores::{ownership, rows};
use crate::tables::{self, Table};
use anyhow::{Context, Result};
use datapath::document::Collection;
use datapath::firestore::{Address, Firestore, Guarded, Instant, Since, Version};
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Deletions in one call.
const PIECE: usize = 500;

pub async fn all(ctx: &Arc<Ctx>, going: &Going, mut back: Back) -> Result<Back> {
    let scenario = going.wanted.scenario;
    let takes = |service| scenario.takes(service, &going.before);
    let mut seconds = std::mem::take(&mut back.seconds);
    let databases = Database::ALL.into_iter().filter(|database| takes(database.service()));
    seconds.of(BackPart::Marks, marks(ctx, going, &back, databases)).await?;
    back.written_later = seconds.of(BackPart::Documents, documents(ctx, &back)).await?;
    back.seconds = seconds;
    if takes(Service::User) {
        let instead = scenario.alone().map_or(MarkState::Published, |_| MarkState::TakenBack);
        marks::taken_back_in_firestore(ctx, instead).await?;
    }
    // The last of them leaves nothing behind.
    let all = Service::ALL.iter().all(|service| takes(*service) || going.before.contains(service));
    // Before the run says that it is taken back: a call that is cut off here is not the last one.
    match scenario.alone() {
        Some(service) if !all => service::let_in(ctx, service).await?,
        _ => let_in(ctx).await?,
    }
    ctx.run.change_manifest(|manifest| {
        let at = dir::now();
        if let Some(service) = scenario.alone()
            && manifest.services_back.iter().all(|back| back.service != service)
        {
            manifest.services_back.push(ServiceBack { service, at: at.clone() });
        }
        if all && let Some(cutover) = manifest.cutover.take() {
            let taken = RolledBack { at, scope: back.scope.clone(), cutover: Some(cutover) };
            manifest.proof = None;
            manifest.rolled_back.push(taken);
        }
        Ok(())
    })?;
    Ok(back)
}

/// The old database's numbers go on, and the targets know that they were taken back.
async fn marks(
    ctx: &Ctx,
    going: &Going,
    back: &Back,
    databases: impl Iterator<Item = Database>,
) -> Result<()> {
    for line in put::raise_sequences(ctx, &back.sequences).await? {
        ctx.terminal.line(line);
    }
    let taken = databases.map(async |database| {
        let taken = taken_back(ctx, &going.export, back, database).await;
        taken.with_context(|| format!("recording in {database} that it was taken back"))
    });
    try_join_all(taken).await.map(drop)
}

/// Deletes the documents that came back; by collection, how many were written later and are left.
async fn documents(ctx: &Ctx, back: &Back) -> Result<BTreeMap<String, u64>> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let mut written_later = BTreeMap::new();
    for collection in ctx.tables.iter().filter_map(Table::collection) {
        let Some(captured) = back.captured.get(collection.name) else { continue };
        let left = delete_captured(&firestore, collection, *captured).await?;
        if left > 0 {
            written_later.insert(collection.name.to_string(), left);
        }
    }
    Ok(written_later)
}

/// The old services can write again; or it is said why not.
pub async fn let_in(ctx: &Ctx) -> Result<()> {
    let freezer = Freezer::of(ctx);
    if let Some(undone) = freezer.undo_open().await? {
        ctx.terminal.line(format!("the source is not frozen any more: {}", undone.join("; ")));
    } else if freezer.setting().await?.as_deref() == Some("on") {
        ctx.terminal.warn(format!(
            "the old database is still read-only for new sessions, and {} does not know who has frozen it: `cargo xtask \
             unfreeze --run {}` where that was, or by hand: {}",
            freezer.book().path().display(),
            ctx.run.id(),
            sql::let_write(&ctx.settings.source.database)
        ));
    }
    Ok(())
}

/// What the target holds now is known to this tool, so that a later run can take its place: it is in the old database,
/// too. It is not cut over any more.
async fn taken_back(ctx: &Ctx, export: &Export, back: &Back, database: Database) -> Result<()> {
    let mut connection = ctx.target(database, "rollback").await?;
    let mut export = export.clone();
    for table in tables::of_database(ctx.tables, database) {
        let received = back.tables.get(table.name).is_some_and(|table| !table.counts.is_empty());
        if let (true, Some(record)) = (received, export.tables.get_mut(table.name)) {
            let (columns, hash) = (&record.target_columns, export.snapshot.hash);
            record.content = rows::content(&mut connection, "public", table.name, columns, hash).await?;
        }
    }
    let record = ownership::record(ctx, &export, database).to_string();
    connection.run("BEGIN").await?;
    connection.run(&sql::record_run(ctx.run.id(), &record)).await?;
    marks::taken_back(ctx, &mut connection, &back.scope).await?;
    connection.run("COMMIT").await?;
    connection.close().await
}

/// Deletes the documents that still are what was captured; how many others there are, which are left.
async fn delete_captured(firestore: &Firestore, collection: &Collection, captured: Instant) -> Result<u64> {
    let (mut captured_ones, mut left): (Vec<(String, Version)>, u64) = (Vec::new(), 0);
    firestore
        .since_by_version(collection.name, captured, |id, version, since| {
            match since {
                Since::Unchanged => captured_ones.push((id, version)),
                Since::Written => left += 1,
            }
            Ok(())
        })
        .await?;
    for piece in captured_ones.chunks(PIECE) {
        let changes =
            piece.iter().map(|(id, version)| (Guarded::Delete(id.clone()), version.clone())).collect();
        left += firestore.change(collection.name, changes).await?.len() as u64;
    }
    Ok(left)
}
