//! The run that goes back, and what of it.

use super::summary::Wanted;
use crate::model::Service;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Cutover, Export, Manifest};
use crate::stores::marks::Marks;
use crate::tables::Table;
use anyhow::Result;
use std::sync::Arc;

/// The run that goes back.
pub struct Going {
    pub manifest: Manifest,
    pub export: Arc<Export>,
    pub cutover: Arc<Cutover>,
    pub wanted: Wanted,
    /// Services that have gone back alone before.
    pub before: Vec<Service>,
}

impl Going {
    /// What goes back now: the old database has the rest already.
    pub fn tables(&self, ctx: &Ctx) -> impl Iterator<Item = &'static Table> {
        let takes = |service| self.wanted.scenario.takes(service, &self.before);
        ctx.tables.iter().filter(move |table| takes(table.service()))
    }

    /// Whether a table of the source (`schema.table`) is one of a service that has gone back before.
    pub fn has_gone(&self, ctx: &Ctx, name: &str) -> bool {
        let mut of_them = ctx.tables.iter().filter(|table| self.before.contains(&table.service()));
        of_them.any(|table| name.strip_prefix("public.") == Some(table.source))
    }
}

/// # Errors
/// Refuses a run that was never cut over, as far as the stores know.
pub fn going(ctx: &Ctx, marks: &Marks, wanted: Wanted, before: Vec<Service>) -> Result<Going> {
    let mut manifest = ctx.run.load_manifest()?;
    marks.teach(&mut manifest);
    let run = ctx.run.id();
    let (Some(export), Some(cutover)) = (manifest.export.clone(), manifest.cutover.clone()) else {
        refuse!(
            "run {run} has not been cut over: the old database is the shop's still. `cargo xtask unfreeze` lets its \
             services write again"
        );
    };
    Ok(Going { export: Arc::new(export), cutover: Arc::new(cutover), manifest, wanted, before })
}
