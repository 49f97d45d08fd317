//! Parts of the migration by themselves, each in a process of its own, so that bench can compare like
//! with like: same rows, same servers, nothing else running. The phases are those of `migrate`, with
//! everything that they do there: classifying, auditing, digesting, hashed files on disk, and the proof
//! before a database is published.
//!
//! What looks again at a run that is proven takes a moment only: it is done several times in a row.

use crate::checks::preflight;
use crate::effects::terminal::peak_memory;
use crate::identity::Identity;
use crate::lab::bench::counts;
use crate::lab::usage;
use crate::phases::p5_verify::alone;
use crate::phases::{cutover, p2_export, p3_transform, p4_import};
use crate::refuse;
use crate::remembered::Remembered;
use crate::run::command::{Times, begin};
use crate::run::ctx::Ctx;
use crate::run::manifest::{Check, Export, Manifest, TableProof};
use crate::source::snapshot::Snapshot;
use crate::steps::{CommandName, StepName};
use crate::timing;
use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A part of the migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Phases 2 and 4: files, then the three databases.
    Rows,
    /// Phase 3, from the files of a run.
    Documents,
    /// What `verify` does for the content of the PostgreSQL tables of a run that is proven.
    Content,
    /// `count(*)` of the same tables, in the heap.
    TargetCounts,
    /// What `verify` does for databases, definitions and sequences.
    Structure,
    /// What `verify` does for references, inside databases and between them.
    References,
    /// What `cutover` asks of the source.
    SourceCheck,
    /// `count(*)` of every table of the source, in the heap.
    SourceCounts,
}

impl Part {
    /// Whether it begins a run; else it goes on from one.
    pub fn begins_a_run(self) -> bool {
        self == Part::Rows
    }

    /// As the command line takes it.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
    }
}

/// What a part says on stdout.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Done {
    pub seconds: BTreeMap<String, f64>,
    pub peak_memory: Option<u64>,
    /// Rows found: of the targets by table, of the source by `schema.table`.
    pub counts: Counts,
    /// `None`: it was done once, and its process did nothing else.
    pub passes: Option<Passes>,
}

/// What was done several times in a row: of all times together, from the first one's beginning to the last
/// one's end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Passes {
    pub times: u32,
    pub seconds: f64,
    /// Processor seconds of this process and its children.
    pub cpu: f64,
}

/// Processor time is told in steps of 10 ms: so often at most, and not again after so long.
const PASSES: u32 = 5;
const ENOUGH: Duration = Duration::from_secs(3);

pub async fn run(ctx: &Arc<Ctx>, part: Part) -> Result<Done> {
    match part {
        Part::Rows => rows(ctx).await,
        Part::Documents => documents(ctx, &export_of(ctx)?).await,
        Part::Content => {
            let export = export_of(ctx)?;
            let remembered = ctx.run.load_manifest()?.remembered;
            repeated(async || content(ctx, &export, &remembered).await).await
        }
        Part::TargetCounts => repeated(async || counts::targets(ctx).await).await,
        Part::Structure => {
            let export = export_of(ctx)?;
            repeated(async || green(alone::structure(ctx, &export).await?)).await
        }
        Part::References => {
            let export = export_of(ctx)?;
            repeated(async || green(alone::references(ctx, &export).await?)).await
        }
        Part::SourceCheck => {
            let manifest = ctx.run.load_manifest()?;
            repeated(async || source_check(ctx, &manifest).await).await
        }
        Part::SourceCounts => repeated(async || counts::source(ctx).await).await,
    }
}

/// Of the run that an earlier call has made.
fn export_of(ctx: &Ctx) -> Result<Arc<Export>> {
    match ctx.run.load_manifest()?.export {
        Some(export) => Ok(Arc::new(export)),
        None => refuse!("run {} has no complete export", ctx.run.id()),
    }
}

async fn rows(ctx: &Arc<Ctx>) -> Result<Done> {
    let mut times = Times::default();
    let export = times.of(timing::Part::Step(StepName::Export), export(ctx)).await?;
    times.of(timing::Part::Step(StepName::Import), p4_import::databases(ctx, &export)).await?;
    Ok(Done::once(&times))
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

async fn documents(ctx: &Arc<Ctx>, export: &Arc<Export>) -> Result<Done> {
    let mut times = Times::default();
    let looked = p3_transform::look(ctx, export).await?;
    times.of(timing::Part::Step(StepName::Firestore), p3_transform::run(ctx, export, &looked)).await?;
    Ok(Done::once(&times))
}

impl Done {
    fn once(times: &Times) -> Done {
        let seconds = times.by_part().into_iter().map(|(part, seconds)| (part.key(), seconds)).collect();
        Done { seconds, peak_memory: peak_memory(), ..Done::default() }
    }
}

/// Rows that were found, as [`Done`] has them.
type Counts = BTreeMap<String, u64>;

async fn repeated(work: impl AsyncFn() -> Result<Counts>) -> Result<Done> {
    let (started, before) = (Instant::now(), usage::own_cpu()?);
    let (mut counts, mut times) = (Counts::default(), 0);
    while times < PASSES && started.elapsed() < ENOUGH {
        counts = work().await?;
        times += 1;
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), usage::own_cpu()? - before);
    let passes = Some(Passes { times, seconds, cpu });
    Ok(Done { counts, passes, peak_memory: peak_memory(), ..Done::default() })
}

/// What `verify` does for the content of the PostgreSQL tables after a proven run.
async fn content(ctx: &Arc<Ctx>, export: &Arc<Export>, remembered: &Remembered) -> Result<Counts> {
    let proofs = alone::content(ctx, export, remembered).await?;
    let red: Vec<&str> =
        proofs.iter().filter(|(_, p)| !p.is_green()).map(|(name, _)| name.as_str()).collect();
    ensure!(red.is_empty(), "not what run {} proved: {}", ctx.run.id(), red.join(", "));
    let found = |(name, proof): (String, TableProof)| (name, proof.found_rows);
    Ok(proofs.into_iter().map(found).collect())
}

/// What `cutover` asks of the source.
async fn source_check(ctx: &Arc<Ctx>, manifest: &Manifest) -> Result<Counts> {
    let look = cutover::unchanged(ctx, manifest).await?;
    Ok(look.tables.into_iter().map(|(name, digest)| (name, digest.rows)).collect())
}

fn green(checks: Vec<Check>) -> Result<Counts> {
    let red: Vec<&str> = checks.iter().filter(|c| !c.is_green()).map(|check| check.name.as_str()).collect();
    ensure!(red.is_empty(), "checks that are not green: {}", red.join(", "));
    Ok(Counts::default())
}
