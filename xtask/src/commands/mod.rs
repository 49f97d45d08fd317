//! One file per command: its options, and what it does, top down.
//! May import: session and all below it.

pub mod backup;
pub mod backup_stores;
pub mod bench;
pub mod bench_part;
pub mod catch_up;
pub mod chaos;
pub mod checklist;
pub mod config;
pub mod connectivity;
pub mod cutover;
pub mod decommission;
pub mod doctor;
pub mod export;
pub mod freeze;
pub mod harden;
pub mod import;
pub mod migrate;
pub mod monitor;
pub mod perf;
pub mod plan;
pub mod rehearse;
mod rehearse_live;
mod rehearse_operations;
pub mod rehearse_rollback;
pub mod rehearse_services;
pub mod repair;
pub mod replay;
pub mod report;
pub mod restore;
pub mod restore_drill;
pub mod restore_stores;
pub mod restored;
pub mod resume;
pub mod rollback;
pub mod rollback_besides;
pub mod schedule;
pub mod smoke;
pub mod stack;
pub mod status;
pub mod troubleshoot;
pub mod verify;

use crate::model::Stop;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Backup, Export};
use anyhow::Result;

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
