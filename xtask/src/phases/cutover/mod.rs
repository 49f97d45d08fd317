//! The cut-over: the instant from which the services' word counts (DESIGN rule 18). Only with the source
//! unchanged since the run's snapshot and every store exactly what the run proved; both are looked at now,
//! with the source held back, and it stays held back.

mod afterwards;
mod last_pass;
mod taking_over;

use self::afterwards::{Snapshots, afterwards};
use self::last_pass::LastPass;
use self::taking_over::{Found, FreezeTime, let_in, recorded};
use crate::effects::cleanup::{Cleanup, Pending};
use crate::identity::ServerName;
use crate::model::{Service, Stop};
use crate::phases::catch_up;
use crate::phases::p5_verify::{self, Depth};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::freeze_log::{FreezeLog, Frozen, Side};
use crate::run::lock_waits;
use crate::run::manifest::{Cutover, Export, Manifest, StoreState};
use crate::run::privileges;
use crate::run::servers;
use crate::shown::utc;
use crate::source::drift::{Look, look};
use crate::source::freeze::{Freezer, Held};
use crate::source::services::Shop;
use crate::steps::StepName;
use crate::stores::marks::{self, MarkState, Marks};
use crate::stores::{documents, rows};
use crate::tables::{Home, Table};
use anyhow::{Context, Result};
use datapath::digest::Digest;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Serialize)]
pub struct Done {
    pub run: String,
    pub cutover: Cutover,
    /// Whether an earlier call has done it.
    pub before: bool,
    /// When it was recorded, by this call.
    #[serde(skip)]
    pub recorded: Option<std::time::Instant>,
    /// Where each answers, as far as the environment says it.
    pub services: Vec<(Service, Option<String>)>,
}

impl Done {
    pub fn verdict(&self) -> String {
        let (run, Cutover { at, stores, frozen_for, .. }) = (&self.run, &self.cutover);
        let (at, proven) = (utc(at), self.full_proof());
        let rows = crate::model::grouped(stores.values().map(|store| store.content.rows).sum());
        match self.before {
            true => format!("✓ run {run} has been cut over already, at {at}{proven}"),
            false => {
                let frozen = frozen_for.map(|s| format!(", read-only for {s:.1} s")).unwrap_or_default();
                format!("✓ CUT OVER run {run} at {at}: {rows} rows and documents, as proven{frozen}{proven}")
            }
        }
    }

    /// What the full proof after a last pass has come to.
    fn full_proof(&self) -> &'static str {
        match &self.cutover.afterwards {
            Some(proof) if proof.is_green() => ", every one compared again since",
            Some(_) => "; THE FULL PROOF FAILED",
            None if self.cutover.by_pass => "; not fully proven yet",
            None => "",
        }
    }

    /// # Errors
    /// `Stop::Differs` where the full proof found something, or could not be made.
    pub fn judge(&self) -> Result<()> {
        let Some(proof) = self.cutover.afterwards.as_ref().filter(|proof| !proof.is_green()) else {
            return Ok(());
        };
        let what = match &proof.not_proven {
            Some(why) => format!("not fully proven: {why}"),
            None => format!("the full proof found differences:\n  {}", proof.differences.join("\n  ")),
        };
        Err(Stop::Differs(format!(
            "{what}. The services have taken over: `cargo xtask verify --run {}`",
            self.run
        ))
        .into())
    }

    pub fn text(&self) -> String {
        let Cutover { source, stores, .. } = &self.cutover;
        let mut out = format!(
            "  the source is read-only and stays so: {} tables, as the run saw them\n  the stores hold exactly what \
             the run proved: {} tables and collections\n  from now on what the services write is theirs\n  start \
             the services, in this order:\n",
            source.len(),
            stores.len()
        );
        for (service, endpoint) in &self.services {
            out += &format!("    {service:<16} {}\n", endpoint.as_deref().unwrap_or_default());
        }
        out
    }
}

/// How it is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way {
    /// How long the services may take to stop.
    pub wait: Option<Duration>,
    /// The source is given back where it would be held longer.
    pub max_freeze: Option<Duration>,
    /// Whether snapshots of the targets are held for the full proof.
    pub hold: bool,
}

