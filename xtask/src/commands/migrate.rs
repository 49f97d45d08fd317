//! The whole migration: five phases, each taking what the one before it proved.

use super::agree;
use crate::checks::{forecast, preflight};
use crate::commands::resume::{self, Rest};
use crate::commands::{plan, verify};
use crate::effects::terminal::peak_memory;
use crate::hazards::{self, Found};
use crate::identity::ServerName;
use crate::model::{Existing, refused};
use crate::phases::p5_verify::Depth;
use crate::phases::{p1_backup, p2_export, p3_transform, p4_import, p5_verify};
use crate::run::command::{Times, begin, said_if_slow, visibly};
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::manifest::{Export, Manifest};
use crate::run::report::Report;
use crate::run::servers;
use crate::session::{Command, OldDatabase, Servers, Session, SourceArgs, existing};
use crate::source::assess::conversions;
use crate::source::assess::{self, Assessment};
use crate::source::snapshot::Snapshot;
use crate::source::{Handling, backpressure, drift, freeze};
use crate::sql::HashFn;
use crate::steps::CommandName;
use crate::stores::marks::Marks;
use crate::timing::{Part, Timing};
use anyhow::Result;
use std::sync::Arc;

/// All five phases: backup, export, transform, import, verify
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Go on with a run that was cut off, or `latest`: the newest unfinished one
    #[arg(long, value_name = "RUN", conflicts_with = "replace")]
    pub resume: Option<String>,
    /// Take the place of an earlier run: removes only what one wrote and nobody has changed since
    #[arg(long)]
    pub replace: bool,
    /// Only estimate it, as `plan` does
    #[arg(short = 'n', long, conflicts_with = "resume")]
    pub dry_run: bool,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        if self.dry_run { Servers::Running } else { Servers::Started }
    }

    fn old_database(&self) -> OldDatabase {
        OldDatabase::Needed
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        if self.dry_run {
            return plan::show(session, &self.source, existing(self.replace)).await;
        }
        let ctx = match &self.resume {
            Some(run) => session.resumed_run(run, &self.source)?,
            None => session.new_run(&self.source, existing(self.replace))?,
        };
        session.permitted(&ctx.settings)?;
        session.rehearsed(&ctx)?;
        session.tell_of_a_freeze(&ctx.settings);
        let handling = session.handling(&self.source);
        let again = session.then(&format!("migrate --resume {}", ctx.run.id()));
        let report = match self.resume {
            Some(_) => session.or_say(&ctx, again, resumed(&ctx, &handling)).await,
            None => session.or_say(&ctx, again, run(&ctx, &handling)).await,
        };
        let report = session.unblocked(report)?;
        session.keep_report(&ctx);
        session.judged(&report, &session.after(&report))
    }
}

/// Runs all phases. The report's `proven` tells whether the stores hold what the snapshot held.
pub async fn run(ctx: &Arc<Ctx>, handling: &Handling) -> Result<Report> {
    ctx.terminal.phase("Preflight: servers and targets");
    let hash = preflight::servers(ctx).await?;
    preflight::source_can_be_dumped(ctx).await?;
    preflight::configuration_can_be_kept(ctx).await?;
    freeze::preflight(ctx, handling).await?;
    let locks = Locks::all(ctx).await?;
    let work = async {
        let marks = Marks::read(ctx).await.map_err(refused)?;
        marks.may_be_loaded(ctx, None)?;
        let assessed = assessed(ctx, hash).await?;
        let servers = servers::look(ctx, &ServerName::ALL).await?;
        let manifest = begin(ctx, CommandName::Migrate, servers, marks.newest())?;
        let migrating = from_the_source(ctx, handling, manifest, hash, assessed);
        freeze::during(ctx, handling, Box::pin(migrating)).await
    };
    visibly(ctx, CommandName::Migrate, locks.guard(Box::pin(work))).await
}

/// Goes on with a run that was cut off. Believes no journal: the files are what their hashes say, a store
/// holds what it shows.
async fn resumed(ctx: &Arc<Ctx>, handling: &Handling) -> Result<Report> {
    if resume::is_done(ctx)? {
        ctx.terminal.line(format!("run {} is done, and was proven: only verified once more", ctx.run.id()));
        if handling.freeze.is_some() {
            ctx.terminal
                .line("--freeze: the source is not asked any more, and is not frozen; `cutover` freezes it");
        }
        return verify::run(ctx, &[], Depth::Changes).await;
    }
    ctx.terminal.phase("Preflight: servers and targets");
    let hash = preflight::servers(ctx).await?;
    freeze::preflight(ctx, handling).await?;
    let locks = Locks::all(ctx).await?;
    let work = async {
        resume::same_stores(ctx).await?;
        match resume::rest(ctx, hash).await? {
            Rest::Everything => {
                preflight::source_can_be_dumped(ctx).await?;
                preflight::configuration_can_be_kept(ctx).await?;
                let assessed = assessed(ctx, hash).await?;
                let manifest = resume::cleared(ctx)?;
                let rest = from_the_source(ctx, handling, manifest, hash, assessed);
                freeze::during(ctx, handling, Box::pin(rest)).await
            }
            Rest::Targets(manifest, export) => {
                let rest = to_the_targets(ctx, handling, *manifest, export, Times::default());
                freeze::during(ctx, handling, Box::pin(rest)).await
            }
        }
    };
    visibly(ctx, CommandName::Resume, locks.guard(Box::pin(work))).await
}

/// The source as it was judged before the run, and how long that will take where it is known.
pub struct Assessed {
    pub source: Assessment,
    pub timing: Option<Timing>,
}

