//! The instant from which the services' word counts: announced in every store, and written down.

use crate::model::{Database, Stop};
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::freeze_log::Frozen;
use crate::run::manifest::{Cutover, Manifest, Proof, SourceCheck, StoreState};
use crate::source::freeze::Freezer;
use crate::source::sequences;
use crate::stores::marks::{self, MarkState};
use crate::stores::sequences::raise;
use anyhow::Result;
use datapath::digest::Digest;
use datapath::firestore::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// FreezeTime when the source has been held back, and for how long it may be.
#[derive(Clone, Copy)]
pub(super) struct FreezeTime {
    pub began: std::time::Instant,
    pub most: Option<Duration>,
}

impl FreezeTime {
    pub fn now(most: Option<Duration>) -> FreezeTime {
        FreezeTime { began: std::time::Instant::now(), most }
    }

    pub fn seconds(self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// # Errors
    /// Refuses where it has been held for longer than it may: it is given back then.
    pub fn not_too_long(self) -> Result<()> {
        match self.most {
            Some(most) if self.began.elapsed() > most => Err(self.too_long(most)),
            _ => Ok(()),
        }
    }

    /// `most`: for how long it may be held.
    pub fn too_long(self, most: Duration) -> anyhow::Error {
        let what = format!(
            "the source has been read-only for {:.1} s, --max-freeze is {:.1} s: it is given back, and nothing has \
             been cut over. `cargo xtask catch-up --until-less-than 1s` makes the last pass shorter",
            self.seconds(),
            most.as_secs_f64()
        );
        Stop::Refused(what).into()
    }
}

/// What the cut-over rests on, found with the source held back.
pub(super) struct Found {
    pub proof: Option<Proof>,
    pub check: Option<SourceCheck>,
    /// Every table of the source, where its rows were read.
    pub source: BTreeMap<String, Digest>,
    pub source_sequences: BTreeMap<String, Option<i64>>,
    pub stores: BTreeMap<String, StoreState>,
    pub firestore: BTreeMap<String, Instant>,
}

/// Writes down that the services take over: the instant of it lies in here.
pub(super) async fn recorded(
    ctx: &Arc<Ctx>,
    manifest: &mut Manifest,
    found: Found,
    (freezer, frozen): (&Freezer, &Frozen),
    since: FreezeTime,
) -> Result<Cutover> {
    let Found { proof, check, source, source_sequences, mut stores, firestore } = found;
    let began = std::time::Instant::now();
    let raised = raise(ctx, &sequences::of_tables(ctx).await?).await?;
    ctx.terminal.lap("raised the sequences", began);
    for (table, sequence) in &raised {
        if let Some(store) = stores.get_mut(*table) {
            store.sequence = Some(*sequence);
        }
    }
    since.not_too_long()?;
    let began = std::time::Instant::now();
    announced(ctx, freezer, frozen).await?;
    ctx.terminal.lap("announced it in every store", began);
    let mut cutover = Cutover {
        at: dir::now(),
        source,
        source_sequences,
        stores,
        remembered: manifest.remembered.clone(),
        firestore,
        frozen_for: None,
        by_pass: proof.is_none(),
        afterwards: None,
    };
    // First where `unfreeze` looks; this is the instant:
    freezer.book().cutover(freezer.source(), ctx.run.id())?;
    cutover.frozen_for = Some(since.seconds());
    *manifest = ctx.run.change_manifest(|manifest| {
        manifest.proof = proof.or(manifest.proof.take());
        manifest.source = check.or(manifest.source.take());
        manifest.cutover = Some(cutover.clone());
        for (table, record) in manifest.export.iter_mut().flat_map(|export| &mut export.tables) {
            record.sequence = raised.get(table.as_str()).copied().unwrap_or(record.sequence);
        }
        Ok(())
    })?;
    marks::record_cutover(ctx, MarkState::CutOver).await?;
    let_in(ctx).await?;
    Ok(cutover)
}

/// Services that an earlier rollback has held out of the targets can write there again.
pub(super) async fn let_in(ctx: &Ctx) -> Result<()> {
    for database in Database::ALL {
        Freezer::of_target(ctx, database).undo_open().await?;
    }
    Ok(())
}

/// Says in every store that the cut-over is about to be recorded, and looks whether the source is still held
/// back: the last act before it. Where either fails, the stores say again what they said before.
async fn announced(ctx: &Ctx, freezer: &Freezer, frozen: &Frozen) -> Result<()> {
    let announced = async {
        marks::record_cutover(ctx, MarkState::CuttingOver).await?;
        freezer.still_frozen(frozen).await
    };
    let Err(error) = announced.await else { return Ok(()) };
    Err(match marks::withdraw_cutover(ctx).await {
        Ok(()) => error,
        Err(left) => error.context(format!("the cut-over is not taken back in every store: {left:#}")),
    })
}