pub async fn cut_over(ctx: &Arc<Ctx>, way: Way, cleanup: &Cleanup) -> Result<Done> {
    let mut manifest = ctx.run.load_manifest()?;
    servers::belongs(ctx, &manifest, &ServerName::ALL, &[]).await?;
    let marks = Marks::read(ctx).await?;
    marks.not_taken_back(ctx)?;
    marks.whole(ctx)?;
    let endpoints = &ctx.settings.services.endpoints;
    let services = Service::ALL.map(|service| (service, endpoints.get(&service).cloned())).to_vec();
    let shop = Shop::new(&ctx.settings, FreezeLog::at(ctx.run.runs()), &ctx.terminal, way.wait);
    let run = ctx.run.id().to_string();
    let done = |cutover, before| Done { run, cutover, before, services, recorded: None };
    if marks.cutover_is_complete() {
        marks.hold(ctx)?;
        marks.teach(&mut manifest);
    }
    if let Some(cutover) = manifest.cutover {
        marks.hold(ctx)?;
        told_everywhere(ctx, &cutover).await?;
        shop.forget()?;
        return Ok(done(cutover, true));
    }
    let marks = completed(ctx, &mut manifest, marks).await?;
    marks.hold_this(ctx, &*proven(ctx, &manifest)?)?;
    let freezer = Freezer::of(ctx);
    ctx.terminal.phase("Cut-over: the source");
    freezer.preflight().await?;
    way_back(ctx).await?;
    // Before anybody is sent away: is there any use in it?
    let last_pass = match prepared(ctx, &mut manifest, way).await {
        Ok(last_pass) => last_pass,
        Err(error) => return Err(no_use_in_it(ctx, &marks, &freezer, error).await),
    };
    let step = ctx.run.step(StepName::Cutover)?;
    let stopped = shop.stop(&Service::ALL, Side::Old, cleanup).await?;
    let since = FreezeTime::now(way.max_freeze);
    let held = match freezer.freeze(Some(ctx.run.id()), cleanup).await {
        Ok(held) => held,
        Err(error) => return Err(started_again(ctx, cleanup, stopped, error).await),
    };
    ctx.terminal.lap("froze the source", since.began);
    match take_over(ctx, &mut manifest, (&freezer, held.frozen()), since, (last_pass, way.hold)).await {
        Ok((cutover, snapshots)) => {
            if let Held::Now(pending, _) = held {
                cleanup.keep(pending);
            }
            stopped.into_iter().for_each(|pending| cleanup.keep(pending));
            shop.forget()?;
            step.done(&serde_json::to_string(&cutover)?)?;
            let recorded = cutover.frozen_for.map(|seconds| since.began + Duration::from_secs_f64(seconds));
            fully_proven(ctx, &mut manifest, Done { recorded, ..done(cutover, false) }, snapshots).await
        }
        Err(error) => {
            let error = lock_waits::named(ctx, error).await;
            let error = left_behind(ctx, &freezer, cleanup, held, error).await;
            Err(started_again(ctx, cleanup, stopped, error).await)
        }
    }
}

/// After the pass that was cut off, by itself or in a cut-over; where one was.
async fn completed(ctx: &Arc<Ctx>, manifest: &mut Manifest, marks: Marks) -> Result<Marks> {
    if manifest.export.as_ref().is_none_or(|export| export.unfinished_pass().is_none()) {
        return Ok(marks);
    }
    catch_up::ready(ctx, manifest)?;
    marks.hold(ctx)?;
    catch_up::complete(ctx, manifest).await?;
    Marks::read(ctx).await
}

/// Of a cut-over that was recorded, and then cut off before every store had been told.
async fn told_everywhere(ctx: &Ctx, cutover: &Cutover) -> Result<()> {
    marks::record_cutover(ctx, MarkState::CutOver).await?;
    ctx.run.change_manifest(|manifest| {
        manifest.cutover.get_or_insert_with(|| cutover.clone());
        Ok(())
    })?;
    let_in(ctx).await
}

