//! The old database taken out of service (guide, Post-Migration 5), step by step, each undone until the last: nobody is
//! let in, nobody comes for a day, a last archive is proven, it gets another name, and after another wait it is dropped.
//! Every call goes on where the last one ended; how far it is stands in the run (`decommission.json`).

mod archive;
mod compose_lines;
mod conditions;
mod container;
mod gone;
mod quiet;
mod record;
mod report;
mod server;

pub use container::OldContainer;
pub use gone::Gone;
pub use record::{Archive, Record, Retired, Sample};
pub use report::{Done, Stage};

use crate::effects::cleanup::Cleanup;
use crate::effects::clock;
use crate::model::Stop;
use crate::operations::monitor::seconds;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::dir::{self, RunDir};
use crate::run::freeze_log::FreezeLog;
use crate::run::journal_file::Recorded;
use crate::run::lock::Locks;
use crate::run::manifest::Manifest;
use crate::settings::human;
use crate::shown::utc;
use crate::source::restore;
use crate::steps::StepName;
use anyhow::{Context, Result};
use conditions::Look;
use server::{Old, There};
use std::sync::Arc;
use std::time::Duration;

/// Whether tables that are not what they were at the cut-over keep the old database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    Refuse,
    /// The archive has them, and somebody has looked.
    Accept,
}

/// How far it is, and which conditions hold. Changes nothing.
pub async fn look(ctx: &Arc<Ctx>) -> Result<Done> {
    let (manifest, record) = (ctx.run.load_manifest()?, Record::load(&ctx.run)?);
    if record.dropped.is_some() {
        return Done::new(ctx, record, Vec::new());
    }
    let mut old = Old::open(ctx, &manifest).await?;
    let there = old.look().await?;
    let done = match (&record.retired, there) {
        (Some(retired), Some(there)) if there.name == retired.name => Done::new(ctx, record, Vec::new()),
        (_, there) => {
            let there = in_place(&old, there)?;
            let record = Record { retired: None, ..record };
            let look = Look::at(ctx, &manifest, &record, &there.sample, &mut old).await?;
            let conditions = look.conditions()?;
            Done::new(ctx, record, conditions)
        }
    };
    old.connection.close().await?;
    done
}

/// The old database under the name that the environment knows.
fn in_place(old: &Old, there: Option<There>) -> Result<There> {
    match there {
        None => refuse!("{} of this run is gone from its server: there is nothing to retire", old.database),
        Some(there) if there.name != old.database => refuse!(
            "the old database of this run is called {} now, and not {}: whoever did that knows why",
            there.name,
            old.database
        ),
        Some(there) => Ok(there),
    }
}

/// Does what can be done now: closes the database, looks who is there, and where all conditions hold archives and
/// retires it.
///
/// # Errors
/// Refuses with all conditions until they hold.
pub async fn go_on(ctx: &Arc<Ctx>, changes: Changes, cleanup: &Cleanup) -> Result<Done> {
    let manifest = ctx.run.load_manifest()?;
    let mut old = Old::open(ctx, &manifest).await?;
    let step = ctx.run.step(StepName::Decommission)?;
    let record = Record::load(&ctx.run)?;
    let there = old.look().await?;
    if let (Some(retired), Some(there)) = (&record.retired, &there)
        && there.name == retired.name
    {
        step.done(&format!("{} it is already", retired.name))?;
        return Done::new(ctx, record, Vec::new());
    }
    // By a call that was killed: its rename may still be under way on the server.
    let announced = record.retired.map(|retired| retired.name);
    let there = in_place(&old, there)?;
    let record = watched(ctx, &manifest, &mut old, &there).await?;
    let look = Look::at(ctx, &manifest, &record, &there.sample, &mut old).await?;
    let conditions = look.conditions()?;
    if !conditions::hold(&conditions) {
        if !there.sample.others.is_empty() && record.quiet.is_some() {
            // The day begins again.
            Record::change(&ctx.run, |record| record.quiet = None)?;
        }
        step.failed("not all conditions hold")?;
        return Done::new(ctx, record, conditions);
    }
    let lately = ctx.settings.decommission.quiet;
    let record = Record::change(&ctx.run, |record| {
        let until = record.quiet_until(lately).cloned();
        record.quiet = until.or(Some(there.sample.at.clone()));
    })?;
    let archive = match record.archive.clone().filter(|archive| is_of_now(archive, &there.sample)) {
        Some(archive) => archive,
        None => archive::make(ctx, &manifest, record.archive.as_ref(), &mut old, cleanup).await?,
    };
    if !archive.changed.is_empty() && changes == Changes::Refuse {
        let run = ctx.run.id();
        let what = format!(
            "tables of {} are not what they were when the services took over: {}. The archive has them as they are now. \
             If nobody needs what was written there: `cargo xtask decommission --run {run} --accept-changes`",
            old.database,
            archive.changed.join(", ")
        );
        return Err(Stop::Differs(what).into());
    }
    archive::is_whole(ctx, &archive)?;
    let retired = retire(ctx, &mut old, announced).await?;
    step.done(&format!("{} is {} now, archived in archive/{}", old.database, retired.name, archive.id))?;
    Done::new(ctx, Record::load(&ctx.run)?, conditions)
}

