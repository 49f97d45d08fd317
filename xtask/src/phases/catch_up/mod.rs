//! Catch-up (DESIGN rule 26): what has changed in the source since the last pass is brought into the stores, while
//! the shop goes on writing there. A pass reads one new snapshot, is written down whole, and then made in each
//! store, proven. Cut off before it is written down, it has not been; after that it is completed from its files.
//!
//! A pass is an overlay of the run, as a replay is: whoever compares the stores with the run reads both.

mod extent;
mod held;
mod judged;
mod look;
mod plan;
mod reading;
mod scan;
mod stores;

pub use self::extent::Extent;
pub use self::held::HeldRows;
pub use self::look::{same_source, unchanged};
use self::plan::Plan;
use self::reading::{Seen, read};
use self::scan::look;
pub use self::stores::Stores;
use crate::changes::Ended;
use crate::findings::Counts;
use crate::phases::p2_export::quarantine_limit;
use crate::refuse;
use crate::remembered::Remembered;
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::manifest::{Export, Manifest, NewestPass, Proof, Sequence, SourceCheck, TurnedRows};
use crate::run::{overlay, terms};
use crate::source::{rows, sequences};
use crate::steps::StepName;
use crate::stores::sequences::raise;
use crate::timing::PassSeconds;
use anyhow::{Context, Result};
use datapath::sorting::outcomes_of;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What a pass came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Passed {
    /// Of all passes and replays of the run; `None`: nothing had changed.
    pub number: Option<usize>,
    /// The instant of the source that the stores hold now.
    pub as_of: String,
    /// By table; those in which a row has changed.
    pub tables: BTreeMap<String, TurnedRows>,
    /// Rows that were read of the source.
    pub read: u64,
    /// From the snapshot to the proof.
    pub seconds: f64,
    /// For how long a cut-over now would make the source read-only; `None`: nothing was measured.
    pub freeze: Option<f64>,
    /// Besides, every row of the source was compared with what the stores hold.
    pub audited: bool,
    /// It had been cut off, and was completed from its files.
    pub completed: bool,
    /// Which transactions of the source had ended for it; `None`: that is not known.
    #[serde(skip)]
    pub ended: Option<Ended>,
}

impl Passed {
    pub fn rows(&self) -> u64 {
        self.tables.values().map(TurnedRows::all).sum()
    }
}

/// # Errors
/// Refuses a run that cannot be caught up with.
pub fn ready(ctx: &Ctx, manifest: &Manifest) -> Result<Export> {
    let run = ctx.run.id();
    let Some(export) = manifest.export.clone() else {
        refuse!("run {run} has no complete export: `cargo xtask migrate --resume {run}` first");
    };
    terms::same_rules(ctx, manifest)?;
    match &manifest.proof {
        _ if export.unfinished_pass().is_some() => Ok(export),
        Some(proof) if proof.is_green() => Ok(export),
        Some(_) => {
            refuse!("the last proof of run {run} has findings: `cargo xtask verify --run {run}` shows them")
        }
        None => refuse!("run {run} has not been proven: `cargo xtask verify --run {run}` first"),
    }
}

/// Completes the pass that was cut off, where one was.
pub async fn complete(ctx: &Arc<Ctx>, manifest: &mut Manifest) -> Result<Option<Passed>> {
    let Some(export) = manifest.export.clone().filter(|export| export.unfinished_pass().is_some()) else {
        return Ok(None);
    };
    let (started, step) = (Instant::now(), ctx.run.step(StepName::CatchUp)?);
    ctx.terminal.line("  a pass was cut off: it is completed from its files");
    terms::files_are_whole(ctx, &export.files)?;
    let plan = Plan::cut_off(ctx, &export)?;
    let stores = Stores::open(ctx, manifest, &plan.before, Some(&export), Extent::Changes).await?;
    let stores = stores.compare(&plan).await?;
    let remembered = stores.write(&plan, &export, Extent::Changes).await?.remembered;
    // How long its parts took the one knew that was cut off.
    let newest = manifest.newest_pass.clone().unwrap_or_default();
    let mut passed = done(ctx, manifest, remembered, (started, newest), Extent::Changes).await?;
    passed.completed = true;
    step.done(&format!("pass {} completed", plan.number))?;
    Ok(Some(passed))
}

/// One pass.
///
/// # Errors
/// Nothing has been changed where the source cannot be followed, more rows would be in quarantine than allowed, or
/// others have written to a store.
pub async fn pass(
    ctx: &Arc<Ctx>,
    manifest: &mut Manifest,
    held: &mut HeldRows,
    extent: Extent,
) -> Result<Passed> {
    made(ctx, manifest, held, extent, None).await
}

