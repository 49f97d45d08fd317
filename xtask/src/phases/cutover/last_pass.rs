//! The cut-over of a run that was caught up with (DESIGN rule 26): the freeze holds for one pass over what is left
//! since the pass before it, and for a look whether anything else has changed.

use super::afterwards::Snapshots;
use super::taking_over::{Found, FreezeTime, recorded};
use crate::phases::catch_up::{self, Extent, HeldRows, Stores, unchanged};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::freeze_log::Frozen;
use crate::run::manifest::{Cutover, Manifest, StoreState, TableExport};
use crate::source::freeze::Freezer;
use crate::source::{backpressure, digests};
use crate::stores::marks;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct LastPass {
    held: HeldRows,
    /// Looked at before the freeze; nobody else can write to the databases since.
    stores: Stores,
}

impl LastPass {
    /// Brings over what has changed until now, so that little is left for the freeze. `None`: nobody has caught up
    /// with this run.
    ///
    /// # Errors
    /// Refuses where the freeze would be longer than it may be.
    pub async fn prepared(
        ctx: &Arc<Ctx>,
        manifest: &mut Manifest,
        max_freeze: Option<Duration>,
    ) -> Result<Option<LastPass>> {
        if manifest.caught_up.is_empty() {
            return Ok(None);
        }
        ctx.terminal.phase("Cut-over: passes before the freeze");
        let mut held = HeldRows::read(ctx, &catch_up::ready(ctx, manifest)?).await?;
        // A pass that brings something over takes its time: a second one leaves less to the freeze. One that does not has
        // left the documents uncounted.
        let mut opening = Extent::Changes;
        let passes = async {
            let passed = catch_up::pass(ctx, manifest, &mut held, Extent::Changes).await?;
            if passed.rows() == 0 {
                return Ok(passed);
            }
            opening = Extent::Brief;
            catch_up::pass(ctx, manifest, &mut held, Extent::Brief).await
        };
        let passed = backpressure::under_backpressure(ctx, passes).await?;
        let freeze = passed.freeze.context("the pass was not measured")?;
        ctx.terminal.line(format!("  the source will be read-only for about {freeze:.1} s"));
        match max_freeze {
            Some(most) if freeze > most.as_secs_f64() => refuse!(
                "the source would be read-only for about {freeze:.1} s, by the pass that has just been made; \
                 --max-freeze is {:.1} s: `cargo xtask catch-up --run {} --until-less-than 1s` first, or allow more. \
                 Nothing has been frozen",
                most.as_secs_f64(),
                ctx.run.id()
            ),
            _ => Ok(Some(LastPass { stores: catch_up::opened(ctx, manifest, opening).await?, held })),
        }
    }

    /// With the source held back.
    pub async fn take_over(
        self,
        ctx: &Arc<Ctx>,
        manifest: &mut Manifest,
        (freezer, frozen): (&Freezer, &Frozen),
        since: FreezeTime,
        hold: bool,
    ) -> Result<(Cutover, Option<Snapshots>)> {
        let finding = self.found(ctx, manifest, freezer, frozen);
        let found = match since.most {
            None => finding.await?,
            Some(most) => {
                let left = most.saturating_sub(since.began.elapsed());
                tokio::time::timeout(left, finding).await.map_err(|_| since.too_long(most))??
            }
        };
        let export = Arc::new(manifest.export.clone().context("the run has no export")?);
        let snapshots = match hold {
            true => Some(Snapshots::open(ctx, export, found.firestore.clone()).await?),
            false => None,
        };
        let cutover = recorded(ctx, manifest, found, (freezer, frozen), since).await?;
        Ok((cutover, snapshots))
    }

    async fn found(
        self,
        ctx: &Arc<Ctx>,
        manifest: &mut Manifest,
        freezer: &Freezer,
        frozen: &Frozen,
    ) -> Result<Found> {
        freezer.still_frozen(frozen).await?;
        ctx.terminal.phase("Cut-over: the last pass");
        let LastPass { mut held, stores } = self;
        let passed = catch_up::last_pass(ctx, manifest, &mut held, stores).await?;
        let began = Instant::now();
        // What is written to a collection from now on is the services' work.
        let firestore = marks::instants(ctx).await?;
        ctx.terminal.lap("asked Firestore for its time", began);
        let began = Instant::now();
        unchanged(ctx, manifest, passed.ended.as_ref()).await?;
        ctx.terminal.lap("looked at the source once more", began);
        let export = manifest.export.as_ref().context("the run has no export")?;
        let store = |(name, record): (&String, &TableExport)| {
            (name.clone(), StoreState { content: record.content.total(), sequence: None })
        };
        let stores = export.tables.iter().map(store).collect();
        let sequences = digests::sequences(ctx).await?;
        let source_sequences = sequences.into_iter().map(|s| (s.name, s.last)).collect();
        Ok(Found { proof: None, check: None, source: BTreeMap::new(), source_sequences, stores, firestore })
    }
}
