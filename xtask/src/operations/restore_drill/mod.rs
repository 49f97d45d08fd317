//! Whether the newest backup of each store can be restored: into scratch servers that nobody else knows, compared
//! with what the backup recorded, and asked the services' queries. No store is looked at.

mod database;
mod documents;
mod report;
mod scratch;
mod seen;

pub use report::Drills;

use crate::effects::cleanup::Cleanup;
use crate::effects::clock;
use crate::effects::host::user_at_host;
use crate::model::AGAIN;
use crate::operations::store_backups::{
    self, Content, DRILL, Drill, DrillFinding, Held, StoreManifest, context, finished, sha256_of_manifest,
};
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::dir::{RunDir, damaged_files};
use crate::servers::runtime::Runtime;
use crate::steps::CommandName;
use anyhow::{Context, Result};
use scratch::Scratch;
use seen::Seen;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A backup that is about to be drilled.
struct Chosen {
    backup: RunDir,
    manifest: StoreManifest,
}

/// Drills the newest backup of each store that is held, and leaves the evidence in its directory. The scratch servers
/// are of this runtime, where one is asked for.
///
/// # Errors
/// Refuses where a store has no backup; fails where no scratch server can be started. What is wrong with a backup
/// is in its drill.
pub async fn run(
    ctx: &Ctx,
    stores: &Path,
    held: &[Held],
    (runtime, cleanup): (Option<Runtime>, &Cleanup),
) -> Result<Drills> {
    let began = Instant::now();
    let chosen = choose(ctx, stores, held)?;
    let mut drills = Vec::new();
    // Those with damaged files need no server.
    let mut whole = Vec::new();
    for one in chosen {
        let (started, checking) = (clock::now(), Instant::now());
        ctx.terminal.phase(&format!("Drill of {}: {}", one.manifest.target, one.backup.path().display()));
        match damaged(&one) {
            seen if seen.findings.is_empty() => whole.push((one, started, checking)),
            seen => drills.push(evidence(ctx, &one.backup, &one.manifest, seen, &started, checking)?),
        }
    }
    if !whole.is_empty() {
        let manifests: Vec<&StoreManifest> = whole.iter().map(|(one, ..)| &one.manifest).collect();
        let scratch = Scratch::start(ctx, &manifests, runtime, cleanup).await?;
        for (one, started, checking) in whole {
            let Chosen { backup, manifest } = one;
            let of_store = context(ctx, manifest.target, backup);
            let work = async {
                match &manifest.content {
                    Content::Database(content) => {
                        database::drill(&of_store, &manifest, content, &scratch).await
                    }
                    Content::Documents(content) => documents::drill(&of_store, content, &scratch).await,
                }
            };
            let seen = visibly(&of_store, CommandName::RestoreDrill, Box::pin(work)).await;
            let seen = seen.with_context(|| format!("drilling {}", of_store.run.path().display()))?;
            drills.push(evidence(ctx, &of_store.run, &manifest, seen, &started, checking)?);
        }
        scratch.stop().await?;
    }
    drills.sort_by_key(|(drill, _)| drill.target);
    Ok(Drills::new(drills, began.elapsed()))
}

/// The newest of each.
fn choose(ctx: &Ctx, stores: &Path, held: &[Held]) -> Result<Vec<Chosen>> {
    let environment = &ctx.settings.environment;
    let (mut chosen, mut missing) = (Vec::new(), Vec::new());
    for held in held {
        let target = held.target();
        let (kept, unreadable) = finished(stores, target, environment)?;
        // A newer one might be the one that is meant.
        if let Some(line) = unreadable.first() {
            refuse!(
                "a backup of {target} cannot be read: {line}. Remove it, or put it back as it was. {AGAIN}"
            );
        }
        match kept.first() {
            Some(newest) => {
                let manifest = store_backups::load(&newest.path)?;
                chosen.push(Chosen { backup: held.open(&newest.id)?, manifest });
            }
            None => missing.push(target.name()),
        }
    }
    if !missing.is_empty() {
        refuse!(
            "environment `{environment}` has no backup of {} in {}: `cargo xtask backup --target all` makes them, \
             --store-backups names another place",
            missing.join(", "),
            stores.display()
        );
    }
    Ok(chosen)
}

/// Every file as it was written.
fn damaged(one: &Chosen) -> Seen {
    let lines = damaged_files(&one.backup, one.manifest.files());
    let findings = lines.into_iter().map(|line| DrillFinding::File { line }).collect();
    Seen { findings, ..Seen::default() }
}

/// Writes down what was found, with the backup itself.
fn evidence(
    ctx: &Ctx,
    backup: &RunDir,
    manifest: &StoreManifest,
    seen: Seen,
    started: &str,
    began: Instant,
) -> Result<(Drill, PathBuf)> {
    let drill = Drill {
        target: manifest.target,
        environment: manifest.environment.clone(),
        backup: backup.id().to_string(),
        manifest_sha256: sha256_of_manifest(backup.path())?,
        tool: ctx.tool_version(),
        who: user_at_host(),
        started: started.to_string(),
        ended: clock::now(),
        seconds: began.elapsed().as_secs_f64(),
        restored_on: seen.restored_on,
        green: seen.findings.is_empty(),
        findings: seen.findings,
        content: seen.content,
        queries: seen.queries,
    };
    let json = serde_json::to_string_pretty(&drill).context("writing the evidence")?;
    backup.replace(DRILL, &json)?;
    Ok((drill, backup.path().to_path_buf()))
}
