//! On what terms a run goes on after its export: by the rules that made it, from the files that it wrote. What its
//! policy said of rows a session keeps by itself.

use crate::model::Stop;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::manifest::Manifest;
use anyhow::Result;
use datapath::files::FileInfo;
use std::collections::BTreeMap;

/// A row read by other rules than the rest of the run would be proven by the wrong ones.
pub fn same_rules(ctx: &Ctx, manifest: &Manifest) -> Result<()> {
    if manifest.tool.sql != ctx.sql_hash() {
        refuse!(
            "run {} was made by other SQL than this tool has ({}, here {}): use the tool that made it",
            ctx.run.id(),
            manifest.tool.sql,
            ctx.sql_hash()
        );
    }
    Ok(())
}

/// # Errors
/// `Stop::Differs` where a file is not the one that was written, naming all of them.
pub fn files_are_whole(ctx: &Ctx, files: &BTreeMap<String, FileInfo>) -> Result<()> {
    let damaged = dir::damaged_files(&ctx.run, files);
    match damaged.is_empty() {
        true => Ok(()),
        false => Err(Stop::Differs(damaged.join("\n  ")).into()),
    }
}
