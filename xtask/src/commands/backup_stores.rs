//! `backup --target`: the new stores, each by itself, and which earlier backups go after it.

use crate::model::grouped;
use crate::operations::store_backups::{
    self, Held, Kept, Retention, StoreManifest, Target, directory, expired, finished,
};
use crate::run::ctx::Ctx;
use crate::run::dir::RunDir;
use crate::session::Session;
use crate::tables::TABLES;
use anyhow::{Context, Result};
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;
use std::path::PathBuf;

/// The store that is meant, or every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Which {
    Product,
    Order,
    Gateway,
    Firestore,
    All,
}

impl Which {
    pub fn targets(self) -> Vec<Target> {
        match self {
            Which::Product => vec![Target::Product],
            Which::Order => vec![Target::Order],
            Which::Gateway => vec![Target::Gateway],
            Which::Firestore => vec![Target::Firestore],
            Which::All => Target::ALL.to_vec(),
        }
    }

    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Which::All => "all",
            Which::Product => Target::Product.name(),
            Which::Order => Target::Order.name(),
            Which::Gateway => Target::Gateway.name(),
            Which::Firestore => Target::Firestore.name(),
        }
    }
}

/// Where the stores' backups are.
#[derive(Debug, clap::Args)]
pub struct StoresArgs {
    /// Where the backups of the stores are [default: `stores` in the directory of the runs]
    #[arg(long, value_name = "DIR")]
    pub store_backups: Option<PathBuf>,
}

impl StoresArgs {
    /// # Errors
    /// Where there is no present directory to begin from.
    pub fn directory(&self, session: &Session<'_>) -> Result<PathBuf> {
        let directory = self.store_backups.clone().unwrap_or_else(|| directory(&session.runs()));
        std::path::absolute(&directory).with_context(|| format!("finding {}", directory.display()))
    }

    /// As typed after a command that is said next.
    pub fn typed(&self) -> String {
        let typed = |dir: &PathBuf| format!(" --store-backups {}", dir.display());
        self.store_backups.as_ref().map(typed).unwrap_or_default()
    }
}

#[derive(Debug, clap::Args)]
pub struct RetentionArgs {
    /// With --target: once the new backup is proven, remove those that are not among the newest N
    #[arg(long, requires = "target", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_last: Option<u32>,
    /// With --target: remove those older than D days, but for the newest of them; with --keep-last either keeps
    #[arg(long, requires = "target", value_name = "D", value_parser = clap::value_parser!(u32).range(1..=36500))]
    keep_days: Option<u32>,
    /// With --target: never leave fewer than N
    #[arg(long, requires = "target", default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_min: u32,
}

impl RetentionArgs {
    fn retention(&self) -> Retention {
        Retention {
            last: self.keep_last.map(|n| n as usize),
            days: self.keep_days,
            least: self.keep_min as usize,
        }
    }
}

/// What came of one store.
#[derive(Debug, Serialize)]
struct Made {
    target: Target,
    path: PathBuf,
    taken: String,
    tables: usize,
    rows: u64,
    bytes: u64,
    seconds: f64,
    /// Left unfinished by earlier ones.
    unfinished_removed: Vec<PathBuf>,
    /// By the rules of what stays.
    removed: Vec<PathBuf>,
}

/// # Errors
/// Refuses where another command is at work on one of the stores' backups. One that fails does not keep the others
/// from being made.
pub async fn run(
    session: &Session<'_>,
    which: Which,
    stores: &StoresArgs,
    retention: &RetentionArgs,
    dry_run: bool,
) -> Result<()> {
    let ctx = context(session)?;
    let (stores_at, retention) = (stores.directory(session)?, retention.retention());
    if dry_run {
        return foreseen(session, &ctx, which, &stores_at, retention);
    }
    let held = which.targets().into_iter().map(|target| Held::take(&stores_at, target));
    let held = held.collect::<Result<Vec<Held>>>()?;
    let (mut made, mut failed) = (Vec::new(), Vec::new());
    for held in &held {
        ctx.terminal.phase(&format!("Backup of {}", held.target()));
        match Box::pin(one(&ctx, held, &stores_at, retention)).await {
            Ok(one) => made.push(one),
            Err(error) => failed.push((held.target(), error)),
        }
    }
    let drill = format!("restore-drill --target {}{}", which.word(), stores.typed());
    let next = failed.is_empty().then(|| session.then(&drill));
    session.done(&serde_json::json!({ "backups": made }), made.iter().map(Made::text).collect(), next)?;
    let names: Vec<&str> = failed.iter().map(|(target, _)| target.name()).collect();
    let which =
        format!("{} of {} stores could not be backed up ({})", names.len(), held.len(), names.join(", "));
    let mut errors = failed.into_iter();
    let Some((_, first)) = errors.next() else { return Ok(()) };
    errors.for_each(|(_, error)| ctx.terminal.warn(format!("{error:#}")));
    match held.len() {
        1 => Err(first),
        // Something has been changed by now: no refusal.
        _ => Err(anyhow::anyhow!("{which}: {first:#}")),
    }
}