/// The source can be moved as it is, the targets can take it, and it does not cost too much, nor does it leave more
/// behind than is allowed, nor need more room than there is.
async fn assessed(ctx: &Arc<Ctx>, hash: HashFn) -> Result<Assessed> {
    let both = async { tokio::try_join!(assess::source(ctx), preflight::targets(ctx, None)) };
    let what = match ctx.existing {
        Existing::Replace => "the source is assessed, and whether the targets hold only what a run wrote",
        Existing::Refuse => "the source is assessed, and whether the targets can take it",
    };
    let (source, ()) = said_if_slow(ctx, what, both).await?;
    forecast::affordable(ctx, &source.reading).await?;
    within_limits(ctx, hash, source).await
}

/// What `plan` knows of a run's limits, before the run begins.
pub async fn within_limits(ctx: &Arc<Ctx>, hash: HashFn, source: Assessment) -> Result<Assessed> {
    forecast::quarantine_limit(ctx, &source.reading).await?;
    let timing = forecast::predicted(ctx, hash).await?;
    Ok(Assessed { source, timing })
}

/// Everything, from a new snapshot on.
async fn from_the_source(
    ctx: &Arc<Ctx>,
    handling: &Handling,
    mut manifest: Manifest,
    hash: HashFn,
    assessed: Assessed,
) -> Result<Report> {
    let mut times = Times::default();
    if let Some(timing) = assessed.timing {
        ctx.terminal.line(format!("about {:.0} s, by a sample of the source", timing.predicted.total()));
        manifest.time = Some(timing);
    }
    let exporting = backup_and_export(ctx, &mut manifest, hash, assessed.source);
    let export = times.of(Part::BackupAndExport, exporting).await?;
    Box::pin(to_the_targets(ctx, handling, manifest, export, times)).await
}

/// Phases 3 to 5.
async fn to_the_targets(
    ctx: &Arc<Ctx>,
    handling: &Handling,
    mut manifest: Manifest,
    export: Arc<Export>,
    mut times: Times,
) -> Result<Report> {
    forecast::cost_limit(ctx, &export).await?;
    let looked = p3_transform::look(ctx, &export).await?;
    ctx.terminal.phase("Phases 3 and 4: Firestore and PostgreSQL");
    let (documents, ()) = times
        .of(Part::Import, async {
            tokio::try_join!(p3_transform::run(ctx, &export, &looked), p4_import::run(ctx, &export))
        })
        .await?;

    // What phase 4 has proven a moment before is not read again, as long as it has not changed.
    manifest.remembered = ctx.run.load_manifest()?.remembered;
    ctx.terminal.phase("Phase 5: verify");
    // Nothing in phase 5 is asked of the source, so it has time for this.
    let looking =
        async { Ok(if handling.look_again { Some(drift::beside(ctx, &manifest).await) } else { None }) };
    let both = async { tokio::try_join!(p5_verify::run(ctx, &manifest, &export, Depth::Changes), looking) };
    let (proof, source) = times.of(Part::Verify, both).await?;
    let real = times.seconds();
    let (timing, found, defaults) = (manifest.time.take(), proof.clone(), documents.defaults());
    let manifest = ctx.run.change_manifest(|manifest| {
        (manifest.proof, manifest.source) = (Some(found), source);
        (manifest.defaults, manifest.peak_memory) = (defaults, peak_memory());
        manifest.time = timing.map(|time| Timing { real, ..time });
        Ok(())
    })?;

    let directory = ctx.run.path().display().to_string();
    let mut report = Report::new(ctx.run.id(), directory, ctx.tables, &export, Some(&proof), ctx.values)
        .begun_with(&manifest);
    report.defaults.clone_from(&manifest.defaults);
    report.seconds = times.by_part();
    if let (Some(real), Some(time)) = (real, &manifest.time) {
        report.seconds.insert(Part::Phases, real.total());
        report.predicted = time.predicted.by_part();
    }
    report.source = manifest.source.clone();
    report.peak_memory = manifest.peak_memory;
    Ok(report)
}

/// Phases 1 and 2 beside each other: they see one instant of the source.
pub async fn backup_and_export(
    ctx: &Arc<Ctx>,
    manifest: &mut Manifest,
    hash: HashFn,
    assessed: Assessment,
) -> Result<Arc<Export>> {
    show(ctx, &assessed.hazards);
    let (of_tables, time) = (assessed.hazards, manifest.time.take());
    let hazards = of_tables.clone();
    ctx.run.change_manifest(|manifest| {
        (manifest.hazards, manifest.time) = (hazards, time);
        Ok(())
    })?;
    ctx.terminal.phase("Phases 1 and 2: backup and export of one snapshot");
    let mut snapshot = Snapshot::open(ctx, hash).await?;
    snapshot.same_catalogue(ctx, &assessed.catalogue).await?;
    let snapshot = conversions::read_as(ctx, snapshot, assessed.reading).await?;
    let both = async { tokio::try_join!(p1_backup::run(ctx, &snapshot), p2_export::run(ctx, &snapshot)) };
    let (backup, (export, of_rows)) = backpressure::under_backpressure(ctx, both).await?;
    snapshot.release().await?;
    show(ctx, &of_rows);
    agree(&backup, &export, ctx)?;
    // Only from here on may a target be written: everything is on disk, and hashed.
    let complete = export.clone();
    *manifest = ctx.run.change_manifest(|manifest| {
        (manifest.backup, manifest.export) = (Some(backup), Some(complete));
        manifest.hazards = hazards::in_order([of_tables, of_rows].concat());
        Ok(())
    })?;
    Ok(Arc::new(export))
}

/// Says with `-v` at once what the report will tell in full.
fn show(ctx: &Ctx, hazards: &[Found]) {
    for hazard in hazards {
        let accepted = if hazard.accepted { " (accepted)" } else { "" };
        ctx.terminal.detail(format!("  ! {} × {}{accepted}", hazard.count, hazard.name));
    }
}