/// The pass in a freeze, into stores that were opened before it.
///
/// # Errors
/// As of [`pass`].
pub async fn last_pass(
    ctx: &Arc<Ctx>,
    manifest: &mut Manifest,
    held: &mut HeldRows,
    stores: Stores,
) -> Result<Passed> {
    made(ctx, manifest, held, Extent::LastPass, Some(stores)).await
}

/// Opens the stores for [`last_pass`]: looked at, and nobody else can write to the databases from now on. `extent`: as
/// that of a pass.
///
/// # Errors
/// `Stop::Differs` where others have written.
pub async fn opened(ctx: &Arc<Ctx>, manifest: &Manifest, extent: Extent) -> Result<Stores> {
    Stores::open(ctx, manifest, &ready(ctx, manifest)?, None, extent).await
}

async fn made(
    ctx: &Arc<Ctx>,
    manifest: &mut Manifest,
    held: &mut HeldRows,
    extent: Extent,
    stores: Option<Stores>,
) -> Result<Passed> {
    let (started, step) = (Instant::now(), ctx.run.step(StepName::CatchUp)?);
    let export = ready(ctx, manifest)?;
    let (seen, stores) = seen(ctx, manifest, &export, held, (extent, stores)).await?;
    let mut newest = measured(manifest, &seen);
    let audited = extent == Extent::Audit;
    let read = seen.tables.iter().map(|turned| turned.read).sum();
    if seen.tables.iter().all(|turned| turned.rows.is_empty()) {
        if let Some(stores) = stores {
            stores.release().await?;
        }
        let seconds = started.elapsed().as_secs_f64();
        (newest.ended, newest.seconds) = (dir::now(), seconds);
        let (as_of, freeze) = (newest.as_of.clone(), newest.freeze());
        *manifest = ctx.run.change_manifest(|manifest| {
            (manifest.caught_up, manifest.newest_pass) = (seen.remembered, Some(newest));
            manifest.source = Some(SourceCheck::of_pass(&as_of));
            Ok(())
        })?;
        step.done("nothing has changed")?;
        return Ok(Passed { as_of, read, seconds, freeze, audited, ended: seen.ended, ..Passed::default() });
    }
    let plan = Plan::of(&seen, &export);
    let began = Instant::now();
    let stores = match stores {
        Some(stores) => stores,
        None => Stores::open(ctx, manifest, &export, None, extent).await?,
    };
    let stores = stores.compare(&plan).await?;
    ctx.terminal.lap("compared the stores", began);
    let (compare, began) = (stores.seconds, Instant::now());
    let export = plan.written(ctx, &seen, stores.gone.clone())?;
    quarantine_limit(ctx, &export)?;
    let defaults = plan.defaults(ctx)?;
    *manifest = ctx.run.change_manifest(|manifest| {
        manifest.export = Some(export.clone());
        manifest.caught_up.clone_from(&seen.remembered);
        defaults.turn(&mut manifest.defaults);
        Ok(())
    })?;
    let on_disk = began.elapsed().as_secs_f64();
    let written = stores.write(&plan, &export, extent).await?;
    ctx.terminal.lap("wrote and proved", began);
    newest.parts = Some(PassSeconds { compare, write: on_disk + written.seconds, ..seen.seconds });
    let mut passed = done(ctx, manifest, written.remembered, (started, newest), extent).await?;
    if !extent.is_last() {
        keep(held, &seen)?;
    }
    (passed.read, passed.audited, passed.ended) = (read, audited, seen.ended);
    step.done(&format!("pass {}: {} rows", plan.number, passed.rows()))?;
    Ok(passed)
}

/// What has changed in the source; read while the stores are opened, where anything has.
async fn seen(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    export: &Export,
    held: &mut HeldRows,
    (extent, stores): (Extent, Option<Stores>),
) -> Result<(Seen, Option<Stores>)> {
    let looked = look(ctx, manifest, export, held, extent).await?;
    if stores.is_some() || !looked.has_changes() {
        return Ok((read(ctx, export, held, looked, extent).await?, stores));
    }
    let opening = Stores::open(ctx, manifest, export, None, extent);
    let (mut seen, stores) = tokio::try_join!(read(ctx, export, held, looked, extent), opening)?;
    seen.seconds.read = seen.seconds.read.max(stores.seconds);
    Ok((seen, Some(stores)))
}

