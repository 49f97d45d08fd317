//! The stores against the old database as it is, through the export's SELECTs and nothing else: no file of the run,
//! and none of the tool's own verification.

use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::source::snapshot::{Snapshot, worker};
use crate::source::{assess::conversions, rows as source_rows};
use crate::stores::rows;
use crate::tables::{Home, Table};
use anyhow::{Context, Result};
use datapath::digest::{BUCKET, Content, Digest};
use datapath::document::{self, Collection};
use datapath::firestore::{Address, Firestore};
use std::collections::BTreeMap;

/// What differs, a line for each table or collection; and where the run's ledger says something else of the rows.
pub async fn differences(ctx: &Ctx, export: &Export) -> Result<Vec<String>> {
    let snapshot = Snapshot::open(ctx, export.snapshot.hash).await?;
    let snapshot = conversions::read_as(ctx, snapshot, export.snapshot.reading.clone()).await?;
    let mut lines = Vec::new();
    for table in ctx.tables {
        let (expected, outcomes) = expected(ctx, &snapshot, table, export).await?;
        let record = export.tables.get(table.name).context("a table is not in the export")?;
        let mut ledger = record.outcomes.rows.clone();
        ledger.retain(|_, rows| *rows > 0);
        if outcomes != ledger {
            lines.push(format!("{}: the ledger says {ledger:?}, the rows {outcomes:?}", table.name));
        }
        let found = match &table.home {
            Home::Postgres(database) => {
                let mut connection = ctx.looking(*database, "compare").await?;
                let (columns, hash) = (&record.target_columns, export.snapshot.hash);
                let found = rows::content(&mut connection, "public", table.name, columns, hash).await?;
                connection.close().await?;
                (found == expected, found.total().rows)
            }
            Home::Firestore(collection) => {
                let found = documents(ctx, collection).await?;
                (found == expected.total(), found.rows)
            }
        };
        if !found.0 {
            let (there, wanted) = (found.1, expected.total().rows);
            lines.push(format!("{}: {there} there, {wanted} wanted, or their content differs", table.name));
        }
    }
    snapshot.release().await?;
    Ok(lines)
}

/// What the store must hold by the old database as it is, and how many of its rows have which outcome.
async fn expected(
    ctx: &Ctx,
    snapshot: &Snapshot,
    table: &Table,
    export: &Export,
) -> Result<(Content, BTreeMap<String, u64>)> {
    let mut connection = worker(ctx, &snapshot.info, "compare").await?;
    let rows = source_rows::of(ctx, &mut connection, &snapshot.info.reading, (table, export)).await?;
    let (mut content, mut outcomes) = (Content::default(), BTreeMap::new());
    let take = |id: i64, row: source_rows::Row| {
        *outcomes.entry(row.outcome.clone()).or_default() += 1;
        if row.outcome == crate::model::MIGRATED {
            let digest = Digest { rows: 1, sum: i128::from(row.hash) };
            content.buckets.entry(id / BUCKET).or_default().add(digest);
        }
        Ok(())
    };
    let copy = rows.copy_sorted(snapshot.info.hash);
    source_rows::read(connection, &copy, take).await?.1.close().await?;
    Ok((content, outcomes))
}

/// Every document that is there.
async fn documents(ctx: &Ctx, collection: &Collection) -> Result<Digest> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let mut all = Digest::default();
    for ids in crate::lab::compare::ids(&firestore, collection).await?.chunks(500) {
        for (id, fields) in firestore.read(collection.name, ids).await? {
            let fields = fields.with_context(|| format!("{id} has gone while it was read"))?;
            all.add(Digest { rows: 1, sum: document::hash(&id, &fields).into() });
        }
    }
    Ok(all)
}
