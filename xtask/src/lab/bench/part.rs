//! Parts of the migration by themselves, each in a process of its own, so that bench can compare like
//! with like: same rows, same servers, nothing else running. The phases are those of `migrate`, with
//! everything that they do there: classifying, auditing, digesting, hashed files on disk, and the proof
//! before a database is published.

use crate::checks::preflight;
use crate::effects::terminal::peak_memory;
use crate::identity::Identity;
use crate::phases::{p2_export, p3_transform, p4_import};
use crate::run::command::{Times, begin};
use crate::run::ctx::Ctx;
use crate::run::join::all;
use crate::run::manifest::Export;
use crate::source::snapshot::Snapshot;
use crate::sql;
use crate::steps::{CommandName, StepName};
use crate::tables::Home;
use crate::timing;
use anyhow::Result;
use clap::ValueEnum;
use datapath::firestore::{Address, Firestore};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A part of the migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Phases 2 and 4: files, then the three databases.
    Rows,
    /// Phase 3, from the files of a run.
    Documents,
    /// Phases 2, 3 and 4: all that moves data.
    Move,
    /// `count(*)` of every table and the servers' own count of every collection.
    Count,
}

/// What a part says on stdout.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    pub seconds: BTreeMap<String, f64>,
    pub peak_memory: Option<u64>,
    /// By table or collection; for `count` only.
    pub counts: BTreeMap<String, u64>,
}

pub async fn run(ctx: &Arc<Ctx>, part: Part) -> Result<Done> {
    let timed = timing::Part::Step;
    let mut times = Times::default();
    let mut counts = BTreeMap::new();
    match part {
        Part::Rows => {
            let export = times.of(timed(StepName::Export), export(ctx)).await?;
            times.of(timed(StepName::Import), p4_import::databases(ctx, &export)).await?;
        }
        Part::Documents => {
            let manifest = ctx.run.load_manifest()?;
            let Some(export) = manifest.export else {
                crate::refuse!("run {} has no complete export", ctx.run.id());
            };
            let export = Arc::new(export);
            let looked = p3_transform::look(ctx, &export).await?;
            times.of(timed(StepName::Firestore), p3_transform::run(ctx, &export, &looked)).await?;
        }
        Part::Move => {
            let export = times.of(timed(StepName::Export), export(ctx)).await?;
            let both = async {
                let looked = p3_transform::look(ctx, &export).await?;
                tokio::try_join!(p3_transform::run(ctx, &export, &looked), p4_import::databases(ctx, &export))
            };
            times.of(timing::Part::Import, both).await?;
        }
        Part::Count => counts = self::counts(ctx).await?,
    }
    Ok(Done { seconds: times.by_name(), peak_memory: peak_memory(), counts })
}

/// Phase 2 without the backup beside it.
async fn export(ctx: &Arc<Ctx>) -> Result<Arc<Export>> {
    let mut manifest = begin(ctx, CommandName::BenchPart, Identity::default(), BTreeMap::new())?;
    let hash = preflight::servers(ctx).await?;
    let snapshot = Snapshot::open(ctx, hash).await?;
    let (export, _) = p2_export::run(ctx, &snapshot).await?;
    snapshot.release().await?;
    manifest.export = Some(export.clone());
    ctx.run.save_manifest(&manifest)?;
    Ok(Arc::new(export))
}

/// Everything at once, as verification reads everything at once.
async fn counts(ctx: &Arc<Ctx>) -> Result<BTreeMap<String, u64>> {
    let one = |ctx: Arc<Ctx>, table: &'static crate::tables::Table| async move {
        let rows = match &table.home {
            Home::Postgres(database) => {
                let mut connection = ctx.target(*database, "count").await?;
                let rows = connection.row(&sql::count("public", table.name)).await?.try_get::<i64, _>(0)?;
                connection.close().await?;
                u64::try_from(rows)?
            }
            Home::Firestore(collection) => {
                let address = Address::from(&ctx.settings.firestore);
                Firestore::connect(&address).await?.count(collection.name).await?
            }
        };
        Ok((table.name.to_string(), rows))
    };
    let counted = all(ctx.tables.iter().map(|table| one(ctx.clone(), table))).await?;
    Ok(counted.into_iter().collect())
}
