//! Phase 5, verify: what every store holds against what the snapshot held. A mismatch is a finding,
//! collected and reported with the others; an error is when we could not look. Changes nothing.

pub mod alone;
mod checks;
mod cutover_state;
mod databases;
mod documents;
mod misplaced;
mod obstacles;
mod references;
mod rows;

use self::cutover_state::CutoverState;
use self::obstacles::damage_of;
use crate::effects::idle::Idle;
use crate::findings::{Counts, Finding, FindingKind, Findings, Store};
use crate::model::{Database, MIGRATED, grouped};
use crate::remembered::{Remembered, TableThen};
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::lock_waits;
use crate::run::manifest::{Check, Export, Manifest, Proof, Replay, TableProof, TableReplay};
use crate::shown::utc;
use crate::steps::StepName;
use crate::tables::{Home, Table};
use anyhow::{Context, Result};
pub use checks::{references_of, sequences_check};
use datapath::files::FileInfo;
pub use documents::AT_ONCE;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// How the rows of PostgreSQL tables are looked at. Everything else is looked at whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every row is read.
    Full,
    /// Those of tables that have changed since they were proven.
    Changes,
}

/// Looks at everything and returns what was found; the caller decides what a red proof means.
///
/// # Errors
/// Where we could not look: a table that somebody keeps locked is one, and he is named.
pub async fn run(ctx: &Arc<Ctx>, manifest: &Manifest, export: &Arc<Export>, depth: Depth) -> Result<Proof> {
    match looked(ctx, manifest, export, depth).await {
        Err(error) => Err(lock_waits::named(ctx, error).await),
        proof => proof,
    }
}

async fn looked(ctx: &Arc<Ctx>, manifest: &Manifest, export: &Arc<Export>, depth: Depth) -> Result<Proof> {
    let started = Instant::now();
    let cutover = if manifest.cutover.is_some() { CutoverState::After } else { CutoverState::Before };
    let step = ctx.run.step(StepName::Verify)?;
    let idle = sessions();
    let tables = crate::run::join::all(ctx.tables.iter().map(|t| {
        let (ctx, export, idle) = (ctx.clone(), export.clone(), idle.clone());
        let then = manifest.remembered.get(t.name).filter(|_| depth == Depth::Changes).cloned();
        async move {
            table(&ctx, &export, t, cutover, (then, &idle))
                .await
                .with_context(|| format!("verifying {}", t.name))
        }
    }));
    let (files, tables, (databases, remarks), structure, sequences, orphans, references, counted) = tokio::try_join!(
        files(ctx, manifest),
        tables,
        databases::check(ctx, cutover),
        checks::structure(ctx, cutover),
        checks::sequences_check(ctx, export),
        checks::orphans(ctx),
        references::all(ctx, export, cutover),
        misplaced::count(ctx),
    )?;
    end(&idle).await?;
    let (tables, remembered): (Vec<TableProof>, Vec<Option<TableThen>>) = tables.into_iter().unzip();
    let names = ctx.tables.iter().map(|t| t.name.to_string());
    remember(ctx, names.zip(remembered).filter_map(|(name, then)| Some((name, then?))).collect())?;
    let misplaced = misplaced::check(ctx, cutover, counted, &tables).await?;
    let mut checks = vec![files, databases, structure, sequences, orphans, misplaced];
    checks.extend(references);
    checks.extend(replays(export, ctx.max_diffs));
    let proof = Proof {
        finished: dir::now(),
        tables: ctx.tables.iter().map(|t| t.name.to_string()).zip(tables).collect(),
        checks,
        remarks,
        seconds: started.elapsed().as_secs_f64(),
    };
    step.done(&format!("{} findings", proof.wrong()))?;
    Ok(proof)
}

/// Sessions of each database that have nothing to do.
type Sessions = Arc<BTreeMap<Database, Idle>>;

fn sessions() -> Sessions {
    Arc::new(Database::ALL.map(|database| (database, Idle::default())).into())
}

