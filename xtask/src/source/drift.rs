//! Whether the source has changed since the run's snapshot, other than by what was fixed and replayed: by row
//! versions; a table of which they tell nothing, or that has changed, is digested again. Statistics only say of
//! about how many rows, where versions do not.

use crate::changes::{self, Since};
use crate::effects::idle::Idle;
use crate::remembered::TableThen;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Backup, Change, Known, Manifest, SnapshotInfo, SourceCheck};
use crate::run::{dir, join};
use crate::source::digests::{place, raw_digest, sequences, writes};
use crate::source::snapshot::{RawName, Snapshot, worker};
use crate::source::standby;
use crate::steps::StepName;
use anyhow::{Context, Result};
use datapath::digest::Digest;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The source as it is now, compared with what it was.
pub struct Look {
    pub check: SourceCheck,
    pub tables: BTreeMap<String, Digest>,
    pub sequences: BTreeMap<String, Option<i64>>,
}

/// After the snapshot nothing has to be asked of the source any more (DESIGN rule 2): where it does not
/// answer, that is what the result says.
pub async fn beside(ctx: &Arc<Ctx>, manifest: &Manifest) -> SourceCheck {
    match look(ctx, manifest).await {
        Ok(look) => look.check,
        Err(error) => SourceCheck {
            at: dir::now(),
            snapshot: manifest.backup.as_ref().map(|b| b.snapshot.taken.clone()).unwrap_or_default(),
            unknown: Some(format!("{error:#}")),
            ..SourceCheck::default()
        },
    }
}

pub async fn look(ctx: &Arc<Ctx>, manifest: &Manifest) -> Result<Look> {
    let backup = manifest.backup.as_ref().context("the run has no backup")?;
    let known = known(ctx, manifest);
    let step = ctx.run.step(StepName::SourceAgain)?;
    // Before the snapshot, which shows all of it.
    let mut connection = ctx.looking_at_source("standby").await?;
    let replayed = standby::look(&mut connection).await?.map(|standby| standby.replayed);
    connection.close().await?;
    let snapshot = Snapshot::again(ctx, backup.snapshot.hash).await?;
    let at = snapshot.info.taken.clone();
    let looked = contents(ctx, &snapshot, backup).await?;
    snapshot.release().await?;
    let (writes, sequences) = (writes(ctx).await?, sequences(ctx).await?);
    let tables = looked.iter().map(|(name, (content, _))| (name.clone(), *content)).collect();
    let unchanged = looked.values().filter(|(_, by)| *by == By::Versions).count();
    let changed = changes(backup, &known, &looked, &writes);
    let moved = sequences.iter().filter(|s| {
        let alone = s.owner.as_ref().is_none_or(|owner| !changed.contains_key(owner));
        alone && backup.sequences.get(&s.name) != Some(&s.last)
    });
    let said = |last: &Option<i64>| last.map_or("not used".to_string(), |last| last.to_string());
    let moved = moved
        .map(|s| match backup.sequences.get(&s.name) {
            Some(before) => format!("{}: {}, was {}", s.name, said(&s.last), said(before)),
            None => format!("{}: new", s.name),
        })
        .collect();
    let check = SourceCheck {
        at,
        snapshot: backup.snapshot.taken.clone(),
        changed,
        sequences: moved,
        unknown: None,
        replayed,
        by_versions: unchanged,
        by_digest: looked.len() - unchanged,
    };
    step.done(&format!("{} tables changed, {unchanged} unchanged by row versions", check.changed.len()))?;
    Ok(Look { check, tables, sequences: sequences.into_iter().map(|s| (s.name, s.last)).collect() })
}

/// What every table holds now.
async fn contents(
    ctx: &Arc<Ctx>,
    snapshot: &Snapshot,
    backup: &Backup,
) -> Result<BTreeMap<String, (Digest, By)>> {
    let idle = Arc::new(Sessions::default());
    let looks = snapshot.tables.iter().map(|name| {
        let then = backup.remembered.get(&name.full()).cloned();
        content(ctx.clone(), snapshot.info.clone(), idle.clone(), (name.clone(), then))
    });
    let looked = join::all(looks).await?.into_iter().collect();
    idle.changes.end().await?;
    idle.digests.end().await?;
    Ok(looked)
}

/// Sessions in the snapshot that have nothing to do.
#[derive(Default)]
struct Sessions {
    changes: Idle,
    digests: Arc<Idle>,
}

/// By what a table's content is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Versions,
    /// `about`: the rows that are not what they were, by their versions.
    Digest {
        about: Option<u64>,
    },
}

async fn content(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    idle: Arc<Sessions>,
    (name, then): (RawName, Option<TableThen>),
) -> Result<(String, (Digest, By))> {
    let mut of_versions = None;
    if let Some(then) = then {
        let _permit = ctx.source_permit(name.estimated_rows).await;
        ctx.throttle.pass(name.bytes).await;
        let mut worker = idle.changes.take(worker(&ctx, &snapshot, "changes")).await?;
        let since = changes::since(&mut worker, place(&name), &then).await?;
        idle.changes.put(worker);
        match since {
            Since::Unchanged { .. } => return Ok((name.full(), (then.content, By::Versions))),
            Since::Changed { about } => of_versions = Some(about),
            Since::Unknown(why) => ctx.terminal.detail(format!("{} is digested again: {why}", name.full())),
        }
    }
    let (name, content, _) = raw_digest(ctx, snapshot, idle.digests.clone(), name).await?;
    Ok((name, (content, By::Digest { about: of_versions })))
}

/// What the run knows of the source, by `schema.table`: what its snapshot held, and instead of rows in
/// quarantine what replays have read of them since.
pub fn known(ctx: &Ctx, manifest: &Manifest) -> BTreeMap<String, Known> {
    let raw = manifest.backup.iter().flat_map(|backup| &backup.raw);
    let whole = |(name, content): (&String, &Digest)| {
        (name.clone(), Known { content: *content, open: Digest::default() })
    };
    let mut known: BTreeMap<String, Known> = raw.map(whole).collect();
    if let Some(export) = &manifest.export {
        for table in ctx.tables {
            let record = export.tables.get(table.name);
            if let (Some(known), Some(record)) = (known.get_mut(&format!("public.{}", table.source)), record)
            {
                known.open = record.open;
            }
        }
        known.extend(export.replays.iter().flat_map(|replay| replay.source.clone()));
    }
    known
}

fn changes(
    backup: &Backup,
    known: &BTreeMap<String, Known>,
    now: &BTreeMap<String, (Digest, By)>,
    writes: &BTreeMap<String, i64>,
) -> BTreeMap<String, Change> {
    let mut changed = BTreeMap::new();
    for (name, Known { content: before, .. }) in known {
        match now.get(name) {
            None => {
                changed.insert(name.clone(), Change::Dropped);
            }
            Some((now, by)) if now != before => {
                // Statistics come late, and may have been reset: never fewer than the counts show.
                let written = match (backup.writes.get(name), writes.get(name)) {
                    (Some(before), Some(now)) => u64::try_from(now - before).unwrap_or_default(),
                    _ => 0,
                };
                let counted = written.max(now.rows.abs_diff(before.rows));
                let about = match by {
                    By::Digest { about: Some(about) } => *about,
                    _ => counted,
                };
                changed.insert(name.clone(), Change::Rows { about: (about > 0).then_some(about) });
            }
            Some(_) => {}
        }
    }
    let new = now.iter().filter(|(name, _)| !known.contains_key(*name));
    changed.extend(new.map(|(name, (digest, _))| (name.clone(), Change::New { rows: digest.rows })));
    changed
}
