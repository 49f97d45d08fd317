//! One file a command: what it does, top down.

pub mod backup;
pub mod bench;
pub mod chaos;
mod compare;
pub mod export;
pub mod import;
pub mod local;
pub mod migrate;
pub mod rehearse;
pub mod stack;
pub mod verify;

use crate::ctx::Ctx;
use crate::manifest::{Backup, Export, Manifest};
use crate::model::Stop;
use anyhow::Result;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Instant;

/// How long parts of a command took, in seconds, by name.
#[derive(Default)]
struct Times(BTreeMap<String, f64>);

impl Times {
    async fn of<T>(&mut self, name: &str, part: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let result = part.await;
        self.0.insert(name.to_string(), started.elapsed().as_secs_f64());
        result
    }
}

/// Writes down that the run has begun.
fn begin(ctx: &Ctx) -> Result<Manifest> {
    let manifest = ctx.run.new_manifest(&ctx.settings.environment, ctx.sql_hash());
    ctx.run.save_manifest(&manifest)?;
    ctx.terminal.line(format!("run {} in {}", ctx.run.id(), ctx.run.path().display()));
    Ok(manifest)
}

/// Phases 1 and 2 have read the same instant on different ways: they must have seen the same rows.
fn agree(backup: &Backup, export: &Export, ctx: &Ctx) -> Result<()> {
    for table in ctx.tables {
        let raw = backup.raw.get(&format!("public.{}", table.source)).map(|r| r.rows);
        let exported = export.tables.get(table.name).map(|t| t.source_rows);
        if raw != exported {
            let what = format!("{}: the backup counts {raw:?} rows, the export {exported:?}", table.source);
            return Err(Stop::Differs(what).into());
        }
    }
    Ok(())
}
