//! What a migration will come to, found without changing anything: counts by the classifying SELECTs,
//! time from a short sample of the source's reading and of a project's answers.
//!
//! Nothing can be measured of the targets' writing without writing: it is taken in proportion to the
//! source's reading, and corrected by what earlier runs on these hosts took.

use super::preflight;
use super::snapshot::{RawName, Snapshot, worker};
use crate::ctx::Ctx;
use crate::digest::HashFn;
use crate::effects::disk;
use crate::effects::firestore::{Address, Firestore, Pace};
use crate::effects::postgres::{self, Connection};
use crate::forecast::{Disk, Documents, Forecast, Hazard, Sample, TablePlan, Timing, Writing, seconds};
use crate::ledger::Outcomes;
use crate::manifest::{Export, SnapshotInfo};
use crate::model::{Database, MIGRATED};
use crate::refuse;
use crate::run_dir::{self, RunDir};
use crate::settings::Server;
use crate::sql::{self, Rows};
use crate::tables::Table;
use anyhow::{Context, Result};
use sqlx::Row;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a table is read for the sample, from its first row on.
const READING: Duration = Duration::from_millis(200);

/// Where nobody has documents.
const NOWHERE: &str = "xtask_nowhere";

/// Everything that can be said before a run. Touches nothing.
pub async fn run(ctx: &Arc<Ctx>) -> Result<Forecast> {
    let hash = preflight::servers(ctx).await?;
    let mut obstacles = preflight::obstacles(ctx, None).await?;
    let snapshot = Snapshot::open(ctx, hash).await?;
    let counts =
        ctx.tables.iter().map(|t| count(ctx.clone(), snapshot.info.clone(), t, size(&snapshot, t).clone()));
    let counted = super::all(counts).await?;
    let rows = |table: &Table| {
        counted.iter().find(|(plan, _)| plan.table == table.name).map_or(0, |(plan, _)| plan.rows)
    };
    let sizes: Vec<Size> =
        ctx.tables.iter().map(|t| Size { rows: rows(t), ..Size::from(size(&snapshot, t)) }).collect();
    let all_bytes: u64 = snapshot.tables.iter().map(|t| t.bytes).sum();
    let documents = documents(ctx, &counted);
    let sample = reading(ctx, hash, &sizes).await?;
    snapshot.release().await?;

    let disk = disk(ctx, &sample, &sizes, all_bytes)?;
    obstacles.extend(documents.too_expensive());
    let (tables, hazards): (Vec<_>, Vec<_>) = counted.into_iter().unzip();
    Ok(Forecast {
        quarantined: tables.iter().map(|t: &TablePlan| t.outcomes.sums().quarantined).sum(),
        tables,
        hazards: hazards.into_iter().flatten().collect(),
        obstacles,
        max_quarantine: ctx.settings.policy.max_quarantine,
        timing: timing(ctx, &sample, documents.writes, documents.floor_seconds).await?,
        documents,
        sample,
        disk,
    })
}

/// The prediction that `migrate` makes of itself: from statistics and the sample alone.
pub async fn quick(ctx: &Arc<Ctx>, hash: HashFn) -> Result<Timing> {
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("forecast")).await?;
    let names = super::snapshot::tables(&mut connection).await?;
    connection.close().await?;
    let find = |t: &Table| names.iter().find(|r| r.schema == "public" && r.table == t.source);
    let sizes: Vec<Size> = ctx.tables.iter().map(|t| find(t).map(Size::from).unwrap_or_default()).collect();
    let rows = |t: &Table| find(t).map_or(0, |r| r.estimated_rows);
    let collections: Vec<u64> = ctx.tables.iter().filter(|t| t.collection().is_some()).map(rows).collect();
    let documents = collections.iter().sum();
    let sample = reading(ctx, hash, &sizes).await?;
    timing(ctx, &sample, documents, floor(ctx, &collections)).await
}

/// # Errors
/// Refuses where the documents of an export cost more than the environment allows.
pub fn cost_limit(ctx: &Ctx, export: &Export) -> Result<()> {
    let rows = |t: &Table| export.files.get(&t.file()).and_then(|f| f.rows).unwrap_or_default();
    let sizes: Vec<u64> = ctx.tables.iter().filter(|t| t.collection().is_some()).map(rows).collect();
    let firestore = &ctx.settings.firestore;
    match Documents::new(&sizes, firestore.prices.as_ref(), firestore.max_cost).too_expensive() {
        Some(why) => refuse!("{why}. No target has been written"),
        None => Ok(()),
    }
}

/// What is known of a table before it is read.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    rows: u64,
    bytes: u64,
}