/// The pass before the freeze; `None`: nobody has caught up with the run, and the source has not changed.
async fn prepared(ctx: &Arc<Ctx>, manifest: &mut Manifest, way: Way) -> Result<Option<LastPass>> {
    let last_pass = LastPass::prepared(ctx, manifest, way.max_freeze).await?;
    if last_pass.is_none() {
        unchanged(ctx, manifest).await?;
    }
    Ok(last_pass)
}

/// The error, after the services that were stopped run again; where the source stays frozen, they do not.
async fn started_again(
    ctx: &Ctx,
    cleanup: &Cleanup,
    stopped: Option<Pending>,
    error: anyhow::Error,
) -> anyhow::Error {
    if let Some(pending) = stopped
        && let Err(left) = cleanup.undo(pending).await
    {
        ctx.terminal.warn(format!("not all services run again: {left:#}"));
    }
    error
}

/// Whether there would be a way back: nobody is to find out when it is needed.
async fn way_back(ctx: &Ctx) -> Result<()> {
    let mut connection = ctx.looking_at_source("cutover").await?;
    let missing = privileges::of_rollback(ctx, &mut connection).await?.missing;
    connection.close().await?;
    if let Some(first) = missing.first() {
        ctx.terminal.warn(format!(
            "`rollback` could not write to the old database: {} privileges are missing, the first: {}. All that are \
             needed: {}",
            missing.len(),
            first.statement,
            privileges::script_for_rollback(ctx)
        ));
    }
    Ok(())
}

/// A source that has changed is migrated again: a cut-over that was cut off before it was recorded must not
/// stand in the way of that.
async fn no_use_in_it(ctx: &Ctx, marks: &Marks, freezer: &Freezer, error: anyhow::Error) -> anyhow::Error {
    match marks.cutover() {
        Some(mark) if !is_recorded(freezer) => match marks::withdraw_cutover(ctx).await {
            Ok(()) => error.context(format!("{mark}, was never recorded, and is taken back")),
            Err(left) => error.context(format!("{mark}, and is not taken back in every store: {left:#}")),
        },
        _ => error,
    }
}

/// A cut-over that failed gives the source back, unless it is recorded already.
async fn left_behind(
    ctx: &Ctx,
    freezer: &Freezer,
    cleanup: &Cleanup,
    held: Held,
    error: anyhow::Error,
) -> anyhow::Error {
    let recorded = is_recorded(freezer);
    match held {
        Held::Now(pending, _) if recorded => cleanup.keep(pending),
        Held::Now(pending, _) => {
            if let Err(undoing) = cleanup.undo(pending).await {
                ctx.terminal.warn(format!("the source is still frozen: {undoing:#}"));
            }
        }
        Held::Before(_) => {}
    }
    if !recorded {
        return error;
    }
    error.context(format!(
        "the cut-over is recorded, and the source stays read-only; not every store has been told: \
         `cargo xtask cutover --run {}` completes it",
        ctx.run.id()
    ))
}

/// Whether the instant of the cut-over has come; where that cannot be read, nothing is given back.
fn is_recorded(freezer: &Freezer) -> bool {
    freezer.open().map_or(true, |open| open.is_some_and(|open| open.cutover.is_some()))
}

/// What a green proof of this run rests on.
pub fn proven(ctx: &Ctx, manifest: &Manifest) -> Result<Arc<Export>> {
    let run = ctx.run.id();
    let (Some(export), Some(proof)) = (&manifest.export, &manifest.proof) else {
        refuse!("run {run} has not been proven: `cargo xtask migrate` makes and proves one");
    };
    if !proof.is_green() {
        refuse!(
            "the last proof of run {run}, of {}, has {} findings: `cargo xtask verify --run {run}` shows them",
            utc(&proof.finished),
            proof.wrong()
        );
    }
    Ok(Arc::new(export.clone()))
}

