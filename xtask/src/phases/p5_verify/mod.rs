//! Phase 5, verify: what every store holds against what the snapshot held. A mismatch is a finding,
//! collected and reported with the others; an error is when we could not look. Changes nothing.

mod checks;
mod documents;
mod references;
mod rows;

pub use documents::AT_ONCE;

use crate::stores::schema;
pub use checks::{references_of, sequences};

use crate::effects::postgres::Connection;
use crate::model::MIGRATED;
use crate::run::ctx::Ctx;
use crate::run::dir::{self, damaged_files};
use crate::run::manifest::{Check, Export, Manifest, Proof, Replay, TableProof, TableReplay};
use crate::run::overlay;
use crate::sql;
use crate::tables::{Home, Table};
use anyhow::{Context, Result};
use sqlx::Row;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// The phase in the journal.
pub const STEP: &str = "5 verify";

/// Whose what is foreign in a target is (DESIGN rule 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Before the cut-over: damage.
    Ours,
    /// After it: the services' work, which is counted. What is missing is lost, then as before: whether a
    /// service meant to delete it cannot be seen.
    Services,
}

/// Looks at everything and returns what was found; the caller decides what a red proof means.
pub async fn run(ctx: &Arc<Ctx>, manifest: &Manifest, export: &Arc<Export>) -> Result<Proof> {
    let started = Instant::now();
    let era = if manifest.cutover.is_some() { Era::Services } else { Era::Ours };
    let step = ctx.run.step(STEP)?;
    let tables = crate::run::join::all(ctx.tables.iter().map(|t| {
        let (ctx, export) = (ctx.clone(), export.clone());
        async move { table(&ctx, &export, t, era).await.with_context(|| format!("verifying {}", t.name)) }
    }));
    let (files, tables, structure, sequences, orphans, references) = tokio::try_join!(
        files(ctx, manifest),
        tables,
        checks::structure(ctx, era),
        checks::sequences_check(ctx, export),
        checks::orphans(ctx),
        references::all(ctx, export, era),
    )?;
    let mut checks = vec![files, structure, sequences, orphans];
    checks.extend(references);
    checks.extend(replays(export, ctx.max_diffs));
    let proof = Proof {
        finished: dir::now(),
        tables: ctx.tables.iter().map(|t| t.name.to_string()).zip(tables).collect(),
        checks,
        seconds: started.elapsed().as_secs_f64(),
    };
    step.done(&format!("{} findings", proof.findings().count()))?;
    Ok(proof)
}

async fn table(ctx: &Arc<Ctx>, export: &Arc<Export>, table: &'static Table, era: Era) -> Result<TableProof> {
    let started = Instant::now();
    let record = export.tables.get(table.name).context("the run's manifest does not know this table")?;
    let proof = match &table.home {
        Home::Postgres(database) => rows::verify(ctx, export, table, record, *database, era).await,
        Home::Firestore(collection) => documents::verify(ctx, export, table, collection, era).await,
    };
    let mut proof = proof.or_else(|error| {
        let damage = damage_of(ctx, export, &[table.file()], error)?;
        let findings = vec![format!("{}: cannot be compared: {damage}", table.name)];
        Ok::<_, anyhow::Error>(TableProof {
            expected_rows: record.content.total().rows,
            findings,
            ..TableProof::default()
        })
    })?;
    proof.seconds = started.elapsed().as_secs_f64();
    Ok(proof)
}

/// The damage to these files of the run that explains an error met while they were read: a damaged file
/// is a finding. The error itself where they are what they were.
fn damage_of(ctx: &Ctx, export: &Export, names: &[String], error: anyhow::Error) -> Result<String> {
    let files = names.iter().flat_map(|name| overlay::files(export, name)).collect();
    let damaged = damaged_files(&ctx.run, &files);
    if damaged.is_empty() { Err(error) } else { Ok(damaged.join("; ")) }
}

/// Whether the table and these columns of it are there. Where not, that is a finding of the table
/// itself, and what is to be looked up in them cannot be.
async fn has(connection: &mut Connection, table: &str, columns: &[&str]) -> Result<bool> {
    if !connection.row(&sql::exists("public", table)).await?.try_get::<bool, _>(0)? {
        return Ok(false);
    }
    let have = schema::columns(connection, "public", table).await?;
    Ok(columns.iter().all(|c| have.iter().any(|h| h.name == *c)))
}

/// Which rows came later than the others. They are in what the stores must hold: nothing is looked up.
fn replays(export: &Export, limit: usize) -> Vec<Check> {
    let ids = |ids: &mut dyn Iterator<Item = &i64>| {
        let ids: Vec<String> = ids.map(i64::to_string).collect();
        let more = ids.len().saturating_sub(limit);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!ids.is_empty()).then(|| ids[..ids.len() - more].join(", ") + &rest)
    };
    let table = |(name, table): (&String, &TableReplay)| {
        let mut moved = table.moved.iter().filter(|(_, m)| m.to == MIGRATED).map(|(id, _)| id);
        let (moved, changed) = (ids(&mut moved), ids(&mut table.changed.iter()));
        let changed = changed.map(|ids| format!("{name} id {ids} changed with them"));
        moved.map(|ids| format!("{name} id {ids}")).into_iter().chain(changed)
    };
    let check = |(number, replay): (usize, &Replay)| Check {
        name: format!("replay {}", number + 1),
        looked_at: format!(
            "brought in as of {}: {}",
            replay.snapshot.taken,
            replay.tables.iter().flat_map(table).collect::<Vec<_>>().join("; ")
        ),
        findings: Vec::new(),
    };
    export.replays.iter().enumerate().map(check).collect()
}

/// The run's own files: they are what the stores are compared with.
async fn files(ctx: &Arc<Ctx>, manifest: &Manifest) -> Result<Check> {
    let of_backup = manifest.backup.iter().flat_map(|b| &b.files);
    let of_export = manifest.export.iter().flat_map(|e| &e.files);
    let files = of_backup.chain(of_export).map(|(n, i)| (n.clone(), i.clone())).collect::<BTreeMap<_, _>>();
    let looked_at = format!("{} files of the run by SHA-256", files.len());
    let ctx = ctx.clone();
    let findings = tokio::task::spawn_blocking(move || damaged_files(&ctx.run, &files));
    let findings = findings.await.context("the files could not be looked at")?;
    Ok(Check { name: "files".into(), looked_at, findings })
}
