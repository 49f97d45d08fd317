//! What a migration will come to, found without changing anything: counts by the classifying SELECTs,
//! time from a short sample of the source's reading and of a project's answers.
//!
//! Nothing can be measured of the targets' writing without writing: it is taken in proportion to the
//! source's reading, and corrected by what earlier runs on these hosts took.

use crate::checks::{earlier, preflight};
use crate::effects::disk;
use crate::effects::postgres::{self, Connection};
use crate::forecast::{
    self, Begun, Collection, Disk, Documents, Forecast, Sample, TablePlan, Writing, seconds,
};
use crate::hazards;
use crate::ledger::Outcomes;
use crate::model::{self, MIGRATED, Stop};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, SnapshotInfo};
use crate::run::{dir, lock};
use crate::source::assess::rows::Quarantined;
use crate::source::assess::{self, conversions};
use crate::source::snapshot::{Snapshot, TableSize, worker};
use crate::sql::{self, HashFn, Reading, Rows};
use crate::steps::StepName;
use crate::stores::readiness;
use crate::tables::Table;
use crate::timing::Timing;
use anyhow::{Context, Result};
use datapath::firestore::{Address, Firestore, Pace};
use sqlx::Row;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a table is read for the sample, from its first row on: for a person who asks, and in a run,
/// which waits for it.
const READING: Duration = Duration::from_millis(500);
const READING_QUICKLY: Duration = Duration::from_millis(150);

/// A run does not wait for a prediction.
const AT_ONCE_OR_NOT: &str = "SET lock_timeout = '1s'";

/// Where there are no documents.
const NOWHERE: &str = "xtask_nowhere";

/// Everything that can be said before a run. Touches nothing.
///
/// # Errors
/// Where the source cannot be counted because of its hazards: the refusal that `migrate` would end with.
pub async fn run(ctx: &Arc<Ctx>) -> Result<Forecast> {
    let hash = preflight::servers(ctx).await?;
    preflight::source_can_be_dumped(ctx).await?;
    let others = lock::others(ctx, ctx.servers());
    let looks = tokio::try_join!(assess::look(ctx), readiness::obstacles(ctx, None), others);
    let (assessed, mut obstacles, others) = looks?;
    obstacles.extend(others);
    match Box::pin(counted(ctx, hash, &assessed.reading, obstacles)).await {
        Ok(forecast) => {
            let hazards = hazards::in_order([assessed.hazards, forecast.hazards].concat());
            Ok(Forecast { hazards, ..forecast })
        }
        Err(error) => Err(assess::judge(ctx, assessed).err().unwrap_or(error)),
    }
}

/// All but the hazards of the tables.
async fn counted(
    ctx: &Arc<Ctx>,
    hash: HashFn,
    reading: &Reading,
    mut obstacles: Vec<String>,
) -> Result<Forecast> {
    let snapshot = conversions::read_as(ctx, Snapshot::open(ctx, hash).await?, reading.clone()).await?;
    let reading = &snapshot.info.reading.clone();
    let counts = ctx.tables.iter().map(|t| plan(ctx.clone(), snapshot.info.clone(), t, snapshot.size(t)));
    let (counted, mut hazards) =
        tokio::try_join!(crate::run::join::all(counts), assess::rows::queried(ctx, &snapshot.info))?;
    let (tables, quarantined): (Vec<TablePlan>, Vec<Quarantined>) = counted.into_iter().unzip();
    hazards.extend(assess::rows::of_outcomes(ctx, quarantined));
    let sizes: Vec<TableSize> =
        tables.iter().map(|plan| TableSize { rows: plan.rows, bytes: plan.bytes }).collect();
    let all_bytes: u64 = snapshot.tables.iter().map(|t| t.bytes).sum();
    let sample = sample(ctx, hash, reading, &sizes, all_bytes, READING).await?;
    snapshot.release().await?;

    let migrated = |plan: &TablePlan| plan.outcomes.rows.get(MIGRATED).copied().unwrap_or_default();
    let collections = ctx.tables.iter().zip(&tables).filter(|(table, _)| table.collection().is_some());
    let collections: Vec<u64> = collections.map(|(_, plan)| migrated(plan)).collect();
    let documents = documents(ctx, &collections).await?;
    obstacles.extend(documents.too_expensive());
    Ok(Forecast {
        quarantined: tables.iter().map(|t| t.outcomes.sums().quarantined).sum(),
        tables,
        hazards,
        obstacles,
        max_quarantine: ctx.settings.policy.max_quarantine,
        timing: timing(ctx, &sample, documents.writes, documents.floor_seconds).await?,
        freeze: earlier::freeze(ctx, &sample, sizes.iter().map(|size| size.rows).sum()),
        documents,
        sample,
        disk: disk(ctx, &sample, &sizes, all_bytes)?,
    })
}

