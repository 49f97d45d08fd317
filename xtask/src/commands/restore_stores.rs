//! `restore --target`: a store's backup into a database of its own, or into an empty Firestore.

use super::restored::Done;
use crate::identity::ServerName;
use crate::model::{Stop, grouped};
use crate::operations::store_backups::{
    self, Content, DatabaseContent, DocumentsContent, Goal, Guard, Held, RestoredDocuments, StoreManifest,
    Target, context,
};
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::dir::{RunDir, damaged_files};
use crate::run::manifest::Manifest;
use crate::session::{Session, Touches};
use crate::settings::Firestore;
use crate::shown::utc;
use crate::source::restore::{self, Plan, Unproven};
use crate::steps::{CommandName, StepName};
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;

/// What is restored, from where, and where to.
pub struct Wanted<'a> {
    pub target: Target,
    /// The backup's directory.
    pub from: &'a Path,
    pub into: Option<&'a str>,
    pub dry_run: bool,
    pub unproven: Unproven,
}

/// # Errors
/// Refuses before anything is written what is no whole backup of this store, and a place where others' rows or
/// documents are.
pub async fn run(session: &Session<'_>, wanted: &Wanted<'_>) -> Result<()> {
    let (run, _held) = opened(wanted)?;
    let manifest = store_backups::load(run.path()).map_err(crate::model::refused)?;
    let ctx = super::backup_stores::context(session)?;
    belongs(&manifest, wanted, &ctx)?;
    let damaged = damaged_files(&run, manifest.files());
    if !damaged.is_empty() {
        refuse!(
            "the backup in {} is damaged:\n  {}\nTake another one: they are in the folder above it",
            run.path().display(),
            damaged.join("\n  ")
        );
    }
    let of_store = context(&ctx, wanted.target, run);
    match &manifest.content {
        Content::Database(content) => Box::pin(database(session, &of_store, content, wanted)).await,
        Content::Documents(content) => Box::pin(documents(session, &of_store, content, wanted)).await,
    }
}

/// The backup's directory; held, where it is among the others of its store.
fn opened(wanted: &Wanted<'_>) -> Result<(RunDir, Option<Held>)> {
    let from = wanted.from;
    let found = from.canonicalize().ok().filter(|path| path.join(crate::run::dir::MANIFEST).is_file());
    let Some(path) = found else {
        refuse!("{} is no finished backup: it has no manifest.json", from.display());
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(parent), Some(name)) = (path.parent(), name) else {
        refuse!("{} is no directory of a backup", from.display());
    };
    let stores = parent.parent().filter(|_| parent.ends_with(wanted.target.name()));
    let held = stores.map(|stores| Held::take(stores, wanted.target)).transpose()?;
    Ok((RunDir::open(parent, name)?, held))
}

fn belongs(manifest: &StoreManifest, wanted: &Wanted<'_>, ctx: &Ctx) -> Result<()> {
    let (from, environment) = (wanted.from.display(), &ctx.settings.environment);
    if manifest.target != wanted.target {
        refuse!(
            "{from} is a backup of {}, not of {}: say --target {}",
            manifest.target,
            wanted.target,
            manifest.target
        );
    }
    if manifest.environment != *environment {
        refuse!(
            "{from} is of environment `{0}`, not of `{environment}`: say --env {0}",
            manifest.environment
        );
    }
    Ok(())
}

async fn database(
    session: &Session<'_>,
    ctx: &Arc<Ctx>,
    content: &DatabaseContent,
    wanted: &Wanted<'_>,
) -> Result<()> {
    let Some(name) = wanted.into else {
        refuse!("a database is restored next to the store's own, under another name: say --into DATABASE");
    };
    let manifest = as_of_a_run(ctx, content);
    ctx.terminal.phase("Restore: the plan");
    let plan = Plan::look(ctx, &manifest, &restore::Goal::Beside(name.to_string())).await;
    let plan = plan.map_err(crate::model::refused)?;
    if wanted.dry_run {
        let again =
            format!("restore --target {} --from {} --into {name}", wanted.target, wanted.from.display());
        session.done(&plan, plan.text(), session.then(&again))?;
        return plan.possible();
    }
    session.terminal.line(plan.text().trim_end());
    session.permitted(&ctx.settings)?;
    plan.possible()?;
    let work = restore::restore(ctx, &manifest, &plan, wanted.unproven, session.cleanup);
    let restored = visibly(ctx, CommandName::Restore, Box::pin(work)).await?;
    let done = Done { restored, replaced: None };
    let next =
        format!("look at it: psql -h {} -p {} -d {name}", ctx.settings.source.host, ctx.settings.source.port);
    session.done(&done, done.text(), next)
}