async fn end(sessions: &Sessions) -> Result<()> {
    for idle in sessions.values() {
        idle.end().await?;
    }
    Ok(())
}

async fn table(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    table: &'static Table,
    cutover: CutoverState,
    (then, sessions): (Option<TableThen>, &Sessions),
) -> Result<(TableProof, Option<TableThen>)> {
    let started = Instant::now();
    let record = export.tables.get(table.name).context("the run's manifest does not know this table")?;
    let proof = match &table.home {
        Home::Postgres(database) => {
            let idle = sessions.get(database).context("no sessions of this database")?;
            rows::verify(ctx, export, table, record, (*database, cutover), (then.as_ref(), idle)).await
        }
        Home::Firestore(collection) => {
            let proof = documents::verify(ctx, export, table, collection, cutover).await;
            proof.map(|proof| (proof, None))
        }
    };
    let (mut proof, remembered) = proof.or_else(|error| {
        let damage = damage_of(ctx, export, &[table.file()], error)?;
        let finding = Finding::new(FindingKind::NotComparable, Store::of(table), table.name);
        let proof = TableProof {
            expected_rows: record.content.total().rows,
            counts: Counts { other: 1, ..Counts::default() },
            findings: vec![finding.detail(format!("cannot be compared: {damage}"))],
            ..TableProof::default()
        };
        Ok::<_, anyhow::Error>((proof, None))
    })?;
    proof.seconds = started.elapsed().as_secs_f64();
    Ok((proof, remembered))
}

/// What has been proven by digest is remembered. Of whatever server: it says itself whose history it is.
fn remember(ctx: &Ctx, tables: Remembered) -> Result<()> {
    if !tables.is_empty() {
        ctx.run.change_manifest(|manifest| {
            manifest.remembered.extend(tables);
            Ok(())
        })?;
    }
    Ok(())
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
    let check = |(number, replay): (usize, &Replay)| {
        if let Some(pass) = &replay.pass {
            let looked_at = format!("{} rows as of {}", grouped(pass.rows()), utc(&replay.snapshot.taken));
            return Check::new(format!("pass {}", number + 1), looked_at, Findings::default());
        }
        let rows = replay.tables.iter().flat_map(table).collect::<Vec<_>>().join("; ");
        let looked_at = format!("brought in as of {}: {rows}", utc(&replay.snapshot.taken));
        Check::new(format!("replay {}", number + 1), looked_at, Findings::default())
    };
    export.replays.iter().enumerate().map(check).collect()
}

/// The run's own files: they are what the stores are compared with, and what the run goes on from.
async fn files(ctx: &Arc<Ctx>, manifest: &Manifest) -> Result<Check> {
    let of_backup = manifest.backup.iter().flat_map(|b| &b.files);
    let of_export = manifest.export.iter().flat_map(|e| &e.files);
    let files = of_backup.chain(of_export).map(|(n, i)| (n.clone(), i.clone())).collect::<BTreeMap<_, _>>();
    let looked_at = format!("{} files of the run by SHA-256", files.len());
    let ctx = ctx.clone();
    let of = |name: &str, how: String| Finding::new(FindingKind::File, Store::Run, name).detail(how);
    let damaged = tokio::task::spawn_blocking(move || {
        let finding = |(name, info): (&String, &FileInfo)| Some(of(name, dir::damage(&ctx.run, name, info)?));
        let damaged = files.iter().filter_map(finding).collect::<Vec<_>>();
        let journal = dir::load_journal(ctx.run.path())?;
        anyhow::Ok((damaged, journal.times_begun(&StepName::Export)))
    });
    let (damaged, exports) = damaged.await.context("the files could not be looked at")??;
    let mut findings = Findings::default();
    findings.extend(damaged);
    // It is written to all the time, so it has no hash; but there was an export.
    findings.extend((exports == 0).then(|| {
        let how =
            " does not tell of the run's export any more: bring it back from a copy of the run's directory";
        of(dir::JOURNAL, how.to_string())
    }));
    Ok(Check::new("files", looked_at, findings))
}