/// Closed, where the services have taken over, and looked at.
async fn watched(ctx: &Ctx, manifest: &Manifest, old: &mut Old, there: &There) -> Result<Record> {
    let record = Record::load(&ctx.run)?;
    if record.retired.is_some() {
        // The call that wrote it down was killed before it was done.
        Record::change(&ctx.run, |record| record.retired = None)?;
    }
    if record.closed.is_none() {
        if conditions::taken_over(manifest).is_none() {
            return Ok(record);
        }
        let grants = old.close(ctx).await?.revoked.len();
        ctx.run.note(&StepName::Decommission, &format!("closed: {grants} grants of CONNECT taken away"))?;
    }
    take(&ctx.run, &there.sample)
}

/// Nobody has been in the database since it was archived and proven.
fn is_of_now(archive: &Archive, sample: &Sample) -> bool {
    archive.proven.as_ref().is_some_and(|(_, sessions)| *sessions == sample.sessions)
}

/// `announced`: the name that an earlier call meant to give it.
async fn retire(ctx: &Ctx, old: &mut Old, announced: Option<String>) -> Result<Retired> {
    let day = jiff::Timestamp::now().strftime("%Y%m%d");
    let name = announced.unwrap_or_else(|| restore::name(&old.database, &format!("_retired_{day}")));
    let retired = Retired { at: dir::now(), name };
    Record::change(&ctx.run, |record| record.retired = Some(retired.clone()))?;
    let database = old.database.clone();
    let renamed = old.rename(&database, &retired.name).await;
    if let Err(error) = renamed {
        // Where it cannot be asked whether it was renamed all the same, the next call does.
        match old.look().await {
            Ok(Some(there)) if there.name == retired.name => return Ok(retired),
            Ok(Some(there)) if there.name == database => {
                Record::change(&ctx.run, |record| record.retired = None)?;
            }
            _ => {}
        }
        return Err(error);
    }
    Ok(retired)
}

/// One look more at who is in the old database; `None`: it is not being watched.
pub async fn watch(ctx: &Ctx, manifest: &Manifest) -> Result<Option<String>> {
    let record = Record::load(&ctx.run)?;
    match (&record.closed, &record.retired, &record.dropped) {
        (_, _, Some(at)) => return Ok(Some(format!("dropped at {}", utc(at)))),
        (_, Some(retired), _) => {
            return Ok(Some(format!("retired as {} at {}", retired.name, utc(&retired.at))));
        }
        (None, _, _) => return Ok(None),
        (Some(_), None, None) => {}
    }
    let mut old = Old::open(ctx, manifest).await?;
    let there = old.look().await?;
    let there = in_place(&old, there)?;
    old.connection.close().await?;
    let record = take(&ctx.run, &there.sample)?;
    let quiet = quiet::quiet(&record.samples)?;
    let since = quiet.since.map_or("not yet".to_string(), |since| utc(&since));
    let broken = quiet.broken.map(|broken| format!("; {broken}")).unwrap_or_default();
    Ok(Some(format!("closed, not entered; nobody is there since: {since}{broken}")))
}

/// Adds what was seen, unless it says no more than what is there.
fn take(run: &RunDir, sample: &Sample) -> Result<Record> {
    Record::change(run, |record| {
        let same_hour = |last: &Sample| last.at.get(..13) == sample.at.get(..13);
        let same = |last: &Sample| {
            (&last.reset, last.sessions, &last.others) == (&sample.reset, sample.sessions, &sample.others)
        };
        if !record.samples.last().is_some_and(|last| same_hour(last) && same(last)) {
            record.samples.push(sample.clone());
        }
    })
}

/// Everything as it was before: its name, and who is let in.
///
/// # Errors
/// Refuses where it has been dropped.
pub async fn undo(ctx: &Arc<Ctx>) -> Result<Done> {
    let (manifest, record) = (ctx.run.load_manifest()?, Record::load(&ctx.run)?);
    let step = ctx.run.step(StepName::Decommission)?;
    if let Some(at) = &record.dropped {
        refuse!(
            "{} was dropped at {}: {}",
            ctx.settings.source.database,
            utc(at),
            from_archive(ctx, &record)
        );
    }
    let mut old = Old::open(ctx, &manifest).await?;
    let there = old.look().await?.context("the old database of this run is gone from its server")?;
    let database = old.database.clone();
    if record.retired.as_ref().is_some_and(|retired| retired.name == there.name) {
        old.rename(&there.name, &database).await?;
    }
    if let Some(closed) = &record.closed {
        old.open_again(closed, &ctx.settings.source.user).await?;
    }
    old.connection.close().await?;
    // The archive stays where it is.
    Record::change(&ctx.run, |record| *record = Record::default())?;
    step.done(&format!("{database} has its name, and lets in who was let in before"))?;
    Ok(Done { stage: Stage::Undone, ..Done::new(ctx, record, Vec::new())? })
}