impl From<&RawName> for Size {
    fn from(name: &RawName) -> Size {
        Size { rows: name.estimated_rows, bytes: name.bytes }
    }
}

fn size<'a>(snapshot: &'a Snapshot, table: &Table) -> &'a RawName {
    // Snapshot::open refuses a source that lacks one of them.
    let found = snapshot.tables.iter().find(|r| r.schema == "public" && r.table == table.source);
    found.unwrap_or(&snapshot.tables[0])
}

/// A table's rows by outcome, and what is dangerous in them.
async fn count(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    table: &'static Table,
    size: RawName,
) -> Result<(TablePlan, Vec<Hazard>)> {
    let _turn = ctx.turn_on_source(size.estimated_rows).await;
    let mut worker = worker(&ctx, &snapshot, "plan").await?;
    let select = sql::expand(ctx.tables, table.export)?;
    let (mut rows, mut samples) = (BTreeMap::new(), BTreeMap::new());
    let found = worker.rows(&Rows::outcomes(&select)).await;
    for row in found.with_context(|| format!("counting {} with sql/{}", table.name, table.export.path))? {
        let outcome: String = row.try_get("outcome")?;
        let sample: Option<String> = row.try_get("sample")?;
        let sample = sample.iter().flat_map(|s| s.split(' ')).map(str::to_string).collect();
        rows.insert(outcome.clone(), u64::try_from(row.try_get::<i64, _>("rows")?)?);
        samples.insert(outcome, sample);
    }
    worker.close().await?;
    let plan = TablePlan {
        table: table.name.to_string(),
        rows: rows.values().sum(),
        bytes: size.bytes,
        outcomes: Outcomes { rows },
    };
    let hazards = Hazard::of_quarantine(&plan, &samples);
    Ok((plan, hazards))
}

fn documents(ctx: &Ctx, counted: &[(TablePlan, Vec<Hazard>)]) -> Documents {
    let migrated = |t: &Table| {
        let plan = counted.iter().find(|(plan, _)| plan.table == t.name);
        plan.and_then(|(plan, _)| plan.outcomes.rows.get(MIGRATED)).copied().unwrap_or_default()
    };
    let sizes: Vec<u64> = ctx.tables.iter().filter(|t| t.collection().is_some()).map(migrated).collect();
    let firestore = &ctx.settings.firestore;
    Documents {
        floor_seconds: floor(ctx, &sizes),
        ..Documents::new(&sizes, firestore.prices.as_ref(), firestore.max_cost)
    }
}

/// Collections are written one after the other, each from the beginning of the ramp.
fn floor(ctx: &Ctx, collections: &[u64]) -> Option<f64> {
    if ctx.settings.firestore.emulator.is_some() {
        return None;
    }
    let limit = Pace::for_project(ctx.settings.firestore.rate).limit?;
    Some(collections.iter().map(|documents| limit.floor(*documents)).sum())
}

async fn timing(ctx: &Ctx, sample: &Sample, documents: u64, floor: Option<f64>) -> Result<Timing> {
    let writing = match floor {
        None => Writing::Emulator,
        Some(floor) => project(ctx, floor).await?,
    };
    Ok(Timing::new(hosts(ctx), seconds(sample, documents, writing), &earlier(ctx)))
}

/// How long a project takes to answer: asked for one document that is not there, because it charges for
/// answers.
async fn project(ctx: &Ctx, floor: f64) -> Result<Writing> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let started = Instant::now();
    firestore.read(NOWHERE, &["nobody".to_string()]).await?;
    let pace = Pace::for_project(ctx.settings.firestore.rate);
    let (writes, reads) = (pace.workers * pace.batch, super::p5_verify::AT_ONCE);
    Ok(Writing::Project { floor, answer: started.elapsed().as_secs_f64(), writes, reads })
}

/// Where the servers are; ports differ between servers that come and go on one machine.
fn hosts(ctx: &Ctx) -> String {
    let targets = Database::ALL.map(|database| ctx.settings.target(database));
    let servers = [&ctx.settings.source].into_iter().chain(targets).map(|s: &Server| s.host.clone());
    let firestore = match &ctx.settings.firestore.emulator {
        Some(address) => {
            format!("emulator {}", address.rsplit_once(':').map_or(address.as_str(), |(h, _)| h))
        }
        None => format!("project {}", ctx.settings.firestore.project),
    };
    servers.chain([firestore]).collect::<Vec<_>>().join(", ")
}

/// What earlier runs took, the newest first. A manifest that cannot be read says nothing about time.
fn earlier(ctx: &Ctx) -> Vec<Timing> {
    let parent = ctx.run.path().parent().unwrap_or(Path::new("."));
    let ids = run_dir::ids(parent).unwrap_or_default().into_iter().rev().filter(|id| id != ctx.run.id());
    ids.take(50).filter_map(|id| RunDir::read_manifest(&parent.join(id)).ok()?.time).collect()
}