/// What `migrate` predicts of itself: how long it takes, and the room that its files need.
pub struct Quick {
    pub timing: Timing,
    disk: Disk,
}

/// The prediction that `migrate` makes of itself: from statistics and the sample alone. How the source's
/// text is read is not asked: that makes no difference to the time.
async fn quick(ctx: &Arc<Ctx>, hash: HashFn) -> Result<Quick> {
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("forecast")).await?;
    connection.run(AT_ONCE_OR_NOT).await?;
    let names = crate::source::snapshot::tables(&mut connection).await?;
    connection.close().await?;
    let find = |t: &Table| names.iter().find(|r| r.schema == "public" && r.table == t.source);
    let sizes: Vec<TableSize> =
        ctx.tables.iter().map(|t| find(t).map(TableSize::from).unwrap_or_default()).collect();
    let collections = ctx.tables.iter().zip(&sizes).filter(|(table, _)| table.collection().is_some());
    let collections: Vec<u64> = collections.map(|(_, size)| size.rows).collect();
    let all_bytes = names.iter().map(|r| r.bytes).sum();
    let sample = sample(ctx, hash, &Reading::default(), &sizes, all_bytes, READING_QUICKLY).await?;
    let timing = timing(ctx, &sample, collections.iter().sum(), floor(ctx, &collections)).await?;
    Ok(Quick { timing, disk: disk(ctx, &sample, &sizes, all_bytes)? })
}

/// Before a run begins: what it will take, where that can be found out; that it cannot is no reason not to migrate.
///
/// # Errors
/// Refuses where its files have no room.
pub async fn predicted(ctx: &Arc<Ctx>, hash: HashFn) -> Result<Option<Timing>> {
    let quick = match quick(ctx, hash).await {
        Ok(quick) => quick,
        Err(error) => {
            ctx.terminal.warn(format!("how long it takes is not known: {error:#}"));
            return Ok(None);
        }
    };
    match quick.disk.too_small() {
        Some(why) => refuse!("{why}\n{}", model::AGAIN),
        None => Ok(Some(quick.timing)),
    }
}

/// Before a run begins: are the rows that would be quarantined as few as the policy allows? They are counted only
/// where there is a limit.
///
/// # Errors
/// `Stop::Quarantine` above the limit.
pub async fn quarantine_limit(ctx: &Arc<Ctx>, reading: &Reading) -> Result<()> {
    let limit = ctx.settings.policy.max_quarantine;
    if limit.is_none() {
        return Ok(());
    }
    let counts = ctx.tables.iter().map(|table| quarantined(ctx.clone(), table, reading.clone()));
    let counted = crate::run::join::all(counts).await?;
    match forecast::too_many_quarantined(counted, limit) {
        Some(why) => Err(Stop::Quarantine(format!("{why}. Nothing has been begun")).into()),
        None => Ok(()),
    }
}

async fn quarantined(ctx: Arc<Ctx>, table: &'static Table, reading: Reading) -> Result<(&'static str, u64)> {
    let _permit = ctx.source_permit(0).await;
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("forecast")).await?;
    connection.run(sql::FOR_READING).await?;
    connection.run(sql::WAIT_FOR_LOCKS).await?;
    let (outcomes, _) = outcomes(&ctx, &mut connection, table, &reading).await?;
    connection.close().await?;
    Ok((table.name, outcomes.sums().quarantined))
}

/// Before a run begins: can its documents be paid for? They are counted only where there is a limit.
///
/// # Errors
/// Refuses where they cost more than the environment allows.
pub async fn affordable(ctx: &Ctx, reading: &Reading) -> Result<()> {
    if ctx.settings.firestore.max_cost.is_none() {
        return Ok(());
    }
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("forecast")).await?;
    connection.run(sql::FOR_READING).await?;
    connection.run(sql::WAIT_FOR_LOCKS).await?;
    let mut sizes = Vec::new();
    for table in ctx.tables.iter().filter(|t| t.collection().is_some()) {
        let (outcomes, _) = outcomes(ctx, &mut connection, table, reading).await?;
        sizes.push(outcomes.rows.get(MIGRATED).copied().unwrap_or_default());
    }
    connection.close().await?;
    match documents(ctx, &sizes).await?.too_expensive() {
        Some(why) => refuse!("{why}. {}", model::AGAIN),
        None => Ok(()),
    }
}

