//! Whether the source has changed since the run's snapshot: every table is digested again. Statistics
//! only say of about how many rows.

use super::p1_backup::{raw_digests, sequences, writes};
use super::snapshot::Snapshot;
use crate::ctx::Ctx;
use crate::digest::Digest;
use crate::manifest::{Backup, Change, SourceCheck};
use crate::run_dir;
use anyhow::Result;
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
pub async fn beside(ctx: &Arc<Ctx>, backup: &Backup) -> Option<SourceCheck> {
    if !ctx.look_again {
        return None;
    }
    Some(match look(ctx, backup).await {
        Ok(look) => look.check,
        Err(error) => SourceCheck {
            at: run_dir::now(),
            snapshot: backup.snapshot.taken.clone(),
            unknown: Some(format!("{error:#}")),
            ..SourceCheck::default()
        },
    })
}

pub async fn look(ctx: &Arc<Ctx>, backup: &Backup) -> Result<Look> {
    let step = ctx.run.step("5 source again")?;
    let snapshot = Snapshot::again(ctx, backup.snapshot.hash).await?;
    let at = snapshot.info.taken.clone();
    let tables = raw_digests(ctx, &snapshot).await?;
    snapshot.release().await?;
    let (writes, sequences) = (writes(ctx).await?, sequences(ctx).await?);
    let changed = changes(backup, &tables, &writes);
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
    let check =
        SourceCheck { at, snapshot: backup.snapshot.taken.clone(), changed, sequences: moved, unknown: None };
    step.done(&format!("{} tables changed", check.changed.len()))?;
    Ok(Look { check, tables, sequences: sequences.into_iter().map(|s| (s.name, s.last)).collect() })
}

fn changes(
    backup: &Backup,
    now: &BTreeMap<String, Digest>,
    writes: &BTreeMap<String, i64>,
) -> BTreeMap<String, Change> {
    let mut changed = BTreeMap::new();
    for (name, before) in &backup.raw {
        match now.get(name) {
            None => {
                changed.insert(name.clone(), Change::Dropped);
            }
            Some(now) if now != before => {
                // Statistics come late, and may have been reset: never fewer than the counts show.
                let written = match (backup.writes.get(name), writes.get(name)) {
                    (Some(before), Some(now)) => u64::try_from(now - before).unwrap_or_default(),
                    _ => 0,
                };
                let about = written.max(now.rows.abs_diff(before.rows));
                changed.insert(name.clone(), Change::Rows { about: (about > 0).then_some(about) });
            }
            Some(_) => {}
        }
    }
    let new = now.iter().filter(|(name, _)| !backup.raw.contains_key(*name));
    changed.extend(new.map(|(name, digest)| (name.clone(), Change::New { rows: digest.rows })));
    changed
}
