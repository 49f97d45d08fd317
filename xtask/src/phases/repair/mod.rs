//! Every difference between the stores and what the run must have brought there, with what repairs it; and
//! the repair. All differences are found, not some of them, and memory stays bounded: only ranges of ids
//! whose digests differ are looked at, in the database, and told row by row.

mod database;
mod documents;
mod sequences;
mod situation;
mod summary;

pub use situation::Situation;
pub use summary::{Repaired, Summary, TableSummary};

use crate::model::{Database, Stop};
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::run::{dir, overlay};
use crate::steps::StepName;
use crate::stores::reconcile::Change;
use anyhow::{Context, Result};
use datapath::firestore::{Address, Firestore};
use std::sync::Arc;

/// Hears of what is found, the sum of it first, and of each change before it is made.
pub trait Listener: Send {
    fn summary(&mut self, summary: &Summary) -> Result<()>;
    fn change(&mut self, change: &Change) -> Result<()>;
}

/// `apply`: makes the changes; else only tells them.
///
/// # Errors
/// `Stop::Differs` where a file of the run is damaged: what should be there is not known then.
pub async fn run(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    situation: &Situation,
    apply: bool,
    listener: &mut dyn Listener,
) -> Result<Repaired> {
    let files = ctx.tables.iter().flat_map(|table| overlay::files(export, &table.file())).collect();
    let damaged = dir::damaged_files(&ctx.run, &files);
    if !damaged.is_empty() {
        let what =
            format!("the run's files do not say any more what has to be there: {}", damaged.join("\n  "));
        return Err(Stop::Differs(what).into());
    }
    let step = ctx.run.step(if apply { StepName::Repair } else { StepName::LookForRepairs })?;
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    // Documents first: nobody has to wait for a lock while they are read.
    let mut of_documents = Vec::new();
    for table in ctx.tables.iter().filter(|table| table.collection().is_some()) {
        let counted = documents::count(ctx, export, &firestore, table, situation.owner).await;
        of_documents.push(counted.with_context(|| format!("repairing {}", table.name))?);
    }
    let (mut databases, mut summaries) = (Vec::new(), Vec::new());
    for database in Database::ALL {
        let compared = database::compare(ctx, export, database, situation, apply).await;
        let mut compared = compared.with_context(|| format!("repairing {database}"))?;
        summaries.extend(compared.summary(ctx).await?);
        databases.push((database, compared));
    }
    let summary = Summary::new(summaries.into_iter().chain(of_documents.iter().cloned()));
    listener.summary(&summary)?;
    let mut repaired = Repaired::default();
    for table in &summary.tables {
        let (conflicts, theirs) = (table.conflicts, table.theirs);
        let not_by_this_command = table.not_by_this_command;
        if table.store != "firestore" {
            repaired.add(Repaired { conflicts, theirs, not_by_this_command, ..Repaired::default() });
        }
    }
    for (database, compared) in databases {
        let made = compared.make(&mut |change| listener.change(change)).await;
        repaired.add(made.with_context(|| format!("repairing {database}"))?);
    }
    for (table, counted) in ctx.tables.iter().filter(|t| t.collection().is_some()).zip(of_documents) {
        // Only where there is something: each look is paid for.
        repaired.add(match documents::is_right(&counted) {
            true => Repaired { theirs: counted.theirs, ..Repaired::default() },
            false => {
                let tell = &mut |change: &Change| listener.change(change);
                let made = documents::make(ctx, export, &firestore, table, situation.owner, apply, tell);
                made.await.with_context(|| format!("repairing {}", table.name))?
            }
        });
    }
    step.done(&format!("{} changes, {} conflicts", repaired.changes, repaired.conflicts))?;
    Ok(repaired)
}