/// The same by an export, right before the first document is written.
pub async fn cost_limit(ctx: &Ctx, export: &Export) -> Result<()> {
    if ctx.settings.firestore.max_cost.is_none() {
        return Ok(());
    }
    let rows = |t: &Table| export.files.get(&t.file()).and_then(|f| f.rows).unwrap_or_default();
    let sizes: Vec<u64> = ctx.tables.iter().filter(|t| t.collection().is_some()).map(rows).collect();
    match documents(ctx, &sizes).await?.too_expensive() {
        Some(why) => refuse!("{why}. Nothing more is written to any target"),
        None => Ok(()),
    }
}

impl Snapshot {
    /// Of a table that is to be migrated: it is there, else there would be no snapshot.
    fn size(&self, table: &Table) -> TableSize {
        let found = self.tables.iter().find(|r| r.schema == "public" && r.table == table.source);
        found.map(TableSize::from).unwrap_or_default()
    }
}

/// A table's rows by outcome, and those in quarantine.
async fn plan(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    table: &'static Table,
    size: TableSize,
) -> Result<(TablePlan, Quarantined)> {
    let _permit = ctx.source_permit(size.rows).await;
    let mut worker = worker(&ctx, &snapshot, "plan").await?;
    let (outcomes, quarantined) = outcomes(&ctx, &mut worker, table, &snapshot.reading).await?;
    worker.close().await?;
    let rows = outcomes.rows.values().sum();
    Ok((TablePlan { table: table.name.to_string(), rows, bytes: size.bytes, outcomes }, quarantined))
}

async fn outcomes(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &'static Table,
    reading: &Reading,
) -> Result<(Outcomes, Quarantined)> {
    let select = sql::expand(ctx.tables, table.export, reading)?;
    let counted = connection.rows(&Rows::outcomes(&select, hazards::SAMPLE)).await;
    let counted =
        counted.with_context(|| format!("counting {} with sql/{}", table.name, table.export.path))?;
    let (mut outcomes, mut quarantined) = (Outcomes::default(), BTreeMap::new());
    for row in counted {
        let (outcome, some): (String, Option<Vec<i64>>) = (row.try_get("outcome")?, row.try_get("some")?);
        let rows = u64::try_from(row.try_get::<i64, _>("rows")?)?;
        if let Some(some) = some {
            quarantined.insert(outcome.clone(), (rows, some));
        }
        outcomes.rows.insert(outcome, rows);
    }
    Ok((outcomes, Quarantined { table, rows: quarantined }))
}

/// What the whole run asks Firestore for. `sizes`: documents of each collection.
async fn documents(ctx: &Ctx, sizes: &[u64]) -> Result<Documents> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let mut collections = Vec::new();
    for (collection, documents) in ctx.tables.iter().filter_map(Table::collection).zip(sizes) {
        let there = firestore.count(collection.name).await?;
        collections.push(Collection { documents: *documents, there });
    }
    let asked = Documents::new(&collections, ctx.existing, begun(ctx));
    let settings = &ctx.settings.firestore;
    let asked = asked.priced(settings.prices.as_ref(), settings.max_cost);
    Ok(Documents { floor_seconds: floor(ctx, sizes), ..asked })
}

/// What the run has begun before; nothing where it has no journal yet.
fn begun(ctx: &Ctx) -> Begun {
    let journal = dir::load_journal(ctx.run.path()).unwrap_or_default();
    Begun {
        imports: journal.times_begun(&StepName::Firestore),
        verifications: journal.times_begun(&StepName::Verify),
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
    Ok(Timing::new(
        earlier::hosts(ctx),
        sample.rows,
        seconds(sample, documents, writing),
        &earlier::times(ctx),
    ))
}

/// How long a project takes to answer: asked for one document that is not there, because it charges for
/// answers.
async fn project(ctx: &Ctx, floor: f64) -> Result<Writing> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let started = Instant::now();
    firestore.read(NOWHERE, &["nobody".to_string()]).await?;
    let pace = Pace::for_project(ctx.settings.firestore.rate);
    let (writes, reads) = (pace.workers * pace.batch, crate::phases::p5_verify::AT_ONCE);
    Ok(Writing::Project { floor, answer: started.elapsed().as_secs_f64(), writes, reads })
}

