//! Phase 1 alone: a backup of the source that has been read back whole. With `--target` a backup of the new stores.

use super::backup_stores::{self, RetentionArgs, StoresArgs, Which};
use crate::checks::preflight;
use crate::identity::ServerName;
use crate::model::Existing;
use crate::phases::p1_backup;
use crate::refuse;
use crate::run::command::{begin, visibly};
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::manifest::Backup;
use crate::run::servers;
use crate::session::{Command, Ending, OldDatabase, Servers, Session, SourceArgs};
use crate::source::snapshot::Snapshot;
use crate::source::{Handling, backpressure, freeze};
use crate::sql::HashFn;
use crate::steps::CommandName;
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Phase 1: dump the source, prove the dump; or the new stores
///
/// The dump is read back, and every table is counted and digested. With --target the new stores are backed up.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Back up a new store instead of the source, or each of them
    #[arg(long, value_name = "STORE", conflicts_with_all = ["freeze", "source_rate", "no_source_check", "max_quarantine", "accept"])]
    target: Option<Which>,
    #[command(flatten)]
    stores: StoresArgs,
    #[command(flatten)]
    retention: RetentionArgs,
    /// With --target: say what would be backed up, and removed after it
    #[arg(short = 'n', long, requires = "target")]
    dry_run: bool,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    fn old_database(&self) -> OldDatabase {
        if self.target.is_some() { OldDatabase::NotNeeded } else { OldDatabase::Needed }
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        if let Some(which) = self.target {
            return backup_stores::run(session, which, &self.stores, &self.retention, self.dry_run).await;
        }
        if self.stores.store_backups.is_some() {
            refuse!("--store-backups is for backups of the new stores: say --target all, or which one");
        }
        let ctx = session.new_run(&self.source, Existing::Refuse)?;
        let backup = run(&ctx, &session.handling(&self.source)).await?;
        session.keep_report(&ctx);
        let text = format!("{}backup in {}\n", backup.text(), ctx.run.path().display());
        let ending = Ending::of_text(backup.verdict(), text).details(session.details(ctx.run.id()));
        session.done_with(&backup, &ending.next(Some(session.then("export"))))
    }
}

pub async fn run(ctx: &Arc<Ctx>, handling: &Handling) -> Result<Backup> {
    ctx.terminal.phase("Phase 1: backup");
    let hash = preflight::source_alone(ctx).await?;
    preflight::source_can_be_dumped(ctx).await?;
    preflight::configuration_can_be_kept(ctx).await?;
    freeze::preflight(ctx, handling).await?;
    let locks = Locks::source(ctx).await?;
    visibly(ctx, CommandName::Backup, locks.guard(Box::pin(back_up(ctx, handling, hash)))).await
}

async fn back_up(ctx: &Arc<Ctx>, handling: &Handling, hash: HashFn) -> Result<Backup> {
    let source = servers::look(ctx, &[ServerName::Source]).await?;
    begin(ctx, CommandName::Backup, source, BTreeMap::new())?;
    let backup = async {
        let snapshot = Snapshot::open(ctx, hash).await?;
        let backup = backpressure::under_backpressure(ctx, p1_backup::run(ctx, &snapshot)).await?;
        snapshot.release().await?;
        Ok(backup)
    };
    let backup = freeze::during(ctx, handling, backup).await?;
    ctx.run.change_manifest(|manifest| {
        manifest.backup = Some(backup.clone());
        Ok(())
    })?;
    Ok(backup)
}
