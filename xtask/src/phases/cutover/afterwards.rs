//! The full proof of a cut-over after a last pass: every row of the stores as they were at the cut-over, while the
//! services write already. Snapshots of the databases are opened before the services are let in; Firestore is read as
//! of an instant before that.

use crate::changes;
use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::phases::catch_up::{self, unchanged};
use crate::remembered::Remembered;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Cutover, Export, FullProof, Manifest};
use crate::run::{dir, join};
use crate::source::digests::raw_digests;
use crate::source::snapshot::Snapshot;
use crate::sql;
use crate::stores::documents::{self, Compared, compare};
use crate::stores::{remembering, rows};
use crate::tables::{self, Table};
use anyhow::{Context, Result};
use datapath::digest::Digest;
use datapath::firestore::{Address, Firestore, Instant};
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The stores as they were before a service wrote there.
pub(super) struct Snapshots {
    export: Arc<Export>,
    databases: Vec<(Database, Connection)>,
    firestore: BTreeMap<String, Instant>,
}

impl Snapshots {
    /// With locks that keep the tables what they are: a service's change of them waits until the proof has ended.
    pub async fn open(
        ctx: &Ctx,
        export: Arc<Export>,
        firestore: BTreeMap<String, Instant>,
    ) -> Result<Snapshots> {
        let databases = try_join_all(Database::ALL.map(|database| async move {
            let mut connection = ctx.looking(database, "full proof").await?;
            let tables = tables::of_database(ctx.tables, database).map(|table| ("public", table.name));
            connection.run(sql::BEGIN_LOOKING).await?;
            connection.run(&sql::lock_for_reading(tables)).await?;
            connection.row("SELECT pg_current_snapshot()::text").await?;
            anyhow::Ok((database, connection))
        }));
        let databases = databases.await?;
        Ok(Snapshots { export, databases, firestore })
    }

    /// What is not as the run says, a line each; and the databases' tables as they were, for what asks later what the
    /// services have written.
    async fn differences(self, ctx: &Arc<Ctx>) -> Result<(Vec<String>, Remembered)> {
        let Snapshots { export, databases, firestore } = self;
        let in_databases = databases.into_iter().map(|(database, connection)| {
            let (ctx, export) = (ctx.clone(), export.clone());
            async move { rows_of(&ctx, &export, database, connection).await }
        });
        let collections = ctx.tables.iter().filter(|table| table.collection().is_some());
        let in_firestore = collections.map(|table| {
            let (ctx, export, at) = (ctx.clone(), export.clone(), firestore.get(table.name).copied());
            async move { documents_of(&ctx, &export, table, at.context("no instant is known")?).await }
        });
        let (rows, documents) =
            tokio::try_join!(join::all(in_databases), join::all(in_firestore.collect::<Vec<_>>()))?;
        let (lines, remembered): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let lines = lines.into_iter().flatten().chain(documents.into_iter().flatten()).collect();
        Ok((lines, remembered.into_iter().flatten().collect()))
    }
}

async fn rows_of(
    ctx: &Ctx,
    export: &Export,
    database: Database,
    mut connection: Connection,
) -> Result<(Vec<String>, Remembered)> {
    let (mut lines, mut remembered) = (Vec::new(), Remembered::default());
    for table in tables::of_database(ctx.tables, database) {
        let record = export.tables.get(table.name).context("the manifest does not know a table")?;
        let (columns, hash) = (&record.target_columns, export.snapshot.hash);
        let found = rows::content(&mut connection, "public", table.name, columns, hash).await?;
        let content = record.content.total();
        if found == record.content {
            let place = remembering::place(table.name);
            let then = changes::remember_now(&mut connection, place, content).await?;
            remembered.extend(then.ok().map(|then| (table.name.to_string(), then)));
        } else {
            let (there, wrote) = (found.total().rows, record.content.total().rows);
            lines.push(format!(
                "{}: {there} rows with another digest than the {wrote} of the run",
                table.name
            ));
        }
    }
    connection.run("COMMIT").await.context("the snapshot was lost")?;
    let remembered = remembering::marked(ctx, &mut connection, remembered).await?;
    connection.close().await?;
    Ok((lines, remembered))
}

async fn documents_of(
    ctx: &Arc<Ctx>,
    export: &Export,
    table: &'static Table,
    at: Instant,
) -> Result<Option<String>> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?.as_of(at);
    let (mut pieces, reading) = documents::documents(ctx, table, export)?;
    let (mut wrote, mut sum) = (0, Compared::default());
    while let Some(piece) = pieces.recv().await {
        wrote += piece.len() as u64;
        sum.counts.add(compare(&firestore, table, &piece).await?.counts);
    }
    reading.await.context("the reader of the file ended unexpectedly")??;
    let there = firestore.count(table.name).await?;
    Ok((sum.counts.equal != wrote || there != wrote).then(|| {
        format!(
            "collection {}: {there} documents, {} of them as the run wrote its {wrote}",
            table.name, sum.counts.equal
        )
    }))
}

/// Compares everything, looks at the source once more for what was committed late, and writes down what came of it.
///
/// # Errors
/// None for what was found: the cut-over stands, and says that it is not fully proven.
pub(super) async fn afterwards(
    ctx: &Arc<Ctx>,
    manifest: &mut Manifest,
    snapshots: Snapshots,
) -> Result<Cutover> {
    ctx.terminal.phase("Cut-over: the full proof, while the services work");
    let looked = async {
        let (mut differences, remembered) = snapshots.differences(ctx).await?;
        differences
            .extend(catch_up::audited_again(ctx, manifest).await.err().map(|error| format!("{error:#}")));
        differences.extend(unchanged(ctx, manifest, None).await.err().map(|error| format!("{error:#}")));
        anyhow::Ok((differences, remembered))
    };
    let (proof, remembered) = match looked.await {
        Ok((differences, remembered)) => {
            (FullProof { at: dir::now(), differences, not_proven: None }, remembered)
        }
        Err(error) => {
            let not_proven = Some(format!("{error:#}"));
            (FullProof { at: dir::now(), differences: Vec::new(), not_proven }, Remembered::default())
        }
    };
    let source = match digested(ctx, manifest).await {
        Ok(source) => source,
        Err(error) => {
            ctx.terminal.warn(format!("what the source holds is not written down: {error:#}"));
            BTreeMap::new()
        }
    };
    *manifest = ctx.run.change_manifest(|manifest| {
        if let Some(cutover) = &mut manifest.cutover {
            (cutover.afterwards, cutover.source) = (Some(proof), source);
            cutover.remembered.extend(remembered);
        }
        Ok(())
    })?;
    manifest.cutover.clone().context("the cut-over is not in the manifest")
}

/// What every table of the source holds, which stays read-only: for the archive of it.
async fn digested(ctx: &Arc<Ctx>, manifest: &Manifest) -> Result<BTreeMap<String, Digest>> {
    let backup = manifest.backup.as_ref().context("the run has no backup")?;
    let snapshot = Snapshot::again(ctx, backup.snapshot.hash).await?;
    let (digests, _) = raw_digests(ctx, &snapshot).await?;
    snapshot.release().await?;
    Ok(digests)
}