/// A table that was read for a moment.
struct Read {
    bytes_on_disk: f64,
    rows: f64,
    /// Of all its rows.
    seconds: f64,
    file_bytes: f64,
}

/// How long it takes to read all tables out, as many at a time as in a run, and what comes out. The
/// largest are read for a moment beside each other; the others are taken in proportion.
async fn reading(ctx: &Arc<Ctx>, hash: HashFn, sizes: &[Size]) -> Result<Sample> {
    let mut tables: Vec<(&'static Table, Size)> = ctx.tables.iter().zip(sizes.iter().copied()).collect();
    tables.sort_by_key(|(_, size)| std::cmp::Reverse(size.bytes));
    let rest: u64 = tables.iter().skip(ctx.jobs).map(|(_, size)| size.bytes).sum();
    let reads = tables.into_iter().take(ctx.jobs).map(|(t, size)| read(ctx.clone(), hash, t, size));
    let reads = super::all(reads).await?;
    let sum = |what: &dyn Fn(&Read) -> f64| reads.iter().map(what).sum::<f64>();
    let bytes_on_disk = sum(&|r| r.bytes_on_disk);
    let whole = if bytes_on_disk > 0.0 { 1.0 + rest as f64 / bytes_on_disk } else { 1.0 };
    Ok(Sample {
        reading: sum(&|r| r.seconds) * whole / ctx.jobs as f64,
        rows: (sum(&|r| r.rows) * whole) as u64,
        file_bytes: sum(&|r| r.file_bytes) * whole,
    })
}

/// Enough of the table has been read.
#[derive(Debug)]
struct Enough;

impl std::fmt::Display for Enough {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("enough")
    }
}

impl std::error::Error for Enough {}

async fn read(ctx: Arc<Ctx>, hash: HashFn, table: &'static Table, size: Size) -> Result<Read> {
    let _turn = ctx.turn_on_source(size.bytes).await;
    let mut connection: Connection =
        postgres::connect(&ctx.settings.source, &ctx.purpose("forecast")).await?;
    connection.run(sql::BEGIN_LOOKING).await?;
    let select = sql::expand(ctx.tables, table.export)?;
    let shape = connection.describe(&Rows::shape(&select)).await?;
    let rows = Rows::new(table, select, shape, &ctx.settings.policy.source_zone)?;
    let started = Instant::now();
    let (mut first, mut count, mut bytes) = (None, 0_u64, 0_u64);
    let take = |line: &[u8]| {
        // The header comes before the work begins.
        if count == 1 {
            first = Some(started.elapsed());
        }
        count += 1;
        bytes += line.len() as u64;
        match first {
            Some(first) if count.is_multiple_of(128) && started.elapsed() > first + READING => {
                Err(Enough.into())
            }
            _ => Ok(()),
        }
    };
    let ended = match connection.copy_rows(&rows.copy_sorted(hash), take).await {
        Ok(()) => true,
        Err(error) if error.is::<Enough>() => false,
        Err(error) => return Err(error).with_context(|| format!("reading some rows of {}", table.name)),
    };
    let (elapsed, first) = (started.elapsed(), first.unwrap_or_else(|| started.elapsed()));
    let count = count.saturating_sub(1).max(1) as f64;
    let width = bytes as f64 / count;
    // Without statistics: about as many as its bytes on disk have room for.
    let all = if size.rows > 0 { size.rows as f64 } else { size.bytes as f64 / width };
    let per_row = (elapsed - first).as_secs_f64() / count;
    let seconds = if ended { elapsed.as_secs_f64() } else { first.as_secs_f64() + per_row * all };
    let file_bytes = if ended { bytes as f64 } else { width * all };
    Ok(Read { bytes_on_disk: size.bytes as f64, rows: if ended { count } else { all }, seconds, file_bytes })
}

/// The files of a run: one CSV a table, all tables as SQL, and the archive, which is smaller.
fn disk(ctx: &Ctx, sample: &Sample, sizes: &[Size], all_bytes: u64) -> Result<Disk> {
    let runs = ctx.run.path().parent().unwrap_or(Path::new("."));
    let (directory, free) = disk::free(runs)?;
    let migrated: u64 = sizes.iter().map(|s| s.bytes).sum();
    let others = if migrated > 0 { all_bytes as f64 / migrated as f64 } else { 1.0 };
    let needed = sample.file_bytes * (1.0 + 2.0 * others);
    Ok(Disk { directory: directory.display().to_string(), needed: needed as u64, free })
}