/// Drops the retired database. `said`: the name that was typed.
///
/// # Errors
/// Refuses another name, before its time, and without a whole archive.
pub async fn drop(ctx: &Arc<Ctx>, said: Option<&str>) -> Result<Done> {
    let (manifest, record) = (ctx.run.load_manifest()?, Record::load(&ctx.run)?);
    let step = ctx.run.step(StepName::Decommission)?;
    if record.dropped.is_none() {
        let retired = may_be_dropped(ctx, &record, said)?;
        let mut old = Old::open(ctx, &manifest).await?;
        match old.look().await? {
            // By a call that was killed right after it.
            None => {}
            Some(there) if there.name == retired.name => {
                let archive = record.archive.as_ref().context("no archive is recorded")?;
                archive::is_whole(ctx, archive)?;
                old.drop(&there.name).await?;
            }
            Some(there) => refuse!(
                "the old database is called {} and not {}: nothing is dropped",
                there.name,
                retired.name
            ),
        }
        old.connection.close().await?;
        let (freezes, source) = (FreezeLog::at(ctx.run.runs()), FreezeLog::name_of(&ctx.settings.source));
        if freezes.open(&source)?.is_some() {
            // What was held back is gone, and with it what would undo that.
            freezes.unfreeze(&source)?;
        }
        Record::change(&ctx.run, |record| record.dropped = Some(dir::now()))?;
    }
    dropped(ctx, step)
}

/// Removes the container of a database that has been dropped; can be repeated. No lock is held meanwhile: it would be on
/// the server that goes.
pub async fn remove(ctx: &Arc<Ctx>, container: &OldContainer) -> Result<Done> {
    let step = ctx.run.step(StepName::Decommission)?;
    container.remove(&ctx.run).await?;
    dropped(ctx, step)
}

fn dropped(ctx: &Ctx, step: Recorded<'_>) -> Result<Done> {
    let record = Record::load(&ctx.run)?;
    step.done(&format!("dropped: {}", record.retired.as_ref().map_or("", |retired| &retired.name)))?;
    Done::new(ctx, record, Vec::new())
}

fn may_be_dropped<'a>(ctx: &Ctx, record: &'a Record, said: Option<&str>) -> Result<&'a Retired> {
    let run = ctx.run.id();
    let Some(retired) = &record.retired else {
        refuse!(
            "the old database is not retired yet: `cargo xtask decommission --run {run}` says what is missing"
        );
    };
    if said != Some(&retired.name) {
        let found = said.map_or("no name".to_string(), |said| format!("{said:?}"));
        refuse!(
            "what is dropped is gone: its name has to be typed, and {found} is not {0}. If that is meant: \
             `cargo xtask decommission --run {run} --drop --confirm {0}`",
            retired.name
        );
    }
    let wait = ctx.settings.decommission.drop_after;
    let passed = Duration::from_secs_f64((clock::seconds_now() - seconds(&retired.at)?).max(0.0));
    if passed < wait {
        refuse!(
            "{} was retired at {}, and may be dropped {} later: in {}. Until then --undo brings it back",
            retired.name,
            utc(&retired.at),
            human(wait),
            human(wait - passed)
        );
    }
    Ok(retired)
}

fn from_archive(ctx: &Ctx, record: &Record) -> String {
    let id = record.archive.as_ref().map_or("latest", |archive| &archive.id);
    let (place, database) = (archive::directory(ctx), &ctx.settings.source.database);
    format!(
        "its archive is a backup like any other: cargo xtask restore --backup-dir {} --run {id} --into {database}",
        place.display()
    )
}

/// For what needs the old database under its name.
///
/// # Errors
/// Refuses where it has been retired, and names the way.
pub fn in_service(run: &RunDir) -> Result<()> {
    match gone::why(run, &Record::load(run)?) {
        Some(why) => refuse!("{why}"),
        None => Ok(()),
    }
}

/// One at a time on this server: a session that is not in the old database holds it.
pub async fn alone(ctx: &Ctx) -> Result<Locks> {
    let (connection, server) = restore::beside(ctx, "decommission").await?;
    connection.close().await?;
    Locks::unless_ours(&server, "decommission").await
}
