//! Backups of the new stores, each by itself: `<backup dir>/stores/<target>/<YYYYMMDD_HHMMSS>/`, 0700, files 0600.
//!
//! ```text
//! stores/
//!     product/
//!         lock                    held while a backup of it is made, drilled or restored
//!         20260131_020000/
//!             manifest.json       StoreManifest, written last: without it a backup is unfinished
//!             full_backup.dump/   pg_dump's directory format
//!             schema_only.sql     the definitions, dumped apart
//!             journal.jsonl       what was done with it: made, drilled, restored
//!             drill.json          Drill, the evidence of the last one
//!     firestore/
//!         20260131_020100/
//!             manifest.json
//!             users.ndjson.gz     a document on each line
//! ```

mod database;
mod documents;
mod drill;
mod kept;
mod manifest;
mod place;
mod restore_documents;
mod retention;
mod target;

pub use drill::{DRILL, Drill, DrillFinding};
pub use kept::{Drilled, Kept, TargetBackups, directory, finished, of_environment};
pub use manifest::{
    Collected, Content, DatabaseContent, DocumentsContent, FORMAT, StoreManifest, load, sha256_of_manifest,
};
pub use place::{Held, context};
pub use restore_documents::{Goal, Guard, RestoredDocuments, restore_documents};
pub use retention::{Retention, expired};
pub use target::Target;

use crate::effects::clock;
use crate::effects::host::user_at_host;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::dir::MANIFEST;
use crate::steps::CommandName;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::time::Instant;

/// Makes a backup of the store that is held. It is there once its manifest is.
///
/// # Errors
/// Fails where it is not proven; what it leaves then is removed by the next one.
pub async fn back_up(ctx: &Ctx, held: &Held) -> Result<(PathBuf, StoreManifest)> {
    let target = held.target();
    let backup = held.create()?;
    let of_store = context(ctx, target, backup);
    let work = async {
        let (began, started) = (Instant::now(), clock::now());
        let content = match target.database() {
            Some(_) => Content::Database(Box::new(database::back_up(&of_store).await?)),
            None => Content::Documents(documents::back_up(&of_store).await?),
        };
        let manifest = StoreManifest {
            format: FORMAT,
            target,
            environment: of_store.settings.environment.clone(),
            tool: of_store.tool_version(),
            who: user_at_host(),
            started,
            ended: clock::now(),
            seconds: began.elapsed().as_secs_f64(),
            content,
        };
        let json = serde_json::to_string_pretty(&manifest).context("writing the manifest")?;
        of_store.run.replace(MANIFEST, &json)?;
        Ok(manifest)
    };
    let made = visibly(&of_store, CommandName::Backup, Box::pin(work)).await;
    let manifest = made.with_context(|| format!("backing up {target}"))?;
    Ok((of_store.run.path().to_path_buf(), manifest))
}