/// What the run remembers of a pass that has read the source. As long as it finds no changes, to compare and write them
/// is expected to take as long as the last time: the first that comes has to be.
fn measured(manifest: &Manifest, seen: &Seen) -> NewestPass {
    let before = manifest.newest_pass.as_ref().and_then(|pass| pass.parts).unwrap_or_default();
    NewestPass {
        as_of: seen.snapshot.taken.clone(),
        source_rows: seen.source_rows,
        parts: Some(PassSeconds { compare: before.compare, write: before.write, ..seen.seconds }),
        ..NewestPass::default()
    }
}

/// The rules told a second time about what the last pass brought over, which a freeze left out.
///
/// # Errors
/// `Stop::Differs` where they do not agree.
pub async fn audited_again(ctx: &Arc<Ctx>, manifest: &Manifest) -> Result<()> {
    let export = manifest.export.as_ref().context("the run has no export")?;
    let Some((number, replay, _)) = export.passes().last() else { return Ok(()) };
    let mut connection = ctx.looking_at_source("audit").await?;
    for table in ctx.tables {
        let name = replay.file(number, &outcomes_of(table.name));
        if !export.files.contains_key(&name) {
            continue;
        }
        let mut outcomes = overlay::outcomes_in(&ctx.run, export, &name)?;
        outcomes.retain(|_, outcome| outcome != overlay::GONE);
        let ids: Vec<i64> = outcomes.keys().copied().collect();
        let told = outcomes.iter().map(|(id, outcome)| (*id, outcome.as_str())).collect();
        rows::audited(ctx, &mut connection, &replay.snapshot.reading, table, &ids, told).await?;
    }
    connection.close().await
}

fn keep(held: &mut HeldRows, seen: &Seen) -> Result<()> {
    seen.tables.iter().filter(|turned| !turned.rows.is_empty()).try_for_each(|t| held.then(t.table, &t.rows))
}

/// Every store has the pass, proven: written down. `newest`: what was measured of it.
async fn done(
    ctx: &Arc<Ctx>,
    manifest: &mut Manifest,
    remembered: Remembered,
    (started, newest): (Instant, NewestPass),
    extent: Extent,
) -> Result<Passed> {
    let raised = match extent.is_last() {
        // The cut-over does it.
        true => BTreeMap::new(),
        false => raise(ctx, &sequences::of_tables(ctx).await?).await?,
    };
    *manifest = ctx.run.change_manifest(|manifest| {
        let export = manifest.export.as_mut().context("the run has no export")?;
        raised_in(export, &raised);
        let replay = export.replays.last_mut().context("there is no pass")?;
        let last = replay.pass.as_mut().context("there is no pass")?;
        (last.done, last.seconds) = (true, started.elapsed().as_secs_f64());
        manifest.newest_pass = Some(NewestPass {
            as_of: replay.snapshot.taken.clone(),
            ended: dir::now(),
            rows: last.tables.values().map(TurnedRows::all).sum(),
            seconds: last.seconds,
            ..newest.clone()
        });
        manifest.remembered.retain(|table, _| !last.tables.contains_key(table));
        manifest.remembered.extend(remembered);
        if let Some(proof) = &mut manifest.proof {
            proven(proof, export);
        }
        manifest.source = Some(SourceCheck::of_pass(&export.as_of().taken));
        Ok(())
    })?;
    let export = manifest.export.as_ref().context("the run has no export")?;
    let (number, replay, pass) = export.passes().last().context("there is no pass")?;
    Ok(Passed {
        number: Some(number),
        as_of: replay.snapshot.taken.clone(),
        tables: pass.tables.clone(),
        seconds: pass.seconds,
        freeze: newest.freeze(),
        ..Passed::default()
    })
}

fn raised_in(export: &mut Export, raised: &BTreeMap<&'static str, Sequence>) {
    for (table, sequence) in raised {
        if let Some(record) = export.tables.get_mut(*table) {
            record.sequence = *sequence;
        }
    }
}

/// The run's proof holds for what the stores hold now: what has changed was proven by the pass, and nothing else has.
fn proven(proof: &mut Proof, export: &Export) {
    for (name, table) in &mut proof.tables {
        let Some(record) = export.tables.get(name) else { continue };
        let rows = record.content.total().rows;
        (table.expected_rows, table.found_rows) = (rows, rows);
        table.counts = Counts { equal: rows, ..Counts::default() };
    }
    proof.finished = dir::now();
}