/// What a restore reads of a run.
fn as_of_a_run(ctx: &Ctx, content: &DatabaseContent) -> Manifest {
    let mut manifest =
        ctx.run.new_manifest(CommandName::Backup, &ctx.settings.environment, ctx.tool_version());
    manifest.backup = Some(content.backup.clone());
    manifest.servers.databases.insert(ServerName::Source, content.server.clone());
    manifest
}

async fn documents(
    session: &Session<'_>,
    ctx: &Arc<Ctx>,
    content: &DocumentsContent,
    wanted: &Wanted<'_>,
) -> Result<()> {
    let firestore = place(&ctx.settings.firestore, wanted.into)?;
    let documents: u64 = content.collections.values().map(|c| c.content.rows).sum();
    let (place, from) = (format!("{}/{}", firestore.project, firestore.database), wanted.from.display());
    let mut plan = format!(
        "Restore of {} documents as of {} into Firestore {place}\n",
        grouped(documents),
        utc(&content.read_time)
    );
    for (collection, collected) in &content.collections {
        plan += &format!("  {collection}: {} documents\n", grouped(collected.content.rows));
    }
    let into = wanted.into.map(|into| format!(" --into {into}")).unwrap_or_default();
    let again = session.then(&format!("restore --target firestore --from {from}{into}"));
    if wanted.dry_run {
        return session.done(content, plan, again);
    }
    session.terminal.line(plan.trim_end());
    session.permitted(&ctx.settings)?;
    let goal = Goal { firestore: &firestore, guard: Guard::EmptyOrEqual };
    let work = async {
        let step = ctx.run.step(StepName::Restore)?;
        let restored = store_backups::restore_documents(ctx, content, &goal).await?;
        match restored.differences.len() {
            0 => step.done(&format!("{place}: {} documents", grouped(restored.written)))?,
            n => step.failed(&format!("{place}: {n} differences"))?,
        }
        Ok(restored)
    };
    session.last_words.set(ctx.run.path(), again, Touches::Others);
    let restored = visibly(ctx, CommandName::Restore, Box::pin(work)).await?;
    session.last_words.clear();
    said(session, &restored, &place)
}

fn said(session: &Session<'_>, restored: &RestoredDocuments, place: &str) -> Result<()> {
    if restored.differences.is_empty() {
        let there = match restored.there_before {
            0 => String::new(),
            n => format!(", {} stood there already", grouped(n)),
        };
        let text = format!(
            "✓ PROVEN {place}: {} documents written{there}; count and digest of every collection as in the backup\n",
            grouped(restored.written)
        );
        return session.done(restored, text, "look after the services".to_string());
    }
    let text = format!("✗ DIFFERS {place}\n  {}\n", restored.differences.join("\n  "));
    session.done(restored, text, None)?;
    Err(Stop::Differs(format!(
        "{place} is not what the backup recorded; another client may be writing there"
    ))
    .into())
}

/// The environment's own, or `PROJECT`, or `PROJECT/DATABASE`, as its account may reach them.
fn place(own: &Firestore, into: Option<&str>) -> Result<Firestore> {
    let Some(into) = into else { return Ok(own.clone()) };
    let (project, database) = into.split_once('/').unwrap_or((into, "(default)"));
    if project.is_empty() || database.is_empty() || database.contains('/') {
        refuse!("--into {into}: expected PROJECT or PROJECT/DATABASE");
    }
    Ok(Firestore { project: project.to_string(), database: database.to_string(), ..own.clone() })
}
