//! Whether the source has changed since the run's snapshot, other than by what was fixed and replayed, or since the
//! last pass of one that was caught up with: by row versions; a table of which they tell nothing, or that has changed,
//! is digested again. Statistics only say of about how many rows, where versions do not.

use crate::changes::{self, Since};
use crate::effects::idle::Idle;
use crate::remembered::TableThen;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Backup, Change, Export, Known, Manifest, SnapshotInfo, SourceCheck};
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
            snapshot: as_of(manifest),
            unknown: Some(format!("{error:#}")),
            ..SourceCheck::default()
        },
    }
}

pub async fn look(ctx: &Arc<Ctx>, manifest: &Manifest) -> Result<Look> {
    let backup = manifest.backup.as_ref().context("the run has no backup")?;
    let bases = bases(ctx, manifest, backup);
    let step = ctx.run.step(StepName::SourceAgain)?;
    // Before the snapshot, which shows all of it.
    let mut connection = ctx.looking_at_source("standby").await?;
    let replayed = standby::look(&mut connection).await?.map(|standby| standby.replayed);
    connection.close().await?;
    let snapshot = Snapshot::again(ctx, backup.snapshot.hash).await?;
    let at = snapshot.info.taken.clone();
    let looked = contents(ctx, &snapshot, &bases).await?;
    snapshot.release().await?;
    let (writes, sequences) = (writes(ctx).await?, sequences(ctx).await?);
    let tables = looked.iter().filter_map(|(name, seen)| Some((name.clone(), seen.content()?))).collect();
    let unchanged = looked.values().filter(|seen| matches!(seen, Seen::Unchanged(_))).count();
    let changed = changes(backup, &bases, &looked, &writes);
    let moved = sequences.iter().filter(|s| {
        let by_pass = |owner: &String| bases.get(owner).is_some_and(|base| base.by_pass);
        let alone = s.owner.as_ref().is_none_or(|owner| !changed.contains_key(owner) && !by_pass(owner));
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
        snapshot: as_of(manifest),
        changed,
        sequences: moved,
        unknown: None,
        replayed,
        by_versions: unchanged,
        by_digest: looked.len() - unchanged,
        by_pass: false,
    };
    step.done(&format!("{} tables changed, {unchanged} unchanged by row versions", check.changed.len()))?;
    Ok(Look { check, tables, sequences: sequences.into_iter().map(|s| (s.name, s.last)).collect() })
}

/// The instant of the source that the stores hold.
fn as_of(manifest: &Manifest) -> String {
    let (of_backup, of_export) = (manifest.backup.as_ref().map(|b| &b.snapshot), manifest.export.as_ref());
    let snapshot = of_export.map(Export::as_of).or(of_backup);
    snapshot.map(|snapshot| snapshot.taken.clone()).unwrap_or_default()
}

/// What a table is compared with.
#[derive(Clone, Default)]
struct Base {
    then: Option<TableThen>,
    /// `None`: a pass has read it since, of which no digest is kept; versions alone tell.
    content: Option<Digest>,
    /// As the last pass saw it.
    by_pass: bool,
}

impl Base {
    fn versions_alone(&self) -> bool {
        self.by_pass && self.content.is_none()
    }
}

/// By `schema.table`.
fn bases(ctx: &Ctx, manifest: &Manifest, backup: &Backup) -> BTreeMap<String, Base> {
    let base = |(name, known): (String, Known)| {
        let then = backup.remembered.get(&name).cloned();
        (name, Base { then, content: Some(known.content), by_pass: false })
    };
    let mut bases: BTreeMap<String, Base> = known(ctx, manifest).into_iter().map(base).collect();
    if manifest.export.as_ref().is_some_and(|export| export.passes().next().is_some()) {
        for table in ctx.tables {
            let name = format!("public.{}", table.source);
            let content = manifest.cutover.as_ref().and_then(|cutover| cutover.source.get(&name).copied());
            let then = manifest.caught_up.get(&name).cloned();
            bases.insert(name, Base { then, content, by_pass: true });
        }
    }
    bases
}

/// What every table holds now.
async fn contents(
    ctx: &Arc<Ctx>,
    snapshot: &Snapshot,
    bases: &BTreeMap<String, Base>,
) -> Result<BTreeMap<String, Seen>> {
    let idle = Arc::new(Sessions::default());
    let looks = snapshot.tables.iter().map(|name| {
        let base = bases.get(&name.full()).cloned().unwrap_or_default();
        content(ctx.clone(), snapshot.info.clone(), idle.clone(), (name.clone(), base))
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

/// A table as it is now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// What it was, by its versions.
    Unchanged(Option<Digest>),
    /// `about`: the rows that are not what they were, by their versions.
    Digest { content: Digest, about: Option<u64> },
    /// Not what it was, by its versions alone; `None`: they do not tell.
    Versions { about: Option<u64> },
}

impl Seen {
    fn content(self) -> Option<Digest> {
        match self {
            Seen::Unchanged(content) => content,
            Seen::Digest { content, .. } => Some(content),
            Seen::Versions { .. } => None,
        }
    }
}

async fn content(
    ctx: Arc<Ctx>,
    snapshot: SnapshotInfo,
    idle: Arc<Sessions>,
    (name, base): (RawName, Base),
) -> Result<(String, Seen)> {
    let mut of_versions = None;
    if let Some(then) = &base.then {
        let _permit = ctx.source_permit(name.estimated_rows).await;
        ctx.throttle.pass(name.bytes).await;
        let mut worker = idle.changes.take(worker(&ctx, &snapshot, "changes")).await?;
        let since = changes::since(&mut worker, place(&name), then).await?;
        idle.changes.put(worker);
        match since {
            // What a pass remembers are versions without a digest.
            Since::Unchanged { .. } if base.by_pass => {
                return Ok((name.full(), Seen::Unchanged(base.content)));
            }
            Since::Unchanged { .. } => return Ok((name.full(), Seen::Unchanged(Some(then.content)))),
            Since::Changed { about } => of_versions = Some(about),
            Since::Unknown(_) if base.versions_alone() => {}
            Since::Unknown(why) => ctx.terminal.detail(format!("{} is digested again: {why}", name.full())),
        }
    }
    if base.versions_alone() {
        return Ok((name.full(), Seen::Versions { about: of_versions }));
    }
    let (name, content, _) = raw_digest(ctx, snapshot, idle.digests.clone(), name).await?;
    Ok((name, Seen::Digest { content, about: of_versions }))
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
    bases: &BTreeMap<String, Base>,
    now: &BTreeMap<String, Seen>,
    writes: &BTreeMap<String, i64>,
) -> BTreeMap<String, Change> {
    let mut changed = BTreeMap::new();
    for (name, base) in bases {
        let before = base.content.unwrap_or_default();
        let change = match now.get(name) {
            None => Change::Dropped,
            Some(Seen::Versions { about: None }) => Change::Unknown,
            Some(Seen::Versions { about }) => Change::Rows { about: *about },
            Some(seen) if seen.content() != base.content => {
                // Statistics come late, and may have been reset: never fewer than the counts show.
                let written = match (backup.writes.get(name), writes.get(name)) {
                    (Some(before), Some(now)) => u64::try_from(now - before).unwrap_or_default(),
                    _ => 0,
                };
                let rows = seen.content().unwrap_or_default().rows;
                let about = match seen {
                    Seen::Digest { about: Some(about), .. } => *about,
                    _ => written.max(rows.abs_diff(before.rows)),
                };
                Change::Rows { about: (about > 0).then_some(about) }
            }
            Some(_) => continue,
        };
        changed.insert(name.clone(), change);
    }
    let new = now.iter().filter(|(name, _)| !bases.contains_key(*name));
    let rows = |seen: &Seen| seen.content().unwrap_or_default().rows;
    changed.extend(new.map(|(name, seen)| (name.clone(), Change::New { rows: rows(seen) })));
    changed
}