/// The environment's servers; no run is made.
pub fn context(session: &Session<'_>) -> Result<Ctx> {
    let settings = session.settings()?;
    Ok(Ctx::new(settings, TABLES, RunDir::dry_run_dir(&session.runs()), session.options()?))
}

async fn one(ctx: &Ctx, held: &Held, stores: &std::path::Path, retention: Retention) -> Result<Made> {
    let unfinished_removed = held.remove_unfinished()?;
    let (path, manifest) = store_backups::back_up(ctx, held).await?;
    let removed = expire(ctx, held, stores, retention);
    let removed =
        removed.with_context(|| format!("the new backup is in {}; removing earlier ones", path.display()))?;
    Ok(Made::new(path, &manifest, unfinished_removed, removed))
}

/// Only after a success. Returns what was removed.
fn expire(ctx: &Ctx, held: &Held, stores: &std::path::Path, retention: Retention) -> Result<Vec<PathBuf>> {
    let (kept, unreadable) = finished(stores, held.target(), &ctx.settings.environment)?;
    unreadable.iter().for_each(|line| ctx.terminal.warn(format!("left alone, it cannot be read: {line}")));
    let mut removed = Vec::new();
    for old in expired(&kept, retention, Timestamp::now()) {
        held.remove(&old.path)?;
        removed.push(old.path.clone());
    }
    Ok(removed)
}

fn foreseen(
    session: &Session<'_>,
    ctx: &Ctx,
    which: Which,
    stores: &std::path::Path,
    retention: Retention,
) -> Result<()> {
    let (mut text, mut would) = (String::new(), Vec::new());
    for target in which.targets() {
        let firestore = &ctx.settings.firestore;
        let what = match target.database() {
            Some(database) => ctx.settings.target(database).to_string(),
            None => format!("firestore ({}/{})", firestore.project, firestore.database),
        };
        let (kept, _) = finished(stores, target, &ctx.settings.environment)?;
        // The one that would be made counts, and stands before all others.
        let after = Retention {
            last: retention.last.map(|last| last.saturating_sub(1)),
            least: retention.least.saturating_sub(1),
            ..retention
        };
        let gone: Vec<&Kept> = expired(&kept, after, Timestamp::now());
        text += &format!("would back up {what} into {}\n", stores.join(target.name()).display());
        text += &gone
            .iter()
            .map(|old| format!("  would then remove {}\n", old.path.display()))
            .collect::<String>();
        let removed: Vec<&PathBuf> = gone.iter().map(|old| &old.path).collect();
        would.push(serde_json::json!({ "target": target, "would_remove": removed }));
    }
    let again = format!("backup --target {}", which.word());
    session.done(&serde_json::json!({ "plans": would }), text, session.then(&again))
}

impl Made {
    fn new(
        path: PathBuf,
        manifest: &StoreManifest,
        unfinished_removed: Vec<PathBuf>,
        removed: Vec<PathBuf>,
    ) -> Made {
        Made {
            target: manifest.target,
            path,
            taken: manifest.taken().to_string(),
            tables: manifest.parts(),
            rows: manifest.rows(),
            bytes: manifest.bytes(),
            seconds: manifest.seconds,
            unfinished_removed,
            removed,
        }
    }

    fn text(&self) -> String {
        let (parts, rows) = match self.target.database() {
            Some(_) => ("tables", "rows"),
            None => ("collections", "documents"),
        };
        let mut out = format!(
            "✓ BACKED UP {}: {} {parts}, {} {rows}, {} bytes, read back whole · {:.1} s\n  {}\n",
            self.target,
            self.tables,
            grouped(self.rows),
            grouped(self.bytes),
            self.seconds,
            self.path.display()
        );
        for path in &self.unfinished_removed {
            out += &format!("  removed, it was never finished: {}\n", path.display());
        }
        for path in &self.removed {
            out += &format!("  removed, no rule keeps it: {}\n", path.display());
        }
        out
    }
}