/// A table that was read for a moment.
struct SampledTable {
    bytes_on_disk: f64,
    rows: f64,
    /// Of all its rows.
    seconds: f64,
    file_bytes: f64,
}

/// How long it takes to read all tables out, as many at a time as in a run, and what comes out. The
/// largest are read for a moment in parallel; the others are taken in proportion.
async fn sample(
    ctx: &Arc<Ctx>,
    hash: HashFn,
    how: &Reading,
    sizes: &[TableSize],
    all_bytes: u64,
    long: Duration,
) -> Result<Sample> {
    let mut tables: Vec<(&'static Table, TableSize)> = ctx.tables.iter().zip(sizes.iter().copied()).collect();
    tables.sort_by_key(|(_, size)| std::cmp::Reverse(size.bytes));
    let rest: u64 = tables.iter().skip(ctx.jobs).map(|(_, size)| size.bytes).sum();
    let reads = tables
        .into_iter()
        .take(ctx.jobs)
        .map(|(t, size)| read(ctx.clone(), hash, how.clone(), t, size, long));
    let reads = crate::run::join::all(reads).await?;
    let sum = |what: &dyn Fn(&SampledTable) -> f64| reads.iter().map(what).sum::<f64>();
    let bytes_on_disk = sum(&|r| r.bytes_on_disk);
    let whole = if bytes_on_disk > 0.0 { 1.0 + rest as f64 / bytes_on_disk } else { 1.0 };
    let file_bytes = sum(&|r| r.file_bytes) * whole;
    let rate = ctx.settings.policy.source_rate;
    Ok(Sample {
        reading: sum(&|r| r.seconds) * whole / ctx.jobs as f64,
        rows: (sum(&|r| r.rows) * whole) as u64,
        file_bytes,
        // Rows are paid for as they come, a table that is digested by its size.
        floor: rate.map_or(0.0, |rate| (file_bytes + all_bytes as f64) / (rate * 1e6)),
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

async fn read(
    ctx: Arc<Ctx>,
    hash: HashFn,
    reading: Reading,
    table: &'static Table,
    size: TableSize,
    long: Duration,
) -> Result<SampledTable> {
    let _permit = ctx.source_permit(size.bytes).await;
    let mut connection: Connection =
        postgres::connect(&ctx.settings.source, &ctx.purpose("forecast")).await?;
    connection.run(sql::WAIT_FOR_LOCKS).await?;
    connection.run(sql::BEGIN_LOOKING).await?;
    let select = sql::expand(ctx.tables, table.export, &reading)?;
    let shape = connection.describe(&Rows::shape(&select)).await?;
    let rows = Rows::new(table, select, shape, ctx.treatment(&reading))?;
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
            Some(first) if count.is_multiple_of(128) && started.elapsed() > first + long => {
                Err(Enough.into())
            }
            _ => Ok(()),
        }
    };
    let ended = match connection.copy_rows(&rows.copy_sorted(hash), take).await {
        Ok(_) => true,
        Err(error) if error.is::<Enough>() => false,
        Err(error) => return Err(error).with_context(|| format!("reading some rows of {}", table.name)),
    };
    let elapsed = started.elapsed();
    let first = first.unwrap_or(elapsed);
    let count = count.saturating_sub(1).max(1) as f64;
    let width = bytes as f64 / count;
    // Without statistics: about as many as its bytes on disk have room for.
    let all = if size.rows > 0 { size.rows as f64 } else { size.bytes as f64 / width };
    let per_row = (elapsed - first).as_secs_f64() / count;
    let seconds = if ended { elapsed.as_secs_f64() } else { first.as_secs_f64() + per_row * all };
    let file_bytes = if ended { bytes as f64 } else { width * all };
    Ok(SampledTable {
        bytes_on_disk: size.bytes as f64,
        rows: if ended { count } else { all },
        seconds,
        file_bytes,
    })
}

/// The files of a run: one CSV per table, all tables as SQL, and the archive, which is smaller.
fn disk(ctx: &Ctx, sample: &Sample, sizes: &[TableSize], all_bytes: u64) -> Result<Disk> {
    let runs = ctx.run.path().parent().unwrap_or(Path::new("."));
    let (directory, free) = disk::free(runs)?;
    let migrated: u64 = sizes.iter().map(|s| s.bytes).sum();
    let others = if migrated > 0 { all_bytes as f64 / migrated as f64 } else { 1.0 };
    let needed = sample.file_bytes * (1.0 + 2.0 * others);
    Ok(Disk { directory: directory.display().to_string(), needed: needed as u64, free })
}