pub async fn unchanged(ctx: &Arc<Ctx>, manifest: &Manifest) -> Result<Look> {
    let look = look(ctx, manifest).await?;
    if !look.check.unchanged() {
        let tables = look.check.changed.iter().map(|(table, change)| format!("{table}: {change}"));
        refuse!(
            "the source has changed since the snapshot of {}, and run {1} does not have it:\n  {2}\nBring it over with \
             `cargo xtask catch-up --run {1}`; or freeze it with `cargo xtask freeze`, and migrate again",
            utc(&look.check.snapshot),
            ctx.run.id(),
            tables.collect::<Vec<_>>().join("\n  ")
        );
    }
    Ok(look)
}

/// With the source held back: by a last pass, or, of a run that nobody has caught up with, by looking at everything.
async fn take_over(
    ctx: &Arc<Ctx>,
    manifest: &mut Manifest,
    (freezer, frozen): (&Freezer, &Frozen),
    since: FreezeTime,
    (last_pass, hold): (Option<LastPass>, bool),
) -> Result<(Cutover, Option<Snapshots>)> {
    if let Some(last_pass) = last_pass {
        return last_pass.take_over(ctx, manifest, (freezer, frozen), since, hold).await;
    }
    let export = proven(ctx, manifest)?;
    let found = found(ctx, manifest, &export, freezer, frozen).await?;
    Ok((recorded(ctx, manifest, found, (freezer, frozen), since).await?, None))
}

/// What follows once the services may work; they are told so before.
async fn fully_proven(
    ctx: &Arc<Ctx>,
    manifest: &mut Manifest,
    done: Done,
    snapshots: Option<Snapshots>,
) -> Result<Done> {
    let Some(snapshots) = snapshots else { return Ok(done) };
    ctx.terminal.always(&format!("{}\n{}", done.verdict(), done.text()));
    Ok(Done { cutover: afterwards(ctx, manifest, snapshots).await?, ..done })
}

/// With the source held back: looks at everything, the source last.
///
/// # Errors
/// Refuses where the source has changed, or could have: by the very last look, whatever the one before saw.
async fn found(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    export: &Arc<Export>,
    freezer: &Freezer,
    frozen: &Frozen,
) -> Result<Found> {
    freezer.still_frozen(frozen).await?;
    ctx.terminal.phase("Cut-over: every store");
    // What is written to a collection from now on is the services' work.
    let firestore = marks::instants(ctx).await?;
    let proof = p5_verify::run(ctx, manifest, export, Depth::Changes).await?;
    if !proof.is_green() {
        for finding in proof.findings() {
            ctx.terminal.always(&format!("  ✗ {}", finding.text(ctx.values)));
        }
        let run = ctx.run.id();
        let what = format!("the stores are not what run {run} proved; nothing has been cut over");
        return Err(Stop::Differs(what).into());
    }
    let mut stores = BTreeMap::new();
    for table in ctx.tables {
        let content = content(ctx, export, table).await;
        let content = content.with_context(|| format!("looking at {}", table.name))?;
        stores.insert(table.name.to_string(), StoreState { content, sequence: None });
    }
    ctx.terminal.phase("Cut-over: the source once more");
    let Look { check, tables, sequences } = unchanged(ctx, manifest).await?;
    let (proof, check) = (Some(proof), Some(check));
    Ok(Found { proof, check, source: tables, source_sequences: sequences, stores, firestore })
}

/// What a table or collection holds: what has just been proven, where equal digests prove it; else read from it.
async fn content(ctx: &Arc<Ctx>, export: &Arc<Export>, table: &'static Table) -> Result<Digest> {
    let hash = export.snapshot.hash;
    let record = export.tables.get(table.name).context("the run does not know this table")?;
    if hash.is_exact() {
        return Ok(record.content.total());
    }
    match &table.home {
        Home::Firestore(collection) => documents::content(ctx, export, table, collection).await,
        Home::Postgres(database) => {
            let mut connection = ctx.looking(*database, "cutover").await?;
            let columns = &record.target_columns;
            let content = rows::content(&mut connection, "public", table.name, columns, hash).await?;
            connection.close().await?;
            Ok(content.total())
        }
    }
}
